"""`python -m clipledger`: the same as the `clipledger` command."""

from clipledger.cli.main import main

main()

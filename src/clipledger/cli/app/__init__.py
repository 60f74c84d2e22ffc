"""The commands and their options, a module a subject. What each does is in the module it imports when it is called."""

# In this order `--help` lists them.
# isort: off
from clipledger.cli.app import work
from clipledger.cli.app import lists
from clipledger.cli.app import look
from clipledger.cli.app import mend
from clipledger.cli.app import share
from clipledger.cli.app import cost
from clipledger.cli.app import custody
from clipledger.cli.app import web

# isort: on
from clipledger.cli.app.root import app, context, leading_to

__all__ = ["app", "context", "cost", "custody", "leading_to", "lists", "look", "mend", "share", "web", "work"]

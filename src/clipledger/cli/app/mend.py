"""The commands that mend what was lost: so far the database; files are mended by `verify --repair`."""

from __future__ import annotations

from typing import Annotated

import typer

from clipledger.cli.app.root import app, context


@app.command()
def rebuild(
    to: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Into this empty database; else into the archive's own, if it is empty."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Rebuild aside and compare with the archive's database; change nothing.")
    ] = False,
    reconcile: Annotated[
        bool,
        typer.Option("--reconcile", help="Take in what the store holds and the archive's database does not know."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read the sidecars and count; write nothing.")] = False,
) -> None:
    """Restore the database from the store alone, and prove it; one that was stopped is gone on with. Costs nothing."""
    from clipledger.cli.rebuilding import Asked
    from clipledger.cli.rebuilding import rebuild as rebuild_database

    rebuild_database(context, Asked(to, check, reconcile, dry_run))

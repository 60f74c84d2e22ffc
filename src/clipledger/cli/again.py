"""The commands `read` and `remove`: their options. What they do is in `naming`, imported when they are called."""

from __future__ import annotations

from typing import Annotated

import typer

from clipledger.cli.output import Context

Sources = Annotated[list[str], typer.Argument(metavar="SOURCE...", help="As `sources` shows them, or as added.")]


def attach(app: typer.Typer, context: Context) -> None:
    """Add the commands to the program."""

    @app.command()
    def read(names: Sources) -> None:
        """Make sources due now, whatever they wait for; the next run reads them."""
        from clipledger.cli.naming import read_again

        read_again(context, names)

    @app.command()
    def remove(names: Sources) -> None:
        """Stop reading sources. What they showed stays in the archive and in its books."""
        from clipledger.cli.naming import remove as remove_sources

        remove_sources(context, names)

"""The root of all commands: the global options, and the groups that commands hang themselves on."""

from __future__ import annotations

import os
from copy import copy
from pathlib import Path
from typing import Annotated

import typer
from typer.main import get_command_name
from typer.models import CommandInfo

from clipledger import __version__
from clipledger.cli.output import Context

app = typer.Typer(
    name="clipledger",
    help="An archive of short videos whose books balance: every id ever seen is saved, or you are told why not.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Global options are accepted before and after the command. "
    "Exit codes: 0 all saved, 2 usage, 3 some ids dead or waiting, 4 misconfigured, 5 cap or credits, 6 storage, "
    "7 damage found, 8 outage or paused, 9 archive in use, 130 interrupted.",
)
sim = typer.Typer(help="The simulator of the API and the CDN.", no_args_is_help=True, rich_markup_mode=None)
db = typer.Typer(help="The database of the archive.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(sim, name="sim")
app.add_typer(db, name="db")

context = Context()


def leading_to(command: str) -> typer.Typer:
    """Give the program with this one command: the parser makes all it is given, and fifty take a while.

    The whole of it where there is no such command: `--help`, and what was mistyped, need all names.
    """
    one = copy(app)
    one.registered_commands = [each for each in app.registered_commands if _name(each) == command]
    one.registered_groups = [each for each in app.registered_groups if each.name == command]
    return one if one.registered_commands or one.registered_groups else app


def _name(command: CommandInfo) -> str:
    return command.name or get_command_name(getattr(command.callback, "__name__", ""))


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"clipledger {__version__}")
        raise typer.Exit


@app.callback()
def _globals(
    archive: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The archive folder; else $CLIPLEDGER_ARCHIVE, else this folder.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document (long runs: JSON lines).")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say only what must be said.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Say more.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    context.named = archive is not None
    context.archive = archive or Path(os.environ.get("CLIPLEDGER_ARCHIVE") or ".")
    context.json = json
    context.loudness = verbose - quiet

"""The commands about sources, and about who is at work."""

from __future__ import annotations

from typing import Annotated

import typer

from clipledger.cli.app.root import app, context


@app.command()
def sources() -> None:
    """List the sources: what each showed, where its pass stands, when it is read next."""
    from clipledger.cli.looking import list_sources

    list_sources(context)


@app.command()
def pause(
    which: Annotated[
        list[str] | None, typer.Argument(metavar="SOURCE...", help="Only these sources; else the whole archive.")
    ] = None,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, for whoever asks `status`.")] = "",
) -> None:
    """Hold every process of the archive, or single sources; nothing is lost and nothing spent meanwhile."""
    from clipledger.cli.pausing import pause as pause_archive

    pause_archive(context, which or [], reason)


@app.command()
def resume(
    which: Annotated[
        list[str] | None, typer.Argument(metavar="SOURCE...", help="Only these sources; else the whole archive.")
    ] = None,
) -> None:
    """End a pause."""
    from clipledger.cli.pausing import resume as resume_archive

    resume_archive(context, which or [])


@app.command()
def stop(
    workers: Annotated[
        list[str] | None, typer.Argument(metavar="WORKER...", help="Their names in `clipledger status`.")
    ] = None,
    everybody: Annotated[bool, typer.Option("--all", help="Every process at work on the archive.")] = False,
    now: Annotated[bool, typer.Option("--now", help="Drop what is under way instead of finishing it.")] = False,
) -> None:
    """Ask processes to stop in good order, on whatever machine they run."""
    from clipledger.cli.pausing import stop as stop_workers

    stop_workers(context, workers or [], everybody, now)


@app.command()
def read(
    names: Annotated[list[str], typer.Argument(metavar="SOURCE...", help="As `sources` shows them, or as added.")],
) -> None:
    """Make sources due now, whatever they wait for; the next run reads them."""
    from clipledger.cli.naming import read_again

    read_again(context, names)


@app.command()
def remove(
    names: Annotated[list[str], typer.Argument(metavar="SOURCE...", help="As `sources` shows them, or as added.")],
) -> None:
    """Stop reading sources. What they showed stays in the archive and in its books."""
    from clipledger.cli.naming import remove as remove_sources

    remove_sources(context, names)

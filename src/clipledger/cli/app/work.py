"""The commands that do the work: lay an archive down, fill its queue, run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clipledger.cli.app.root import app, context, sim


@app.command()
def init(
    folder: Annotated[Path | None, typer.Argument(metavar="DIR", help="Where; else the archive folder.")] = None,
) -> None:
    """Create an archive: settings file, database, UUID. Running it again changes nothing."""
    from clipledger.cli.adding import initialise

    initialise(context, folder or context.archive)


@app.command()
def add(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SOURCE...",
            help=(
                "@handle, #tag, search:WORDS, music:ID, playlist:ID, collection:ID, liked:@handle, stories:@handle, "
                "any TikTok URL, or a post id."
            ),
        ),
    ] = None,
    batch_file: Annotated[
        str | None,
        typer.Option(
            "-a", "--batch-file", metavar="FILE", help=("Read sources from FILE, one a line, # comments; - is stdin.")
        ),
    ] = None,
    region: Annotated[str, typer.Option(metavar="CC", help="Two-letter region, for tags and searches.")] = "",
    sort: Annotated[str, typer.Option(metavar="relevance|likes|date", help="Order of a search.")] = "",
    published_within: Annotated[
        int, typer.Option(metavar="0|1|7|30|90|180", help="Days, for searches; 0 is no limit.")
    ] = 0,
    every: Annotated[
        str | None, typer.Option(metavar="DURATION", help="How often --follow reads it again, such as 6h.")
    ] = None,
    max_pages: Annotated[
        int | None, typer.Option(min=1, max=1_000_000, metavar="N", help="Pages in one pass, at most.")
    ] = None,
    priority: Annotated[int, typer.Option(min=-100, max=100, metavar="N", help="Higher is resolved first.")] = 0,
) -> None:
    """Register sources or single posts. Costs nothing; known ids are not queued twice."""
    from clipledger.acts.adding import Options
    from clipledger.cli.adding import add_sources

    add_sources(context, what or [], batch_file, Options(region, sort, published_within, every, max_pages, priority))


@app.command()
def run(
    follow: Annotated[
        bool, typer.Option("--follow", help="Keep going: poll sources, wait out outages, until stopped.")
    ] = False,
    only: Annotated[
        str | None, typer.Option(metavar="ROLES", help="listing,capture,metadata,janitor,history: only these.")
    ] = None,
    max_videos: Annotated[int | None, typer.Option(min=1, metavar="N", help="Stop after so many posts.")] = None,
    max_credits: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Stop before spending more credits.")
    ] = None,
    max_bytes: Annotated[
        str | None, typer.Option(metavar="N", help="Stop once so many bytes came; 500M, 20G are understood.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what it would spend; do nothing.")] = False,
    processes: Annotated[
        int,
        typer.Option(min=1, max=1000, metavar="N", help="So many processes side by side; one is enough for most."),
    ] = 1,
    metrics_port: Annotated[
        int | None, typer.Option(min=0, max=65535, metavar="N", help="Serve Prometheus metrics; 0 picks a port.")
    ] = None,
    metrics_host: Annotated[str, typer.Option(metavar="ADDRESS", help="Where to serve them.")] = "127.0.0.1",
    log_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write one JSON line an event; rotates by size.")
    ] = None,
    log_format: Annotated[str, typer.Option(metavar="text|json", help="How stderr tells the events.")] = "text",
    attended: Annotated[bool, typer.Option("--attended", hidden=True, help="Stop when stdin ends.")] = False,
) -> None:
    """Do all due work, then exit. Ctrl-C finishes what is under way within 20 s; a second Ctrl-C drops it at once."""
    from clipledger.cli.running import Wanted, run_archive
    from clipledger.cli.watching import watched

    if processes > 1:
        from clipledger.cli.fleets import run_side_by_side

        given = (max_videos, max_credits, max_bytes, metrics_port, log_file)
        run_side_by_side(context, processes, follow, only, dry_run or attended or any(one is not None for one in given))
        return
    seen = watched(context.archive, metrics_port, metrics_host, log_file, log_format)
    run_archive(context, Wanted(follow, only, max_videos, max_credits, max_bytes, dry_run, seen, attended))


@app.command()
def fleet(
    workers: Annotated[int | None, typer.Option(min=1, max=10_000, metavar="N", help="So many processes.")] = None,
    least: Annotated[
        int | None, typer.Option("--min", min=0, max=10_000, metavar="A", help="At least so many; else 1.")
    ] = None,
    most: Annotated[
        int | None, typer.Option("--max", min=1, max=10_000, metavar="B", help="At most so many, as work needs them.")
    ] = None,
    address: Annotated[
        str,
        typer.Option(
            metavar="WHERE",
            help="local: Ray on this machine. auto, HOST:PORT or ray://HOST:PORT: a Ray cluster. "
            "here: plain processes of this machine, without Ray.",
        ),
    ] = "local",
    follow: Annotated[bool, typer.Option("--follow", help="Keep going until stopped.")] = False,
    only: Annotated[
        str | None, typer.Option(metavar="ROLES", help="listing,capture,metadata,janitor: only these.")
    ] = None,
) -> None:
    """Run many processes on one machine or many: placed, watched, replaced when they die, as many as work needs."""
    from clipledger.cli.fleets import Wanted, run_fleet

    run_fleet(context, Wanted(workers, least, most, address, follow, only))


@app.command()
def janitor() -> None:
    """Sweep once by hand: dead workers, abandoned parts, aged dead letters."""
    from clipledger.cli.running import sweep

    sweep(context)


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Made anew each time.")] = Path("clipledger-demo"),
    seed: Annotated[int, typer.Option(metavar="N", help="The same seed gives the same world.")] = 7,
    posts: Annotated[int, typer.Option(min=20, max=100_000, metavar="N", help="Posts in the world.")] = 240,
    serve: Annotated[bool, typer.Option("--serve", help="Then show it in the browser, until Ctrl-C.")] = False,
) -> None:
    """Play a whole archive against the built-in simulator, a kill -9 included, and audit it. No key, no network."""
    if serve:
        from clipledger.cli.app.web import require_web

        require_web("`clipledger demo --serve`")
    from clipledger.cli.playing import play

    play(context, folder, seed, posts, served=serve)


@sim.command("serve")
def sim_serve(
    seed: Annotated[int, typer.Option(metavar="N", help="The same seed gives the same world.")] = 1,
    posts: Annotated[int, typer.Option(min=1, max=10_000_000, metavar="N", help="Posts in the world.")] = 600,
    faults: Annotated[
        str, typer.Option(metavar="PLAN", help="calm, hostile, outage, or kinds such as hd_403=0.1.")
    ] = "calm",
    rpm: Annotated[
        int, typer.Option(min=1, metavar="N", help="The plan's calls a minute; more is answered 429.")
    ] = 200,
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="N", help="0 picks a free one.")] = 0,
) -> None:
    """Serve the API and the CDN on one loopback port; prints {"base_url": ...} when ready."""
    from clipledger.cli.serving import serve

    serve(context, seed, posts, faults, rpm, port)

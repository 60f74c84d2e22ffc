"""The commands and their options. What each does is in the module it imports when it is called."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from clipledger import __version__
from clipledger.cli import finding
from clipledger.cli.typed import context
from clipledger.core.errors import UsageError

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

for _command in (finding.search, finding.gone, finding.authors, finding.history, finding.reindex):
    app.command()(_command)

Ids = Annotated[list[str] | None, typer.Argument(metavar="ID...", help="Post ids or URLs.")]


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
    context.archive = archive or Path(os.environ.get("CLIPLEDGER_ARCHIVE") or ".")
    context.json = json
    context.loudness = verbose - quiet


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
    from clipledger.cli.adding import Options, add_sources

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

    seen = watched(metrics_port, metrics_host, log_file, log_format)
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
def status(
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Sum anew; else a large archive's sums may be ten minutes old.")
    ] = False,
) -> None:
    """Show what is wanted, saved, dead, waiting, owed; who is at work; credits; latencies; each source."""
    from clipledger.cli.looking import status as show_status

    show_status(context, fresh)


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


@app.command()
def show(aweme_id: Annotated[str, typer.Argument(metavar="ID", help="A post id or URL.")]) -> None:
    """Show everything known of one id: state, why, files, attribution, credits, sightings."""
    from clipledger.cli.looking import show_post

    show_post(context, aweme_id)


@app.command()
def failures(
    ids: Ids = None,
    reason: Annotated[str | None, typer.Option(metavar="R", help="Only this reason.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, metavar="N", help="At most so many rows.")] = 100,
    acknowledge: Annotated[
        bool,
        typer.Option("--acknowledge", help="Take note of the dead ids named, of one reason, or all: no more exit 3."),
    ] = False,
) -> None:
    """List dead and waiting ids, and sources that fail; or take note of the dead."""
    from clipledger.cli.looking import acknowledge_dead, list_failures

    if acknowledge:
        acknowledge_dead(context, ids or [], reason)
    else:
        list_failures(context, ids or [], reason, limit)


@app.command()
def retry(
    ids: Ids = None,
    reason: Annotated[str | None, typer.Option(metavar="R", help="All ids that failed for this reason.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every dead and waiting id.")] = False,
) -> None:
    """Make failed and waiting ids due now."""
    from clipledger.cli.looking import retry_ids

    retry_ids(context, ids or [], reason, all_)


@app.command()
def verify(
    ledger: Annotated[bool, typer.Option("--ledger", help="Only the books.")] = False,
    media: Annotated[
        bool,
        typer.Option("--media", help="Only the files: as a sweep, which goes on where one that was stopped left off."),
    ] = False,
    processes: Annotated[
        int, typer.Option(min=1, max=1000, metavar="N", help="With --media: so many processes side by side.")
    ] = 1,
    resume_: Annotated[
        bool, typer.Option("--resume", help="With --media: only go on with a sweep that was stopped.")
    ] = False,
    anew: Annotated[
        bool, typer.Option("--anew", help="With --media: drop a sweep that was stopped, begin anew.")
    ] = False,
    address: Annotated[
        str, typer.Option(metavar="WHERE", help="With --media: where the processes run; see `clipledger fleet`.")
    ] = "here",
    child: Annotated[bool, typer.Option("--child", hidden=True, help="Take part in the open sweep.")] = False,
) -> None:
    """Recompute the books and the files' sizes and sha256; exit 7 names every id that does not hold."""
    if media and not ledger:
        from clipledger.cli.sweeping import Asked, verify_media

        verify_media(context, Asked(processes, resume_, anew, address, child))
        return
    if processes > 1 or resume_ or anew or address != "here" or child:
        raise UsageError("--processes, --resume, --anew and --address go with --media")
    from clipledger.cli.verifying import verify as verify_archive

    verify_archive(context, books=ledger or not media, files=media or not ledger)


@app.command()
def janitor() -> None:
    """Sweep once by hand: dead workers, abandoned parts, aged dead letters."""
    from clipledger.cli.running import sweep

    sweep(context)


@app.command()
def plan(
    videos_per_day: Annotated[int, typer.Option(min=1, max=100_000_000, metavar="N", help="Posts a day.")],
    source_mix: Annotated[
        str | None,
        typer.Option(metavar="MIX", help="KIND=SHARE[:NEW_IDS_PER_PAGE],... such as user=0.7:28,tag=0.3:15."),
    ] = None,
    keep: Annotated[
        str | None, typer.Option(metavar="DURATION", help="How long files are kept; else for ever.")
    ] = None,
    copies: Annotated[int, typer.Option(min=1, max=10, metavar="N", help="Copies of each file.")] = 1,
    months: Annotated[int, typer.Option(min=1, max=120, metavar="N", help="Months to plan.")] = 12,
    read_share: Annotated[
        float,
        typer.Option(min=0, max=100, metavar="X", help="Part of the archive read back each month, 0.1 is a tenth."),
    ] = 0.0,
    prices: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Price tables in TOML; else built-in ones.")
    ] = None,
    table: Annotated[str | None, typer.Option(metavar="NAME", help="Only this price table.")] = None,
    guide: Annotated[bool, typer.Option("--guide", help="Assume the guide's figures, not this archive's own.")] = False,
) -> None:
    """Plan calls, credits, hours, bytes and money for so many posts a day. Reads only; needs no archive."""
    from clipledger.cli.costing import PlanOptions
    from clipledger.cli.costing import plan as show_plan

    show_plan(context, PlanOptions(videos_per_day, source_mix, keep, copies, months, read_share, prices, table, guide))


@app.command("credits")
def credits_(
    since: Annotated[str, typer.Option(metavar="DURATION", help="How far back.")] = "30d",
) -> None:
    """Show the ledger by day, reason, endpoint and source, what was wasted, and a forecast."""
    from clipledger.cli.costing import show_credits

    show_credits(context, since)


@app.command()
def doctor(
    online: Annotated[bool, typer.Option("--online", help="Also make one call to the API: 1 credit.")] = False,
) -> None:
    """Look over Python, settings, key, API host, database, store, clock, disk and limits; says what to do."""
    from clipledger.cli.doctor import doctor as look_over

    look_over(context, online=online)


@app.command()
def regions() -> None:
    """List the region codes of the API; asked once a month (one credit) and kept."""
    from clipledger.cli.running import list_regions

    list_regions(context)


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Made anew each time.")] = Path("clipledger-demo"),
    seed: Annotated[int, typer.Option(metavar="N", help="The same seed gives the same world.")] = 7,
    posts: Annotated[int, typer.Option(min=20, max=100_000, metavar="N", help="Posts in the world.")] = 240,
) -> None:
    """Play a whole archive against the built-in simulator, a kill -9 included, and audit it. No key, no network."""
    from clipledger.cli.playing import play

    play(context, folder, seed, posts)


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


@db.command("migrate")
def db_migrate() -> None:
    """Bring the archive's tables up to this program's schema."""
    from clipledger.cli.verifying import migrate

    migrate(context)


@db.command("check")
def db_check() -> None:
    """Look at the database: server, schema, indexes, latency, clock."""
    from clipledger.cli.verifying import check

    check(context)


@db.command("copy")
def db_copy(
    to: Annotated[str, typer.Option(metavar="URL", help="postgresql://USER@HOST/NAME, an empty database.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Look at both sides and count; write nothing.")] = False,
) -> None:
    """Carry the archive's tables to another database, all or nothing, and prove that both hold the same."""
    from clipledger.cli.copying import copy_database

    copy_database(context, to, dry_run=dry_run)

"""The commands that look: what there is, what is missing, whether it holds."""

from __future__ import annotations

from typing import Annotated

import typer

from clipledger.cli.app.root import app, context
from clipledger.core.errors import UsageError

Ids = Annotated[list[str] | None, typer.Argument(metavar="ID...", help="Post ids or URLs.")]


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
def show(aweme_id: Annotated[str, typer.Argument(metavar="ID", help="A post id or URL.")]) -> None:
    """Show everything known of one id: state, why, files, attribution, credits, sightings."""
    from clipledger.cli.looking import show_post

    show_post(context, aweme_id)


@app.command()
def search(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="WORDS", help='Words, "phrases", -not, prefix*, OR, from:@handle, tag:#x ...'),
    ] = None,
    author: Annotated[str | None, typer.Option(metavar="@HANDLE", help="By this author, under any handle.")] = None,
    tag: Annotated[str | None, typer.Option(metavar="TAG", help="With this hashtag.")] = None,
    music: Annotated[str | None, typer.Option(metavar="ID", help="With this sound.")] = None,
    region: Annotated[str | None, typer.Option(metavar="CC", help="From this region.")] = None,
    since: Annotated[str | None, typer.Option(metavar="DAY", help="Made on this UTC day or later.")] = None,
    until: Annotated[str | None, typer.Option(metavar="DAY", help="Made on this UTC day or earlier.")] = None,
    min_plays: Annotated[
        str | None, typer.Option(metavar="N", help="Played so often or more; 2M is understood.")
    ] = None,
    gone: Annotated[bool, typer.Option("--gone", help="Only what disappeared.")] = False,
    sort: Annotated[str, typer.Option(metavar="new|old|plays|growth|relevance", help="Order.")] = "new",
    limit: Annotated[int, typer.Option(min=1, max=1000, metavar="N", help="Posts on a page.")] = 20,
    after: Annotated[str | None, typer.Option(metavar="KEY", help="Go on behind the page that gave this key.")] = None,
    facets: Annotated[bool, typer.Option("--facets", help="Count by author, tag, region and month.")] = False,
) -> None:
    """Search the archived posts by words, author, tag and more."""
    from clipledger.answers.finding import Asked
    from clipledger.cli.searching import search as search_posts

    given = {"from": author, "tag": tag, "music": music, "region": region, "since": since, "until": until}
    search_posts(context, Asked(" ".join(words or ()), given | {"plays": min_plays}, gone, sort, limit, after, facets))


@app.command()
def gone(
    since: Annotated[str | None, typer.Option(metavar="DURATION", help="Gone within this time, such as 7d.")] = None,
    source: Annotated[str | None, typer.Option(metavar="SOURCE", help="Shown by this source.")] = None,
    author: Annotated[str | None, typer.Option(metavar="@HANDLE", help="Of this author.")] = None,
    tag: Annotated[str | None, typer.Option(metavar="TAG", help="With this hashtag.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, metavar="N", help="At most so many rows.")] = 100,
) -> None:
    """List what disappeared: when it was made, seen last, and found to be gone."""
    from clipledger.cli.searching import list_gone

    list_gone(context, since, source, author, tag, limit)


@app.command()
def authors(
    who: Annotated[str | None, typer.Argument(metavar="@HANDLE", help="Only who has or had this handle.")] = None,
    after: Annotated[str, typer.Option(metavar="ID", help="Go on behind this author id.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000, metavar="N", help="At most so many.")] = 100,
) -> None:
    """List authors by id, with every handle each was seen with."""
    from clipledger.cli.searching import list_authors

    list_authors(context, who, after, limit)


@app.command()
def history(
    source: Annotated[str | None, typer.Argument(metavar="SOURCE", help="The source whose posts are meant.")] = None,
    refresh: Annotated[
        str | None, typer.Option(metavar="STEPS", help="Such as 1h,1d,7d after capture; none; default.")
    ] = None,
) -> None:
    """Show how far counters are followed and at what cost; set the steps of one source."""
    from clipledger.cli.searching import history as show_history

    show_history(context, source, refresh)


@app.command()
def reindex(
    check: Annotated[bool, typer.Option("--check", help="Only prove it; change nothing.")] = False,
) -> None:
    """Make the search index anew where it is wrong, and prove that it equals the posts."""
    from clipledger.cli.searching import reindex as make_anew

    make_anew(context, check)


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
    from clipledger.cli.looking import list_failures
    from clipledger.cli.putting_back import acknowledge_dead

    if acknowledge:
        acknowledge_dead(context, ids or [], reason)
    else:
        list_failures(context, ids or [], reason, limit)


@app.command()
def retry(
    ids: Ids = None,
    reason: Annotated[str | None, typer.Option(metavar="R", help="All ids that failed for this reason.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every dead and waiting id.")] = False,
    accept: Annotated[
        bool, typer.Option("--accept", help="With ids or same_bytes: take the video that many posts show as theirs.")
    ] = False,
) -> None:
    """Make failed and waiting ids due now."""
    from clipledger.cli.putting_back import retry_ids

    retry_ids(context, ids or [], reason, all_, accept)


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
    repair: Annotated[
        bool, typer.Option("--repair", help="Fetch damaged and missing files again: a credit a post.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --repair: say what it would cost.")] = False,
    max_credits: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="With --repair: stop before spending more credits.")
    ] = None,
) -> None:
    """Recompute the books and the files' sizes and sha256; exit 7 names every id that does not hold."""
    from clipledger.cli.repairing import wish_of

    wish = wish_of(repair, dry_run, max_credits, files=media or not ledger)
    if media and not ledger:
        from clipledger.cli.sweeping import Asked, verify_media

        verify_media(context, Asked(processes, resume_, anew, address, child, wish))
        return
    if processes > 1 or resume_ or anew or address != "here" or child:
        raise UsageError("--processes, --resume, --anew and --address go with --media")
    from clipledger.cli.verifying import verify as verify_archive

    verify_archive(context, books=ledger or not media, files=media or not ledger, wish=wish)


@app.command()
def doctor(
    online: Annotated[bool, typer.Option("--online", help="Also make one call to the API: 1 credit.")] = False,
) -> None:
    """Look over Python, settings, key, API host, database, store, clock, disk and limits; says what to do."""
    from clipledger.cli.doctor import doctor as look_over

    look_over(context, online=online)

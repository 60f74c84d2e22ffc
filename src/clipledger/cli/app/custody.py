"""The commands of custody: what is taken out, what is held, what rules say, who did what, how a post is cited."""

from __future__ import annotations

from typing import Annotated

import typer

from clipledger.cli.app.root import app, context, db

Ids = Annotated[list[str] | None, typer.Argument(metavar="ID...", help="Post ids or URLs.")]


@app.command()
def withdraw(
    ids: Ids = None,
    author: Annotated[
        str | None, typer.Option(metavar="@HANDLE|ID", help="All posts of an author, and all they will ever post.")
    ] = None,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; stays in the receipt.")] = "",
    request: Annotated[str, typer.Option(metavar="REF", help="Who asked for it: a ticket, a letter's number.")] = "",
    now: Annotated[bool, typer.Option("--now", help="Erase at once, without quarantine.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would go; do nothing.")] = False,
    undo: Annotated[
        bool, typer.Option("--undo", help="Take posts out of quarantine again; with --author let that one in again.")
    ] = False,
    notices: Annotated[
        bool, typer.Option("--notices", help="Print a JSON line for each removal, for those who were given copies.")
    ] = False,
    since: Annotated[str | None, typer.Option(metavar="DURATION", help="With --notices: asked for within it.")] = None,
    authors: Annotated[bool, typer.Option("--authors", help="List the authors who are kept out, and why.")] = False,
) -> None:
    """Take posts out: hidden at once, erased when lifecycle.purge_after is over, never archived again."""
    from clipledger.acts.removing import Asked
    from clipledger.cli.removing import list_authors, list_notices, refuse_beside_a_list
    from clipledger.cli.removing import withdraw as withdraw_posts

    asked = Asked(ids or [], author, reason, request, now, dry_run, undo)
    if notices or authors:
        refuse_beside_a_list(asked)
    if notices:
        list_notices(context, since)
    elif authors:
        list_authors(context)
    else:
        withdraw_posts(context, asked)


@app.command()
def hold(
    ids: Ids = None,
    author: Annotated[str | None, typer.Option(metavar="@HANDLE|ID", help="All posts of an author.")] = None,
    source: Annotated[str | None, typer.Option(metavar="SOURCE", help="All posts that a source shows.")] = None,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; the audit log keeps it.")] = "",
    release: Annotated[bool, typer.Option("--release", help="End the hold.")] = False,
) -> None:
    """Place a legal hold: while it lasts no rule and no request removes what it covers."""
    from clipledger.acts.holding import Asked
    from clipledger.cli.holding import hold as place_hold

    place_hold(context, Asked(ids or [], author, source, reason, release))


@app.command()
def holds(
    everything: Annotated[bool, typer.Option("--all", help="Released ones too.")] = False,
) -> None:
    """List legal holds."""
    from clipledger.cli.holding import list_holds

    list_holds(context, everything)


@app.command()
def retention(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show exactly what would go; do nothing.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="Stop after so many posts.")] = None,
) -> None:
    """Do what the rules in [[lifecycle.rules]] say: delete posts, or move their files to colder storage."""
    from clipledger.cli.retaining import retain

    retain(context, dry_run, limit)


@app.command()
def log(
    since: Annotated[str | None, typer.Option(metavar="DURATION", help="How far back.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, metavar="N", help="At most so many rows.")] = 100,
    head: Annotated[bool, typer.Option("--head", help="Print only the head of the chain, ROW:HASH.")] = False,
    check: Annotated[
        str | None, typer.Option(metavar="ROW:HASH", help="Prove that a head noted before is still in the log.")
    ] = None,
) -> None:
    """Show who did what to the archive, when and why: a log that can only be added to."""
    from clipledger.cli.logbook import check_head, show_head, show_log

    if check is not None:
        check_head(context, check)
    elif head:
        show_head(context)
    else:
        show_log(context, since, limit)


@app.command()
def cite(
    aweme_id: Annotated[str, typer.Argument(metavar="ID", help="A post id or URL.")],
    style: Annotated[str, typer.Option(metavar="apa|bibtex|ris|plain", help="How.")] = "apa",
) -> None:
    """Print how an archived post is cited, with the capture time and the sha256 of what is kept."""
    from clipledger.cli.logbook import cite_post

    cite_post(context, aweme_id, style)


@db.command("scrub")
def db_scrub() -> None:
    """Rewrite the database's files so that nothing erased is left in them; best while nothing runs."""
    from clipledger.cli.retaining import scrub

    scrub(context)

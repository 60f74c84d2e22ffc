"""The commands that find posts, and tell what became of them, and their options; `app` takes them in."""

from __future__ import annotations

from typing import Annotated

import typer

from clipledger.cli.typed import context


def search(
    words: Annotated[
        str, typer.Argument(metavar="WORDS", help='Words, "phrases", -not, prefix*, OR, from:@handle, tag:#x ...')
    ] = "",
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
    from clipledger.cli.searching import Asked
    from clipledger.cli.searching import search as search_posts

    given = {"from": author, "tag": tag, "music": music, "region": region, "since": since, "until": until}
    search_posts(context, Asked(words, given | {"plays": min_plays}, gone, sort, limit, after, facets))


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


def authors(
    who: Annotated[str | None, typer.Argument(metavar="@HANDLE", help="Only who has or had this handle.")] = None,
    after: Annotated[str, typer.Option(metavar="ID", help="Go on behind this author id.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000, metavar="N", help="At most so many.")] = 100,
) -> None:
    """List authors by id, with every handle each was seen with."""
    from clipledger.cli.searching import list_authors

    list_authors(context, who, after, limit)


def history(
    source: Annotated[str | None, typer.Argument(metavar="SOURCE", help="The source whose posts are meant.")] = None,
    refresh: Annotated[
        str | None, typer.Option(metavar="STEPS", help="Such as 1h,1d,7d after capture; none; default.")
    ] = None,
) -> None:
    """Show how far counters are followed and at what cost; set the steps of one source."""
    from clipledger.cli.searching import history as show_history

    show_history(context, source, refresh)


def reindex(
    check: Annotated[bool, typer.Option("--check", help="Only prove it; change nothing.")] = False,
) -> None:
    """Make the search index anew where it is wrong, and prove that it equals the posts."""
    from clipledger.cli.searching import reindex as make_anew

    make_anew(context, check)

"""`search`, `gone`, `authors`, `history`, `reindex`: find posts, and see what became of them."""

from __future__ import annotations

from typing import Any

from clipledger.answers.finding import Asked, authors, gone, query_of, sort_of, source_of
from clipledger.answers.finding import search as find
from clipledger.archive import Archive
from clipledger.cli import looking
from clipledger.cli.exits import Exit
from clipledger.cli.output import Context, table
from clipledger.core.errors import UsageError
from clipledger.core.history import OFF, read_steps
from clipledger.core.times import iso_time
from clipledger.db.search import COUNTED_MAX
from clipledger.db.search_index import Proof, SearchIndex


def search(context: Context, asked: Asked) -> None:
    """Print the posts that match, one page."""
    query, sort = query_of(asked), sort_of(asked.sort)
    body = looking.asked(context, lambda archive: find(archive, asked, query, sort))
    if context.json:
        context.document(body)
        return
    rows = [
        (row["aweme_id"], row["created"][:10], f"@{row['author_handle']}", row["play_count"], _title(row))
        for row in body["posts"]
    ]
    if not rows:
        context.tell(f"nothing found{' behind this key' if asked.after else ''}")
        return
    context.tell(table(rows, ("id", "made", "author", "plays", "title")))
    for name, counts in (body["facets"] or {}).items():
        if isinstance(counts, list) and counts:
            context.tell(f"{name}: " + ", ".join(f"{each['value']} {each['posts']}" for each in counts))
    of = f"{body['matches']}{'' if body['matches'] < COUNTED_MAX else ' or more'} found"
    context.tell(of + (f"; the next page: --after {body['after']}" if body["after"] else ""))


def list_gone(
    context: Context, since: str | None, source: str | None, author: str | None, tag: str | None, limit: int
) -> None:
    """Print what disappeared."""
    body = looking.asked(context, lambda archive: gone(archive, since, source, author, tag, limit))
    if context.json:
        context.document(body)
        return
    rows = [
        (
            row["aweme_id"],
            f"@{row['author_handle']}" if row["archived"] else "never saved",
            row["created_at"][:10],
            (row["last_seen_at"] or "-")[:16],
            row["gone_at"][:16],
            row["reason"],
        )
        for row in body["gone"]
    ]
    context.tell(
        table(rows, ("id", "author", "made", "last seen", "gone", "reason")) if rows else "nothing is known to be gone"
    )
    for name in ("authors", "tags"):
        if body[name]:
            context.tell(f"{name}: " + ", ".join(f"{each['value']} {each['posts']}" for each in body[name][:10]))


def list_authors(context: Context, who: str | None, after: str, limit: int) -> None:
    """Print authors and every handle of theirs."""
    rows = looking.asked(context, lambda archive: authors(archive, who, after, limit))
    if who is not None and not rows:
        raise UsageError(f"{who}: this archive has seen nobody of that handle")
    if context.json:
        context.document({"authors": rows, "after": rows[-1]["author_id"] if len(rows) == limit else None})
        return
    told = [
        (
            row["author_id"],
            f"@{row['handle']}",
            row["archived"],
            row["last_seen_at"][:10],
            ", ".join(
                f"@{each['handle']} {each['first_seen_at'][:10]}..{each['last_seen_at'][:10]}"
                for each in row["handles"]
            ),
        )
        for row in rows
    ]
    context.tell(table(told, ("author", "handle", "posts", "last seen", "handles")) if told else "no authors yet")


def history(context: Context, source: str | None, refresh: str | None) -> None:
    """Print how the refreshes stand, or set those of one source."""
    body = looking.asked(context, lambda archive: _history(archive, source, refresh))
    if context.json:
        context.document(body)
        return
    cap = f" of {body['budget']}" if body["budget"] is not None else ""
    own = len(body["sources"])
    steps = body["steps"] or ("off but for the sources below" if own else "off")
    context.tell(
        f"refreshes: {steps}; {body['due']} due, {body['planned']} planned, "
        f"{body['doubted']} doubted; {body['spent']} credits today{cap}"
    )
    for name, steps in body["sources"].items():
        context.tell(f"{name}: {steps}")


def reindex(context: Context, check: bool) -> None:
    """Prove the search index, and make anew what is wrong; exit 7 when it does not hold."""
    before, after = looking.asked(context, lambda archive: _reindex(archive, check))
    context.exit = Exit.OK if after.holds else Exit.DAMAGED
    wrong = len(before.wrong) + before.stray
    if context.json:
        context.document({"posts": after.posts, "wrong": wrong, "equal": after.holds, "exit": context.exit.word})
        return
    mended = "nothing was wrong" if before.holds else f"{wrong} entries were wrong" + ("" if check else ", made anew")
    context.tell(
        f"{after.posts} posts; {mended}; the index is {'equal to' if after.holds else 'not'} what the posts say"
    )


def _title(row: dict[str, Any]) -> str:
    return f"{'[gone] ' if row['gone_at'] else ''}{row['title'][:60]}"


async def _history(archive: Archive, source: str | None, refresh: str | None) -> dict[str, Any]:
    if (source is None) != (refresh is None):
        raise UsageError("name a source and its steps: clipledger history '#dance' --refresh 1h,1d")
    if source is not None and refresh is not None:
        named = source_of(archive, source)
        steps = None if refresh == "default" else refresh
        if steps is not None and not read_steps(steps):
            steps = OFF
        if not await archive.refreshes.wish(named, steps):
            raise UsageError(f"{named}: this archive does not know that source: `clipledger add` it first")
    told = await archive.refreshes.standing(archive.clock.now())
    return {
        "steps": archive.settings.history.refresh,
        "budget": archive.settings.budget.history_credits_per_day,
        "spent": told.spent,
        "due": told.due,
        "planned": told.planned,
        "doubted": told.doubted,
        "next_at": iso_time(told.next_at) if told.next_at is not None else None,
        "sources": {row.source: row.refresh for row in await archive.sources.all() if row.refresh is not None},
    }


async def _reindex(archive: Archive, check: bool) -> tuple[Proof, Proof]:
    index = SearchIndex(archive.db)
    before = await index.prove()
    if check or before.holds:
        return before, before
    await index.mend(before)
    return before, await index.prove()

"""`withdraw`: take posts out for good, in two steps, and tell those who were given copies."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, TypeVar

from clipledger import presence
from clipledger.archive import Archive, open_archive
from clipledger.cli.exits import Exit
from clipledger.cli.output import Context, size, table
from clipledger.core.errors import UsageError
from clipledger.core.links import WantedPost, shown, understand
from clipledger.core.model import AwemeId
from clipledger.core.scrub import scrub_text
from clipledger.core.times import iso_time, parse_duration
from clipledger.db import authors
from clipledger.db.exports import Exports
from clipledger.db.holds import author_is_held
from clipledger.db.removals import Grounds, Taken
from clipledger.db.withheld import PURGED, Receipt, Receipts
from clipledger.events import Events
from clipledger.stages.removal import Purged
from clipledger.wiring import removal

T = TypeVar("T")

WORDS_MAX = 500
"""Characters of a reason or a reference: they stay for good, on one line."""

PAGE = 1000

_OWN_LISTS = ("user", "stories")
"""Kinds of sources that show one author's own posts."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What `withdraw` was asked for, as typed."""

    ids: Sequence[str]
    author: str | None
    reason: str
    request: str
    now: bool
    dry_run: bool
    undo: bool


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which posts are meant, and the author whose every post is; None for single ids."""

    ids: tuple[AwemeId, ...]
    author_id: str | None = None


def withdraw(context: Context, asked: Asked) -> None:
    """Withdraw posts, or with `undo` take them out of quarantine again; a held one is refused, and nothing done."""
    if bool(asked.ids) == (asked.author is not None):
        raise UsageError("name the posts to withdraw, or --author @HANDLE, not both")
    if not asked.dry_run:
        for option, text in (("--reason", asked.reason), ("--request", asked.request)):
            if not text.strip() and not (asked.undo and option == "--request"):
                raise UsageError(f"{option} is missing: it stays in the receipt when the post is gone")
    if asked.undo:
        _restore(context, asked)
    elif asked.dry_run:
        _foretell(context, asked)
    else:
        _withdraw(context, asked)


def list_notices(context: Context, since: str | None) -> None:
    """Print one JSON line for each removal: who was given copies compares the ids and the sha256s."""
    for notice in with_archive(context, lambda archive: _notices(archive, since)):
        context.line(notice)


def with_archive(context: Context, ask: Callable[[Archive], Awaitable[T]]) -> T:
    """Open the archive for one command that changes it."""

    async def asked() -> T:
        async with open_archive(context.archive) as archive:
            with presence.hold_archive(archive.folder):
                return await ask(archive)

    return asyncio.run(asked())


def clean(text: str) -> str:
    """Put what an operator wrote on one line, without the signatures of links."""
    return scrub_text(" ".join(text.split()))[:WORDS_MAX]


def post_id(archive: Archive, text: str) -> AwemeId:
    """Read an id or a post's URL."""
    wanted = understand(text, now=archive.clock.now())
    if not isinstance(wanted, WantedPost):
        raise UsageError(f"'{shown(text)}' is not a post: give its id or its URL")
    return wanted.aweme_id


async def author_id_of(archive: Archive, text: str) -> str:
    """Find the author meant by an id or a handle; UsageError when nobody is, or several are."""
    name = text.strip().removeprefix("@").lower()
    called = (await archive.db.read(lambda connection: authors.ids_called(connection, [name])))[name]
    if len(called) == 1:
        return called[0]
    if called:
        raise UsageError(f"{shown(text)}: {len(called)} authors bore that handle: name one by id: {', '.join(called)}")
    if name.isascii() and name.isdecimal() and len(name) >= 5:
        return name
    raise UsageError(f"{shown(text)}: this archive has seen nobody of that handle; an author's id is taken unseen")


def _withdraw(context: Context, asked: Asked) -> None:
    taken, purged, scrubbed, due_at = with_archive(context, partial(_take, context=context, asked=asked))
    body = {
        "withdrawn": list(taken.taken),
        "purged_before": list(taken.before),
        "under_way": list(taken.under_way),
        "purge_at": iso_time(due_at) if due_at is not None else None,
        "purged": asdict(purged),
        "scrubbed": scrubbed,
        "exit": Exit.OK.word,
    }
    if context.json:
        context.document(body)
        return
    context.tell(f"{len(taken.taken)} withdrawn: hidden from search and exports, and never archived again")
    if asked.now:
        context.tell(f"erased: {purged.posts} posts, {purged.files} files, {size(purged.bytes)}")
    if due_at is not None:
        context.tell(f"erased for good after {iso_time(due_at)}, by any run or `clipledger janitor`; until then --undo")
    if taken.under_way:
        context.tell(f"{len(taken.under_way)} were under way: what a worker may still store is erased with the rest")
    if not scrubbed:
        context.warn("clipledger: deleted text may still be in the database's files: run `clipledger db scrub`")


async def _take(archive: Archive, context: Context, asked: Asked) -> tuple[Taken, Purged, bool, float | None]:
    chosen = await _chosen(archive, asked)
    await _refuse_held(archive, chosen)
    settings, events = archive.settings, Events(archive.clock)
    grounds = Grounds(
        clean(asked.reason),
        clean(asked.request),
        delay_s=0.0 if asked.now else parse_duration(settings.lifecycle.purge_after),
        settle_s=settings.queue.lease_s + settings.cdn.deadline_s,
    )
    if chosen.author_id is not None:
        await archive.removals.withhold_author(chosen.author_id, grounds, archive.clock.now())
        await _pause_lists(archive, chosen.author_id)
    worker = removal(archive, events)
    taken = await worker.withdraw(chosen.ids, grounds)
    if taken.held:  # placed since we looked
        raise UsageError(_held_words(taken.held))
    purged = await worker.purge(taken.taken) if asked.now else Purged()
    scrubbed = await worker.scrub(whatever_size=True) if asked.now else True
    _, due_at = await Receipts(archive.db).waiting()
    left = len(taken.taken) > purged.posts
    return taken, purged, scrubbed, due_at if left else None


async def _chosen(archive: Archive, asked: Asked) -> Chosen:
    if asked.author is None:
        return Chosen(tuple(dict.fromkeys(post_id(archive, text) for text in asked.ids)))
    author_id = await author_id_of(archive, asked.author)
    return Chosen(tuple(await archive.removals.of_author(author_id)), author_id)


async def _refuse_held(archive: Archive, chosen: Chosen) -> None:
    held: dict[str, str] = {}
    if chosen.author_id is not None:
        author_id = chosen.author_id
        why = await archive.db.read(lambda connection: author_is_held(connection, author_id))
        held |= {f"author {author_id}": why} if why is not None else {}
    held |= await _held(archive, chosen.ids)
    if held:
        raise UsageError(_held_words(held))


async def _held(archive: Archive, ids: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for at in range(0, len(ids), PAGE):
        found |= await archive.holds.held(ids[at : at + PAGE])
    return found


def _held_words(held: Any) -> str:
    first, why = next(iter(held.items()))
    more = f" (and {len(held) - 1} more)" if len(held) > 1 else ""
    return f"{first}{more}: under a legal hold ({why}): nothing was withdrawn; `clipledger holds` lists the holds"


async def _pause_lists(archive: Archive, author_id: str) -> None:
    """Stop reading the author's own lists: every page would cost a credit, and nothing of it is wanted."""
    rows = [row for row in await archive.sources.all() if row.kind in _OWN_LISTS]
    own = []
    for row in rows:
        name = row.subject.removeprefix("@").lower()
        called = (await archive.db.read(partial(authors.ids_called, handles=[name])))[name]
        if row.entity_id == author_id or called == [author_id]:
            own.append(row.source)
    if own:
        await archive.sources.pause(own, archive.clock.now())


def _foretell(context: Context, asked: Asked) -> None:
    rows = with_archive(context, lambda archive: _rows(archive, asked))
    if context.json:
        context.document({"would_withdraw": rows, "exit": Exit.OK.word})
        return
    told = [(row["aweme_id"], row["state"], row["files"], size(row["bytes"]), row["held"]) for row in rows]
    context.tell(table(told, ("id", "state", "files", "bytes", "held")) if told else "nothing is archived of it")


async def _rows(archive: Archive, asked: Asked) -> list[dict[str, Any]]:
    chosen = await _chosen(archive, asked)
    held = await _held(archive, chosen.ids)
    rows = []
    for aweme_id in chosen.ids:
        row, files = await archive.queue.row(aweme_id), await archive.catalog.files_of(aweme_id)
        rows.append(
            {
                "aweme_id": aweme_id,
                "state": row.state if row is not None else "never seen",
                "files": len(files),
                "bytes": sum(file.bytes for file in files),
                "held": held.get(aweme_id),
            }
        )
    return rows


def _restore(context: Context, asked: Asked) -> None:
    if asked.author is not None or asked.now:
        raise UsageError("--undo takes ids: an author stays withheld")
    restored = with_archive(context, lambda archive: _bring_back(archive, asked))
    if context.json:
        context.document({"restored": restored, "exit": Exit.OK.word})
    else:
        context.tell(f"{len(restored)} restored: as they were before")


async def _bring_back(archive: Archive, asked: Asked) -> list[str]:
    ids = [post_id(archive, text) for text in asked.ids]
    for aweme_id in ids:
        receipt = await Receipts(archive.db).of(aweme_id)
        if receipt is None:
            raise UsageError(f"{aweme_id}: is not withdrawn")
        if receipt.state == PURGED:
            raise UsageError(f"{aweme_id}: was erased on {iso_time(receipt.purged_at or 0.0)}: nothing is left of it")
    return await archive.removals.restore(ids, clean(asked.reason), archive.clock.now())


async def _notices(archive: Archive, since: str | None) -> list[dict[str, Any]]:
    from_at, after = archive.clock.now() - parse_duration(since) if since else 0.0, ""
    receipts, found = Receipts(archive.db), list[dict[str, Any]]()
    while page := await receipts.page(from_at, after, PAGE):
        found += [await _notice(archive, receipt) for receipt in page if receipt.files]
        after = page[-1].aweme_id
    return found


async def _notice(archive: Archive, receipt: Receipt) -> dict[str, Any]:
    holding = await Exports(archive.db).holding([receipt.aweme_id])
    return {
        "notice": "removal",
        "archive": archive.uuid,
        "aweme_id": receipt.aweme_id,
        "removed_at": iso_time(receipt.asked_at),
        "erased_at": iso_time(receipt.purged_at) if receipt.purged_at is not None else None,
        "request": receipt.request,
        "rule": receipt.rule,
        "sha256": [file.sha256 for file in receipt.files],
        "exports": [
            {"export_id": each.export_id, "destination": each.destination, "path": each.path, "sha256": each.sha256}
            for each in holding
            if each.at <= receipt.asked_at
        ],
    }

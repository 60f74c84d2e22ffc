"""Take posts out for good, in two steps; bring back what was not erased yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from clipledger.answers.words import author_id_of, clean, post_id
from clipledger.archive import Archive
from clipledger.core.errors import UsageError
from clipledger.core.model import AwemeId
from clipledger.core.times import iso_time, parse_duration
from clipledger.db import authors
from clipledger.db.holds import author_is_held
from clipledger.db.removals import Grounds, Taken
from clipledger.db.withheld import PURGED, PURGING, Receipts
from clipledger.events import Events
from clipledger.stages.removal import Purged
from clipledger.wiring import removal

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


async def withdraw(archive: Archive, asked: Asked) -> tuple[Taken, Purged, bool, float | None]:
    """Withdraw posts; a held one is refused, and nothing done.

    Gives what was taken, what was erased, whether the database was scrubbed, and when the rest will be erased.
    """
    chosen = await _chosen(archive, asked)
    await _refuse_held(archive, chosen)
    settings, events = archive.settings, Events(archive.clock)
    grounds = Grounds(
        clean(asked.reason),
        clean(asked.request),
        delay_s=0.0 if asked.now else parse_duration(settings.lifecycle.purge_after),
        settle_s=settings.queue.lease_s + settings.cdn.deadline_s,
    )
    worker = removal(archive, events)
    if chosen.author_id is not None:
        await worker.withhold_author(chosen.author_id, grounds)
        await _pause_lists(archive, chosen.author_id)
    taken = await worker.withdraw(chosen.ids, grounds)
    if taken.held:  # placed since we looked
        raise UsageError(_held_words(taken.held))
    purged = await worker.purge(taken.taken) if asked.now else Purged()
    scrubbed = await worker.scrub(whatever_size=True) if asked.now else True
    _, due_at = await Receipts(archive.db).waiting()
    left = len(taken.taken) > purged.posts
    return taken, purged, scrubbed, due_at if left else None


async def foretell(archive: Archive, asked: Asked) -> list[dict[str, Any]]:
    """Tell what a withdrawal would take, and what of it is held."""
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


async def restore(archive: Archive, asked: Asked) -> list[str]:
    """Take posts out of quarantine again; UsageError for one that is not in it."""
    ids = [post_id(archive, text) for text in asked.ids]
    for aweme_id in ids:
        receipt = await Receipts(archive.db).of(aweme_id)
        if receipt is None:
            raise UsageError(f"{aweme_id}: is not withdrawn")
        if receipt.state == PURGING:
            raise UsageError(f"{aweme_id}: is being erased")
        if receipt.state == PURGED:
            raise UsageError(f"{aweme_id}: was erased on {iso_time(receipt.purged_at or 0.0)}: nothing is left of it")
    return await removal(archive, Events(archive.clock)).restore(ids, clean(asked.reason))


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

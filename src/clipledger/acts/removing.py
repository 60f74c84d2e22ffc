"""Take posts out for good, in two steps; bring back what was not erased yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from clipledger.acts.kept_out import lists_of
from clipledger.answers.words import author_id_of, clean, post_id
from clipledger.archive import Archive
from clipledger.core.errors import UsageError
from clipledger.core.model import AwemeId
from clipledger.core.times import iso_time, parse_duration
from clipledger.core.tombstone import RemovedFile
from clipledger.db.bans import Ban, Named
from clipledger.db.catalog import FileRow
from clipledger.db.holds import author_is_held
from clipledger.db.removals import Grounds, Taken
from clipledger.db.withheld import AUTHOR_WITHHELD, PURGED, PURGING, Receipts
from clipledger.events import Events
from clipledger.stages.removal import Purged
from clipledger.wiring import removal

PAGE = 1000


_NOBODYS = Named()


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
    named: Named = _NOBODYS


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """What came of a withdrawal: what was taken, what was erased, and whether the database was scrubbed.

    `due`: from when to when the rest of this one's posts will be erased; None when nothing is left of them. `stood`: on
    what their author was kept out already; this request is in the log, and the first one stands. `named`: posts that
    tell the author's handle and no id: taken, and not taken since others bore it too. `kept_waiting`: ids that waited.
    `paused`: the author's own lists, which nobody reads any more.
    """

    taken: Taken
    purged: Purged
    scrubbed: bool
    due: tuple[float, float] | None
    stood: Ban | None = None
    named: Named = _NOBODYS
    kept_waiting: int = 0
    paused: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Restored:
    """What came back. Of an author also: how many ids that were kept out for the ban wait again.

    `stay_out`: posts of theirs in quarantine on other grounds; `erasing`: those that are being erased; `paused`: lists
    of theirs that nobody reads yet; `requests`: all that had asked for the author, and are lifted as one.
    """

    posts: list[str]
    author_id: str | None = None
    due_again: int = 0
    stay_out: list[str] = field(default_factory=list)
    erasing: list[str] = field(default_factory=list)
    paused: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


def noted_told(done: Withdrawn) -> dict[str, dict[str, str]]:
    """Write on which earlier request what is out already: by a post's id, or `author:ID`."""
    told = {each: (on.request, on.asked_at) for each, on in done.taken.noted.items()}
    if done.stood is not None:
        told[f"author:{done.stood.author_id}"] = (done.stood.request or done.stood.reason, done.stood.asked_at)
    return {each: {"request": request, "asked_at": iso_time(at)} for each, (request, at) in told.items()}


def restored_told(done: Restored) -> dict[str, Any]:
    """Write what came back; of an author more."""
    told: dict[str, Any] = {"restored": done.posts}
    if done.author_id is None:
        return told
    names = ("author_id", "due_again", "stay_out", "erasing", "paused", "requests")
    return told | {name: getattr(done, name) for name in names}


async def withdraw(archive: Archive, asked: Asked) -> Withdrawn:
    """Withdraw posts; a held one is refused, and nothing done."""
    chosen = await _chosen(archive, asked)
    await _refuse_held(archive, chosen)
    grounds, worker, stood = _grounds(archive, asked, chosen), removal(archive, Events(archive.clock)), None
    waiting, own = 0, list[str]()
    if chosen.author_id is not None:
        stood = await worker.withhold_author(chosen.author_id, grounds)
        if stood is not None:  # what comes to it goes with the rest: one undo brings back all
            grounds = replace(grounds, reason=stood.reason, request=stood.request)
        own, now = await lists_of(archive, chosen.author_id), archive.clock.now()
        await archive.sources.pause(own, now)
        waiting = await archive.removals.keep_waiting_out(chosen.author_id, own, now)
    taken = await worker.withdraw(chosen.ids, grounds)
    if taken.held:  # placed since we looked
        raise UsageError(_held_words(taken.held))
    purged = await worker.purge(taken.taken) if asked.now else Purged()
    if asked.now and chosen.author_id is not None:
        await archive.removals.forget_name(chosen.author_id, archive.clock.now())
    scrubbed = await worker.scrub(whatever_size=True) if asked.now else True
    due = await Receipts(archive.db).purge_span(taken.taken)
    return Withdrawn(taken, purged, scrubbed, due, _other_request(stood, asked), chosen.named, waiting, own)


def _grounds(archive: Archive, asked: Asked, chosen: Chosen) -> Grounds:
    settings = archive.settings
    return Grounds(
        clean(asked.reason),
        clean(asked.request),
        delay_s=0.0 if asked.now else parse_duration(settings.lifecycle.purge_after),
        settle_s=settings.queue.lease_s + settings.cdn.deadline_s,
        author_id=chosen.author_id or "",
    )


def _other_request(stood: Ban | None, asked: Asked) -> Ban | None:
    """Give the ban that stood, unless it is this very request: who was cut off asks again."""
    same = stood is not None and stood.covers(clean(asked.reason), clean(asked.request))
    return None if same else stood


async def foretell(archive: Archive, asked: Asked) -> list[dict[str, Any]]:
    """Tell what a withdrawal would take, and what of it is held."""
    chosen = await _chosen(archive, asked)
    held = await _held(archive, chosen.ids)
    rows = []
    for aweme_id in chosen.ids:
        row, files = await archive.queue.row(aweme_id), await _standing(archive, aweme_id)
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


async def restore(archive: Archive, asked: Asked) -> Restored:
    """Take posts out of quarantine again, or let an author in again; UsageError for what is not out."""
    if asked.author is not None:
        is_id = await archive.removals.ban_on(asked.author.strip()) is not None  # whatever else is called so
        author_id = asked.author.strip() if is_id else await author_id_of(archive, asked.author)
        return await _readmit(archive, author_id, clean(asked.reason))
    ids = [post_id(archive, text) for text in asked.ids]
    for aweme_id in ids:
        receipt = await Receipts(archive.db).of(aweme_id)
        if receipt is None:
            raise UsageError(f"{aweme_id}: is not withdrawn")
        if receipt.state == PURGING:
            raise UsageError(f"{aweme_id}: is being erased")
        if receipt.state == PURGED and receipt.reason == AUTHOR_WITHHELD:
            raise UsageError(f"{aweme_id}: is kept out for its author: `clipledger withdraw --author ID --undo`")
        if receipt.state == PURGED:
            raise UsageError(f"{aweme_id}: was erased on {iso_time(receipt.purged_at or 0.0)}: nothing is left of it")
    for each, ban in (await archive.removals.banned_with(ids)).items():  # the next sweep would hide it again
        raise UsageError(
            f"{each}: its author {ban.author_id} is withdrawn ({ban.request or ban.reason}): "
            f"`clipledger withdraw --author {ban.author_id} --undo` lets them in"
        )
    return Restored(await removal(archive, Events(archive.clock)).restore(ids, clean(asked.reason)))


async def _readmit(archive: Archive, author_id: str, why: str) -> Restored:
    """Bring back what an author's withdrawal hid, then lift the ban: whoever is cut off in between asks again.

    Most come back in small steps before; what a sweep hides meanwhile comes back in one transaction with the ban's end.
    """
    ban, lists = await archive.removals.ban_on(author_id), await lists_of(archive, author_id)
    theirs = (await archive.removals.hidden_of(author_id, ban)).for_ban
    worker = removal(archive, Events(archive.clock))
    back = await worker.restore(theirs, why)
    lifted = await worker.readmit_author(author_id, why)
    if lifted is None:
        raise UsageError(await _not_out(archive, author_id))
    paused = {row.source for row in await archive.sources.all() if row.paused_at is not None}
    return Restored(
        [*dict.fromkeys((*back, *lifted.back))],
        author_id,
        lifted.again,
        list(lifted.hidden.others),
        list(lifted.hidden.erasing),
        [source for source in lists if source in paused],
        [request or reason for reason, request in lifted.asked],
    )


async def _not_out(archive: Archive, author_id: str) -> str:
    """Say that an author is not kept out, and which posts of theirs are out by themselves."""
    hidden = await archive.removals.hidden_of(author_id, None)
    told = f"author {author_id}: is not withdrawn; single posts are named by id"
    return f"{told}: {', '.join(hidden.others)}" if hidden.others else told


async def _chosen(archive: Archive, asked: Asked) -> Chosen:
    if asked.author is None:
        return Chosen(tuple(dict.fromkeys(post_id(archive, text) for text in asked.ids)))
    author_id = await author_id_of(archive, asked.author)
    named = await archive.removals.named(author_id)
    return Chosen(tuple(await archive.removals.of_author(author_id)), author_id, named)


async def _standing(archive: Archive, aweme_id: AwemeId) -> Sequence[FileRow | RemovedFile]:
    """List a post's files, in quarantine too."""
    if files := await archive.catalog.files_of(aweme_id):
        return files
    receipt = await Receipts(archive.db).of(aweme_id)
    return receipt.files if receipt is not None and receipt.state != PURGED else ()


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

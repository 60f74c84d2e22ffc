"""Take posts out: into quarantine, back out of it, and away for good; a receipt without content stays.

The id stays in the queue as `withheld`, so no source brings the post back. Every step begins by taking the
head of the audit log, as does placing a hold: of a hold and a purge one is first, and the other knows. Must
not: touch the store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sqlalchemy import BindParameter, Connection, bindparam, delete, exists, select, update

from clipledger.core.chain import Act, Entry, Who
from clipledger.core.model import BY_HAND, AwemeId, State
from clipledger.core.tombstone import RemovedFile, Tombstone
from clipledger.db import audit, authors, bans, holds, meta, purging, quarantine, search_index, withheld
from clipledger.db.bans import Ban, Hidden, Named
from clipledger.db.custody_tables import removals, removed_files
from clipledger.db.database import Database
from clipledger.db.engine import per_dialect
from clipledger.db.purging import SCRUB_DUE, Purge
from clipledger.db.tables import UtcTime, archive_queue, files, posts, sightings, told_time
from clipledger.db.withheld import PURGED, QUARANTINED, UNSEEN

CHUNK = 100
"""Posts taken out in one transaction."""

_RESTING = (State.ARCHIVED, State.DEAD)


@dataclass(frozen=True, slots=True)
class Grounds:
    """Why posts are taken out: the operator's words, the reference of who asked, or the rule that says so.

    `delay_s`: how long quarantine lasts; `settle_s`: how long a worker that has a post under way may still store it.
    `asked_at`: when it was asked for, where that was before and only the store remembers it. `author_id`: of the author
    all of whose posts are meant; empty where posts are named by id.
    """

    reason: str
    request: str = ""
    rule: str = ""
    delay_s: float = 0.0
    settle_s: float = 0.0
    asked_at: float | None = None
    author_id: str = ""


@dataclass(frozen=True, slots=True)
class Earlier:
    """On which request, or by which rule, a post was out already, and since when."""

    request: str
    asked_at: float


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of it: ids in quarantine now, those that are held, and why; those purged before; those under way.

    `unseen`: those that nothing had ever shown; they are kept out from now on. `noted`: those that were out already on
    another request, and on which: this one is in the log.
    """

    taken: tuple[str, ...] = ()
    held: Mapping[str, str] = field(default_factory=dict)
    before: tuple[str, ...] = ()
    under_way: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    noted: Mapping[str, Earlier] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lifted:
    """What letting an author in again came to.

    `again`: how many ids that were kept out for it wait now; `back`: posts that came back with it, put out since the
    others did; `hidden`: what stays out. `asked`: (reason, request) of each who had asked for the author.
    """

    again: int
    back: tuple[str, ...]
    hidden: Hidden
    asked: tuple[tuple[str, str], ...]


_q, _r = archive_queue, removals
_ids: BindParameter[Any] = bindparam("ids", expanding=True)
_FOUND = (
    select(_q.c.aweme_id, _q.c.state, posts.c.author_id)
    .join(posts, posts.c.aweme_id == _q.c.aweme_id, isouter=True)
    .where(_q.c.aweme_id.in_(_ids))
    .order_by(_q.c.aweme_id)
    .with_for_update(of=_q)
)
_BEFORE = select(_r.c.aweme_id, _r.c.state, _r.c.reason, _r.c.request, _r.c.rule, _r.c.asked_at, _r.c.author_id).where(
    _r.c.aweme_id.in_(_ids)
)
_SOONER = (
    update(_r)
    .where(_r.c.aweme_id.in_(_ids), _r.c.state == QUARANTINED, _r.c.purge_at > bindparam("at", type_=UtcTime))
    .values(purge_at=bindparam("at", type_=UtcTime))
)
_shown = exists().where(sightings.c.aweme_id == _q.c.aweme_id)
_placed = _q.c.author_part.is_not(None)  # files of it may stand: a rebuild met them
_UNKNOWN_AGAIN = delete(_q).where(_q.c.aweme_id.in_(_ids), _q.c.state == State.WITHHELD, ~_shown, ~_placed)
_NEVER_SEEN = per_dialect(lambda into: into(_q).on_conflict_do_nothing())
_FILE = per_dialect(lambda into: into(removed_files).on_conflict_do_nothing())
_FILES = select(files.c.aweme_id, files.c.sha256, files.c.kind, files.c.bytes).where(files.c.aweme_id.in_(_ids))
_WAS = select(_r.c.aweme_id, _r.c.was).where(_r.c.aweme_id.in_(_ids), _r.c.state == QUARANTINED)
_RESTORE = (
    update(_q)
    .where(_q.c.aweme_id.in_(_ids), _q.c.state == State.WITHHELD)
    .values(state=bindparam("to"), settled_at=bindparam("at", type_=UtcTime))
)


class Removals:
    """Everything that takes posts out. Each act is in the audit log, under `who`."""

    def __init__(self, db: Database, who: Who) -> None:
        self._db, self._who = db, who

    async def of_author(self, author_id: str) -> list[AwemeId]:
        """List an author's archived posts, and those of them that are in quarantine."""
        return await self._db.read(lambda connection: bans.of_author(connection, author_id))

    def stone_of_author(self, author_id: str, grounds: Grounds, now: float) -> Tombstone:
        """Give what the store is to remember of an author who is kept out."""
        return Tombstone("", author_id, grounds.reason, grounds.request, "", _name(self._who), now, now)

    async def withhold_author(self, author_id: str, grounds: Grounds, now: float) -> Ban | None:
        """Keep out what an author posts from now on; give the ban that stood before, None if none did."""
        return await self._db.write(lambda connection: _withhold_author(connection, self._who, author_id, grounds, now))

    async def ban_on(self, author_id: str) -> Ban | None:
        """Tell why an author is kept out; None when they are not."""
        return await self._db.read(lambda connection: bans.standing(connection, [author_id]).get(author_id))

    async def named(self, author_id: str) -> Named:
        """Sort archived posts that tell a handle of an author's and no id."""
        return await self._db.read(lambda connection: bans.named(connection, author_id))

    async def keep_waiting_out(self, author_id: str, lists: Sequence[str], now: float) -> int:
        """Keep out what waits and only an author's own lists showed, if they are withheld; give how many ids."""
        kept, after = 0, ""
        while lists:
            keep = partial(_keep_waiting_out, of=author_id, lists=lists, after=after, now=now)
            found, some = await self._db.write(keep)
            if not found:
                break
            kept, after = kept + some, found[-1]
        return kept

    async def hidden_of(self, author_id: str, ban: Ban | None) -> Hidden:
        """Sort what of an author's is out and not erased."""
        return await self._db.read(lambda connection: bans.hidden_of(connection, author_id, ban))

    async def banned_with(self, ids: Sequence[str]) -> dict[str, Ban]:
        """Give those of these posts that are out whose author is kept out too, each with the ban."""
        return await self._db.read(lambda connection: _banned_with(connection, ids))

    async def strays(self, after: str) -> dict[str, Ban]:
        """List archived posts, by id behind `after`, whose author is kept out, each with the ban: at most `CHUNK`."""
        return await self._db.read(lambda connection: bans.strays(connection, after, CHUNK))

    async def take_strays(self, ids: Sequence[str], ban: Ban, delay_s: float, now: float) -> list[str]:
        """Hide posts for a ban if it stands yet; give those that nothing hid before.

        Looked up in the transaction that hides them: whoever lifts the ban meanwhile meets all of them, or none.
        """
        return await self._db.write(lambda connection: _take_strays(connection, self._who, ids, ban, delay_s, now))

    async def lift_ban(self, author_id: str, why: str, now: float) -> Lifted | None:
        """Let an author in again, with all that is hidden for the ban, in one transaction; None if nobody was out."""
        return await self._db.write(lambda connection: _lift_ban(connection, self._who, author_id, why, now))

    async def let_in(self) -> list[str]:
        """List authors who are not kept out and of whom ids are: `lift_ban` has those wait again."""
        return await self._db.read(bans.let_in)

    async def forget_name(self, author_id: str, now: float) -> None:
        """Delete the name and the handles of an author of whom nothing is left."""
        await self._db.write(lambda connection: _forget_name(connection, author_id, now))

    async def recall(self, stones: Sequence[Tombstone], now: float, delay_min_s: float) -> int:
        """Take out again what the store remembers and this database does not; give how many posts that were.

        The store's word alone erases nothing: quarantine begins anew, so that a forged or stale one can be undone,
        and what is under a hold is left alone.
        """
        return await self._db.write(lambda connection: _recall(connection, self._who, stones, now, delay_min_s))

    async def take(self, ids: Sequence[str], grounds: Grounds, now: float) -> Taken:
        """Put posts into quarantine, at most `CHUNK`; those under a hold are left alone."""
        return await self._db.write(lambda connection: _take(connection, self._who, ids, grounds, now))

    async def restore(self, ids: Sequence[str], why: str, now: float) -> list[str]:
        """Take posts out of quarantine again; give those that were in it."""
        return await self._db.write(lambda connection: _restore(connection, self._who, ids, why, now))

    async def due(self, now: float, after: str, limit: int) -> list[str]:
        """List what is to be purged, by id behind `after`; what was begun and what is held are among it."""
        return await self._db.read(lambda connection: purging.due(connection, now, after, limit))

    async def begin(self, ids: Sequence[str], now: float) -> list[Purge]:
        """Begin to purge what is due; what a hold covers is left out. From here on a hold comes too late."""
        return await self._db.write(lambda connection: purging.begin(connection, ids, now))

    async def found(self, aweme_id: AwemeId, erased: Sequence[RemovedFile]) -> None:
        """Note files that the catalog did not know, before they are erased."""
        await self._db.write(lambda connection: _note(connection, aweme_id, erased))

    async def end(self, ids: Sequence[str], now: float) -> list[str]:
        """Drop all that is known of posts whose files are erased; give those that nobody ended before."""
        return await self._db.write(lambda connection: purging.end(connection, self._who, ids, now))


def _withhold_author(connection: Connection, who: Who, author_id: str, grounds: Grounds, now: float) -> Ban | None:
    audit.lock(connection)
    before = bans.standing(connection, [author_id]).get(author_id)
    if before is None:
        asked_at = now if grounds.asked_at is None else grounds.asked_at
        row = {"author_id": author_id, "reason": grounds.reason, "request": grounds.request, "who": _name(who)}
        bans.place(connection, row | {"asked_at": asked_at})
        authors.touch(connection, author_id)
    elif (grounds.reason, grounds.request) in bans.asked_since(connection, author_id):
        return before  # asked again, as who was cut off does
    audit.append(connection, who, now, Entry(Act.WITHDRAW, f"author:{author_id}", grounds.reason, grounds.request))
    return before


def _keep_waiting_out(
    connection: Connection, of: str, lists: Sequence[str], after: str, now: float
) -> tuple[list[str], int]:
    """Keep out what waits and is not held; give what was looked at, and how many of it that were."""
    audit.lock(connection)
    found = bans.waiting(connection, lists, after, CHUNK) if bans.standing(connection, [of]) else []
    held = holds.held(connection, found)
    ids = [aweme_id for aweme_id in found if aweme_id not in held]
    withheld.withhold(connection, ids, now)
    withheld.refuse(connection, dict.fromkeys(ids, of), now)
    return found, len(ids)


def _banned_with(connection: Connection, ids: Sequence[str]) -> dict[str, Ban]:
    of = {row.aweme_id: row.author_id for row in connection.execute(_BEFORE, {"ids": list(ids)})}
    found = bans.standing(connection, of.values())
    return {aweme_id: found[author_id] for aweme_id, author_id in of.items() if author_id in found}


def _take_strays(
    connection: Connection, who: Who, ids: Sequence[str], ban: Ban, delay_s: float, now: float
) -> list[str]:
    audit.lock(connection)
    if bans.standing(connection, [ban.author_id]).get(ban.author_id) != ban:
        return []
    out = {row.aweme_id for row in connection.execute(_BEFORE, {"ids": list(ids)})}
    grounds = Grounds(ban.reason, ban.request, delay_s=delay_s, author_id=ban.author_id)
    fresh = [aweme_id for aweme_id in ids if aweme_id not in out]  # what is out keeps its own date
    return [each for each in _take(connection, who, fresh, grounds, now).taken if each not in out]


def _lift_ban(connection: Connection, who: Who, author_id: str, why: str, now: float) -> Lifted | None:
    audit.lock(connection)
    ban = bans.standing(connection, [author_id]).get(author_id)
    late = bans.hidden_of(connection, author_id, ban).for_ban  # a sweep that came in between hid them anew
    back = [
        each for at in range(0, len(late), CHUNK) for each in _restore(connection, who, late[at : at + CHUNK], why, now)
    ]
    asked = bans.asked_since(connection, author_id)
    again = bans.lift(connection, author_id)
    if again is None:
        return None
    audit.append(connection, who, now, Entry(Act.RESTORE, f"author:{author_id}", why, f"ids waiting again: {again}"))
    return Lifted(again, tuple(back), bans.hidden_of(connection, author_id, None), tuple(asked))


def _forget_name(connection: Connection, author_id: str, now: float) -> None:
    if quarantine.forget_authors(connection, [author_id]):
        meta.put(connection, SCRUB_DUE, told_time(now))


def _take(connection: Connection, who: Who, ids: Sequence[str], grounds: Grounds, now: float) -> Taken:
    audit.lock(connection)
    held = holds.held(connection, ids)
    wanted = [aweme_id for aweme_id in dict.fromkeys(ids) if aweme_id not in held]
    bans.unrefuse(connection, wanted)  # no longer out for its author alone: it has a receipt of its own
    before = {row.aweme_id: row for row in connection.execute(_BEFORE, {"ids": wanted})}
    fresh = [aweme_id for aweme_id in wanted if aweme_id not in before]
    connection.execute(_SOONER, {"ids": list(before), "at": now + grounds.delay_s})
    noted = _ask_again(connection, who, list(before.values()), grounds, now)
    under_way, unseen = _take_fresh(connection, who, fresh, grounds, now) if fresh else ([], [])
    ended = tuple(aweme_id for aweme_id, row in before.items() if row.state == PURGED)
    waiting = tuple(aweme_id for aweme_id in before if aweme_id not in ended)
    return Taken((*fresh, *waiting), held, ended, tuple(under_way), tuple(unseen), noted)


def _ask_again(
    connection: Connection, who: Who, before: Sequence[Any], grounds: Grounds, now: float
) -> dict[str, Earlier]:
    """Note a request for posts that are out on another; what was out for its author has grounds of its own by it."""
    if grounds.author_id or grounds.rule:
        return {}
    others = [row for row in before if (row.reason, row.request) != (grounds.reason, grounds.request)]
    banned = bans.standing(connection, [row.author_id for row in others])
    for_ban = [
        row.aweme_id
        for row in others
        if row.author_id in banned and banned[row.author_id].covers(row.reason, row.request)
    ]
    bans.stand_alone(connection, for_ban, grounds.reason, grounds.request, _name(who))
    entries = (Entry(Act.WITHDRAW, row.aweme_id, grounds.reason, grounds.request) for row in others)
    audit.append(connection, who, now, *entries)
    return {row.aweme_id: Earlier(row.request or row.rule or row.reason, row.asked_at) for row in others}


def _recall(connection: Connection, who: Who, stones: Sequence[Tombstone], now: float, delay_min_s: float) -> int:
    audit.lock(connection)
    ids = [stone.aweme_id for stone in stones if stone.aweme_id]
    before = {row.aweme_id for row in connection.execute(_BEFORE, {"ids": ids})} | set(holds.held(connection, ids))
    for stone in stones:
        delay_s = max(stone.purge_at - stone.asked_at, delay_min_s)
        grounds = Grounds(stone.reason, stone.request, stone.rule, now - stone.asked_at + delay_s, 0.0, stone.asked_at)
        if stone.author_id and holds.author_is_held(connection, stone.author_id) is None:
            _withhold_author(connection, who, stone.author_id, grounds, now)
        elif stone.aweme_id and stone.aweme_id not in before:
            _take_fresh(connection, who, [stone.aweme_id], grounds, now)
            _note(connection, stone.aweme_id, stone.files)
    return len(set(ids) - before)


def _note(connection: Connection, aweme_id: str, removed: Sequence[RemovedFile]) -> None:
    rows = [{"aweme_id": aweme_id, "sha256": file.sha256, "kind": file.kind, "bytes": file.bytes} for file in removed]
    if rows:
        connection.execute(_FILE(connection), rows)


def _take_fresh(
    connection: Connection, who: Who, ids: Sequence[str], grounds: Grounds, now: float
) -> tuple[list[str], list[str]]:
    """Take out what is not out; give what was under way, and what was never seen."""
    known = {row.aweme_id: row for row in connection.execute(_FOUND, {"ids": ids})}
    under_way = [each for each in ids if each in known and known[each].state == State.RUNNING]
    unseen = [aweme_id for aweme_id in ids if aweme_id not in known]
    if unseen:
        entered = {"source": BY_HAND, "state": State.WITHHELD, "added_at": now, "due_at": now}
        connection.execute(_NEVER_SEEN(connection), [{"aweme_id": aweme_id} | entered for aweme_id in unseen])
    withheld.withhold(connection, ids, now)
    told: dict[str, object] = {"state": QUARANTINED, "rule": grounds.rule}
    told |= {"reason": grounds.reason, "request": grounds.request}
    asked_at = now if grounds.asked_at is None else grounds.asked_at
    told |= {"who": _name(who), "asked_at": asked_at}
    receipts = []
    for each in ids:
        row, delay_s = known.get(each), max(grounds.delay_s, grounds.settle_s if each in under_way else 0.0)
        was, author_id = (row.state, row.author_id) if row is not None else (State.PENDING, None)
        author_id = author_id or grounds.author_id or None
        was = State.PENDING if was == State.WITHHELD else was  # out for its author before, so it was wanted
        was = UNSEEN if each in unseen and grounds.asked_at is None else was  # what a store recalls was seen once
        receipts.append(told | {"aweme_id": each, "purge_at": asked_at + delay_s, "was": was, "author_id": author_id})
    withheld.write_receipts(connection, receipts)
    if found := connection.execute(_FILES, {"ids": ids}).all():
        connection.execute(_FILE(connection), [dict(row._mapping) for row in found])
    quarantine.hide(connection, ids)
    act, detail = (Act.RETIRE, grounds.rule) if grounds.rule else (Act.WITHDRAW, grounds.request)
    audit.append(connection, who, now, *(Entry(act, aweme_id, grounds.reason, detail) for aweme_id in ids))
    return under_way, unseen


def _restore(connection: Connection, who: Who, ids: Sequence[str], why: str, now: float) -> list[str]:
    audit.lock(connection)
    was = {row.aweme_id: row.was for row in connection.execute(_WAS, {"ids": list(ids)})}
    if not was:
        return []
    quarantine.bring_back(connection, list(was))
    connection.execute(_UNKNOWN_AGAIN, {"ids": [each for each, state in was.items() if state == UNSEEN]})
    for to in (*_RESTING, State.PENDING):
        chosen = [each for each, state in was.items() if (state if state in _RESTING else State.PENDING) == to]
        settled_at = now if to in _RESTING else None
        connection.execute(_RESTORE, {"ids": chosen, "to": to, "at": settled_at})
    for table in (removed_files, removals):
        connection.execute(delete(table).where(table.c.aweme_id.in_(_ids)), {"ids": list(was)})
    if archived := [each for each, state in was.items() if state == State.ARCHIVED]:
        search_index.begin(connection, archived)
        search_index.index(connection, archived)
    audit.append(connection, who, now, *(Entry(Act.RESTORE, aweme_id, why) for aweme_id in was))
    return list(was)


def _name(who: Who) -> str:
    return f"{who.operator}@{who.host}"

"""Take posts out: into quarantine, back out of it, and away for good; a receipt without content stays.

The id stays in the queue as `withheld`, so no source brings the post back. Every step begins by taking the
head of the audit log, as does placing a hold: of a hold and a purge one is first, and the other knows. Must
not: touch the store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import BindParameter, Connection, bindparam, delete, null, select, update

from clipledger.core.chain import Act, Entry, Who
from clipledger.core.model import AwemeId, State
from clipledger.core.tombstone import RemovedFile, Tombstone
from clipledger.db import audit, holds, meta, quarantine, search_index, withheld
from clipledger.db.backend import in_order
from clipledger.db.custody_tables import removals, removed_files, withheld_authors
from clipledger.db.database import Database
from clipledger.db.engine import per_dialect
from clipledger.db.tables import UtcTime, archive_queue, files, posts, told_time
from clipledger.db.withheld import PURGED, PURGING, QUARANTINED

CHUNK = 100
"""Posts taken out in one transaction."""

BY_HAND = "by-hand"
"""The source of an id that nothing had shown."""

SCRUB_DUE = "scrub_due"
"""The key in `meta` of a moment: since then something deleted may still be in the database's files."""

_RESTING = (State.ARCHIVED, State.DEAD)


@dataclass(frozen=True, slots=True)
class Grounds:
    """Why posts are taken out: the operator's words, the reference of who asked, or the rule that says so.

    `delay_s`: how long quarantine lasts; `settle_s`: how long a worker that has a post under way may still store it.
    `asked_at`: when it was asked for, where that was before and only the store remembers it.
    """

    reason: str
    request: str = ""
    rule: str = ""
    delay_s: float = 0.0
    settle_s: float = 0.0
    asked_at: float | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of it: ids in quarantine now, those that are held, and why; those purged before; those under way."""

    taken: tuple[str, ...] = ()
    held: Mapping[str, str] = field(default_factory=dict)
    before: tuple[str, ...] = ()
    under_way: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Purge:
    """What has to be erased for one post: the keys that the catalog knew (with sha256), and where others may lie."""

    aweme_id: AwemeId
    day: str | None
    author_part: str | None
    known: Mapping[str, str]


_q, _r = archive_queue, removals
_ids: BindParameter[Any] = bindparam("ids", expanding=True)
_FOUND = (
    select(_q.c.aweme_id, _q.c.state, posts.c.author_id)
    .join(posts, posts.c.aweme_id == _q.c.aweme_id, isouter=True)
    .where(_q.c.aweme_id.in_(_ids))
    .order_by(_q.c.aweme_id)
    .with_for_update(of=_q)
)
_BEFORE = select(_r.c.aweme_id, _r.c.state).where(_r.c.aweme_id.in_(_ids))
_SOONER = (
    update(_r)
    .where(_r.c.aweme_id.in_(_ids), _r.c.state == QUARANTINED, _r.c.purge_at > bindparam("at", type_=UtcTime))
    .values(purge_at=bindparam("at", type_=UtcTime))
)
_NEVER_SEEN = per_dialect(lambda into: into(_q).on_conflict_do_nothing())
_FILE = per_dialect(lambda into: into(removed_files).on_conflict_do_nothing())
_FILES = select(files.c.aweme_id, files.c.sha256, files.c.kind, files.c.bytes).where(files.c.aweme_id.in_(_ids))
_DUE = (
    select(_r.c.aweme_id)
    .where(_r.c.state != PURGED, _r.c.purge_at <= bindparam("now", type_=UtcTime), _r.c.aweme_id > bindparam("after"))
    .order_by(_r.c.aweme_id)
    .limit(bindparam("n"))
)
_BEGIN = (
    update(_r)
    .where(_r.c.aweme_id.in_(_ids), _r.c.state != PURGED, _r.c.purge_at <= bindparam("now", type_=UtcTime))
    .values(state=PURGING)
    .returning(_r.c.aweme_id)
)
_PLACES = select(_q.c.aweme_id, _q.c.added_at, _q.c.author_part).where(_q.c.aweme_id.in_(_ids))
_BEGUN = select(_r.c.aweme_id).where(_r.c.aweme_id.in_(_ids), _r.c.state == PURGING).order_by(_r.c.aweme_id)
_END = (
    update(_r)
    .where(_r.c.aweme_id.in_(_ids))
    .values(state=PURGED, purged_at=bindparam("now", type_=UtcTime), author_id=null())
)
_AUTHORS_OF = select(_r.c.author_id).distinct().where(_r.c.aweme_id.in_(_ids), _r.c.author_id.is_not(None))
_WAS = select(_r.c.aweme_id, _r.c.was).where(_r.c.aweme_id.in_(_ids), _r.c.state == QUARANTINED)
_RESTORE = (
    update(_q)
    .where(_q.c.aweme_id.in_(_ids), _q.c.state == State.WITHHELD)
    .values(state=bindparam("to"), settled_at=bindparam("at", type_=UtcTime))
)
_WITHHOLD_AUTHOR = per_dialect(lambda into: into(withheld_authors).on_conflict_do_nothing())
_BY_AUTHOR = select(posts.c.aweme_id).where(posts.c.author_id == bindparam("of")).order_by(posts.c.aweme_id)


class Removals:
    """Everything that takes posts out. Each act is in the audit log, under `who`."""

    def __init__(self, db: Database, who: Who) -> None:
        self._db, self._who = db, who

    async def of_author(self, author_id: str) -> list[AwemeId]:
        """List an author's archived posts."""
        asked = {"of": author_id}
        found = await self._db.read(lambda connection: connection.execute(_BY_AUTHOR, asked).scalars().all())
        return [AwemeId(each) for each in found]

    def stone_of_author(self, author_id: str, grounds: Grounds, now: float) -> Tombstone:
        """Give what the store is to remember of an author who is kept out."""
        return Tombstone("", author_id, grounds.reason, grounds.request, "", _name(self._who), now, now)

    async def withhold_author(self, author_id: str, grounds: Grounds, now: float) -> None:
        """Keep out what an author posts from now on."""
        await self._db.write(lambda connection: _withhold_author(connection, self._who, author_id, grounds, now))

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
        asked = {"now": now, "after": after, "n": limit}
        found = await self._db.read(lambda connection: in_order(after, connection.execute(_DUE, asked).scalars().all()))
        return list(found)

    async def begin(self, ids: Sequence[str], now: float) -> list[Purge]:
        """Begin to purge what is due; what a hold covers is left out. From here on a hold comes too late."""
        return await self._db.write(lambda connection: _begin(connection, ids, now))

    async def found(self, aweme_id: AwemeId, erased: Sequence[RemovedFile]) -> None:
        """Note files that the catalog did not know, before they are erased."""
        await self._db.write(lambda connection: _note(connection, aweme_id, erased))

    async def end(self, ids: Sequence[str], now: float) -> list[str]:
        """Drop all that is known of posts whose files are erased; give those that nobody ended before."""
        return await self._db.write(lambda connection: _end(connection, self._who, ids, now))


def _withhold_author(connection: Connection, who: Who, author_id: str, grounds: Grounds, now: float) -> None:
    audit.lock(connection)
    row = {"author_id": author_id, "reason": grounds.reason, "request": grounds.request, "who": _name(who)}
    asked_at = now if grounds.asked_at is None else grounds.asked_at
    if connection.execute(_WITHHOLD_AUTHOR(connection), row | {"asked_at": asked_at}).rowcount:
        audit.append(connection, who, now, Entry(Act.WITHDRAW, f"author:{author_id}", grounds.reason, grounds.request))


def _take(connection: Connection, who: Who, ids: Sequence[str], grounds: Grounds, now: float) -> Taken:
    audit.lock(connection)
    held = holds.held(connection, ids)
    wanted = [aweme_id for aweme_id in dict.fromkeys(ids) if aweme_id not in held]
    before = {row.aweme_id: row.state for row in connection.execute(_BEFORE, {"ids": wanted})}
    fresh = [aweme_id for aweme_id in wanted if aweme_id not in before]
    connection.execute(_SOONER, {"ids": list(before), "at": now + grounds.delay_s})
    under_way = _take_fresh(connection, who, fresh, grounds, now) if fresh else []
    ended = tuple(aweme_id for aweme_id, state in before.items() if state == PURGED)
    waiting = tuple(aweme_id for aweme_id in before if aweme_id not in ended)
    return Taken((*fresh, *waiting), held, ended, tuple(under_way))


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


def _take_fresh(connection: Connection, who: Who, ids: Sequence[str], grounds: Grounds, now: float) -> list[str]:
    known = {row.aweme_id: row for row in connection.execute(_FOUND, {"ids": ids})}
    under_way = [each for each in ids if each in known and known[each].state == State.RUNNING]
    unseen = {"source": BY_HAND, "state": State.WITHHELD, "added_at": now, "due_at": now}
    if never := [{"aweme_id": aweme_id} | unseen for aweme_id in ids if aweme_id not in known]:
        connection.execute(_NEVER_SEEN(connection), never)
    withheld.withhold(connection, ids, now)
    told: dict[str, object] = {
        "state": QUARANTINED,
        "reason": grounds.reason,
        "request": grounds.request,
        "rule": grounds.rule,
    }
    asked_at = now if grounds.asked_at is None else grounds.asked_at
    told |= {"who": _name(who), "asked_at": asked_at}
    receipts = []
    for each in ids:
        row, delay_s = known.get(each), max(grounds.delay_s, grounds.settle_s if each in under_way else 0.0)
        was, author_id = (row.state, row.author_id) if row is not None else (State.PENDING, None)
        receipts.append(told | {"aweme_id": each, "purge_at": asked_at + delay_s, "was": was, "author_id": author_id})
    withheld.write_receipts(connection, receipts)
    if found := connection.execute(_FILES, {"ids": ids}).all():
        connection.execute(_FILE(connection), [dict(row._mapping) for row in found])
    quarantine.hide(connection, ids)
    act, detail = (Act.RETIRE, grounds.rule) if grounds.rule else (Act.WITHDRAW, grounds.request)
    audit.append(connection, who, now, *(Entry(act, aweme_id, grounds.reason, detail) for aweme_id in ids))
    return under_way


def _restore(connection: Connection, who: Who, ids: Sequence[str], why: str, now: float) -> list[str]:
    audit.lock(connection)
    was = {row.aweme_id: State(row.was) for row in connection.execute(_WAS, {"ids": list(ids)})}
    if not was:
        return []
    quarantine.bring_back(connection, list(was))
    for to in (*_RESTING, State.PENDING):
        chosen = [each for each, state in was.items() if (state if state in _RESTING else State.PENDING) is to]
        settled_at = now if to in _RESTING else None
        connection.execute(_RESTORE, {"ids": chosen, "to": to, "at": settled_at})
    for table in (removed_files, removals):
        connection.execute(delete(table).where(table.c.aweme_id.in_(_ids)), {"ids": list(was)})
    if archived := [each for each, state in was.items() if state is State.ARCHIVED]:
        search_index.begin(connection, archived)
        search_index.index(connection, archived)
    audit.append(connection, who, now, *(Entry(Act.RESTORE, aweme_id, why) for aweme_id in was))
    return list(was)


def _begin(connection: Connection, ids: Sequence[str], now: float) -> list[Purge]:
    audit.lock(connection)
    held = holds.held(connection, ids)
    begun = connection.execute(_BEGIN, {"ids": [each for each in ids if each not in held], "now": now}).scalars().all()
    known = quarantine.hidden_files(connection, begun)
    return [
        Purge(AwemeId(row.aweme_id), told_time(row.added_at)[:10], row.author_part, known[row.aweme_id])
        for row in connection.execute(_PLACES, {"ids": list(begun)})
    ]


def _end(connection: Connection, who: Who, ids: Sequence[str], now: float) -> list[str]:
    audit.lock(connection)
    ended = list(connection.execute(_BEGUN, {"ids": list(ids)}).scalars())
    if not ended:
        return []
    authors = list(connection.execute(_AUTHORS_OF, {"ids": ended}).scalars())
    quarantine.forget(connection, ended)
    connection.execute(_END, {"ids": ended, "now": now})
    quarantine.forget_authors(connection, authors)
    meta.put(connection, SCRUB_DUE, told_time(now))
    audit.append(connection, who, now, *(Entry(Act.PURGE, each) for each in ended))
    return ended


def _name(who: Who) -> str:
    return f"{who.operator}@{who.host}"

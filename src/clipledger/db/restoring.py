"""Bring posts into the queue and the index that the store holds whole and this database does not know as archived.

For a database made anew, and for one that was restored from a backup: a row that waits, or is dead, becomes archived;
one that a living worker holds, or that is withheld, is left alone. Idempotent. Must not: read a sidecar.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection, bindparam, delete, func, null, or_, select, update

from clipledger.core.model import AwemeId, ObjectKey, State
from clipledger.core.sidecar import Origin
from clipledger.core.times import read_iso_time
from clipledger.core.tombstone import Tombstone
from clipledger.db.catalog import Record, record_stored
from clipledger.db.database import Database
from clipledger.db.engine import per_dialect
from clipledger.db.meta import Meta, get, put
from clipledger.db.removals import Removals
from clipledger.db.tables import UtcTime, archive_queue, dead_letters, posts, sightings

UNKNOWN_SOURCE = "restored"
"""The source of an id whose sidecar does not tell which source showed it."""

_CURSOR, _REBUILT, _EVER_NEWEST = "rebuild_cursor", "rebuilt_at", "newest_archived_at"


@dataclass(frozen=True, slots=True)
class Restored:
    """A post as its sidecar tells it, and where the queue says that it goes. `origin` None: an older sidecar."""

    record: Record
    origin: Origin | None
    author_part: str
    queue_key: ObjectKey


_q = archive_queue
_STATES = select(_q.c.aweme_id, _q.c.state).where(_q.c.aweme_id.in_(bindparam("ids", expanding=True)))
_ARCHIVED = select(_q.c.aweme_id).where(
    _q.c.aweme_id.in_(bindparam("ids", expanding=True)), _q.c.state.in_([State.ARCHIVED, State.WITHHELD])
)
_ENTER = per_dialect(lambda insert: insert(_q).on_conflict_do_nothing())
_SIGHT = per_dialect(lambda insert: insert(sightings).on_conflict_do_nothing())
_TAKE = (
    update(_q)
    .where(
        _q.c.aweme_id == bindparam("id"),
        or_(
            *(_q.c.state == state for state in (State.PENDING, State.STORED, State.DEAD)),  # many rows take no IN
            (_q.c.state == State.RUNNING) & (_q.c.lease_until < bindparam("now", type_=UtcTime)),
        ),
    )
    .values(
        state=State.STORED,
        author_part=bindparam("part"),
        storage_key=bindparam("key"),
        thin=bindparam("is_thin"),
        stored_at=bindparam("stood", type_=UtcTime),
        restored_at=bindparam("now", type_=UtcTime),
        token=_q.c.token + 1,
        hint=null(),
        lease_until=null(),
        worker=null(),
        last_reason=null(),
        last_detail=null(),
        suspect_reason=null(),
        suspect_at=null(),
    )
)
_UNBURY = delete(dead_letters).where(
    dead_letters.c.aweme_id.in_(
        select(_q.c.aweme_id).where(
            _q.c.aweme_id.in_(bindparam("ids", expanding=True)), _q.c.state != bindparam("dead", State.DEAD)
        )
    )
)
_LOCATE = (
    update(_q)
    .where(_q.c.aweme_id == bindparam("id"), _q.c.state == State.WITHHELD, _q.c.author_part.is_(None))
    .values(author_part=bindparam("part"), added_at=bindparam("day", type_=UtcTime))
)
_ANY = select(_q.c.aweme_id).limit(1)
_NEWEST = select(func.max(posts.c.archived_at))


class Restorer:
    """The door through which the store's own record comes into the database."""

    def __init__(self, db: Database, removals: Removals) -> None:
        self._db, self._meta, self._removals = db, Meta(db), removals

    async def unknown(self, ids: Sequence[AwemeId]) -> set[AwemeId]:
        """Give those of `ids` that are neither archived nor withheld here."""
        known = await self._db.read(lambda connection: set(connection.execute(_ARCHIVED, {"ids": list(ids)}).scalars()))
        return set(ids) - known

    async def recall(self, stones: Sequence[Tombstone], now: float, delay_min_s: float) -> int:
        """Take out again what the store remembers as taken out; give how many posts were not out here."""
        return await self._removals.recall(stones, now, delay_min_s)

    async def locate(self, places: Mapping[AwemeId, tuple[str, str]]) -> None:
        """Note where (day, author part) files of posts lie that are withheld and were never seen by this database."""
        rows = [{"id": i, "part": part, "day": read_iso_time(f"{day}T00:00:00Z")} for i, (day, part) in places.items()]
        if rows:
            await self._db.write(lambda connection: connection.execute(_LOCATE, rows))

    async def restore(self, batch: Sequence[Restored], now: float, cursor: str | None = None) -> int:
        """Bring posts in, in one transaction with the cursor of a rebuild under way; give how many were archived."""
        return await self._db.write(partial(_restore, batch=batch, now=now, cursor=cursor))

    async def begun(self) -> str | None:
        """Give how far a rebuild came that did not end; None where there is none."""
        return await self._meta.get(_CURSOR) or None

    async def is_empty(self) -> bool:
        """Say whether the database has never seen an id."""
        return await self._db.read(lambda connection: connection.execute(_ANY).first() is None)

    async def ended(self, at: str) -> None:
        """Note that a rebuild is complete."""
        await self._meta.set(_REBUILT, at)
        await self._meta.set(_CURSOR, "")

    async def newest(self) -> float | None:
        """Tell when the newest post was captured that this database ever held; None where there is none.

        It may have been withdrawn since: what was archived here is known here all the same.
        """
        return await self._db.read(_newest)

    async def keep_newest(self) -> float | None:
        """Write down what `newest` gives, before posts are taken out."""
        return await self._db.write(_keep_newest)


def _newest(connection: Connection) -> float | None:
    kept = get(connection, _EVER_NEWEST)
    times = (connection.execute(_NEWEST).scalar(), float(kept) if kept else None)
    return max((at for at in times if at is not None), default=None)


def _keep_newest(connection: Connection) -> float | None:
    newest = _newest(connection)
    if newest is not None and repr(newest) != get(connection, _EVER_NEWEST):  # else nothing is written: disks may rest
        put(connection, _EVER_NEWEST, repr(newest))
    return newest


def _restore(connection: Connection, batch: Sequence[Restored], now: float, cursor: str | None) -> int:
    by_id = {each.record.post.aweme_id: each for each in reversed(batch)}  # of an id that lies twice, the first
    count = 0
    if by_id:
        known: dict[str, str] = {row.aweme_id: row.state for row in connection.execute(_STATES, {"ids": list(by_id)})}
        new = [each for aweme_id, each in by_id.items() if aweme_id not in known]
        if new:
            connection.execute(_ENTER(connection), [_entered(each, now) for each in new])
        if old := sorted(by_id.keys() & known.keys()):
            connection.execute(_TAKE, [_taken(by_id[AwemeId(aweme_id)], now) for aweme_id in old])
        if sighted := _sightings(by_id, known):
            connection.execute(_SIGHT(connection), sighted)
        count = record_stored(connection, [each.record for each in by_id.values()], now)
        connection.execute(_UNBURY, {"ids": list(by_id)})
    if cursor is not None:
        put(connection, _CURSOR, cursor)
    return count


def _origin(each: Restored) -> Origin:
    return each.origin or Origin(UNKNOWN_SOURCE, each.record.captured_at)


def _entered(each: Restored, now: float) -> dict[str, object]:
    origin = _origin(each)
    return {
        "aweme_id": each.record.post.aweme_id,
        "source": origin.source,
        "state": State.STORED,
        "added_at": origin.added_at,
        "due_at": origin.added_at,
        "asked_url": origin.asked_url,
        "author_part": each.author_part,
        "storage_key": each.queue_key,
        "thin": each.record.post.thin,
        "stored_at": each.record.captured_at,
        "restored_at": now,
    }


def _taken(each: Restored, now: float) -> dict[str, object]:
    return {
        "id": each.record.post.aweme_id,
        "now": now,
        "part": each.author_part,
        "key": each.queue_key,
        "is_thin": each.record.post.thin,
        "stood": each.record.captured_at,
    }


def _sightings(by_id: Mapping[AwemeId, Restored], known: Collection[str]) -> list[dict[str, object]]:
    """Lay out who showed each post first, as far as the sidecars tell; an id that is known here has its sightings."""
    return [
        {"source": origin.source, "aweme_id": aweme_id, "seen_at": origin.added_at, "last_seen_at": origin.added_at}
        | {"is_ad": each.record.post.is_ad, "pinned": False}
        for aweme_id, each in by_id.items()
        if (origin := _origin(each)) and (each.origin is not None or aweme_id not in known)
    ]

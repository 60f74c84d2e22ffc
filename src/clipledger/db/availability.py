"""Whether archived posts are still there: one row for each run of observations that say the same.

A list goes on showing many posts that are dead, so a sighting never ends a `gone` that a paid answer
began. Growth is bounded by what happens to posts, not by how often they are seen. Must not: believe a
single not-found: `core.history` decides what is gone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter, Connection, bindparam, select, update

from clipledger.core.model import AwemeId
from clipledger.core.times import read_iso_time
from clipledger.db import search_index
from clipledger.db.engine import per_dialect
from clipledger.db.index_tables import availability
from clipledger.db.tables import UtcTime, archive_queue, events

PRESENT, GONE = "present", "gone"

_a = availability


@dataclass(frozen=True, slots=True)
class AvailabilityRow:
    """One run: `state` from `first_at` to `last_at`, told last by `feed`; `ended_at` None while it holds."""

    first_at: float
    last_at: float
    state: str
    feed: str
    reason: str
    ended_at: float | None


_BEGIN = per_dialect(lambda insert: insert(_a).on_conflict_do_nothing())
_SEEN = (
    update(_a)
    .where(
        _a.c.aweme_id == bindparam("id"),
        _a.c.ended_at.is_(None),
        _a.c.state == PRESENT,
        _a.c.last_at < bindparam("at", type_=UtcTime),
    )
    .values(last_at=bindparam("at", type_=UtcTime), feed=bindparam("by"))
)
_STILL_GONE = (
    update(_a)
    .where(_a.c.aweme_id == bindparam("id"), _a.c.ended_at.is_(None), _a.c.state == GONE)
    .values(last_at=bindparam("at", type_=UtcTime), feed=bindparam("by"), reason=bindparam("why"))
)
_END = (
    update(_a)
    .where(_a.c.aweme_id == bindparam("id"), _a.c.ended_at.is_(None))
    .values(ended_at=bindparam("at", type_=UtcTime))
)
_q = archive_queue
_IDS: BindParameter[Any] = bindparam("ids", expanding=True)
_DIED = select(_q.c.aweme_id, _q.c.first_died_at).where(_q.c.aweme_id.in_(_IDS), _q.c.first_died_at.is_not(None))
_LETTERS = (
    select(events.c.aweme_id, events.c.detail)
    .where(events.c.name == "asked_again_after_death", events.c.aweme_id.in_(_IDS))
    .order_by(events.c.seq)
)
_CAPTURED = select(_a.c.aweme_id, _a.c.first_at).where(_a.c.aweme_id.in_(_IDS), _a.c.ended_at.is_(None))
_STATE = select(_a.c.state).where(_a.c.aweme_id == bindparam("id"), _a.c.ended_at.is_(None))
_OF = (
    select(_a.c.first_at, _a.c.last_at, _a.c.state, _a.c.feed, _a.c.reason, _a.c.ended_at)
    .where(_a.c.aweme_id == bindparam("id"))
    .order_by(_a.c.first_at)
)


def captured(connection: Connection, posts: Iterable[tuple[AwemeId, float]]) -> None:
    """Begin the record of posts with their capture."""
    rows = [_run(aweme_id, at, at, PRESENT, "capture") for aweme_id, at in posts]
    if rows:
        connection.execute(_BEGIN(connection), rows)


def had_been_gone(connection: Connection, ids: Collection[AwemeId]) -> None:
    """Write down of posts just captured that they were believed to be gone before, from when to when, and why."""
    died = {row.aweme_id: row.first_died_at for row in connection.execute(_DIED, {"ids": sorted(ids)})}
    if not died:
        return
    letters = {row.aweme_id: row.detail for row in connection.execute(_LETTERS, {"ids": sorted(died)})}
    back = {row.aweme_id: row.first_at for row in connection.execute(_CAPTURED, {"ids": sorted(died)})}
    rows = [
        _run(AwemeId(aweme_id), first_died_at, _last_seen_dead(letters[aweme_id], first_died_at), GONE, "capture")
        | {"reason": letters[aweme_id]["reason"], "ended_at": back[aweme_id]}
        for aweme_id, first_died_at in died.items()
        if aweme_id in letters and back.get(aweme_id, first_died_at) > first_died_at
    ]
    if rows:
        connection.execute(_BEGIN(connection), rows)


def sighted(connection: Connection, ids: Collection[AwemeId], at: float) -> None:
    """Note that lists showed posts: what is present was seen once more, what is gone stays so."""
    if ids:
        connection.execute(_SEEN, [{"id": aweme_id, "at": at, "by": "list"} for aweme_id in sorted(ids)])


def answered(connection: Connection, aweme_id: AwemeId, at: float) -> bool:
    """Note that a paid answer found a post alive; True when it had been gone, and is back."""
    if connection.execute(_STATE, {"id": aweme_id}).scalar() != GONE:
        connection.execute(_SEEN, {"id": aweme_id, "at": at, "by": "refresh"})
        return False
    _turn(connection, _run(aweme_id, at, at, PRESENT, "refresh"), at)
    return True


def still_gone(connection: Connection, aweme_id: AwemeId, at: float, reason: str) -> bool:
    """Note that a post that is known to be gone was not found again; False when it is not known to be."""
    told = {"id": aweme_id, "at": at, "by": "refresh", "why": reason}
    return connection.execute(_STILL_GONE, told).rowcount == 1


def vanished(connection: Connection, aweme_id: AwemeId, since: float, at: float, reason: str) -> bool:
    """Note that a post is believed to be gone, first not found at `since`; False when that is known."""
    if still_gone(connection, aweme_id, at, reason):
        return False
    _turn(connection, _run(aweme_id, since, at, GONE, "refresh") | {"reason": reason}, since)
    return True


def runs(connection: Connection, aweme_id: AwemeId) -> list[AvailabilityRow]:
    """List what was observed of one post, oldest first."""
    return [AvailabilityRow(*row) for row in connection.execute(_OF, {"id": aweme_id})]


def _turn(connection: Connection, run: dict[str, object], at: float) -> None:
    connection.execute(_END, {"id": run["aweme_id"], "at": at})
    connection.execute(_BEGIN(connection), run)
    search_index.index(connection, [str(run["aweme_id"])])  # so that is:gone finds it, or no longer does


def _last_seen_dead(letter: Mapping[str, str], first_died_at: float) -> float:
    return max(read_iso_time(letter["died_at"]), first_died_at)


def _run(aweme_id: AwemeId, first_at: float, last_at: float, state: str, feed: str) -> dict[str, object]:
    return {
        "aweme_id": aweme_id,
        "first_at": first_at,
        "last_at": last_at,
        "state": state,
        "feed": feed,
        "reason": "",
    }

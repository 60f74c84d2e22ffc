"""Look at the queue: how much is due, what waits, what failed, how one id stands.

Statements on a connection; `Queue` runs them. Must not: write.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, and_, bindparam, func, literal_column, or_, select

from clipledger.core.errors import Reason
from clipledger.core.model import AwemeId, Reply, State
from clipledger.db.leases import claimable, priorities
from clipledger.db.sources import NEVER_LISTED
from clipledger.db.tables import UtcTime, archive_queue, dead_letters, sources
from clipledger.db.tables import credits as paid_calls


@dataclass(frozen=True, slots=True)
class QueueRow:
    """One id as the queue holds it. `state` is text: `verify` must be able to show a wrong one."""

    aweme_id: AwemeId
    source: str
    state: str
    attempts: int
    added_at: float
    resolved_at: float | None
    priority: int
    due_at: float
    lease_until: float | None
    worker: str | None
    token: int
    crashes: int
    call_reason: str
    last_reason: str | None
    last_detail: str | None
    suspect_reason: str | None
    suspect_at: float | None
    not_founds: int
    first_not_found_at: float | None
    asked_url: str | None
    author_part: str | None
    storage_key: str | None
    rendition: str | None
    thin: bool
    hint: Reply | None
    stored_at: float | None
    settled_at: float | None
    throttles: int
    rechecks: int
    first_died_at: float | None
    restored_at: float | None
    video_sha256: str | None


@dataclass(frozen=True, slots=True)
class Failure:
    """One dead letter."""

    aweme_id: AwemeId
    reason: str
    detail: str
    attempts: int
    died_at: float
    source: str
    summarised_at: float | None
    acknowledged_at: float | None


_q = archive_queue
_ROW = select(_q).where(_q.c.aweme_id == bindparam("id"))
_COUNTS = select(_q.c.state, func.count()).group_by(_q.c.state)
_AT = (claimable(_q), _q.c.priority == bindparam("at"))
_SOME_DUE = (
    select(_q.c.priority)
    .where(*_AT, _q.c.due_at >= bindparam("since", type_=UtcTime), _q.c.due_at <= bindparam("now", type_=UtcTime))
    .limit(bindparam("n"))
)
_DUE = select(func.count()).select_from(_SOME_DUE.subquery())
_NEXT = select(func.min(_q.c.due_at)).where(*_AT)
_LEASE_END = (
    select(_q.c.lease_until)
    .where(_q.c.state.in_([literal_column("'running'"), literal_column("'stored'")]))  # the words of archive_queue_open
    .where(_q.c.state == literal_column("'running'"))
    .order_by(_q.c.lease_until)
    .limit(1)
)
_FAILED_BEFORE = (
    select(_q)
    .where(_q.c.state == literal_column("'pending'"), _q.c.last_reason.is_not(None))
    .order_by(_q.c.due_at, _q.c.aweme_id)
    .limit(bindparam("n"))
)
_WAITING = tuple(  # two indexes hold what is pending: without their words every row would be read
    _FAILED_BEFORE.where(suspected) for suspected in (_q.c.suspect_at.is_(None), _q.c.suspect_at.is_not(None))
)
_FAILURES = select(dead_letters).order_by(dead_letters.c.died_at.desc(), dead_letters.c.aweme_id).limit(bindparam("n"))
_UNACKNOWLEDGED = select(func.count()).select_from(dead_letters).where(dead_letters.c.acknowledged_at.is_(None))
_LETTER = select(dead_letters).where(dead_letters.c.aweme_id == bindparam("id"))
_answered = (
    select(paid_calls.c.seq, paid_calls.c.aweme_id)
    .where(paid_calls.c.aweme_id.is_not(None), paid_calls.c.outcome == "ok")
    .order_by(paid_calls.c.seq.desc())
    .limit(bindparam("n"))
    .subquery()
)
_LATENCIES = (
    select(_q.c.aweme_id, _q.c.added_at, _q.c.resolved_at)
    .join(_answered, _answered.c.aweme_id == _q.c.aweme_id)
    .where(_q.c.resolved_at.is_not(None))
)


def row(connection: Connection, aweme_id: AwemeId) -> QueueRow | None:
    """Look one id up."""
    found = connection.execute(_ROW, {"id": aweme_id}).one_or_none()
    return QueueRow(**found._mapping) if found is not None else None


def counts(connection: Connection) -> dict[str, int]:
    """Count the ids in each state present."""
    return {state: count for state, count in connection.execute(_COUNTS)}


_NOW = bindparam("now", type_=UtcTime)
_WORK = (
    select(archive_queue.c.aweme_id)
    .where(
        archive_queue.c.state.in_([literal_column("'running'"), literal_column("'stored'")]),  # archive_queue_open
        archive_queue.c.state == State.STORED,
    )
    .limit(1),
    select(sources.c.source)
    .where(
        sources.c.paused_at.is_(None),
        sources.c.kind.not_in(NEVER_LISTED),
        sources.c.next_at <= _NOW,
        or_(sources.c.lease_until.is_(None), sources.c.lease_until <= _NOW),
    )
    .limit(1),
)


def due_count(connection: Connection, since: float, now: float, cap: int) -> int:
    """Count claimable videos that fell due between `since` and `now`; stop at `cap`."""
    count = 0
    for priority in priorities(connection):
        if count >= cap:
            break
        count += connection.execute(_DUE, {"at": priority, "since": since, "now": now, "n": cap - count}).scalar_one()
    return count


def next_due_at(connection: Connection) -> float | None:
    """Tell when the earliest claimable video falls due; None when there is none."""
    found = (connection.execute(_NEXT, {"at": priority}).scalar() for priority in priorities(connection))
    return min((at for at in found if at is not None), default=None)


def calls_for_work(connection: Connection, now: float) -> bool:
    """Say whether a video or a source is due, or a video is stored and not indexed."""
    if due_count(connection, 0.0, now, 1):
        return True
    return any(connection.execute(look, {"now": now}).first() is not None for look in _WORK)


def next_lease_end(connection: Connection) -> float | None:
    """Tell when the first lease of a running video runs out; None when none is running."""
    return connection.execute(_LEASE_END).scalar()


def waiting(connection: Connection, limit: int) -> list[QueueRow]:
    """List pending videos that failed before, the soonest due first."""
    found = [QueueRow(**row._mapping) for wanted in _WAITING for row in connection.execute(wanted, {"n": limit})]
    return sorted(found, key=lambda row: (row.due_at, row.aweme_id))[:limit]


def failures(
    connection: Connection, limit: int, reason: Reason | None, after: tuple[float, str] | None = None
) -> list[Failure]:
    """List dead letters, the latest first, behind one that is known by its moment and id."""
    asked, died, aweme_id = {"n": limit}, dead_letters.c.died_at, dead_letters.c.aweme_id
    wanted = _FAILURES if reason is None else _FAILURES.where(dead_letters.c.reason == reason)
    if after is not None:
        wanted = wanted.where(or_(died < after[0], and_(died == after[0], aweme_id > after[1])))
    return [Failure(**found._mapping) for found in connection.execute(wanted, asked)]


def unacknowledged(connection: Connection) -> int:
    """Count the dead that no operator has taken note of."""
    return connection.execute(_UNACKNOWLEDGED).scalar_one()


def letter(connection: Connection, aweme_id: AwemeId) -> Failure | None:
    """Look one dead letter up."""
    found = connection.execute(_LETTER, {"id": aweme_id}).one_or_none()
    return Failure(**found._mapping) if found is not None else None


def latencies(connection: Connection, limit: int) -> list[float]:
    """List seconds from discovery to first resolve of the videos that answered last."""
    # Walks the newest calls backwards: an index on resolved_at would cost a write per video.
    spans = {
        found.aweme_id: found.resolved_at - found.added_at for found in connection.execute(_LATENCIES, {"n": limit})
    }
    return list(spans.values())

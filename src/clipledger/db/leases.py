"""Hand out pending videos under a lease, lengthen leases, take back those of workers that died.

Statements on a connection; `Queue` runs them. Must not: decide what a failure means.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Row,
    and_,
    bindparam,
    literal_column,
    null,
    select,
    true,
    tuple_,
    update,
)
from sqlalchemy.sql.selectable import FromClause

from clipledger.core.errors import Reason
from clipledger.core.lifecycle import CallReason
from clipledger.core.model import AwemeId, Job, ObjectKey, Quality, State
from clipledger.db.care_tables import fixity
from clipledger.db.credits import CallOutcome
from clipledger.db.settling import Burial, bury
from clipledger.db.tables import UtcTime, archive_queue, sources, sweep_ranges, told_time
from clipledger.db.tables import credits as paid_calls

CHUNK = 500
"""Rows that one transaction of a sweep changes, at most."""

CRASHES_ALONE = 2
"""A video that was under way when so many workers died is tried alone: who else was there is innocent."""

_PRIORITY_MAX = _CRASHES_MOST = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Released:
    """What became of videos whose worker died."""

    given_back: int = 0
    dead: int = 0


def claimable(queue: FromClause) -> ColumnElement[bool]:
    """Say which rows may be claimed once due, in the very words of the index `archive_queue_due`.

    SQLite uses a partial index only where the query repeats its condition literally.
    """
    return and_(queue.c.state == literal_column("'pending'"), queue.c.suspect_at.is_(None))


_q = archive_queue
_due = archive_queue.alias("due")

_NEXT_PRIORITY = (
    select(_q.c.priority)
    .where(claimable(_q), _q.c.priority <= bindparam("most", type_=BigInteger))  # may be one below the least
    .order_by(_q.c.priority.desc())
    .limit(1)
)
# A CTE, since PostgreSQL may run a subquery once for every row, and lock, and claim, others each time.
_chosen = (
    select(_due.c.aweme_id)
    .where(
        claimable(_due),
        _due.c.priority == _NEXT_PRIORITY.scalar_subquery(),
        _due.c.due_at <= bindparam("now", type_=UtcTime),
        _due.c.crashes.between(bindparam("crashes_from"), bindparam("crashes_to")),
    )
    .order_by(_due.c.due_at.desc(), _due.c.aweme_id.desc())
    .limit(bindparam("n"))
    .with_for_update(skip_locked=True)
    .cte("chosen")
)
_CLAIM = (
    update(_q)
    .where(_q.c.aweme_id.in_(select(_chosen.c.aweme_id)))
    .values(
        state=State.RUNNING,
        attempts=_q.c.attempts + 1,
        token=_q.c.token + 1,
        lease_until=bindparam("until", type_=UtcTime),
        worker=bindparam("by"),
    )
    .returning(
        _q.c.aweme_id,
        _q.c.token,
        _q.c.source,
        _q.c.attempts,
        _q.c.added_at,
        _q.c.due_at,
        _q.c.call_reason,
        _q.c.author_part,
        _q.c.storage_key,
        _q.c.rendition,
        _q.c.asked_url,
        _q.c.not_founds,
        _q.c.first_not_found_at,
        _q.c.throttles,
        _q.c.hint,
        _q.c.priority,
        _q.c.video_sha256,
    )
)


def priorities(connection: Connection, most: int = _PRIORITY_MAX) -> Iterator[int]:
    """Walk the priorities that pending videos have, from `most` down: one index seek each."""
    while (priority := connection.execute(_NEXT_PRIORITY, {"most": most}).scalar()) is not None:
        yield priority
        most = priority - 1


def claim(connection: Connection, n: int, now: float, lease_s: float, worker: str, *, alone: bool = False) -> list[Job]:
    """Claim at most `n` due videos: highest priority first, then the freshest due.

    `alone` claims only those that were under way when `CRASHES_ALONE` workers died, else only others.
    """
    crashes = (CRASHES_ALONE, _CRASHES_MOST) if alone else (0, CRASHES_ALONE - 1)
    wanted = {"now": now, "until": now + lease_s, "by": worker, "crashes_from": crashes[0], "crashes_to": crashes[1]}
    jobs: list[Job] = []
    most: int | None = _PRIORITY_MAX
    while most is not None and len(jobs) < n:
        rows = list(connection.execute(_CLAIM, wanted | {"most": most, "n": n - len(jobs)}))
        rows.sort(key=lambda row: (row.due_at, row.aweme_id), reverse=True)
        jobs.extend(_job(row) for row in rows)
        most = rows[0].priority - 1 if rows else next((below - 1 for below in priorities(connection, most)), None)
    return jobs


def _job(row: Row[tuple[object, ...]]) -> Job:
    return Job(
        aweme_id=AwemeId(row.aweme_id),
        token=row.token,
        source=row.source,
        attempts=row.attempts,
        added_at=row.added_at,
        first_seen_day=told_time(row.added_at)[:10],
        call_reason=row.call_reason,
        author_part=row.author_part,
        storage_key=ObjectKey(row.storage_key) if row.storage_key is not None else None,
        rendition=Quality(row.rendition) if row.rendition is not None else None,
        asked_url=row.asked_url,
        not_founds=row.not_founds,
        first_not_found_at=row.first_not_found_at,
        throttles=row.throttles,
        hint=row.hint,
        video_sha256=row.video_sha256,
        due_at=row.due_at,
    )


_RENEW = (
    update(_q)
    .where(
        _q.c.state == State.RUNNING,
        _q.c.aweme_id.in_(bindparam("ids", expanding=True)),
        tuple_(_q.c.aweme_id, _q.c.token).in_(bindparam("held", expanding=True)),
    )
    .values(lease_until=bindparam("until", type_=UtcTime))
    .returning(_q.c.aweme_id)
)


def renew(connection: Connection, jobs: Sequence[Job], until: float) -> set[AwemeId]:
    """Lengthen the leases still held; return the ids of those that are not."""
    asked = {"ids": [j.aweme_id for j in jobs], "held": [(j.aweme_id, j.token) for j in jobs], "until": until}
    kept = set(connection.execute(_RENEW, asked).scalars())
    return {job.aweme_id for job in jobs} - kept


_orphans = select(
    _q.c.aweme_id,
    _q.c.token,
    _q.c.attempts,
    _q.c.crashes,
    _q.c.source,
    _q.c.call_reason,
    select(true())
    .where(paid_calls.c.aweme_id == _q.c.aweme_id, paid_calls.c.token == _q.c.token)
    .exists()
    .label("paid"),
).where(
    _q.c.state.in_([literal_column("'running'"), literal_column("'stored'")]),  # the words of archive_queue_open
    _q.c.state == State.RUNNING,
)
_EXPIRED = (
    _orphans.where(
        _q.c.lease_until < bindparam("now", type_=UtcTime), _q.c.worker.not_in(bindparam("spare", expanding=True))
    )
    .order_by(_q.c.lease_until)
    .limit(bindparam("n"))
    .with_for_update(skip_locked=True, of=_q)
)
_OF_WORKER = _orphans.where(_q.c.worker == bindparam("by")).limit(bindparam("n")).with_for_update(of=_q)
_LET_GO = (
    update(_q)
    .where(_q.c.aweme_id == bindparam("id"))
    .values(
        state=bindparam("to"),
        crashes=_q.c.crashes + bindparam("crash"),
        attempts=_q.c.attempts - bindparam("refund"),
        lease_until=null(),
        worker=null(),
        due_at=bindparam("now", type_=UtcTime),
        call_reason=bindparam("why"),
        last_reason=bindparam("reason"),
        last_detail=bindparam("told"),
        settled_at=bindparam("settled", type_=UtcTime),
    )
)
_UNKNOWN = (
    update(paid_calls)
    .where(paid_calls.c.outcome == literal_column("'sent'"))  # the words of credits_open
    .values(outcome=CallOutcome.UNKNOWN, settled_at=bindparam("now", type_=UtcTime))
)
_UNKNOWN_OF_ATTEMPT = _UNKNOWN.where(paid_calls.c.aweme_id == bindparam("id"), paid_calls.c.token == bindparam("t"))
_UNKNOWN_OF_WORKER = _UNKNOWN.where(paid_calls.c.worker == bindparam("by"))
_FREE_RANGES = (
    update(sweep_ranges).where(sweep_ranges.c.worker == bindparam("by")).values(worker=null(), lease_until=null())
)
_FREE_CARE = update(fixity).where(fixity.c.worker == bindparam("by")).values(worker=null(), lease_until=null())
_FREE_SOURCES = update(sources).where(sources.c.worker == bindparam("by")).values(worker=null(), lease_until=null())


def release_expired(
    connection: Connection, now: float, crashes_max: int, limit: int, spare: Sequence[str] = ()
) -> Released:
    """Take back at most `limit` videos whose lease ran out, but for those of the workers in `spare`."""
    rows = connection.execute(_EXPIRED, {"now": now, "n": limit, "spare": list(spare)}).all()
    return _crashed(connection, rows, now, crashes_max)


def release_worker(connection: Connection, worker: str, now: float, crashes_max: int, limit: int) -> Released:
    """Take back at most `limit` videos, every source, range and open call of a worker known to be dead."""
    released = _crashed(connection, _held_by(connection, worker, limit), now, crashes_max)
    _close_accounts(connection, worker, now)
    return released


def give_back(connection: Connection, worker: str, now: float, limit: int) -> int:
    """Take back the same from a worker that stops by itself: no attempt, no crash."""
    rows = _held_by(connection, worker, limit)
    if rows:
        connection.execute(_LET_GO, [_given_back_values(row, now) for row in rows])
    _close_accounts(connection, worker, now)
    return len(rows)


def _held_by(connection: Connection, worker: str, limit: int) -> Sequence[Row[tuple[object, ...]]]:
    return connection.execute(_OF_WORKER, {"by": worker, "n": limit}).all()


def _close_accounts(connection: Connection, worker: str, now: float) -> None:
    connection.execute(_UNKNOWN_OF_WORKER, {"by": worker, "now": now})
    connection.execute(_FREE_SOURCES, {"by": worker})
    connection.execute(_FREE_RANGES, {"by": worker})
    connection.execute(_FREE_CARE, {"by": worker})


def _crashed(connection: Connection, rows: Sequence[Row[tuple[object, ...]]], now: float, crashes_max: int) -> Released:
    if not rows:
        return Released()
    killers = {row.aweme_id for row in rows if row.crashes + 1 >= crashes_max}
    connection.execute(_LET_GO, [_crashed_values(row, row.aweme_id in killers, now) for row in rows])
    connection.execute(_UNKNOWN_OF_ATTEMPT, [{"id": row.aweme_id, "t": row.token, "now": now} for row in rows])
    bury(connection, [_burial(row, now) for row in rows if row.aweme_id in killers])
    return Released(given_back=len(rows) - len(killers), dead=len(killers))


def _crashed_values(row: Row[tuple[object, ...]], dead: bool, now: float) -> dict[str, object]:
    return {
        "id": row.aweme_id,
        "to": State.DEAD if dead else State.PENDING,
        "now": now,
        "crash": 1,
        "refund": 0,
        "why": CallReason.CRASH if row.paid else row.call_reason,
        "reason": Reason.WORKER_KILLED,
        "told": _epitaph(row),
        "settled": now if dead else None,
    }


def _given_back_values(row: Row[tuple[object, ...]], now: float) -> dict[str, object]:
    return {
        "id": row.aweme_id,
        "to": State.PENDING,
        "now": now,
        "crash": 0,
        "refund": 1,
        "why": CallReason.INTERRUPTED if row.paid else row.call_reason,
        "reason": Reason.SHUTDOWN,
        "told": "",
        "settled": None,
    }


def _burial(row: Row[tuple[object, ...]], now: float) -> Burial:
    return Burial(row.aweme_id, Reason.WORKER_KILLED, _epitaph(row), row.attempts, now, row.source)


def _epitaph(row: Row[tuple[object, ...]]) -> str:
    times = row.crashes + 1
    return f"its worker died {times} time{'s' if times > 1 else ''} while it held this video"

"""Videos that the API calls gone, and nobody believes yet: list, confirm, acquit.

Statements on a connection; `Queue` runs them. Must not: judge, which is `core.breaker`'s part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, func, null, select, update

from clipledger.core.errors import Reason
from clipledger.core.lifecycle import CallReason
from clipledger.core.model import AwemeId, State
from clipledger.db.settling import Burial, bury
from clipledger.db.tables import UtcTime, archive_queue


@dataclass(frozen=True, slots=True)
class Suspect:
    """One video said to be gone at `suspect_at`."""

    aweme_id: AwemeId
    reason: Reason
    suspect_at: float
    not_founds: int = 0


_q = archive_queue

_SEEN = (
    select(_q.c.aweme_id, _q.c.suspect_reason, _q.c.suspect_at, _q.c.not_founds)
    .where(_q.c.suspect_at.is_not(None))
    .order_by(_q.c.suspect_at)
    .limit(bindparam("n"))
)
_COUNT = select(func.count()).where(_q.c.suspect_at.is_not(None))
_TO_CONFIRM = (
    select(_q.c.aweme_id, _q.c.suspect_reason, _q.c.last_detail, _q.c.attempts, _q.c.source)
    .where(
        _q.c.suspect_at.is_not(None),
        _q.c.suspect_at <= bindparam("before", type_=UtcTime),
        _q.c.state == State.PENDING,
    )
    .order_by(_q.c.suspect_at)
    .limit(bindparam("n"))
    .with_for_update(skip_locked=True)
)
_CONFIRM = (
    update(_q)
    .where(_q.c.aweme_id.in_(bindparam("ids", expanding=True)))
    .values(
        state=State.DEAD,
        attempts=_q.c.attempts + 1,  # given back while it was a suspect; the attempt that killed it counts
        last_reason=_q.c.suspect_reason,
        suspect_reason=null(),
        suspect_at=null(),
        settled_at=bindparam("now", type_=UtcTime),
    )
)
_TO_ACQUIT = (
    select(_q.c.aweme_id, _q.c.not_founds, _q.c.first_not_found_at)
    .where(
        _q.c.suspect_at.is_not(None),
        _q.c.suspect_at <= bindparam("now", type_=UtcTime),
        _q.c.state == State.PENDING,
    )
    .order_by(_q.c.suspect_at)
    .limit(bindparam("n"))
    .with_for_update(skip_locked=True)
)
_ACQUIT = (
    update(_q)
    .where(_q.c.aweme_id.in_(bindparam("ids", expanding=True)))
    .values(
        due_at=bindparam("due", type_=UtcTime),
        call_reason=CallReason.RECHECK,
        last_reason=func.coalesce(bindparam("why"), _q.c.last_reason),
        suspect_reason=null(),
        suspect_at=null(),
    )
    .returning(_q.c.aweme_id)  # counted so, since SQLite's driver does not count a statement that begins WITH
)
_NOTED = {
    "not_founds": _q.c.not_founds + 1,
    "first_not_found_at": func.coalesce(_q.c.first_not_found_at, _q.c.suspect_at),
}
_ACQUIT_COUNTED = _ACQUIT.values(_NOTED)
_RECHECK = (
    update(_q)
    .where(_q.c.aweme_id.in_(bindparam("ids", expanding=True)), _q.c.suspect_at.is_not(None))
    .values(
        _NOTED
        | {
            "due_at": bindparam("now", type_=UtcTime),
            "call_reason": CallReason.RECHECK,
            "suspect_reason": None,
            "suspect_at": None,
        }
    )
)


def suspects(connection: Connection, limit: int) -> list[Suspect]:
    """List suspects, the oldest suspicion first."""
    return [
        Suspect(AwemeId(aweme_id), Reason(reason), at, not_founds)
        for aweme_id, reason, at, not_founds in connection.execute(_SEEN, {"n": limit})
    ]


def suspect_count(connection: Connection) -> int:
    """Count suspects."""
    return connection.execute(_COUNT).scalar_one()


def confirm(connection: Connection, seen_before: float, now: float, limit: int) -> int:
    """Declare at most `limit` suspects dead whose suspicion is not younger than `seen_before`."""
    rows = connection.execute(_TO_CONFIRM, {"before": seen_before, "n": limit}).all()
    if not rows:
        return 0
    connection.execute(_CONFIRM, {"ids": [row.aweme_id for row in rows], "now": now})
    bury(
        connection,
        [
            Burial(row.aweme_id, row.suspect_reason, row.last_detail or "", row.attempts + 1, now, row.source)
            for row in rows
        ],
    )
    return len(rows)


def acquit(
    connection: Connection, *, now: float, due_at: float, reason: Reason | None, every_s: float | None, limit: int
) -> int:
    """Put at most `limit` suspects back, due at `due_at`; return how many.

    `every_s` remembers that each was once said to be gone, at most once in so many seconds; None does not.
    """
    rows = connection.execute(_TO_ACQUIT, {"now": now, "n": limit}).all()
    counted = {
        row.aweme_id
        for row in rows
        if every_s is not None and _counts(row.not_founds, row.first_not_found_at, now, every_s)
    }
    for statement, ids in (
        (_ACQUIT_COUNTED, sorted(counted)),
        (_ACQUIT, [row.aweme_id for row in rows if row.aweme_id not in counted]),
    ):
        if ids:
            connection.execute(statement, {"ids": ids, "due": due_at, "why": reason})
    return len(rows)


def _counts(not_founds: int, first_at: float | None, now: float, every_s: float) -> bool:
    return first_at is None or now - first_at >= not_founds * every_s


def recheck(connection: Connection, ids: Sequence[AwemeId], now: float) -> int:
    """Make suspects due at once, to be asked a second time; return how many."""
    return connection.execute(_RECHECK, {"ids": list(ids), "now": now}).rowcount

"""Put videos back to work: the dead and the waiting at the operator's word, the stored without a sidecar.

Statements on a connection; `Queue` runs them. Must not: touch what is running or archived.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Connection,
    Row,
    Select,
    and_,
    bindparam,
    delete,
    func,
    insert,
    literal,
    null,
    or_,
    select,
    update,
)

from clipledger.core.errors import Reason
from clipledger.core.lifecycle import CallReason
from clipledger.core.model import AwemeId, State
from clipledger.core.times import iso_time
from clipledger.db.backend import in_order
from clipledger.db.tables import UtcTime, archive_queue, dead_letters, events, sightings

_q = archive_queue

_NAMED = _q.c.aweme_id.in_(bindparam("ids", expanding=True))
_WAITS = and_(
    _q.c.state == State.PENDING, or_(_q.c.due_at > bindparam("now", type_=UtcTime), _q.c.suspect_at.is_not(None))
)
_ANEW = {
    "state": State.PENDING,
    "due_at": bindparam("now", type_=UtcTime),
    "attempts": 0,
    "crashes": 0,
    "not_founds": 0,
    "first_not_found_at": null(),
    "throttles": 0,
    "settled_at": null(),
}
"""What a dead video becomes that is to be asked as if for the first time."""

_REVIVE = (
    update(_q)
    .where(_NAMED, _q.c.state == State.DEAD)
    .values(
        **_ANEW,
        call_reason=CallReason.OPERATOR,
    )
    .returning(_q.c.aweme_id)
)
_FORGET = delete(dead_letters).where(dead_letters.c.aweme_id.in_(bindparam("ids", expanding=True)))
_HASTEN = (
    update(_q)
    .where(_NAMED, _WAITS)
    .values(due_at=bindparam("now", type_=UtcTime), suspect_reason=null(), suspect_at=null())
)
_TO_RETRY = (
    select(_q.c.aweme_id)
    .where(_q.c.aweme_id > bindparam("after"), or_(_q.c.state == State.DEAD, _WAITS))
    .order_by(_q.c.aweme_id)
    .limit(bindparam("n"))
)
_TO_RETRY_OF_REASON = _TO_RETRY.where(_q.c.last_reason == bindparam("why"))
_REFUND = (
    update(_q)
    .where(
        _q.c.aweme_id == bindparam("id"),
        or_(_q.c.state == State.PENDING, _q.c.state == State.RUNNING),
        _q.c.attempts > 0,
    )
    .values(attempts=_q.c.attempts - 1)
)
_UNSTORE = (
    update(_q)
    .where(_q.c.aweme_id == bindparam("id"), _q.c.state == State.STORED)
    .values(
        state=State.PENDING,
        due_at=bindparam("now", type_=UtcTime),
        call_reason=CallReason.RETRY,
        last_reason=Reason.STORAGE_UNAVAILABLE,
        last_detail=bindparam("told"),
        stored_at=null(),
    )
)


_letter = (
    dead_letters.c.aweme_id,
    dead_letters.c.reason,
    dead_letters.c.detail,
    dead_letters.c.died_at,
    func.coalesce(_q.c.first_died_at, dead_letters.c.died_at).label("first_died_at"),
    _q.c.rechecks,
)
_LETTERS = select(*_letter).join(_q, dead_letters.c.aweme_id == _q.c.aweme_id)
_OF_IDS = _LETTERS.where(dead_letters.c.aweme_id.in_(bindparam("ids", expanding=True))).order_by(_q.c.aweme_id)
_RECHECK = (
    update(_q)
    .where(_q.c.aweme_id == bindparam("id"), _q.c.state == State.DEAD)
    .values(
        **_ANEW | {"crashes": _q.c.crashes},  # one that killed three is tried alone, and once
        rechecks=_q.c.rechecks + 1,
        first_died_at=bindparam("first", type_=UtcTime),
        call_reason=CallReason.RECHECK,
    )
)
_SHOWN = _LETTERS.where(
    _q.c.state == State.DEAD,
    dead_letters.c.reason == Reason.REGION,
    dead_letters.c.aweme_id.in_(bindparam("ids", expanding=True)),
    dead_letters.c.aweme_id.not_in(
        select(sightings.c.aweme_id).where(sightings.c.source == bindparam("by"), sightings.c.aweme_id == _q.c.aweme_id)
    ),
).order_by(_q.c.aweme_id)


@dataclass(frozen=True, slots=True)
class Recheck:
    """Which of the dead are to be asked again: of this reason, asked `nth` times since they first died, before then."""

    reason: Reason
    nth: int
    died_before: float


RECHECKS_MAX = 100
"""How many may be asked for in one statement: SQLite takes an expression of a thousand parts."""


def recheck_gone(connection: Connection, *, which: Sequence[Recheck], now: float, limit: int) -> int:
    """Have dead posts asked again to which one of `which` (1 to 100) applies, at most `limit`; return how many."""
    ids = connection.execute(_to_recheck(which).limit(limit)).scalars().all()
    return _ask_again(connection, connection.execute(_OF_IDS, {"ids": ids}).all(), now) if ids else 0


def _to_recheck(which: Sequence[Recheck]) -> Select[tuple[str]]:
    """Walk the letters once, however many are asked for: a join may begin with the whole queue, which is far longer."""
    died_at = func.coalesce(_q.c.first_died_at, dead_letters.c.died_at)
    due = (
        and_(
            dead_letters.c.reason == each.reason,
            _q.c.rechecks == each.nth,
            died_at <= literal(each.died_before, UtcTime),
        )
        for each in which
    )
    is_due = select(_q.c.aweme_id).where(_q.c.aweme_id == dead_letters.c.aweme_id, _q.c.state == State.DEAD, or_(*due))
    return select(dead_letters.c.aweme_id).where(is_due.exists()).order_by(dead_letters.c.aweme_id)


def shown_in_region(connection: Connection, ids: Sequence[AwemeId], source: str, now: float) -> int:
    """Have those of `ids` asked again that are dead for their region and that `source` never showed; return how many.

    A list of another region that shows a post is a sign that it can be had; the signs are counted once a list.
    """
    return _ask_again(connection, connection.execute(_SHOWN, {"ids": list(ids), "by": source}).all(), now)


def _ask_again(connection: Connection, letters: Sequence[Row[*tuple[Any, ...]]], now: float) -> int:
    if letters:
        _keep(connection, letters, "asked_again_after_death", now)
        connection.execute(_RECHECK, [{"id": row.aweme_id, "now": now, "first": row.first_died_at} for row in letters])
        connection.execute(_FORGET, {"ids": [row.aweme_id for row in letters]})
    return len(letters)


def _keep(connection: Connection, letters: Sequence[Row[*tuple[Any, ...]]], name: str, now: float) -> None:
    """Keep among the events what dead letters say that are about to go."""
    told = [
        {
            "at": now,
            "name": name,
            "aweme_id": row.aweme_id,
            "detail": {
                "reason": row.reason,
                "detail": row.detail,
                "died_at": iso_time(row.died_at),
                "nth": row.rechecks + 1,
            },
        }
        for row in letters
    ]
    connection.execute(insert(events), told)


def to_retry(connection: Connection, after: str, reason: Reason | None, now: float, limit: int) -> list[AwemeId]:
    """List the ids after `after`, in order, that are dead or wait; of one `reason`, when given."""
    asked = {"after": after, "now": now, "n": limit}
    if reason is None:
        found = connection.execute(_TO_RETRY, asked)
    else:
        found = connection.execute(_TO_RETRY_OF_REASON, asked | {"why": reason})
    return [AwemeId(each) for each in in_order(after, found.scalars().all())]


def retry(connection: Connection, ids: Sequence[AwemeId], now: float) -> int:
    """Make those of `ids` due that are dead (as if never tried) or wait; return how many."""
    revived = connection.execute(_REVIVE, {"ids": ids, "now": now}).scalars().all()
    if revived:
        _keep(connection, connection.execute(_OF_IDS, {"ids": revived}).all(), "retried", now)
        connection.execute(_FORGET, {"ids": revived})
    return len(revived) + connection.execute(_HASTEN, {"ids": ids, "now": now}).rowcount


def unstore(connection: Connection, aweme_id: AwemeId, detail: str, now: float) -> bool:
    """Put a stored video back whose sidecar cannot be read."""
    return connection.execute(_UNSTORE, {"id": aweme_id, "told": detail, "now": now}).rowcount == 1


def refund(connection: Connection, ids: Sequence[AwemeId]) -> None:
    """Take one attempt off each of `ids` that waits or runs, as often as it is named."""
    connection.execute(_REFUND, [{"id": aweme_id} for aweme_id in ids])

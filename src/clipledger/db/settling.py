"""Write what an attempt came to, fenced: a row changes only for the token that holds it.

Each function takes the rows of many tasks and says for each whether its lease was still held.
Statements on a connection; `Queue` runs them. Must not: decide what a failure means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Connection,
    FromClause,
    Integer,
    Text,
    bindparam,
    case,
    func,
    null,
    select,
    update,
)
from sqlalchemy.dialects.sqlite import Insert
from sqlalchemy.sql.dml import ReturningUpdate

from clipledger.core.lifecycle import Settlement
from clipledger.core.model import AwemeId, ObjectKey, State
from clipledger.db import withheld
from clipledger.db.engine import InsertInto, per_dialect
from clipledger.db.tables import UtcTime, archive_queue, dead_letters
from clipledger.db.told import Sent, ToldRows

DETAIL_MAX = 500
"""Characters of a failure's detail that are kept."""

_Change = ReturningUpdate[Any]
_q = archive_queue


@dataclass(frozen=True, slots=True)
class Resolved:
    """A paid resolve answered: what it fixes for good, and the video to be published (None: as it was).

    `anew`: nothing stands under the key that an earlier attempt fixed, and the post is of another kind.
    """

    aweme_id: AwemeId
    token: int
    now: float
    author_part: str
    storage_key: ObjectKey
    thin: bool
    rendition: str | None
    anew: bool = False
    video_sha256: str | None = None
    author_id: str = ""
    handle: str = ""


@dataclass(frozen=True, slots=True)
class Stood:
    """The sidecar stands."""

    aweme_id: AwemeId
    token: int
    now: float


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt ended without a complete post."""

    settlement: Settlement
    now: float


@dataclass(frozen=True, slots=True)
class Burial:
    """One dead letter."""

    aweme_id: AwemeId
    reason: str
    detail: str
    attempts: int
    died_at: float
    source: str


@dataclass(frozen=True, slots=True)
class _Found:
    """What an attempt's row holds once it was changed."""

    attempts: int
    source: str


_marks = ToldRows(id=Text(), t=BigInteger(), now=UtcTime())
_answers = ToldRows(
    id=Text(),
    t=BigInteger(),
    now=UtcTime(),
    part=Text(),
    key=Text(),
    is_thin=Boolean(),
    of_video=Text(),
    anew=Boolean(),
    served=Text(),
)
_verdicts = ToldRows(
    id=Text(),
    t=BigInteger(),
    to=Text(),
    due=UtcTime(),
    refund=Integer(),
    throttled=Integer(),
    why=Text(),
    reason=Text(),
    detail=Text(),
    suspected=Text(),
    suspected_at=UtcTime(),
    settled=UtcTime(),
)


def _fenced(told: FromClause, **values: object) -> _Change:
    """Change the rows whose attempt is the one told, and no others; tell what is there then."""
    return (
        update(_q)
        .where(_q.c.aweme_id == told.c.id, _q.c.token == told.c.t, _q.c.state == State.RUNNING)
        .values(values)
        .returning(_q.c.aweme_id, _q.c.token, _q.c.attempts, _q.c.source)
    )


@_answers.sent
def _resolved(told: FromClause) -> _Change:
    return _fenced(
        told,
        resolved_at=func.coalesce(_q.c.resolved_at, told.c.now),
        author_part=func.coalesce(_q.c.author_part, told.c.part),
        storage_key=case((told.c.anew, told.c.key), else_=func.coalesce(_q.c.storage_key, told.c.key)),
        thin=told.c.is_thin,
        rendition=func.coalesce(told.c.of_video, _q.c.rendition),
        video_sha256=func.coalesce(told.c.served, _q.c.video_sha256),
    )


@_marks.sent
def _stored(told: FromClause) -> _Change:
    return _fenced(told, state=State.STORED, stored_at=told.c.now, lease_until=null(), worker=null())


@_verdicts.sent
def _settled(told: FromClause) -> _Change:
    return _fenced(
        told,
        state=told.c.to,
        due_at=told.c.due,
        attempts=_q.c.attempts - told.c.refund,
        lease_until=null(),
        worker=null(),
        call_reason=told.c.why,
        last_reason=told.c.reason,
        last_detail=told.c.detail,
        throttles=_q.c.throttles + told.c.throttled,
        suspect_reason=told.c.suspected,
        suspect_at=told.c.suspected_at,
        settled_at=told.c.settled,
    )


@per_dialect
def _bury(insert: InsertInto) -> Insert:
    statement = insert(dead_letters)
    told = statement.excluded
    return statement.on_conflict_do_update(
        index_elements=["aweme_id"],
        set_={
            "reason": told.reason,
            "detail": told.detail,
            "attempts": told.attempts,
            "died_at": told.died_at,
            "source": told.source,
            "summarised_at": None,
            "acknowledged_at": None,
        },
    )


_aged = dead_letters.alias("aged")
_SUMMARISE = (
    update(dead_letters)
    .where(
        dead_letters.c.aweme_id.in_(
            select(_aged.c.aweme_id)
            .where(_aged.c.died_at < bindparam("before", type_=UtcTime), _aged.c.summarised_at.is_(None))
            .limit(bindparam("n"))
        )
    )
    .values(detail="", summarised_at=bindparam("now", type_=UtcTime))
)


_ACKNOWLEDGE = (
    update(dead_letters)
    .where(dead_letters.c.acknowledged_at.is_(None))
    .values(acknowledged_at=bindparam("now", type_=UtcTime))
)


def mark_resolved(connection: Connection, rows: Sequence[Resolved]) -> list[bool]:
    """Note the first resolve; key and author part stay as an earlier attempt fixed them, the key unless `anew`.

    What is a withheld author's is withheld first, which takes the lease away.
    """
    told: dict[str, tuple[str, str]] = {row.aweme_id: (row.author_id, row.handle) for row in rows}
    withheld.refuse_running(connection, told, max(row.now for row in rows))
    return _change(connection, _resolved, [_resolved_values(row) for row in rows])[0]


def mark_stored(connection: Connection, rows: Sequence[Stood]) -> list[bool]:
    """Move running to stored."""
    asked = [{"id": row.aweme_id, "t": row.token, "now": row.now} for row in rows]
    return _change(connection, _stored, asked)[0]


def settle(connection: Connection, rows: Sequence[Ended]) -> list[bool]:
    """Move running to pending or dead as the verdict says; the dead get their letter."""
    verdicts, found = _change(connection, _settled, [_settle_values(row) for row in rows])
    held = [row for row, is_held in zip(rows, verdicts, strict=True) if is_held]
    dead = [row for row in held if row.settlement.state is State.DEAD]
    bury(connection, [_burial(row, found[row.settlement.aweme_id, row.settlement.token]) for row in dead])
    return verdicts


def bury(connection: Connection, burials: Sequence[Burial]) -> None:
    """Write dead letters, in place of older ones of the same ids."""
    if burials:
        connection.execute(_bury(connection), [asdict(burial) for burial in burials])


def summarise_letters(connection: Connection, before: float, now: float, limit: int) -> int:
    """Drop the detail of dead letters older than `before`; return how many. Id, reason and date stay for ever."""
    return connection.execute(_SUMMARISE, {"before": before, "now": now, "n": limit}).rowcount


def acknowledge(connection: Connection, which: Sequence[AwemeId] | str | None, now: float) -> int:
    """Note that the operator knows of dead letters: those of some ids, of one reason, or all; return how many."""
    statement = _ACKNOWLEDGE
    if isinstance(which, str):
        statement = statement.where(dead_letters.c.reason == which)
    elif which is not None:
        statement = statement.where(dead_letters.c.aweme_id.in_(list(which)))
    return connection.execute(statement, {"now": now}).rowcount


def _change(
    connection: Connection, change: Sent, asked: Sequence[Mapping[str, object]]
) -> tuple[list[bool], Mapping[tuple[object, object], _Found]]:
    """Make the change for each attempt that still holds its lease; say which did, and what is there now."""
    # Of two rows on one attempt the second finds the lease taken: it is not even told.
    attempts = [(row["id"], row["t"]) for row in asked]
    first = {attempt: nth for nth, attempt in reversed(list(enumerate(attempts)))}
    # In order of id, so that no two processes wait for each other's.
    told = [asked[nth] for _, nth in sorted(first.items())]
    found = {(aweme_id, token): _Found(*rest) for aweme_id, token, *rest in change(connection, told)}
    return [first[attempt] == nth and attempt in found for nth, attempt in enumerate(attempts)], found


def _resolved_values(row: Resolved) -> dict[str, object]:
    return {
        "id": row.aweme_id,
        "t": row.token,
        "now": row.now,
        "part": row.author_part,
        "key": row.storage_key,
        "is_thin": row.thin,
        "of_video": row.rendition,
        "anew": row.anew,
        "served": row.video_sha256,
    }


def _settle_values(row: Ended) -> dict[str, object]:
    said = row.settlement
    return {
        "id": said.aweme_id,
        "t": said.token,
        "to": said.state,
        "due": said.due_at,
        "refund": _refund(said),
        "why": said.call_reason,
        "reason": said.reason,
        "detail": said.detail[:DETAIL_MAX],
        "throttled": int(said.throttled),
        "suspected": said.reason if said.suspect else None,
        "suspected_at": row.now if said.suspect else None,
        "settled": row.now if said.state is State.DEAD else None,
    }


def _burial(row: Ended, found: _Found) -> Burial:
    said = row.settlement
    return Burial(said.aweme_id, said.reason, said.detail[:DETAIL_MAX], found.attempts, row.now, found.source)


def _refund(said: Settlement) -> int:
    return 0 if said.burn else 1

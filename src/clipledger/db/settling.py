"""Write what an attempt came to, fenced: a row changes only for the token that holds it.

Each function takes the rows of many tasks and says for each whether its lease was still held.
Statements on a connection; `Queue` runs them. Must not: decide what a failure means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

from sqlalchemy import Boolean, Connection, bindparam, case, func, null, select, update
from sqlalchemy.dialects.sqlite import Insert

from clipledger.core.lifecycle import Settlement
from clipledger.core.model import AwemeId, ObjectKey, State
from clipledger.db.engine import InsertInto, per_dialect
from clipledger.db.tables import UtcTime, archive_queue, dead_letters

DETAIL_MAX = 500
"""Characters of a failure's detail that are kept."""

_q = archive_queue


class _Fenced(Protocol):
    """A row that names the attempt it settles."""

    @property
    def aweme_id(self) -> AwemeId: ...
    @property
    def token(self) -> int: ...


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

    @property
    def aweme_id(self) -> AwemeId:
        """Name the video."""
        return self.settlement.aweme_id

    @property
    def token(self) -> int:
        """Name the attempt."""
        return self.settlement.token


@dataclass(frozen=True, slots=True)
class _Held:
    """What the queue knows of a running video."""

    token: int
    attempts: int
    source: str


@dataclass(frozen=True, slots=True)
class Burial:
    """One dead letter."""

    aweme_id: AwemeId
    reason: str
    detail: str
    attempts: int
    died_at: float
    source: str


_HELD = (
    select(_q.c.aweme_id, _q.c.token, _q.c.attempts, _q.c.source)
    .where(_q.c.aweme_id.in_(bindparam("ids", expanding=True)), _q.c.state == State.RUNNING)
    .order_by(_q.c.aweme_id)
    .with_for_update()
)
_MINE = (_q.c.aweme_id == bindparam("id"), _q.c.token == bindparam("t"), _q.c.state == State.RUNNING)
_RESOLVED = (
    update(_q)
    .where(*_MINE)
    .values(
        resolved_at=func.coalesce(_q.c.resolved_at, bindparam("now", type_=UtcTime)),
        author_part=func.coalesce(_q.c.author_part, bindparam("part")),
        storage_key=func.coalesce(
            case((bindparam("anew", type_=Boolean), null()), else_=_q.c.storage_key), bindparam("key")
        ),
        thin=bindparam("is_thin"),
        rendition=func.coalesce(bindparam("of_video"), _q.c.rendition),
    )
)
_STORED = (
    update(_q)
    .where(*_MINE)
    .values(state=State.STORED, stored_at=bindparam("now", type_=UtcTime), lease_until=null(), worker=null())
)
_SETTLE = (
    update(_q)
    .where(*_MINE)
    .values(
        state=bindparam("to"),
        due_at=bindparam("due", type_=UtcTime),
        attempts=_q.c.attempts - bindparam("refund"),
        lease_until=null(),
        worker=null(),
        call_reason=bindparam("why"),
        last_reason=bindparam("reason"),
        last_detail=bindparam("detail"),
        throttles=_q.c.throttles + bindparam("throttled"),
        suspect_reason=bindparam("suspected"),
        suspect_at=bindparam("suspected_at", type_=UtcTime),
        settled_at=bindparam("settled", type_=UtcTime),
    )
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
    """Note the first resolve; key and author part stay as an earlier attempt fixed them, the key unless `anew`."""
    verdicts, _ = _fence(connection, rows)
    mine = [
        {
            "id": row.aweme_id,
            "t": row.token,
            "now": row.now,
            "part": row.author_part,
            "key": row.storage_key,
            "is_thin": row.thin,
            "of_video": row.rendition,
            "anew": row.anew,
        }
        for row, held in zip(rows, verdicts, strict=True)
        if held
    ]
    if mine:
        connection.execute(_RESOLVED, mine)
    return verdicts


def mark_stored(connection: Connection, rows: Sequence[Stood]) -> list[bool]:
    """Move running to stored."""
    verdicts, _ = _fence(connection, rows)
    mine = [
        {"id": row.aweme_id, "t": row.token, "now": row.now} for row, held in zip(rows, verdicts, strict=True) if held
    ]
    if mine:
        connection.execute(_STORED, mine)
    return verdicts


def settle(connection: Connection, rows: Sequence[Ended]) -> list[bool]:
    """Move running to pending or dead as the verdict says; the dead get their letter."""
    verdicts, held = _fence(connection, rows)
    mine = [row for row, is_held in zip(rows, verdicts, strict=True) if is_held]
    if mine:
        connection.execute(_SETTLE, [_settle_values(row) for row in mine])
    bury(connection, [_burial(row, held[row.aweme_id]) for row in mine if row.settlement.state is State.DEAD])
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


def _fence(connection: Connection, rows: Sequence[_Fenced]) -> tuple[list[bool], Mapping[AwemeId, _Held]]:
    # UPDATE over many rows tells no driver's count per row, so the held ones are looked up (and
    # locked) first. A second row for an id in the same batch finds the first one's lease taken.
    found = connection.execute(_HELD, {"ids": [row.aweme_id for row in rows]})
    held = {AwemeId(aweme_id): _Held(token, attempts, source) for aweme_id, token, attempts, source in found}
    open_tokens = {aweme_id: row.token for aweme_id, row in held.items()}
    return [_take(open_tokens, row) for row in rows], held


def _take(open_tokens: dict[AwemeId, int], row: _Fenced) -> bool:
    if open_tokens.get(row.aweme_id) != row.token:
        return False
    del open_tokens[row.aweme_id]
    return True


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


def _burial(row: Ended, held: _Held) -> Burial:
    said = row.settlement
    attempts = held.attempts - _refund(said)
    return Burial(said.aweme_id, said.reason, said.detail[:DETAIL_MAX], attempts, row.now, held.source)


def _refund(said: Settlement) -> int:
    return 0 if said.burn else 1

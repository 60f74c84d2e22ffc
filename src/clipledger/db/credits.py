"""The ledger of paid calls: one row per call, written before it is sent, settled after.

Keeps the day's running sum in the same transaction, and refuses the call that would exceed the
operator's cap. A day is a UTC day, that of the call. Must not: know what an answer means.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    Connection,
    FromClause,
    Integer,
    Text,
    bindparam,
    func,
    insert,
    literal,
    literal_column,
    select,
    update,
)
from sqlalchemy.sql.dml import ReturningInsert, ReturningUpdate

from clipledger.core.breaker import Answer, Outcome
from clipledger.core.errors import CapReached
from clipledger.core.lifecycle import CallReason
from clipledger.core.model import AwemeId
from clipledger.core.times import utc_day
from clipledger.db.database import Database
from clipledger.db.engine import InsertInto, per_dialect
from clipledger.db.tables import UtcTime, credit_days
from clipledger.db.tables import credits as calls
from clipledger.db.told import ToldRows

_ABANDONED_MAX = 1000
SHARE_MAX = 1_000_000
"""Resolves that the usual share of the gone is taken from: three weeks at 50,000 a day, read in a third of a second."""


class CallOutcome(StrEnum):
    """What a call came to. `SENT` is still open; `UNKNOWN` is a lost answer, taken as paid.

    `MALFORMED` is a reply of no known shape, `WRONG_ID` one that tells of another post than was asked for.
    """

    SENT = "sent"
    OK = "ok"
    GONE = "gone"
    REFUSED = "refused"
    THROTTLED = "throttled"
    FAILED = "failed"
    MALFORMED = "malformed"
    WRONG_ID = "wrong_id"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class CallIn:
    """A call about to be made. `token` is the attempt's or the source's; `aweme_id` None for lists."""

    endpoint: str
    aweme_id: AwemeId | None
    source: str | None
    reason: CallReason
    worker: str
    token: int | None = None


@dataclass(frozen=True, slots=True)
class CallTotal:
    """How many calls, and what they cost."""

    endpoint: str
    outcome: str
    reason: str
    calls: int
    credits: int


@dataclass(frozen=True, slots=True)
class Call:
    """One call as the ledger holds it."""

    at: float
    endpoint: str
    reason: str
    outcome: str
    credits: int
    settled_at: float | None


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One call with its number and what it was about; `aweme_id` is None for lists."""

    seq: int
    at: float
    endpoint: str
    aweme_id: str | None
    source: str | None
    reason: str
    outcome: str
    credits: int
    settled_at: float | None


@dataclass(frozen=True, slots=True)
class _Intent:
    call: CallIn
    at: float
    cap: int | None

    @property
    def day(self) -> str:
        return utc_day(self.at)


@dataclass(frozen=True, slots=True)
class _Settled:
    seq: int
    outcome: CallOutcome
    credits: int
    at: float


@per_dialect
def _add_to_day(insert: InsertInto) -> ReturningInsert[int]:
    # The row must be there to be locked: else two processes could both find a day unspent.
    statement = insert(credit_days)
    more = credit_days.c.credits + statement.excluded.credits
    return statement.on_conflict_do_update(index_elements=["day"], set_={"credits": more}).returning(
        credit_days.c.credits
    )


_MADE = ("endpoint", "aweme_id", "source", "reason", "token")
_intents = ToldRows(
    at=UtcTime(), endpoint=Text(), aweme_id=Text(), source=Text(), reason=Text(), worker=Text(), token=BigInteger()
)
_settlements = ToldRows(seq=BigInteger(), to=Text(), cost=Integer(), now=UtcTime())


@_intents.sent
def _make(told: FromClause) -> ReturningInsert[Any]:
    values = [*told.c, literal(CallOutcome.SENT.value), literal(1)]
    made = insert(calls).from_select([*told.c.keys(), "outcome", "credits"], select(*values))
    return made.returning(calls.c.seq, *(calls.c[name] for name in _MADE))


@_settlements.sent
def _close(told: FromClause) -> ReturningUpdate[Any]:
    return (
        update(calls)
        .where(calls.c.seq == told.c.seq, calls.c.outcome == CallOutcome.SENT.value)
        .values(outcome=told.c.to, credits=told.c.cost, settled_at=told.c.now)
        .returning(calls.c.seq)
    )


_MADE_AT = select(calls.c.seq, calls.c.at).where(calls.c.seq.in_(bindparam("seqs", expanding=True)))
_old = calls.alias("old")
_ABANDON = (
    update(calls)
    .where(
        calls.c.seq.in_(
            select(_old.c.seq)
            .where(_old.c.outcome == literal_column("'sent'"), _old.c.at < bindparam("before", type_=UtcTime))
            .limit(_ABANDONED_MAX)
        )
    )
    .values(outcome=CallOutcome.UNKNOWN, settled_at=bindparam("now", type_=UtcTime))
)
_SPENT = select(credit_days.c.credits).where(credit_days.c.day == bindparam("of"))
_OF = (
    select(calls.c.at, calls.c.endpoint, calls.c.reason, calls.c.outcome, calls.c.credits, calls.c.settled_at)
    .where(calls.c.aweme_id == bindparam("id"))
    .order_by(calls.c.seq)
)
_LEDGER = (
    select(*(calls.c[name] for name in LedgerRow.__slots__))
    .where(calls.c.seq < bindparam("below"))
    .order_by(calls.c.seq.desc())
    .limit(bindparam("n"))
)
_TOTALS = (
    select(calls.c.endpoint, calls.c.outcome, calls.c.reason, func.count(), func.sum(calls.c.credits))
    .group_by(calls.c.endpoint, calls.c.outcome, calls.c.reason)
    .order_by(calls.c.endpoint, calls.c.outcome, calls.c.reason)
)
_OUTCOMES = (
    select(calls.c.settled_at, calls.c.outcome, calls.c.aweme_id)
    .where(
        calls.c.endpoint.in_(bindparam("paths", expanding=True)),
        calls.c.outcome.in_([CallOutcome.OK, CallOutcome.GONE, CallOutcome.MALFORMED]),
        calls.c.aweme_id.is_not(None),
        calls.c.reason.not_in((CallReason.CANARY, CallReason.REFRESH)),
    )
    .order_by(calls.c.seq.desc())
    .limit(bindparam("n"))
)
_OF_CANARIES = (
    select(calls.c.at, calls.c.outcome, calls.c.aweme_id)
    .where(
        calls.c.aweme_id.in_(bindparam("ids", expanding=True)),
        calls.c.reason == CallReason.CANARY,
        calls.c.outcome.in_([CallOutcome.OK, CallOutcome.GONE]),
    )
    .order_by(calls.c.at, calls.c.seq)
)


_ASKED = (
    calls.c.endpoint.in_(bindparam("paths", expanding=True)),
    calls.c.outcome.in_([CallOutcome.OK, CallOutcome.GONE]),
)
_LATEST = (
    select(calls.c.outcome)
    .where(*_ASKED, calls.c.reason.not_in((CallReason.CANARY, CallReason.REFRESH)))
    .order_by(calls.c.seq.desc())
    .limit(SHARE_MAX)
    .subquery()
)
_SHARE = select(_LATEST.c.outcome, func.count()).group_by(_LATEST.c.outcome)
_SAID_GONE = select(func.max(calls.c.seq)).where(
    calls.c.aweme_id == bindparam("id"), calls.c.outcome == CallOutcome.GONE
)
_BEFORE = (
    select(calls.c.outcome)
    .where(*_ASKED, calls.c.seq < bindparam("here"))
    .order_by(calls.c.seq.desc())
    .limit(bindparam("n"))
)
_AFTER = (
    select(calls.c.outcome).where(*_ASKED, calls.c.seq > bindparam("here")).order_by(calls.c.seq).limit(bindparam("n"))
)


class Credits:
    """The tables `credits` and `credit_days`."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._intend = db.batched(_intend)
        self._settle = db.batched(_settle)

    async def intend(self, call: CallIn, now: float, cap: int | None = None) -> int:
        """Write down a call before it is sent, as one credit; return its number.

        CapReached when the day's sum would exceed `cap`; nothing is written then.
        """
        seq = await self._intend(_Intent(call, now, cap))
        if seq is None:
            raise CapReached(f"budget.credits_per_day: {cap} credits are spent on {utc_day(now)} (UTC)")
        return seq

    async def settle(self, seq: int, outcome: CallOutcome, credits: int, now: float) -> bool:
        """Write what the call came to and what it cost; False when it was settled already."""
        return await self._settle(_Settled(seq, outcome, credits, now))

    async def abandon(self, before: float, now: float) -> int:
        """Settle calls begun before `before` and still open as `unknown`, at most 1,000; return how many."""
        return await self._db.write(
            lambda connection: connection.execute(_ABANDON, {"before": before, "now": now}).rowcount
        )

    async def spent(self, day: str) -> int:
        """Give the credits of one UTC day, open calls counted as one each."""
        return await self._db.read(lambda connection: connection.execute(_SPENT, {"of": day}).scalar() or 0)

    async def of(self, aweme_id: AwemeId) -> list[Call]:
        """List the calls made about one id, oldest first."""
        return await self._db.read(lambda connection: [Call(*row) for row in connection.execute(_OF, {"id": aweme_id})])

    async def ledger(self, below: int, limit: int) -> list[LedgerRow]:
        """List calls of a number below one, the newest first."""
        asked = {"below": below, "n": limit}
        return await self._db.read(lambda connection: [LedgerRow(*row) for row in connection.execute(_LEDGER, asked)])

    async def totals(self) -> list[CallTotal]:
        """Sum all calls up by endpoint, outcome and reason."""
        return await self._db.read(lambda connection: [CallTotal(*row) for row in connection.execute(_TOTALS)])

    async def outcomes(self, endpoints: Sequence[str], limit: int) -> list[Outcome]:
        """List the last resolves that found a post alive, gone or in no known shape, oldest first; no canaries."""
        asked = {"paths": list(endpoints), "n": limit}
        rows = await self._db.read(lambda connection: connection.execute(_OUTCOMES, asked).all())
        return [Outcome(at, _answer(outcome), AwemeId(aweme_id)) for at, outcome, aweme_id in reversed(rows)]

    async def share(self, endpoints: Sequence[str]) -> tuple[int, int]:
        """Count the resolves that found a post gone, and those that found one gone or alive; canaries left out.

        Of the latest `SHARE_MAX`: a ledger of years is not read anew at each start.
        """
        asked = {"paths": list(endpoints)}
        rows = await self._db.read(lambda connection: connection.execute(_SHARE, asked).all())
        counts = {outcome: count for outcome, count in rows}
        return counts.get(CallOutcome.GONE, 0), sum(counts.values())

    async def canaries(self, ids: Sequence[AwemeId]) -> list[Outcome]:
        """List what those of `ids` that were asked as canaries were answered, oldest first."""
        rows = await self._db.read(lambda connection: connection.execute(_OF_CANARIES, {"ids": list(ids)}).all())
        return [Outcome(at, _answer(outcome), AwemeId(aweme_id)) for at, outcome, aweme_id in rows]

    async def neighbours(
        self, aweme_id: AwemeId, endpoints: Sequence[str], n: int
    ) -> tuple[list[Answer], list[Answer]]:
        """Give the answers to the `n` resolves sent just before an id was last called gone, and just after."""
        return await self._db.read(lambda connection: _neighbours(connection, aweme_id, endpoints, n))


def _neighbours(
    connection: Connection, aweme_id: AwemeId, endpoints: Sequence[str], n: int
) -> tuple[list[Answer], list[Answer]]:
    here = connection.execute(_SAID_GONE, {"id": aweme_id}).scalar() or 0
    asked = {"paths": list(endpoints), "here": here, "n": n}
    before, after = (connection.execute(side, asked).scalars() for side in (_BEFORE, _AFTER))
    return [_answer(outcome) for outcome in before], [_answer(outcome) for outcome in after]


_ANSWERS: dict[str, Answer] = {CallOutcome.GONE: Answer.GONE, CallOutcome.MALFORMED: Answer.MALFORMED}


def _answer(outcome: str) -> Answer:
    return _ANSWERS.get(outcome, Answer.ALIVE)


def _intend(connection: Connection, rows: Sequence[_Intent]) -> list[int | None]:
    wanted = Counter(row.day for row in rows)
    spent = {day: _added(connection, day, more) - more for day, more in sorted(wanted.items())}
    allowed = [row for row in rows if _take(spent, wanted, row)]
    for day, refused in sorted(wanted.items()):
        if refused:
            _added(connection, day, -refused)
    seqs = _written(connection, allowed) if allowed else {}
    return [seqs.get(id(row)) for row in rows]


def _take(spent: dict[str, int], wanted: Counter[str], row: _Intent) -> bool:
    if row.cap is not None and spent[row.day] + 1 > row.cap:
        return False
    spent[row.day] += 1
    wanted[row.day] -= 1
    return True


def _added(connection: Connection, day: str, more: int) -> int:
    """Add to a day's sum, which stays locked until the transaction ends; give it."""
    return connection.execute(_add_to_day(connection), {"day": day, "credits": more}).scalar_one()


def _written(connection: Connection, rows: Sequence[_Intent]) -> dict[int, int]:
    """Write the calls down; give the number of each, by its identity. Two calls alike in all have either's."""
    told = [_values(row) for row in rows]
    numbers: dict[tuple[object, ...], list[int]] = {}
    for seq, *made in _make(connection, told):
        numbers.setdefault(tuple(made), []).append(seq)
    return {
        id(row): numbers[tuple(values[name] for name in _MADE)].pop() for row, values in zip(rows, told, strict=True)
    }


def _values(row: _Intent) -> dict[str, object]:
    call = row.call
    return {
        "at": row.at,
        "endpoint": call.endpoint,
        "aweme_id": call.aweme_id,
        "source": call.source,
        "reason": call.reason.value,
        "worker": call.worker,
        "token": call.token,
    }


def _settle(connection: Connection, rows: Sequence[_Settled]) -> list[bool]:
    first = {row.seq: row for row in reversed(rows)}
    told = [
        {"seq": seq, "to": row.outcome.value, "cost": row.credits, "now": row.at} for seq, row in sorted(first.items())
    ]
    closed = {seq for (seq,) in _close(connection, told)}
    _correct(connection, {seq: first[seq].credits - 1 for seq in closed if first[seq].credits != 1})
    return [first[row.seq] is row and row.seq in closed for row in rows]


def _correct(connection: Connection, changes: Mapping[int, int]) -> None:
    """Correct the days' sums by what calls cost other than the one credit that an open call counts as."""
    days: Counter[str] = Counter()
    for seq, at in connection.execute(_MADE_AT, {"seqs": list(changes)}) if changes else ():
        days[utc_day(at)] += changes[seq]
    for day, more in sorted(days.items()):
        _added(connection, day, more)

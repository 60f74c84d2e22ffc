"""The books: what each source showed and what became of it, and the laws the ledger must keep.

Reads only. `check` holds one page of findings at a time, however many rows there are.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from sqlalchemy import ColumnElement, Connection, Select, bindparam, exists, func, or_, select

from clipledger.core.model import AwemeId, State
from clipledger.core.times import read_iso_time, utc_day
from clipledger.db import audit
from clipledger.db.backend import in_order
from clipledger.db.catalog import SIDECAR
from clipledger.db.custody_tables import removals
from clipledger.db.database import Database
from clipledger.db.tables import UtcTime, archive_queue, credit_days, dead_letters, files, posts, sightings, sources
from clipledger.db.tables import credits as calls

PAGE = 500
"""Findings fetched at a time."""

DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Balance:
    """What was seen and where it stands: seen = archived + dead + withheld + waiting.

    `declared` is what a profile or tag says it has, None where nobody said. `reasons` counts
    the dead by reason.
    """

    source: str
    seen: int = 0
    archived: int = 0
    dead: int = 0
    withheld: int = 0
    waiting: int = 0
    declared: int | None = None
    reasons: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken law. `aweme_id` is '' where it is no single id's."""

    aweme_id: AwemeId
    what: str


@dataclass(frozen=True, slots=True)
class Sighting:
    """One source that showed an id, first and last time."""

    source: str
    seen_at: float
    last_seen_at: float
    is_ad: bool
    pinned: bool


_q = archive_queue
_SIGHTINGS = (
    select(sightings.c.source, sightings.c.seen_at, sightings.c.last_seen_at, sightings.c.is_ad, sightings.c.pinned)
    .where(sightings.c.aweme_id == bindparam("id"))
    .order_by(sightings.c.seen_at)
)
_WAITING = (State.PENDING, State.RUNNING, State.STORED)


def _law(told: ColumnElement[str], *broken: ColumnElement[bool]) -> Select[str]:
    return select(told).where(told > bindparam("after"), *broken).distinct().order_by(told).limit(PAGE)


def _lacks(owned: ColumnElement[str], *terms: ColumnElement[bool]) -> ColumnElement[bool]:
    return ~exists().where(owned == _q.c.aweme_id, *terms)


def _unqueued(owned: ColumnElement[str], *terms: ColumnElement[bool]) -> ColumnElement[bool]:
    return ~exists().where(_q.c.aweme_id == owned, *terms)


def _is(*states: State) -> ColumnElement[bool]:
    return _q.c.state.in_(states)


_LAWS: tuple[tuple[str, Select[str]], ...] = (
    ("is in a state we do not know", _law(_q.c.aweme_id, _q.c.state.not_in(tuple(State)))),
    ("is archived without a row in posts", _law(_q.c.aweme_id, _is(State.ARCHIVED), _lacks(posts.c.aweme_id))),
    (
        "is archived without a file",
        _law(_q.c.aweme_id, _is(State.ARCHIVED), _lacks(files.c.aweme_id, files.c.kind != SIDECAR)),
    ),
    (
        "is archived without a sidecar",
        _law(_q.c.aweme_id, _is(State.ARCHIVED), _lacks(files.c.aweme_id, files.c.kind == SIDECAR)),
    ),
    (
        "is archived without a row in credits",
        _law(_q.c.aweme_id, _is(State.ARCHIVED), _q.c.restored_at.is_(None), _lacks(calls.c.aweme_id)),
    ),
    ("is dead without a dead letter", _law(_q.c.aweme_id, _is(State.DEAD), _lacks(dead_letters.c.aweme_id))),
    (
        "has a dead letter and is not dead",
        _law(dead_letters.c.aweme_id, _unqueued(dead_letters.c.aweme_id, _is(State.DEAD))),
    ),
    ("is withheld without a receipt", _law(_q.c.aweme_id, _is(State.WITHHELD), _lacks(removals.c.aweme_id))),
    ("was seen and is not in the queue", _law(sightings.c.aweme_id, _unqueued(sightings.c.aweme_id))),
    (
        "is running without a lease",
        _law(_q.c.aweme_id, _is(State.RUNNING), or_(_q.c.lease_until.is_(None), _q.c.worker.is_(None))),
    ),
    (
        "has a lease and is not running",
        _law(_q.c.aweme_id, _q.c.state != State.RUNNING, _q.c.lease_until.is_not(None)),
    ),
    ("is stored without a key", _law(_q.c.aweme_id, _is(State.STORED), _q.c.storage_key.is_(None))),
    (
        "is a suspect and not pending",
        _law(_q.c.aweme_id, _q.c.suspect_at.is_not(None), _q.c.state != State.PENDING),
    ),
    (
        "has a row in posts and is not archived",
        _law(posts.c.aweme_id, _unqueued(posts.c.aweme_id, _is(State.ARCHIVED))),
    ),
)
_BY_STATE = (
    select(sightings.c.source, _q.c.state, func.count())
    .join_from(sightings, _q, _q.c.aweme_id == sightings.c.aweme_id, isouter=True)
    .group_by(sightings.c.source, _q.c.state)
)
_BY_REASON = (
    select(sightings.c.source, dead_letters.c.reason, func.count())
    .join_from(sightings, dead_letters, dead_letters.c.aweme_id == sightings.c.aweme_id)
    .group_by(sightings.c.source, dead_letters.c.reason)
)
_DECLARED = select(sources.c.source, sources.c.declared)
_STATES = select(_q.c.state, func.count()).group_by(_q.c.state)
_REASONS = select(dead_letters.c.reason, func.count()).group_by(dead_letters.c.reason)
_DAY_TOLD = select(credit_days.c.credits).where(credit_days.c.day == bindparam("of"))
_DAY_SUM = select(func.coalesce(func.sum(calls.c.credits), 0)).where(
    calls.c.at >= bindparam("since", type_=UtcTime), calls.c.at < bindparam("until", type_=UtcTime)
)
_NEXT_CALL = select(func.min(calls.c.at)).where(calls.c.at >= bindparam("since", type_=UtcTime))
_NEXT_DAY = select(func.min(credit_days.c.day)).where(credit_days.c.day > bindparam("after"))


class Books:
    """What `status` tells and `verify --ledger` recomputes."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def per_source(self) -> list[Balance]:
        """Balance every source that is registered or has shown an id, by name."""
        return await self._db.read(_per_source)

    async def everything(self) -> Balance:
        """Balance all ids, each counted once however many sources showed it."""
        return await self._db.read(_everything)

    async def sightings(self, aweme_id: AwemeId) -> list[Sighting]:
        """List which sources showed an id, and when."""
        return await self._db.read(
            lambda connection: [Sighting(*row) for row in connection.execute(_SIGHTINGS, {"id": aweme_id})]
        )

    async def check(self) -> AsyncIterator[Finding]:
        """Find every broken law; nothing when the books balance."""
        for what, law in _LAWS:
            after = ""
            while found := await self._db.read(partial(_broken, law=law, after=after)):
                for aweme_id in found:
                    yield Finding(AwemeId(aweme_id), what)
                after = found[-1]
        async for finding in self._check_days():
            yield finding
        if (torn := await audit.broken(self._db)) is not None:
            yield Finding(AwemeId(""), f"the audit log is broken at row {torn[0]}: {torn[1]}")

    async def _check_days(self) -> AsyncIterator[Finding]:
        day = await self._db.read(partial(_day_after, day=""))
        while day is not None:
            told, summed = await self._db.read(partial(_day, day=day))
            if told != summed:
                yield Finding(AwemeId(""), f"credits of {day} (UTC): the day says {told}, its calls sum to {summed}")
            day = await self._db.read(partial(_day_after, day=day))


def _broken(connection: Connection, law: Select[str], after: str) -> Sequence[str]:
    return in_order(after, connection.execute(law, {"after": after}).scalars().all())


def _day(connection: Connection, day: str) -> tuple[int, int]:
    start = read_iso_time(f"{day}T00:00:00Z")
    told = connection.execute(_DAY_TOLD, {"of": day}).scalar() or 0
    return told, connection.execute(_DAY_SUM, {"since": start, "until": start + DAY_S}).scalar_one()


def _day_after(connection: Connection, day: str) -> str | None:
    since = read_iso_time(f"{day}T00:00:00Z") + DAY_S if day else 0.0
    called_at = connection.execute(_NEXT_CALL, {"since": since}).scalar()
    told = connection.execute(_NEXT_DAY, {"after": day}).scalar()
    return min((d for d in (told, utc_day(called_at) if called_at is not None else None) if d), default=None)


def _per_source(connection: Connection) -> list[Balance]:
    declared = {source: count for source, count in connection.execute(_DECLARED)}
    states: dict[str, dict[str, int]] = {source: {} for source in declared}
    for source, state, count in connection.execute(_BY_STATE):
        states.setdefault(source, {})[state] = count
    reasons: dict[str, dict[str, int]] = {}
    for source, reason, count in connection.execute(_BY_REASON):
        reasons.setdefault(source, {})[reason] = count
    return [_balance(name, states[name], reasons.get(name, {}), declared.get(name)) for name in sorted(states)]


def _everything(connection: Connection) -> Balance:
    states = {state: count for state, count in connection.execute(_STATES)}
    reasons = {reason: count for reason, count in connection.execute(_REASONS)}
    return _balance("", states, reasons, None)


def _balance(source: str, states: Mapping[str, int], reasons: Mapping[str, int], declared: int | None) -> Balance:
    return Balance(
        source,
        seen=sum(states.values()),
        archived=states.get(State.ARCHIVED, 0),
        dead=states.get(State.DEAD, 0),
        withheld=states.get(State.WITHHELD, 0),
        waiting=sum(states.get(state, 0) for state in _WAITING),
        declared=declared,
        reasons=reasons,
    )

"""What an operator watches, read in one snapshot: depth, age, pauses, the breaker, sources, rates.

Statements that only read and change nothing; how often they may run is for the caller to bound: the
counts by state walk the whole queue. Must not: know who watches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, case, func, literal, literal_column, select

from clipledger.core.times import utc_day
from clipledger.db import alarms, care, standing, suspects
from clipledger.db.credits import CallOutcome
from clipledger.db.database import Database
from clipledger.db.engine import summed
from clipledger.db.sources import NEVER_LISTED
from clipledger.db.tables import UtcTime, credit_days, dead_letters, limits, posts, sources, switches
from clipledger.db.tables import credits as calls

SOURCE_STATES = ("due", "failing", "paused", "waiting")
"""What a source is, each exactly one: paused, else failing (its last pass did), else due, else waiting."""


@dataclass(frozen=True, slots=True)
class Pause:
    """How one limiter stands: until when everybody waits (unix seconds, 0.0 for not), and 429s in a row."""

    until: float
    throttles: int


@dataclass(frozen=True, slots=True)
class Figures:
    """One look at an archive. Times are unix seconds."""

    states: Mapping[str, int]
    oldest_due_at: float | None
    suspects: int
    dead: Mapping[str, int]
    breaker: str
    pauses: Mapping[str, Pause]
    credits_today: int
    open_calls: int
    sources: Mapping[str, int]
    same_bytes: int = 0
    damaged: int = 0
    oldest_check_at: float | None = None

    def oldest_check_age_s(self, now: float) -> float:
        """Say how long ago the files were read that were not read for longest; 0 where there is none."""
        return max(now - self.oldest_check_at, 0.0) if self.oldest_check_at is not None else 0.0

    def oldest_due_age_s(self, now: float) -> float:
        """Say for how long the id that has been due longest has waited; 0 when nothing is due."""
        return max(now - self.oldest_due_at, 0.0) if self.oldest_due_at is not None else 0.0


@dataclass(frozen=True, slots=True)
class Rates:
    """What the ledger and the index say of a span of time."""

    calls: int
    credits: int
    throttled: int
    archived: int
    bytes: int


_SINCE, _NOW = bindparam("since", type_=UtcTime), bindparam("now", type_=UtcTime)
_DEAD = select(dead_letters.c.reason, func.count()).group_by(dead_letters.c.reason)
_BREAKER = select(switches.c.state).where(switches.c.name == "breaker")
_PAUSES = select(limits.c.name, limits.c.paused_until, limits.c.throttles)
_TODAY = select(credit_days.c.credits).where(credit_days.c.day == bindparam("day"))
_OPEN_CALLS = select(func.count()).where(calls.c.outcome == literal_column("'sent'"))  # the words of credits_open
_SERVER_TIME = select(func.extract("epoch", func.clock_timestamp()))
_STATE = case(
    (sources.c.paused_at.is_not(None), literal("paused")),
    (sources.c.last_reason.is_not(None), literal("failing")),
    (sources.c.next_at <= _NOW, literal("due")),
    else_=literal("waiting"),
)
_SOURCES = select(_STATE.label("stands"), func.count()).where(sources.c.kind.not_in(NEVER_LISTED)).group_by("stands")
_CALLS = select(
    func.count(),
    func.coalesce(func.sum(calls.c.credits), 0),
    func.coalesce(func.sum(case((calls.c.outcome == CallOutcome.THROTTLED, 1), else_=0)), 0),
).where(calls.c.at > _SINCE)
_ARCHIVED = select(func.count(), func.coalesce(summed(posts.c.bytes), 0)).where(posts.c.archived_at > _SINCE)


async def figures(db: Database, now: float) -> Figures:
    """Look at the archive once."""
    return await db.read(lambda connection: _figures(connection, now))


async def pauses(db: Database) -> dict[str, Pause]:
    """Tell how the limiters stand."""
    return await db.read(
        lambda connection: {
            name: Pause(until or 0.0, throttles) for name, until, throttles in connection.execute(_PAUSES)
        }
    )


async def rates(db: Database, now: float, span_s: float) -> Rates:
    """Sum up the last `span_s` seconds."""
    return await db.read(lambda connection: _rates(connection, now - span_s))


async def server_time(db: Database) -> float | None:
    """Ask a database server what time it is (unix seconds); None where the database is a file."""

    def ask(connection: Connection) -> float | None:
        if connection.dialect.name != "postgresql":
            return None
        return float(connection.execute(_SERVER_TIME).scalar_one())

    return await db.read(ask)


def _figures(connection: Connection, now: float) -> Figures:
    pauses = {name: Pause(until or 0.0, throttles) for name, until, throttles in connection.execute(_PAUSES)}
    found: dict[str, int] = {state: count for state, count in connection.execute(_SOURCES, {"now": now})}
    cared = care.standing(connection, now, None)
    return Figures(
        states=standing.counts(connection),
        oldest_due_at=standing.next_due_at(connection),
        suspects=suspects.suspect_count(connection),
        dead={reason: count for reason, count in connection.execute(_DEAD)},
        breaker=connection.execute(_BREAKER).scalar() or "closed",
        pauses=pauses,
        credits_today=connection.execute(_TODAY, {"day": utc_day(now)}).scalar() or 0,
        open_calls=connection.execute(_OPEN_CALLS).scalar_one(),
        sources={state: found.get(state, 0) for state in SOURCE_STATES},
        damaged=cared.damaged,
        oldest_check_at=cared.oldest_at,
        same_bytes=alarms.standing(connection),
    )


def _rates(connection: Connection, since: float) -> Rates:
    made, credits, throttled = connection.execute(_CALLS, {"since": since}).one()
    archived, size = connection.execute(_ARCHIVED, {"since": since}).one()
    return Rates(made, int(credits), int(throttled), archived, int(size))

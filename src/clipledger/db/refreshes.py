"""The schedule of refreshes: which archived posts are asked again, when, and which are doubted.

A refresh is leased and fenced like any attempt. A claim counts what the day has spent on refreshes and what
is under way together, in one transaction that excludes every other claim: the budget holds over all
processes. Must not: decide what a refresh is worth or what is believed (`core.history`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection, bindparam, case, func, null, or_, select, update

from clipledger.core.errors import Reason
from clipledger.core.history import DueRefresh, doubted_again_at, most_valuable, next_due, read_steps
from clipledger.core.lifecycle import CallReason
from clipledger.core.links import created_second
from clipledger.core.model import AwemeId, Post
from clipledger.core.times import read_iso_time, utc_day
from clipledger.db import authors, availability, withheld
from clipledger.db.database import Database
from clipledger.db.engine import per_dialect
from clipledger.db.index_tables import availability as seen
from clipledger.db.index_tables import refreshes
from clipledger.db.intake import measure
from clipledger.db.tables import UtcTime, limits, posts, sightings, sources
from clipledger.db.tables import credits as calls

PLANNED_AT_ONCE = 500
CANDIDATES_MAX = 2000
"""Due posts that are weighed against each other: the youngest ones."""

NEIGHBOUR_POOL = 50
"""The living neighbours of doubted posts are taken out of so many posts archived last."""

_FEED = "refresh"
_LOCK = "history"


@dataclass(frozen=True, slots=True)
class Refresh:
    """One claimed refresh. `doubted`: it is asked again since it was not found."""

    aweme_id: AwemeId
    token: int
    doubted: bool


@dataclass(frozen=True, slots=True)
class DoubtRound:
    """What is claimed to settle doubts: posts that were not found, and up to two that are known to be alive."""

    doubted: tuple[Refresh, ...] = ()
    neighbours: tuple[Refresh, ...] = ()


@dataclass(frozen=True, slots=True)
class Schedule:
    """How the schedule stands. `spent` credits of the day; `next_at` None: nothing is planned."""

    spent: int
    due: int
    doubted: int
    planned: int
    next_at: float | None


_r = refreshes
_UNPLANNED = (
    select(_r.c.aweme_id, posts.c.archived_at)
    .join(posts, posts.c.aweme_id == _r.c.aweme_id)
    .where(~_r.c.planned)
    .order_by(_r.c.aweme_id)
    .limit(PLANNED_AT_ONCE)
)
_WISHES = (
    select(sightings.c.aweme_id, sources.c.refresh)
    .join(sources, sources.c.source == sightings.c.source)
    .where(sightings.c.aweme_id.in_(bindparam("ids", expanding=True)), sources.c.refresh.is_not(None))
)
_PLAN = (
    update(_r).where(_r.c.aweme_id == bindparam("id")).values(planned=True, next_at=bindparam("next", type_=UtcTime))
)
_FREE = or_(_r.c.lease_until.is_(None), _r.c.lease_until < bindparam("now", type_=UtcTime))
_DUE = (
    select(_r.c.aweme_id, posts.c.plays_per_day, _r.c.next_at)
    .join(posts, posts.c.aweme_id == _r.c.aweme_id)
    .where(_r.c.next_at <= bindparam("now", type_=UtcTime), _r.c.doubt_due_at.is_(None), _FREE)
    .order_by(_r.c.next_at.desc())
    .limit(CANDIDATES_MAX)
)
_DOUBTED = (
    select(_r.c.aweme_id)
    .where(_r.c.doubt_due_at <= bindparam("now", type_=UtcTime), _FREE)
    .order_by(_r.c.doubt_due_at, _r.c.aweme_id)
    .limit(bindparam("n"))
)
_DOUBTED_AT = select(_r.c.doubted_at).where(_r.c.aweme_id == bindparam("id"))
_NEIGHBOURS = (
    select(_r.c.aweme_id)
    .join(posts, posts.c.aweme_id == _r.c.aweme_id)
    .join(seen, seen.c.aweme_id == _r.c.aweme_id)
    .where(_r.c.doubted_at.is_(None), _FREE, seen.c.ended_at.is_(None), seen.c.state == availability.PRESENT)
    .order_by(posts.c.archived_at.desc())
    .limit(NEIGHBOUR_POOL)
)
_TAKE = (
    update(_r)
    .where(_r.c.aweme_id == bindparam("id"))
    .values(token=_r.c.token + 1, worker=bindparam("by"), lease_until=bindparam("until", type_=UtcTime))
    .returning(_r.c.token)
)
_GUARD_ROW = per_dialect(lambda insert: insert(limits).on_conflict_do_nothing())
_GUARD = select(limits.c.name).where(limits.c.name == _LOCK).with_for_update()
_SPENT = select(func.coalesce(func.sum(calls.c.credits), 0)).where(
    calls.c.at >= bindparam("day", type_=UtcTime), calls.c.reason == CallReason.REFRESH
)
_OPEN = select(func.count()).select_from(_r).where(_r.c.lease_until >= bindparam("now", type_=UtcTime))
_MINE = (_r.c.aweme_id == bindparam("id"), _r.c.token == bindparam("t"))
_FREED = {"lease_until": null(), "worker": null()}
_ALIVE = (
    update(_r)
    .where(*_MINE)
    .values(
        asked_at=bindparam("now", type_=UtcTime),
        next_at=bindparam("next", type_=UtcTime),
        doubted_at=null(),
        doubt_due_at=null(),
        doubt_reason=null(),
        **_FREED,
    )
)
_DOUBT = (
    update(_r)
    .where(*_MINE)
    .values(
        asked_at=bindparam("now", type_=UtcTime),
        next_at=bindparam("next", type_=UtcTime),
        doubted_at=func.coalesce(_r.c.doubted_at, bindparam("now", type_=UtcTime)),
        doubt_due_at=bindparam("again", type_=UtcTime),
        doubt_reason=bindparam("why"),
        **_FREED,
    )
)
_STILL_GONE = (
    update(_r)
    .where(*_MINE)
    .values(asked_at=bindparam("now", type_=UtcTime), next_at=bindparam("next", type_=UtcTime), **_FREED)
)
_GIVE_BACK = update(_r).where(*_MINE).values(**_FREED)
_PUT_OFF = (
    update(_r)
    .where(*_MINE)
    .values(
        next_at=case((_r.c.doubt_due_at.is_(None), bindparam("again", type_=UtcTime)), else_=_r.c.next_at),
        doubt_due_at=case((_r.c.doubt_due_at.is_not(None), bindparam("again", type_=UtcTime)), else_=null()),
        **_FREED,
    )
)
_LEAVE = update(_r).where(_r.c.worker == bindparam("by")).values(**_FREED)
_DOUBTS = select(_r.c.aweme_id, _r.c.doubted_at, _r.c.doubt_reason).where(
    _r.c.aweme_id.in_(bindparam("ids", expanding=True)), _r.c.doubted_at.is_not(None)
)
_SETTLED = (
    update(_r)
    .where(_r.c.aweme_id.in_(bindparam("ids", expanding=True)))
    .values(doubted_at=null(), doubt_due_at=null(), doubt_reason=null())
)
_ARCHIVED_AT = select(posts.c.archived_at).where(posts.c.aweme_id == bindparam("id"))
_ANY_WISH = select(sources.c.source).where(sources.c.refresh.is_not(None)).limit(1)
_FORGET = update(_r).where(_r.c.planned).values(planned=False, next_at=null())
_FORGET_OF = _FORGET.where(
    _r.c.aweme_id.in_(select(sightings.c.aweme_id).where(sightings.c.source == bindparam("name")))
)
_WISH = update(sources).where(sources.c.source == bindparam("name")).values(refresh=bindparam("wish"))
_NEXT = select(func.min(_r.c.next_at)).where(_r.c.next_at.is_not(None))
_NEXT_DOUBT = select(func.min(_r.c.doubt_due_at)).where(_r.c.doubt_due_at.is_not(None))
_COUNTS = (
    select(func.count()).select_from(_r).where(_r.c.next_at <= bindparam("now", type_=UtcTime)),
    select(func.count()).select_from(_r).where(_r.c.doubt_due_at.is_not(None)),
    select(func.count()).select_from(_r).where(_r.c.next_at.is_not(None)),
)


class Refreshes:
    """The table `refreshes`. Settling calls with a stale token change nothing."""

    def __init__(self, db: Database, default: str = "", budget: int | None = None) -> None:
        self._db, self._default, self._budget = db, default, budget

    async def wanted(self) -> bool:
        """Say whether anybody wants refreshes at all: by default, or for one source."""
        if read_steps(self._default):
            return True
        return await self._db.read(lambda connection: connection.execute(_ANY_WISH).first() is not None)

    async def plan(self, now: float) -> int:
        """Give up to `PLANNED_AT_ONCE` posts their next step; return how many there were."""
        return await self._db.write(partial(_plan, default=self._default, now=now))

    async def claim(self, n: int, now: float, lease_s: float, worker: str) -> list[Refresh]:
        """Claim the `n` most valuable due posts, as far as the day's budget goes.

        Whose later steps have come as well is asked once for all of them.
        """
        held = partial(_Claim, worker=worker, now=now, until=now + lease_s, budget=self._budget)
        return await self._db.write(lambda connection: held(connection).due(n))

    async def claim_round(self, n: int, now: float, lease_s: float, worker: str) -> DoubtRound:
        """Claim up to `n` doubted posts whose second asking is due, and living neighbours, within the budget."""
        held = partial(_Claim, worker=worker, now=now, until=now + lease_s, budget=self._budget)
        return await self._db.write(lambda connection: held(connection).doubts(n))

    async def alive(self, refresh: Refresh, post: Post, now: float) -> bool:
        """Keep what an answer told; True when the post had been believed to be gone."""
        return await self._db.write(partial(_alive, refresh=refresh, post=post, now=now, default=self._default))

    async def missing(self, refresh: Refresh, reason: Reason, now: float) -> bool:
        """Note that a post was not found: it is doubted and asked again. False when it is known to be gone."""
        told = partial(_missing, refresh=refresh, reason=reason, now=now, default=self._default)
        return await self._db.write(told)

    async def vanished(self, ids: Collection[str], now: float) -> int:
        """Write down that doubted posts are gone since they were first not found; return how many are newly so."""
        return await self._db.write(partial(_vanished, ids=sorted(ids), now=now)) if ids else 0

    async def give_back(self, held: Collection[Refresh]) -> None:
        """Free what was claimed and not asked; it is due as it was."""
        rows = [{"id": refresh.aweme_id, "t": refresh.token} for refresh in held]
        if rows:
            await self._db.write(lambda connection: connection.execute(_GIVE_BACK, rows))

    async def put_off(self, refresh: Refresh, again_at: float) -> None:
        """Free a post that no answer came for, until `again_at`."""
        told = {"id": refresh.aweme_id, "t": refresh.token, "again": again_at}
        await self._db.write(lambda connection: connection.execute(_PUT_OFF, told))

    async def leave(self, worker: str) -> None:
        """Free whatever a worker still holds."""
        await self._db.write(lambda connection: connection.execute(_LEAVE, {"by": worker}))

    async def next_at(self) -> float | None:
        """Tell when the next step or second asking is due."""
        return await self._db.read(_next_at)

    async def spent(self, now: float) -> int:
        """Give the credits that refreshes cost on the UTC day of `now`."""
        return await self._db.read(lambda connection: _spent(connection, now))

    async def standing(self, now: float) -> Schedule:
        """Tell how the schedule stands."""
        return await self._db.read(partial(_standing, now=now))

    async def wish(self, source: str, steps: str | None) -> bool:
        """Set the steps of one source's posts (None: the archive's default); False for an unknown source."""
        return await self._db.write(partial(_wish, source=source, steps=steps))

    async def forget_plan(self) -> None:
        """Have every post planned anew: the archive's default changed."""
        await self._db.write(lambda connection: connection.execute(_FORGET))


def _plan(connection: Connection, default: str, now: float) -> int:
    rows = connection.execute(_UNPLANNED).all()
    if rows:
        wishes = _wishes(connection, [row.aweme_id for row in rows])
        steps = {row.aweme_id: wishes.get(row.aweme_id, read_steps(default)) for row in rows}
        plans = [(row.aweme_id, next_due(row.archived_at, steps[row.aweme_id], now)) for row in rows]
        connection.execute(_PLAN, [{"id": aweme_id, "next": at} for aweme_id, at in plans])
    return len(rows)


def _wishes(connection: Connection, ids: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """Give the steps of posts whose sources name some: all of them together."""
    told: dict[str, set[float]] = {}
    for aweme_id, wish in connection.execute(_WISHES, {"ids": list(ids)}):
        told.setdefault(aweme_id, set()).update(read_steps(wish))
    return {aweme_id: tuple(sorted(steps)) for aweme_id, steps in told.items()}


@dataclass(frozen=True, slots=True)
class _Claim:
    """One claiming transaction. `budget` None: no cap."""

    connection: Connection
    worker: str
    now: float
    until: float
    budget: int | None

    def due(self, n: int) -> list[Refresh]:
        """Take the most valuable due posts."""
        if (n := min(n, self._room(n))) <= 0:
            return []
        rows = self.connection.execute(_DUE, {"now": self.now}).all()
        due = [DueRefresh(row.aweme_id, _born(row.aweme_id), row.plays_per_day, row.next_at) for row in rows]
        return [self._take(each.aweme_id, doubted=False) for each in most_valuable(due, n, self.now)]

    def doubts(self, n: int) -> DoubtRound:
        """Take doubted posts and their neighbours: nothing when the budget is too small for neighbours."""
        room = self._room(n + 2)
        ids = self.connection.execute(_DOUBTED, {"now": self.now, "n": max(room - 2, 0)}).scalars().all()
        if not ids:
            return DoubtRound()
        pool = list(self.connection.execute(_NEIGHBOURS, {"now": self.now}).scalars())
        # Others each minute: one that was really deleted must not speak for every round.
        first = int(self.now // 60) % len(pool) if pool else 0
        near = (pool[first:] + pool[:first])[:2]
        return DoubtRound(
            tuple(self._take(aweme_id, doubted=True) for aweme_id in ids),
            tuple(self._take(aweme_id, doubted=False) for aweme_id in near),
        )

    def _room(self, n: int) -> int:
        if self.budget is None:
            return n
        # The row must be there to be locked: else two processes could both find the same credit unspent.
        self.connection.execute(_GUARD_ROW(self.connection), {"name": _LOCK, "next_at": 0.0, "throttles": 0})
        self.connection.execute(_GUARD)
        under_way = int(self.connection.execute(_OPEN, {"now": self.now}).scalar_one())
        return min(n, self.budget - _spent(self.connection, self.now) - under_way)

    def _take(self, aweme_id: str, *, doubted: bool) -> Refresh:
        told = {"id": aweme_id, "by": self.worker, "until": self.until}
        return Refresh(AwemeId(aweme_id), self.connection.execute(_TAKE, told).scalar_one(), doubted)


def _born(aweme_id: str) -> float:
    return float(created_second(AwemeId(aweme_id)))


def _alive(connection: Connection, refresh: Refresh, post: Post, now: float, default: str) -> bool:
    told = _settling(connection, refresh, now, default)
    connection.execute(_ALIVE, told)
    if withheld.withheld(connection, [post.aweme_id]):  # since it was asked for
        return False
    measure(connection, [post], now, _FEED)
    authors.meet(connection, [authors.Met(post.author, now)])
    return availability.answered(connection, post.aweme_id, now)


def _missing(connection: Connection, refresh: Refresh, reason: Reason, now: float, default: str) -> bool:
    told = _settling(connection, refresh, now, default)
    if availability.still_gone(connection, refresh.aweme_id, now, reason):
        connection.execute(_STILL_GONE, told)
        return False
    again_at = doubted_again_at(connection.execute(_DOUBTED_AT, told).scalar(), now)
    connection.execute(_DOUBT, told | {"again": again_at, "why": reason})
    return True


def _settling(connection: Connection, refresh: Refresh, now: float, default: str) -> dict[str, object]:
    archived_at = connection.execute(_ARCHIVED_AT, {"id": refresh.aweme_id}).scalar()
    steps = _wishes(connection, [refresh.aweme_id]).get(refresh.aweme_id, read_steps(default))
    next_at = next_due(archived_at, steps, now) if archived_at is not None else None
    return {"id": refresh.aweme_id, "t": refresh.token, "now": now, "next": next_at}


def _vanished(connection: Connection, ids: Sequence[str], now: float) -> int:
    rows = connection.execute(_DOUBTS, {"ids": ids}).all()
    new = sum(availability.vanished(connection, row.aweme_id, row.doubted_at, now, row.doubt_reason) for row in rows)
    connection.execute(_SETTLED, {"ids": ids})
    return new


def _next_at(connection: Connection) -> float | None:
    found = (connection.execute(each).scalar() for each in (_NEXT, _NEXT_DOUBT))
    return min((at for at in found if at is not None), default=None)


def _spent(connection: Connection, now: float) -> int:
    return int(connection.execute(_SPENT, {"day": read_iso_time(f"{utc_day(now)}T00:00:00Z")}).scalar_one())


def _standing(connection: Connection, now: float) -> Schedule:
    due, doubted, planned = (int(connection.execute(each, {"now": now}).scalar_one()) for each in _COUNTS)
    return Schedule(_spent(connection, now), due, doubted, planned, _next_at(connection))


def _wish(connection: Connection, source: str, steps: str | None) -> bool:
    if connection.execute(_WISH, {"name": source, "wish": steps}).rowcount != 1:
        return False
    connection.execute(_FORGET_OF, {"name": source})
    return True

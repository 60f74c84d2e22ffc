"""Who works on the archive, on whatever machine: one row a process, written anew every few seconds while it works.

For people and for the size of a fleet. Must not: say who is dead. What a silent member holds is taken over
when its leases run out, or when the lock files of its own machine show that it died.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, bindparam, delete, func, literal_column, select, update
from sqlalchemy.dialects.sqlite import Insert

from clipledger.core.model import State
from clipledger.db import standing
from clipledger.db.database import Database
from clipledger.db.engine import InsertInto, per_dialect
from clipledger.db.switches import PAUSE, PAUSED, Switch
from clipledger.db.tables import UtcTime, archive_queue, sources, switches, workers


@dataclass(frozen=True, slots=True)
class Sign:
    """What a process tells of itself. Rates are of the last minute; `spent` is credits, as far as known."""

    worker: str
    host: str
    pid: int
    roles: str
    began_at: float
    seen_at: float
    in_flight: int
    captured: int
    bytes: int
    spent: int
    videos_per_min: float
    credits_per_min: float


@dataclass(frozen=True, slots=True)
class Member(Sign):
    """One process as the table holds it. `stop`: 0 nobody asked, 1 asked to finish, 2 asked to drop its work."""

    stop: int


@dataclass(frozen=True, slots=True)
class Orders:
    """What the operator wants of one process: how to stop (`Member.stop`), the pause, sources not to be read.

    `work`: something is due, or stored and not in the index, so that whoever rests should look.
    """

    stop: int
    pause: Switch | None
    paused_sources: frozenset[str]
    work: bool


@dataclass(frozen=True, slots=True)
class Leases:
    """What a worker holds, and when the first of it runs out."""

    worker: str
    count: int
    first_until: float | None


_w, _q = workers, archive_queue


@per_dialect
def _sign(insert: InsertInto) -> Insert:
    statement = insert(_w)
    fresh = {name: statement.excluded[name] for name in Sign.__slots__ if name != "worker"}
    return statement.on_conflict_do_update(index_elements=["worker"], set_=fresh)


_STOP = select(_w.c.stop).where(_w.c.worker == bindparam("who"))
_PAUSE = select(switches).where(switches.c.name == PAUSE, switches.c.state == PAUSED)
_PAUSED_SOURCES = select(sources.c.source).where(
    sources.c.paused_at.is_not(None), sources.c.source.in_(bindparam("names", expanding=True))
)
_ALL = select(_w).order_by(_w.c.host, _w.c.began_at, _w.c.worker)
_REMOVE = delete(_w).where(_w.c.worker == bindparam("who"))
_FORGET = delete(_w).where(_w.c.seen_at < bindparam("before", type_=UtcTime))
_ASK = update(_w).where(_w.c.worker.in_(bindparam("whom", expanding=True))).values(stop=bindparam("how"))
_LEASES = (
    select(_q.c.worker, func.count(), func.min(_q.c.lease_until))
    .where(
        _q.c.state.in_([literal_column("'running'"), literal_column("'stored'")]),  # the words of archive_queue_open
        _q.c.state == State.RUNNING,
    )
    .group_by(_q.c.worker)
    .order_by(_q.c.worker)
)


class Members:
    """The table `workers`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def sign(self, sign: Sign, reading: Sequence[str] = ()) -> Orders:
        """Write one process's row and hear what is wanted of it; `reading` names the sources it lists now."""
        return await self._db.write(lambda connection: _signed(connection, sign, reading))

    async def orders(self, worker: str, at: float, reading: Sequence[str] = ()) -> Orders:
        """Hear what is wanted of a process, as `sign` does, and write nothing."""
        return await self._db.read(lambda connection: _orders(connection, worker, at, reading))

    async def remove(self, worker: str) -> None:
        """Take a process out that left, or is known to be dead."""
        await self._db.write(lambda connection: connection.execute(_REMOVE, {"who": worker}))

    async def forget(self, before: float) -> int:
        """Drop the rows of processes that were seen last before a moment; return how many."""
        return await self._db.write(lambda connection: connection.execute(_FORGET, {"before": before}).rowcount)

    async def all(self) -> list[Member]:
        """List the processes by host and age."""
        return await self._db.read(lambda connection: [Member(*row) for row in connection.execute(_ALL)])

    async def ask_to_stop(self, names: Sequence[str], how: int) -> int:
        """Ask processes to stop (`Member.stop`); return how many were found."""
        asked = {"whom": list(names), "how": how}
        return await self._db.write(lambda connection: connection.execute(_ASK, asked).rowcount)

    async def leases(self) -> list[Leases]:
        """Count the videos under lease, by worker."""
        return await self._db.read(
            lambda connection: [Leases(row[0] or "", row[1], row[2]) for row in connection.execute(_LEASES)]
        )


def _signed(connection: Connection, sign: Sign, reading: Sequence[str]) -> Orders:
    connection.execute(_sign(connection), asdict(sign))
    return _orders(connection, sign.worker, sign.seen_at, reading)


def _orders(connection: Connection, worker: str, at: float, reading: Sequence[str]) -> Orders:
    pause = connection.execute(_PAUSE).one_or_none()
    paused = connection.execute(_PAUSED_SOURCES, {"names": list(reading)}).scalars().all() if reading else ()
    return Orders(
        connection.execute(_STOP, {"who": worker}).scalar() or 0,
        Switch(*pause) if pause is not None else None,
        frozenset(paused),
        standing.calls_for_work(connection, at),
    )

"""The one row per limiter that every process shares: when the next call may go, who must wait.

Must not: sleep, or know who calls. The arithmetic is `core.pace`.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, select, update

from clipledger.core.pace import Reservation, believed_pause, pause, reserve
from clipledger.db.database import Database
from clipledger.db.engine import per_dialect
from clipledger.db.tables import UtcTime, limits


@dataclass(frozen=True, slots=True)
class Pace:
    """The shared row as it stands: unix seconds, and how many 429 came in a row."""

    next_at: float
    paused_until: float
    throttles: int


_OPEN = per_dialect(lambda insert: insert(limits).on_conflict_do_nothing())
_READ = (
    select(limits.c.next_at, limits.c.paused_until, limits.c.throttles)
    .where(limits.c.name == bindparam("which"))
    .with_for_update()
)
_LOOK = select(limits.c.next_at, limits.c.paused_until, limits.c.throttles).where(limits.c.name == bindparam("which"))
_MOVE = update(limits).where(limits.c.name == bindparam("which")).values(next_at=bindparam("at", type_=UtcTime))
_PAUSE = (
    update(limits)
    .where(limits.c.name == bindparam("which"))
    .values(paused_until=bindparam("until", type_=UtcTime), throttles=bindparam("count"))
)
_RECOVER = update(limits).where(limits.c.name == bindparam("which")).values(throttles=0)


class PaceRow:
    """The row of one limiter in `limits`."""

    def __init__(self, db: Database, name: str) -> None:
        self._db = db
        self._name = name
        self._ours: float | None = None  # where we left the row with spaced moments

    async def reserve(self, permits: int, now: float, per_minute: int) -> tuple[Reservation, int]:
        """Take the next `permits` moments, none before a pause ends; also tell the throttles in a row."""
        told = await self._db.write(lambda connection: self._reserve(connection, permits, now, per_minute))
        self._ours = told[0].next_at if told[0].spaced else None
        return told

    async def throttle(self, now: float, retry_after_s: float | None, jitter: float) -> tuple[float, int]:
        """Pause everybody after a 429; return until when, and the throttles in a row.

        A 429 that comes while the pause lasts belongs to the same burst: it may prolong the pause
        and counts no further.
        """
        return await self._db.write(lambda connection: self._throttle(connection, now, retry_after_s, jitter))

    async def paused(self) -> tuple[float, int]:
        """Tell until when everybody waits (unix seconds, 0 for never), and the throttles in a row."""
        found = await self._db.read(lambda connection: connection.execute(_LOOK, {"which": self._name}).one_or_none())
        return (found.paused_until or 0.0, found.throttles) if found is not None else (0.0, 0)

    async def recover(self) -> None:
        """Start the count of throttles anew."""
        await self._db.write(lambda connection: connection.execute(_RECOVER, {"which": self._name}))

    async def look(self) -> Pace | None:
        """Read the row without taking anything; None before the first call."""
        row = await self._db.read(lambda connection: connection.execute(_LOOK, {"which": self._name}).one_or_none())
        return Pace(row[0], row[1] or 0.0, row[2]) if row is not None else None

    def _reserve(self, connection: Connection, permits: int, now: float, per_minute: int) -> tuple[Reservation, int]:
        row = self._read(connection, now)
        taken = reserve(row.next_at, now, permits, per_minute, ours=self._ours, not_before=row.paused_until)
        connection.execute(_MOVE, {"which": self._name, "at": taken.next_at})
        return taken, row.throttles

    def _throttle(
        self, connection: Connection, now: float, retry_after_s: float | None, jitter: float
    ) -> tuple[float, int]:
        row = self._read(connection, now)
        throttles = row.throttles + (row.paused_until <= now or not row.throttles)
        until = max(row.paused_until, pause(throttles, now, retry_after_s, jitter))
        connection.execute(_PAUSE, {"which": self._name, "until": until, "count": throttles})
        return until, throttles

    def _read(self, connection: Connection, now: float) -> Pace:
        found = connection.execute(_READ, {"which": self._name}).one_or_none()
        if found is None:
            connection.execute(_OPEN(connection), {"name": self._name, "next_at": 0.0})  # nobody ever called
            found = connection.execute(_READ, {"which": self._name}).one()
        next_at, paused_until, throttles = found
        return Pace(next_at, believed_pause(paused_until or 0.0, now), throttles)

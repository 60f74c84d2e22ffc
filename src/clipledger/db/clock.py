"""One clock for all machines of an archive: the database server's.

Leases, due times and the shared pace compare moments that different machines wrote down, and the proof of
the pace (`core.pace`) needs one clock. So each machine measures how far its own is off, and corrects it.
Must not: be used for SQLite, where there is one machine, or in simulated time.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from clipledger.core.errors import Misconfigured
from clipledger.core.ports import Clock
from clipledger.db.database import Database
from clipledger.db.tables import UtcTime

WARN_S, REFUSE_S = 2.0, 30.0
"""Off by more than this: worth a word; not to be worked with, since file times and signed links are compared too."""

EVERY_S = 60.0
"""How often a run measures again: a quartz drifts by up to 6 ms in that time (100 ppm)."""

_SAMPLES = 5
_NOW = select(func.clock_timestamp(type_=UtcTime))


@dataclass(frozen=True, slots=True)
class Skew:
    """How far the database's clock is ahead of ours, seconds; wrong by at most half of `latency_s`."""

    ahead_s: float
    latency_s: float


class SharedClock:
    """The database's clock: our own, corrected by what was measured last."""

    def __init__(self, own: Clock) -> None:
        self._own = own
        self.skew = Skew(0.0, 0.0)

    def now(self) -> float:
        """Tell unix seconds by the database's clock."""
        return self._own.now() + self.skew.ahead_s

    async def sleep(self, seconds: float) -> None:
        """Sleep."""
        await self._own.sleep(seconds)

    async def set_by(self, db: Database) -> None:
        """Measure; Misconfigured when the clocks are further apart than `REFUSE_S`."""
        skew = await db.read(lambda connection: measure(connection, self._own))
        if abs(skew.ahead_s) > REFUSE_S:
            way = "behind" if skew.ahead_s > 0 else "ahead of"
            raise Misconfigured(
                f"this machine's clock is {abs(skew.ahead_s):.0f} s {way} the database server's: set both by NTP"
            )
        self.skew = skew

    async def keep(self, db: Database) -> None:
        """Measure again and again, for ever."""
        while True:
            await self._own.sleep(EVERY_S)
            await self.set_by(db)


def measure(connection: Connection, own: Clock) -> Skew:
    """Ask the server for the time, a few times; believe the quickest answer."""
    samples = []
    for _ in range(_SAMPLES):
        asked_at = own.now()
        told: float = connection.execute(_NOW).scalar_one()
        answered_at = own.now()
        samples.append(Skew(told - (asked_at + answered_at) / 2, answered_at - asked_at))
    return min(samples, key=lambda sample: sample.latency_s)

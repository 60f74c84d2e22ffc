"""Pace shared through the database: `permit` returns when one call may be sent, by any process.

A moment is reserved in the shared row, waited for, and used at once; one that came too late is
thrown away, since the limit's proof (`core.pace`) needs calls at their moments. Must not: know
the database, or what is called.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import nullcontext
from typing import Protocol

from clipledger.core.pace import LATE_S, PAUSE_CAP_S, Reservation, permit_is_late, permits_per_reservation
from clipledger.core.ports import Clock


class SharedRow(Protocol):
    """What all limiters of one name share; `db.paces.PaceRow`. A Protocol since db and limits are strangers."""

    async def reserve(self, permits: int, now: float, per_minute: int) -> tuple[Reservation, int]:
        """Take the next moments; also tell the throttles in a row."""
        ...

    async def throttle(self, now: float, retry_after_s: float | None, jitter: float) -> tuple[float, int]:
        """Pause everybody; return until when, and the throttles in a row."""
        ...

    async def recover(self) -> None:
        """Start the count of throttles anew."""
        ...


class SharedPause(Protocol):
    """The part of a shared row that a pause needs; `db.paces.PaceRow` again."""

    async def paused(self) -> tuple[float, int]:
        """Tell until when everybody waits, and the throttles in a row."""
        ...

    async def throttle(self, now: float, retry_after_s: float | None, jitter: float) -> tuple[float, int]:
        """Pause everybody; return until when, and the throttles in a row."""
        ...

    async def recover(self) -> None:
        """Start the count of throttles anew."""
        ...


LAG_MAX_S = 10.0
"""The slowest reservation that is reckoned with: so long a busy SQLite is waited for."""

LOOK_S = 1.0
"""How old the last look at a shared pause may be: so long the others may go on after one was throttled."""


class Pause:
    """One process's part in a pause that everybody keeps, where there is no pace: nothing is paid per call."""

    def __init__(self, row: SharedPause, clock: Clock) -> None:
        self._row, self._clock = row, clock
        self._until, self._throttles, self._looked_at = 0.0, 0, float("-inf")

    async def over(self) -> None:
        """Return when nobody is asked to wait."""
        while True:
            now = self._clock.now()
            if not 0 <= now - self._looked_at < LOOK_S:
                self._looked_at = now
                self._until, self._throttles = await self._row.paused()
            if (left_s := min(self._until, now + PAUSE_CAP_S) - now) <= 0:
                return
            await self._clock.sleep(left_s)

    async def throttled(self, retry_after_s: float | None, jitter: float) -> float | None:
        """Pause everybody: doubling from 5 s to 300 s. Gives the seconds when this began the pause, else None."""
        now = self._clock.now()
        lasted = self._until > now
        self._until, self._throttles = await self._row.throttle(now, retry_after_s, jitter)
        return None if lasted else self._until - now

    async def succeeded(self) -> None:
        """End the doubling, once the pause is over; costs a write only after a throttle."""
        if self._throttles and self._clock.now() >= self._until:
            self._throttles = 0
            await self._row.recover()


class Limiter:
    """One process's door to a shared pace of `per_minute` calls."""

    def __init__(self, row: SharedRow, per_minute: int, clock: Clock) -> None:
        self._row = row
        self._per_minute = per_minute
        self._clock = clock
        self._line, self._turn = asyncio.Lock(), asyncio.Lock()  # first come, first served
        self._waiting = 0
        self._moments: deque[float] = deque()
        self._paused_until = 0.0
        self._throttles = 0
        self._lag_s = 0.0  # how long the last reservation took, when that was so long that its moment was in danger

    async def permit(self, *, urgent: bool = False) -> float:
        """Return when one call may be sent, which must be sent at once; give its moment. First come, first served.

        `urgent` goes past all who stand in line but the first. A waiter that is cancelled leaves its
        moment to the next one.
        """
        self._waiting += 1
        try:
            async with nullcontext() if urgent else self._line, self._turn:
                while (moment := await self._moment_came()) is None:
                    pass
                return moment
        finally:
            self._waiting -= 1

    async def still(self, moment: float) -> None:
        """Return at once while the permit of `moment` is good; else wait for another, as first in line."""
        while permit_is_late(moment, self._clock.now()):
            moment = await self.permit(urgent=True)

    async def throttled(self, retry_after_s: float | None, jitter: float) -> None:
        """Pause everybody after a 429: doubling from 5 s to 300 s, or as long as it asks."""
        told = await self._row.throttle(self._clock.now(), retry_after_s, jitter)
        self._paused_until, self._throttles = told

    async def succeeded(self) -> None:
        """End the doubling, once the pause is over; costs a write only after a 429."""
        if self._throttles and self._clock.now() >= self._paused_until:
            self._throttles = 0
            await self._row.recover()

    async def _moment_came(self) -> float | None:
        if not self._moments:
            await self._reserve()
        at = self._moments[0]
        if self._is_good(at):
            await self._sleep_until(at)
        self._moments.popleft()
        return at if self._is_good(at) else None

    async def _reserve(self) -> None:
        waiting = 1 if self._throttles else self._waiting  # after a 429 one goes first, and no group behind a pause
        permits = permits_per_reservation(self._per_minute, waiting)
        asked_at = self._clock.now()
        taken, self._throttles = await self._row.reserve(permits, asked_at + self._lag_s, self._per_minute)
        took_s = self._clock.now() - asked_at
        self._lag_s = min(took_s, LAG_MAX_S) if took_s >= LATE_S / 2 else 0.0  # else each came late, and none was used
        self._moments.extend(taken.moments)

    def _is_good(self, at: float) -> bool:
        return at >= self._paused_until and not permit_is_late(at, self._clock.now())

    async def _sleep_until(self, at: float) -> None:
        # A timer may fire a little early, and an early call would break the limit's proof.
        while (left_s := at - self._clock.now()) > 0:
            await self._clock.sleep(left_s)

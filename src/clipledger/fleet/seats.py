"""Where a fleet's processes sit: the contract of a set of seats, and the seats of this machine.

Must not: decide how many seats there are, or what their endings mean.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from clipledger.fleet.errand import Errand
from clipledger.fleet.seat import Ended, Seat


class Seats(Protocol):
    """Start processes somewhere and tell how each ended.

    `start` gives a name that no other seat has. `ended` gives every ending once. `stop` asks one process
    to finish, or with `cut` to drop its work; for a seat that has ended it does nothing. `close` kills
    what is left. All may raise `SeatsLost`: then nothing is known of any seat.
    """

    async def start(self, errand: Errand) -> str: ...  # noqa: D102 - the contract is above
    async def ended(self) -> dict[str, Ended]: ...  # noqa: D102
    async def stop(self, seat: str, *, cut: bool) -> None: ...  # noqa: D102
    async def close(self) -> None: ...  # noqa: D102


class SeatsLost(Exception):
    """Whoever places the seats cannot be reached any more."""


@dataclass(frozen=True, slots=True)
class _Taken:
    seat: Seat
    end: asyncio.Future[Ended]


class LocalSeats:
    """Seats on this machine: child processes, each watched by a thread."""

    def __init__(self, most: int, new_seat: Callable[[], Seat] = Seat) -> None:
        self._threads = ThreadPoolExecutor(most, "clipledger-seat")
        self._new_seat = new_seat
        self._numbers = itertools.count(1)
        self._taken: dict[str, _Taken] = {}

    async def start(self, errand: Errand) -> str:
        """Start a child process."""
        name, seat = f"seat-{next(self._numbers)}", self._new_seat()
        self._taken[name] = _Taken(seat, asyncio.get_running_loop().run_in_executor(self._threads, seat.work, errand))
        return name

    async def ended(self) -> dict[str, Ended]:
        """Tell which ended since the last look."""
        over = {name: taken.end.result() for name, taken in self._taken.items() if taken.end.done()}
        for name in over:
            del self._taken[name]
        return over

    async def stop(self, seat: str, *, cut: bool) -> None:
        """Ask a child to stop."""
        if (taken := self._taken.get(seat)) is not None:
            taken.seat.stop(cut=cut)

    async def close(self) -> None:
        """Have every child drop its work, and wait until all are gone."""
        for taken in self._taken.values():
            taken.seat.stop(cut=True)
        if ends := [taken.end for taken in self._taken.values()]:
            await asyncio.wait(ends)
        self._threads.shutdown()

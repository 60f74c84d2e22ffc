"""Keep as many processes at work as there is work for; replace those that die; stop them in two steps.

All state is in the database: a supervisor that starts anew goes on where the last one stood.
Must not: know where a seat is, or what a process does.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from clipledger.core.ports import Clock
from clipledger.core.scaling import Bounds, Load, Size, resize
from clipledger.events import Events
from clipledger.fleet.errand import Errand
from clipledger.fleet.seat import Ended
from clipledger.fleet.seats import Seats
from clipledger.worker import Stop, wait_for

TICK_S = 0.5
"""How often endings are looked for; a dead process is replaced within a few of these."""

LOOK_S = 5.0
"""How often the database is asked how much there is to do."""

DEATHS_MAX, DEATHS_WITHIN_S = 10, 60.0
"""More deaths than this for each seat, in so short a time, are no accident: the fleet ends."""

_IN_ORDER = (0, 3)
_STOPPED = 130
_BUG = 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a fleet ended: `code` None when every process ended in good order, else the first that did not.

    `totals` adds up the numbers of the summaries; a process that was killed told none.
    """

    code: int | None
    why: str
    started: int
    deaths: int
    totals: Mapping[str, int]


@dataclass(slots=True)
class _Course:
    """What has happened so far."""

    started: int = 0
    deaths: int = 0
    lately: deque[float] = field(default_factory=deque)
    finished: bool = False  # one found nothing due: no more are started, but for the dead
    halted: Ended | None = None
    totals: Counter[str] = field(default_factory=Counter)


class Supervisor:
    """Run one errand in as many seats as it takes. `follow`: until stopped; else until nothing is due."""

    def __init__(
        self,
        seats: Seats,
        errand: Errand,
        bounds: Bounds,
        load: Callable[[], Awaitable[Load]],
        clock: Clock,
        events: Events,
        *,
        follow: bool,
        bereaved: Callable[[], Awaitable[None]],
    ) -> None:
        self._seats, self._errand, self._bounds, self._load = seats, errand, bounds, load
        self._clock, self._events, self._follow, self._bereaved = clock, events, follow, bereaved
        self._sitting: list[str] = []
        self._dismissed: set[str] = set()  # asked to leave, since there are too many
        self._vacant = 0  # seats of the dead
        self._course = _Course()
        self._size = Size(bounds.least)
        self._looked_at = 0.0
        self._steps_told = 0

    async def run(self, stop: Stop) -> Outcome:
        """Supervise until all is done, stopped, or halted by what no new process would cure."""
        self._events.emit("fleet_size", workers=self._size.workers, was=0)
        while True:
            await self._reap(stop)
            await self._pass_on(stop)
            if not stop:
                await self._fill()
            if not self._sitting and (stop or self._course.finished):
                return self._outcome()
            await wait_for(stop.wake, TICK_S)
            stop.wake.clear()

    async def _reap(self, stop: Stop) -> None:
        for seat, ended in (await self._seats.ended()).items():
            self._sitting.remove(seat)
            self._dismissed.discard(seat)
            numbers = {name: told for name, told in ended.summary.items() if type(told) is int}
            self._course.totals.update(numbers)
            if _is_death(ended):
                await self._mourn(seat, ended, stop)
            elif ended.code in _IN_ORDER:
                self._course.finished |= not self._follow
            elif ended.code != _STOPPED:
                self._halt(seat, ended, stop)

    async def _mourn(self, seat: str, ended: Ended, stop: Stop) -> None:
        """Count a death and have what it held released; too many in a row end the fleet."""
        course, now = self._course, self._clock.now()
        course.deaths += 1
        self._vacant += 1
        course.lately.append(now)
        while course.lately[0] < now - DEATHS_WITHIN_S:
            course.lately.popleft()
        if not stop:
            self._events.emit("worker_died", seat=seat, how=_how(ended), why=ended.why)
            await self._bereaved()
        if len(course.lately) > DEATHS_MAX * self._bounds.most:
            self._halt(seat, Ended(_BUG, f"{len(course.lately)} processes died within a minute: {_how(ended)}"), stop)

    def _halt(self, seat: str, ended: Ended, stop: Stop) -> None:
        if self._course.halted is None:
            self._course.halted = ended
            self._events.emit("halted", seat=seat, code=ended.code, why=ended.why)
        if not stop:
            stop.step()

    async def _pass_on(self, stop: Stop) -> None:
        while self._steps_told < stop.steps:
            self._steps_told += 1
            for seat in self._sitting:
                await self._seats.stop(seat, cut=self._steps_told == 2)

    async def _fill(self) -> None:
        now = self._clock.now()
        if now - self._looked_at >= LOOK_S and not self._course.finished:
            self._looked_at = now
            size = resize(self._size, await self._load(), self._bounds, now)
            if size.workers != self._size.workers:
                self._events.emit("fleet_size", workers=size.workers, was=self._size.workers)
            self._size = size
        for _ in range(self._missing()):
            self._sitting.append(await self._seats.start(self._errand))
            self._course.started += 1
        for seat in self._staying()[self._size.workers :]:
            self._dismissed.add(seat)
            await self._seats.stop(seat, cut=False)

    def _missing(self) -> int:
        """Say how many seats are to be taken: up to the size; once one found nothing due, only for the dead."""
        vacant, self._vacant = self._vacant, 0
        return vacant if self._course.finished else max(self._size.workers - len(self._staying()), 0)

    def _staying(self) -> list[str]:
        return [seat for seat in self._sitting if seat not in self._dismissed]

    def _outcome(self) -> Outcome:
        course, halted = self._course, self._course.halted
        code, why = (halted.code, halted.why) if halted is not None else (None, "")
        return Outcome(code, why, course.started, course.deaths, course.totals)


def _is_death(ended: Ended) -> bool:
    return ended.code is None or ended.code < 0 or ended.code == _BUG


def _how(ended: Ended) -> str:
    if ended.code is None:
        return "its seat was lost"
    return f"signal {-ended.code}" if ended.code < 0 else f"exit {ended.code}"

"""The worker: claim, act, settle; and stop in two steps.

The first stop request ends claiming, and buying for what stands in line; what is paid for has `GRACE_S` to finish;
the second cuts. Whatever was not settled by then is given back, uncounted. A bug leaves through the TaskGroup: loudly,
and counted against the one video that met it. The only TaskGroup over jobs, the only `except` over stages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

from clipledger.core.errors import (
    CapReached,
    ClipledgerError,
    Halt,
    LeaseLost,
    NotSent,
    SameBytes,
    StorageFull,
    StorageGone,
    StorageUnavailable,
    Throttled,
    TooManyOpenFiles,
)
from clipledger.core.lifecycle import Policy, Settlement, after_failure, given_back
from clipledger.core.model import AwemeId, Job, State
from clipledger.core.ports import Clock
from clipledger.core.times import until_next
from clipledger.db.queue import Queue
from clipledger.events import Events
from clipledger.stages.company import Company
from clipledger.stages.detail import Attempt
from clipledger.stages.download import Captured, Download
from clipledger.stages.easing import Easing
from clipledger.stages.guard import Guard

GRACE_S = 20.0
"""How long work under way may go on after the first stop request."""

LOOK_S = 5.0
"""How often the clock is looked at for a beat: after a sleep of the machine every lease has run out."""

ROOM_S = 1.0
"""How old the last look at the free space may be when work is claimed."""

GATHER_S = 0.005
"""Those that end within this are replaced by one claim: a statement costs the same for one and for ten."""

_TICK_S = 30.0


@dataclass(slots=True)
class Tally:
    """What this process did, and what halted it."""

    captured: int = 0
    adopted: int = 0
    archived: int = 0
    failed: int = 0
    bytes: int = 0
    unconfirmed: int = 0
    lost: int = 0
    halted: Halt | None = None


@dataclass(slots=True)
class Stop:
    """The two steps. `asked`: claim nothing more. `cut`: drop what is under way.

    `wake`: there may be something to claim. `due`: there may be something for whoever rests. `stored`: there may be
    something to index. A stop sets all three, so that nobody sleeps through it.
    """

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    cut: asyncio.Event = field(default_factory=asyncio.Event)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    due: asyncio.Event = field(default_factory=asyncio.Event)
    stored: asyncio.Event = field(default_factory=asyncio.Event)

    def __bool__(self) -> bool:
        return self.asked.is_set()

    @property
    def steps(self) -> int:
        """Count the steps taken: 0, 1 or 2."""
        return self.asked.is_set() + self.cut.is_set()

    def step(self) -> None:
        """Ask to stop; when that was asked before, cut."""
        if self.asked.is_set():
            self.cut.set()
        self.asked.set()
        for event in (self.wake, self.due, self.stored):
            event.set()


class Cut(Exception):
    """Leave a TaskGroup by cancelling what is in it."""


@dataclass(frozen=True, slots=True)
class Caps:
    """Where this process stops by itself; None for no cap."""

    videos: int | None = None
    bytes: int | None = None


class Worker:
    """Capture videos of one archive, `slots` at a time. `jitter` gives numbers in 0..1."""

    def __init__(
        self,
        name: str,
        queue: Queue,
        guard: Guard,
        download: Download,
        clock: Clock,
        events: Events,
        policy: Policy,
        *,
        slots: int,
        lease_s: float,
        caps: Caps,
        jitter: Callable[[], float],
        check_room: Callable[[], Awaitable[None]],
    ) -> None:
        self.name, self.tally, self.stop = name, Tally(), Stop()
        self.held = False  # claim nothing for now; what is under way goes on
        self.waits = False  # a full disk is raised by `work`, for the caller to wait out, instead of ending the run
        self._queue, self._guard, self._download = queue, guard, download
        self._clock, self._events, self._policy = clock, events, policy
        self._slots, self._lease_s, self._caps, self._jitter = slots, lease_s, caps, jitter
        self._largest_bytes = 0
        self._open: dict[tuple[AwemeId, int], Attempt] = {}  # by token too: one may begin before its last try is noted
        self._dropped: list[Attempt] = []
        self._unwritten: list[Settlement] = []  # verdicts that a full disk refused
        self._full: StorageFull | None = None
        self._check_room, self._room_at = check_room, float("-inf")
        self._easing = Easing(slots)
        self._company = Company()

    @property
    def in_flight(self) -> int:
        """How many videos are under way."""
        return len(self._open)

    def halt(self, halt: Halt) -> None:
        """End the run in good order; the first halt is the one reported."""
        if self.tally.halted is None:
            self.tally.halted = halt
            self._events.emit("halted", reason=halt.reason, why=halt.detail)
        self.stop.asked.set()
        self.stop.wake.set()
        self.stop.due.set()

    async def work(self, more: Callable[[], Awaitable[bool]]) -> None:
        """Claim and act until `more` says that nothing else will be due; every job has ended by then.

        `more` is awaited when nothing could be claimed and nothing is under way; it sleeps as it sees
        fit. Raises Outage when the breaker opens, CapReached at a cap.
        """
        while not self.stop:
            await self._work_off(more)
            if self.stop:
                return
            self.tally.unconfirmed = await self._guard.close()
            if not await self._queue.due_count(self._clock.now(), 1):
                return  # no suspect is to be asked again

    async def _work_off(self, more: Callable[[], Awaitable[bool]]) -> None:
        self._full = None
        await self._write_verdicts()
        try:
            async with asyncio.TaskGroup() as jobs:
                cutter = jobs.create_task(self._cutter())
                try:
                    await self._claim_all(jobs, more)
                finally:
                    await self._let_finish()
                    if not self.stop.cut.is_set():
                        cutter.cancel()
        except* Cut:
            pass
        finally:
            await self._give_back_dropped()

    async def beat(self) -> None:
        """Renew the leases of what is under way after a third of a lease, at the latest after half of it, for ever.

        By the wall clock: a machine that slept for hours renews within `LOOK_S` of waking.
        """
        while True:
            renewed_at = self._clock.now()
            while self._clock.now() - renewed_at < self._lease_s / 3:
                await self._clock.sleep(until_next(self._clock.now(), min(self._lease_s / 6, LOOK_S)))
            await self.renew()

    async def renew(self) -> None:
        """Renew the leases of what is under way, now."""
        if jobs := [attempt.job for attempt in self._open.values()]:
            await self._queue.renew(jobs, self._clock.now(), self._lease_s)

    async def _claim_all(self, jobs: asyncio.TaskGroup, more: Callable[[], Awaitable[bool]]) -> None:
        while not self.stop:
            self.stop.wake.clear()
            room = 0 if self.held else await self._room()
            claimed = await self._claim(room) if room else []
            for job in claimed:
                self._begin(jobs, Attempt(job, self.stop.asked.is_set))
            if claimed:
                continue
            if self._open:
                await wait_for(self.stop.wake, _TICK_S)
            elif not await more():
                return
            if self._open:
                await self._clock.sleep(GATHER_S)

    async def _room(self) -> int:
        """Say how many may be claimed now: free slots, fewer while the breaker probes, within the caps.

        Raises StorageFull when the disk has no room for them.
        """
        await self._look_for_room()
        room = min(self._slots, self._easing.allowed) - self.in_flight
        admitted = await self._guard.admit(self.in_flight)
        if admitted is not None:
            room = min(room, admitted)
        if self._caps.bytes is not None:
            room = min(room, self._posts_within(self._caps.bytes) - self.in_flight)
        if self._caps.videos is not None:
            if self.tally.captured >= self._caps.videos:
                raise CapReached(f"--max-videos {self._caps.videos} is reached")
            room = min(room, self._caps.videos - self.tally.captured - self.in_flight)
        return max(room, 0)

    async def _look_for_room(self) -> None:
        if self._full is not None:
            raise self._full
        if self._clock.now() - self._room_at >= ROOM_S:
            await self._check_room()
            self._room_at = self._clock.now()

    def _posts_within(self, cap_bytes: int) -> int:
        """Say for how many posts as large as the largest yet the cap leaves room; the first ones tell how large."""
        fit = (cap_bytes - self.tally.bytes) // max(self._largest_bytes, 1)
        if fit <= 0 and not self._open:
            raise CapReached(f"--max-bytes {cap_bytes} leaves no room for another post")
        return min(fit, self.tally.captured + 1)

    async def _claim(self, room: int) -> list[Job]:
        jobs = await self._queue.claim(room, self._clock.now(), self._lease_s, self.name)
        if not jobs and not self._open:
            # A video that was under way when two workers died is tried alone: a third death is its own.
            jobs = await self._queue.claim(1, self._clock.now(), self._lease_s, self.name, alone=True)
        return jobs

    def _begin(self, jobs: asyncio.TaskGroup, attempt: Attempt) -> None:
        # Noted by the task's end, not in it: one that is cancelled before its first step runs nothing of its own.
        self._open[attempt.job.aweme_id, attempt.job.token] = attempt
        jobs.create_task(self._do(attempt)).add_done_callback(partial(self._ended, attempt))

    def _ended(self, attempt: Attempt, task: asyncio.Task[None]) -> None:
        del self._open[attempt.job.aweme_id, attempt.job.token]
        if task.cancelled():
            self._dropped.append(attempt)
        self.stop.wake.set()

    async def _do(self, attempt: Attempt) -> None:
        try:
            self._captured(attempt.job, await self._download.act(attempt))
        except LeaseLost:
            self._lost(attempt.job)
        except ClipledgerError as error:
            await self._settle(attempt, error)

    def _captured(self, job: Job, captured: Captured) -> None:
        self.tally.captured += 1
        self.tally.adopted += captured.adopted
        self.tally.bytes += captured.bytes
        self._largest_bytes = max(self._largest_bytes, captured.bytes)
        self.stop.stored.set()
        self._company.succeeded()
        self._easing.succeeded()
        self._guard.delivered(job.aweme_id, whole=True)
        self._events.emit(
            "stored",
            aweme_id=job.aweme_id,
            bytes=captured.bytes,
            files=captured.files,
            adopted=captured.adopted,
            first_byte_s=captured.first_byte_s,
        )

    def _lost(self, job: Job) -> None:
        self.tally.lost += 1
        self._events.emit("lease_lost", aweme_id=job.aweme_id)

    async def _settle(self, attempt: Attempt, error: ClipledgerError) -> None:
        now = self._clock.now()
        if isinstance(error, TooManyOpenFiles):
            self._slow_down(error, now)
        elif isinstance(error, StorageUnavailable) or (
            attempt.resolved and not isinstance(error, Halt | NotSent | SameBytes)
        ):
            self._guard.delivered(attempt.job.aweme_id, whole=False, why=error.detail)
        if isinstance(error, Throttled) and error.costly:
            error.alone = self._company.is_alone(attempt.job.aweme_id)
        settlement = after_failure(
            attempt.job,
            error,
            paid=attempt.paid,
            now=now,
            policy=self._policy,
            jitter=self._jitter(),
            outage=self._guard.excuses(error),
        )
        if isinstance(error, Halt):
            self._end_for(error)
        if not await self._write_verdict(settlement, now):
            self._lost(attempt.job)
            return
        self.tally.failed += settlement.burn
        self._events.emit(
            "dead"
            if settlement.state is State.DEAD
            else "suspect"
            if settlement.suspect
            else "given_back"  # what ends or holds a whole run is no failure of a post
            if isinstance(error, Halt | NotSent)
            else "failed",
            aweme_id=settlement.aweme_id,
            reason=settlement.reason,
            why=settlement.detail,
            again_in_s=round(max(settlement.due_at - now, 0.0), 1),
        )

    def _slow_down(self, error: TooManyOpenFiles, now: float) -> None:
        if self._easing.ran_out(self.in_flight, now):
            self._events.emit("slowed_down", slots=self._easing.allowed, why=error.detail)

    def _end_for(self, halt: Halt) -> None:
        """End the run; or, where a full disk is waited out, claim nothing more and leave `work` with it."""
        if self.waits and isinstance(halt, StorageFull) and not isinstance(halt, StorageGone):
            self._full = self._full or halt
            self.stop.wake.set()
        else:
            self.halt(halt)

    async def _write_verdict(self, settlement: Settlement, now: float) -> bool:
        """Settle; what a full disk refuses is kept and written later, by `work` or by the end of the crew."""
        try:
            return await self._queue.settle(settlement, now)
        except StorageFull as full:
            self._unwritten.append(settlement)
            self._end_for(full)
            return True

    async def _write_verdicts(self) -> None:
        while self._unwritten:
            await self._queue.settle(self._unwritten[-1], self._clock.now())
            self._unwritten.pop()

    async def _let_finish(self) -> None:
        """Wait for what is under way; once a stop was asked for, no longer than its grace."""
        grace_ends: float | None = None
        while self._open and not self.stop.cut.is_set():
            now = self._clock.now()
            if self.stop and grace_ends is None:
                grace_ends = now + GRACE_S
            if grace_ends is not None and now >= grace_ends:
                self.stop.cut.set()
                return
            self.stop.wake.clear()
            await wait_for(self.stop.wake, _TICK_S if grace_ends is None else grace_ends - now)

    async def _cutter(self) -> None:
        await self.stop.cut.wait()
        raise Cut

    async def _give_back_dropped(self) -> None:
        """Return what was cut. The video that met a bug is not among it: its lease is the evidence."""
        now = self._clock.now()
        for attempt in self._dropped:
            await self._write_verdict(given_back(attempt.job, paid=attempt.paid, now=now), now)
        self._dropped.clear()


async def wait_for(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event, at most so long; say whether it came."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True

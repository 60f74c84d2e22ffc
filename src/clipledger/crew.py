"""The crew: the roles of one process side by side, each fed by the one before it, until all is done.

Listing feeds capture, capture feeds metadata; the janitor sweeps. A run that does not follow ends when
no role has anything due, sitting out short back-offs but not long ones. A Halt in any role stops all of
them in good order. Must not: know what any role does inside.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from clipledger.core.breaker import probe_delay_s
from clipledger.core.errors import Halt, LeaseLost, Outage, Paused, Reason, StorageFull, StorageUnavailable
from clipledger.core.lifecycle import Policy
from clipledger.core.ports import Clock
from clipledger.core.times import parse_duration, until_next
from clipledger.db.members import Orders
from clipledger.db.queue import Queue
from clipledger.db.samples import Event as Kept
from clipledger.db.samples import Samples
from clipledger.db.sources import SourceJob, Sources
from clipledger.db.switches import Switch
from clipledger.events import Events
from clipledger.membership import BEAT_S, Doing, Membership, pause_words
from clipledger.patience import RoomPatience, first_halt, leaf
from clipledger.settings import Settings
from clipledger.stages.fixity import Fixity
from clipledger.stages.guard import PROBES, Guard
from clipledger.stages.history import History
from clipledger.stages.janitor import Janitor
from clipledger.stages.listing import Listing
from clipledger.stages.metadata import BATCH, Metadata
from clipledger.stages.paid import PaidCalls
from clipledger.worker import GRACE_S, LOOK_S, Cut, Tally, Worker, wait_for

_SPENDING = frozenset({"listing", "capture"})
"""The roles that a pause holds back."""

ROLES = ("listing", "capture", "metadata", "janitor", "history")

PATIENCE_S = 120.0
"""Back-offs up to this long are sat out by a run that does not follow."""

LISTERS = 2
"""Sources read at the same time: two keep the queue fed while one waits for its answer."""

SUSPECTED_S = 600.0
"""Following, a suspect this old is settled at the next idle moment: new answers may be hours away."""

_IDLE_S = 5.0
_REST_S = 120.0  # how long one who follows rests when the beat does not rouse it
_BEHIND_S, _KEEP_S, _LOOK_S, _SETTLE_S = 15.0, 10.0, 1.0, 0.05
_GATHER_S = 2.0  # so long a stored post waits for others to be indexed with: in one statement for all of each kind


@dataclass(frozen=True, slots=True)
class Plan:
    """Which roles this process has, and whether it goes on when nothing is due."""

    roles: frozenset[str] = frozenset(ROLES)
    follow: bool = False


class Crew:
    """Run a plan to its end. The tally and the stop are the worker's; `beats` run as long as the roles do."""

    def __init__(
        self,
        plan: Plan,
        worker: Worker,
        *,
        paid: PaidCalls,
        queue: Queue,
        sources: Sources,
        samples: Samples,
        guard: Guard,
        listing: Listing,
        metadata: Metadata,
        janitor: Janitor,
        fixity: Fixity,
        enrol: Callable[[Callable[[], Doing]], Membership],
        history: History,
        clock: Clock,
        events: Events,
        settings: Settings,
        policy: Policy,
        jitter: Callable[[], float],
        prove_room: Callable[[], Awaitable[None]],
        beats: Sequence[Callable[[], Awaitable[None]]] = (),
    ) -> None:
        self._beats = (worker.beat, self._beat, self._attend, self._take_over, self._keep_events, *beats)
        self.worker, self._plan = worker, plan
        worker.waits = plan.follow
        self._rest_s = _REST_S if plan.follow else _IDLE_S
        self._patience = RoomPatience(prove_room, clock, events, worker.stop, waits=plan.follow)
        self._queue, self._sources, self._guard = queue, sources, guard
        self._listing, self._metadata, self._janitor, self._fixity = listing, metadata, janitor, fixity
        self._clock, self._events, self._settings = clock, events, settings
        self._policy, self._jitter = policy, jitter
        self._paid, self._samples, self._history = paid, samples, history
        self._reading: dict[str, SourceJob] = {}
        self._captured = asyncio.Event()  # nobody captures any more
        self._left = asyncio.Event()  # nobody lists or captures any more
        self._freed = asyncio.Event()  # a source was freed: another lister may find it due
        self._listers = LISTERS if "listing" in plan.roles else 0
        self._capturing = "capture" in plan.roles
        self._note_left()
        self._membership = enrol(self._doing)
        self._paused_sources: frozenset[str] = frozenset()

    @property
    def spent(self) -> int:
        """Give the credits that this process spent, as far as known."""
        return self._paid.spent

    async def run(self) -> Tally:
        """Do the due work of all roles; what halted the run, if anything, is in the tally."""
        await self._janitor.recover()
        if self._plan.roles & {"capture", "janitor"}:
            await self._janitor.reconcile()
        if self._capturing:
            await self._janitor.revive()
        await self._guard.load()
        await self._hear()
        in_order = False
        try:
            async with asyncio.TaskGroup() as group:
                beats = [
                    group.create_task(self._in_good_order(partial(self._patience.through, b))) for b in self._beats
                ]
                async with asyncio.TaskGroup() as roles:
                    for role in self._roles():
                        roles.create_task(self._in_good_order(role))
                for beat in beats:
                    beat.cancel()
            in_order = True
        finally:
            await self._leave(in_order)
            await self._note_events()
        return self.worker.tally

    async def _leave(self, in_order: bool) -> None:
        """Settle what is still open: a bug counts against its video, a verdict that a full disk refused does not."""
        name, now = self.worker.name, self._clock.now()
        if in_order:
            await self._queue.give_back(name, now)
            await self._janitor.note()
            await self._membership.leave()
        else:
            await self._queue.release_worker(name, now, self._policy.crashes_max)

    def _doing(self) -> Doing:
        tally = self.worker.tally
        return Doing(self.worker.in_flight, tally.captured, tally.bytes, self.spent)

    async def _attend(self) -> None:
        while True:
            await self._clock.sleep(until_next(self._clock.now(), BEAT_S))
            await self._hear()

    async def _hear(self) -> None:
        """Sign the roll and obey. A database that is away meets whoever works, not who only tells of it."""
        with suppress(StorageUnavailable, StorageFull):
            self._obey(await self._membership.sign(list(self._reading)))

    def _obey(self, orders: Orders) -> None:
        while self.worker.stop.steps < orders.stop:
            self._events.emit("stopping", signal="clipledger stop", how="cutting" if self.worker.stop else "finishing")
            self.worker.stop.step()
        self._paused_sources = orders.paused_sources
        if orders.work and self._plan.follow:  # this one look is all that waiting costs
            for event in (self.worker.stop.wake, self.worker.stop.due, self.worker.stop.stored):
                event.set()
        if self._plan.roles & _SPENDING:
            self._hold(orders.pause)

    def _hold(self, pause: Switch | None) -> None:
        """Follow the operator's switch: wait it out when following, else end. Calls that stand in line are not made."""
        self._paid.held = pause is not None
        if pause is not None and not self._plan.follow:
            if not self.worker.stop:
                self.worker.halt(Paused(pause_words(pause)))
        elif self.worker.held != (pause is not None):
            self.worker.held = pause is not None
            self._events.emit("paused", why=pause_words(pause)) if pause is not None else self._events.emit("resumed")
            self.worker.stop.wake.set()

    async def _keep_events(self) -> None:
        while True:
            await self._clock.sleep(until_next(self._clock.now(), _KEEP_S))
            await self._note_events()

    async def _note_events(self) -> None:
        for event in self._events.take_rare():
            told = Kept(event.at, event.name, event.fields, worker=self.worker.name)
            await self._samples.note(told)

    def _roles(self) -> Iterator[Callable[[], Awaitable[None]]]:
        yield from [self._list] * self._listers
        if self._capturing:
            yield self._capture
        if "metadata" in self._plan.roles:
            yield self._record
        if "history" in self._plan.roles:
            yield self._refresh
        if "janitor" in self._plan.roles:
            yield self._sweep
        if self._plan.roles & {"janitor", "capture"}:
            yield self._rotate

    async def _in_good_order(self, role: Callable[[], Awaitable[None]]) -> None:
        """Run a role; a Halt in it stops every role, each in its own good order."""
        try:
            await role()
        except* Halt as group:
            self.worker.halt(first_halt(group))
        except* StorageUnavailable as group:
            # Not one video's: the database or the store refuses a whole role.
            self.worker.halt(StorageFull(str(leaf(group)), reason=Reason.STORAGE_UNAVAILABLE))
        finally:
            self.worker.stop.wake.set()

    async def _beat(self) -> None:
        """Renew the leases of the sources being read: a pause after a 429 can outlast them."""
        lease_s = self._settings.queue.lease_s
        while True:
            renewed_at = self._clock.now()
            while self._clock.now() - renewed_at < lease_s / 3:
                await self._clock.sleep(until_next(self._clock.now(), min(lease_s / 6, LOOK_S)))
            if self._reading:
                await self._sources.renew(list(self._reading.values()), self._clock.now(), lease_s)

    async def _take_over(self) -> None:
        """Take back what a worker on another machine held when it died, as soon as its lease has run out."""
        lease_s = self._settings.queue.lease_s
        while True:
            ends_at = await self._queue.next_lease_end()
            left_s = lease_s if ends_at is None else ends_at - self._clock.now()
            if left_s < 0 and any(await self._janitor.recover()):
                self.worker.stop.wake.set()
            # What is claimed or renewed while this sleeps ends after it wakes.
            await self._clock.sleep(min(max(left_s, _LOOK_S), lease_s))

    async def _list(self) -> None:
        """Read sources until none is due; cut at the second stop request, or when the grace after the first is over."""
        try:
            async with asyncio.TaskGroup() as group:
                cutter = group.create_task(self._cutter())
                await self._list_all()
                cutter.cancel()
        except* Cut:
            pass  # what was being read is freed when the crew leaves
        finally:
            self._listers -= 1
            self._note_left()

    def _note_left(self) -> None:
        if not self._capturing:
            self._captured.set()
        if not self._capturing and not self._listers:
            self._left.set()

    async def _cutter(self) -> None:
        await self.worker.stop.asked.wait()
        await wait_for(self.worker.stop.cut, GRACE_S)
        raise Cut

    async def _list_all(self) -> None:
        while not self.worker.stop:
            self._freed.clear()
            if self.worker.held:
                await self._pause(_IDLE_S)
            elif not await self._patience.through(self._list_one) and not await self._list_soon():
                return

    async def _list_soon(self) -> bool:
        """Wait for a source to fall due or to be freed; False when this run waits for none."""
        if not self._reading:
            return await self._soon(await self._sources.next_due_at())
        await wait_for(self._freed, _IDLE_S)
        return True

    async def _list_one(self) -> bool:
        """Read one due source; False when none is due."""
        job = await self._sources.claim_due(self._clock.now(), self._settings.queue.lease_s, self.worker.name)
        if job is None:
            return False
        self._reading[job.source] = job
        try:
            await self._listing.act(job, lambda: self._is_unwanted(job), self._jitter())
        except LeaseLost:
            self.worker.tally.lost += 1
            self._events.emit("lease_lost", source=job.source)
        finally:
            del self._reading[job.source]
            self._freed.set()
        self.worker.stop.wake.set()
        return True

    def _is_unwanted(self, job: SourceJob) -> bool:
        return bool(self.worker.stop) or self.worker.held or job.source in self._paused_sources

    async def _capture(self) -> None:
        probes = 0
        try:
            while not self.worker.stop:
                captured = self.worker.tally.captured
                try:
                    await self._patience.through(partial(self.worker.work, self._more))
                    return
                except* Outage as group:
                    if not self._plan.follow:
                        raise
                    probes = 0 if self.worker.tally.captured - captured > PROBES else probes
                    self._events.emit("waiting_out", why=first_halt(group).detail, seconds=probe_delay_s(probes))
                await self._pause(probe_delay_s(probes))
                probes += 1
        finally:
            self._capturing = False
            self._note_left()
            self.worker.stop.stored.set()

    async def _more(self) -> bool:
        """Say whether anything may still become claimable, having waited for it."""
        due_at = await self._queue.next_due_at()
        if not self._plan.follow and not self._listers:
            return await self._soon(due_at)
        if self._plan.follow and not self.worker.held:
            await self._guard.close(older_than_s=SUSPECTED_S)
        await wait_for(self.worker.stop.wake, self._rest(due_at))
        return True

    async def _record(self) -> None:
        while True:
            ended = not self._capturing and (not self._plan.follow or bool(self.worker.stop))
            done = await self._patience.through(self._metadata.act) or 0
            self.worker.tally.archived = self._metadata.archived
            if not done and ended:
                return
            all_seen = done < BATCH  # else more is waiting than one transaction takes
            if all_seen and not ended and (done or await wait_for(self.worker.stop.stored, self._rest_s)):
                await wait_for(self._captured, _GATHER_S)
            self.worker.stop.stored.clear()

    async def _refresh(self) -> None:
        """Ask archived posts again, behind whatever else is due; what the budget forbids waits for another day."""
        try:
            while not self.worker.stop:
                if await self._patience.through(partial(self._history.act, lambda: bool(self.worker.stop))):
                    continue
                due_at, others = await self._history.next_at(), self._capturing or self._listers > 0
                if not others and (due_at is None or due_at > self._clock.now()):
                    if not await self._soon(due_at):
                        return
                elif others:
                    await wait_for(self._left, self._rest(due_at, _BEHIND_S))
                elif self._plan.follow:
                    await self._pause(_BEHIND_S)
                else:
                    return
        finally:
            await self._history.leave()

    async def _sweep(self) -> None:
        await self._patience.through(self._janitor.act)
        while self._plan.follow and not self.worker.stop:
            await self._pause(parse_duration(self._settings.janitor.every))
            await self._patience.through(self._sweep_once)

    async def _sweep_once(self) -> None:
        await self.worker.renew()  # before anybody's lease is called over: this machine may have slept
        await self._janitor.act()
        await self._janitor.revive()

    async def _rotate(self) -> None:
        """Read stored files again, as far as they are due, and repair what is damaged where that is allowed."""
        alone = not (self._capturing or self._listers)
        others = None if alone else lambda: not (self._capturing or self._listers)
        await self._fixity.run(lambda: bool(self.worker.stop), self._pause, others, follow=self._plan.follow)

    async def _soon(self, due_at: float | None) -> bool:
        """Sleep towards the next due moment; False when it is too far off for this run, or there is none."""
        self.worker.stop.due.clear()
        if not self._plan.follow and (due_at is None or due_at - self._clock.now() > PATIENCE_S):
            return False
        if not self.worker.stop:
            await wait_for(self.worker.stop.due, self._rest(due_at))
        return not self.worker.stop

    def _rest(self, due_at: float | None, at_least: float = _SETTLE_S) -> float:
        """Say for how many seconds nothing need be looked at, short of being roused."""
        wait_s = self._rest_s if due_at is None else due_at - self._clock.now()
        return max(min(wait_s, self._rest_s), at_least)

    async def _pause(self, seconds: float) -> None:
        await wait_for(self.worker.stop.asked, seconds)

"""Sweep: leases that ran out, workers that died, parts and uploads nobody holds, dead letters that aged; then chores.

Every pass is bounded, but for the one that follows when the database turns out to be older than the archive: then
all that the store holds is taken in before anything is bought. What is removed is never the only record of anything:
a dead letter keeps its id, reason and date when its detail is summarised away.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from clipledger import presence
from clipledger.core.errors import Misconfigured, Reason, StorageUnavailable
from clipledger.core.lifecycle import Policy
from clipledger.core.ports import Clock, ObjectStore
from clipledger.core.times import iso_time, parse_duration
from clipledger.db import commits
from clipledger.db.alarms import Alarms
from clipledger.db.credits import Credits
from clipledger.db.database import Database
from clipledger.db.members import Members
from clipledger.db.queue import Queue
from clipledger.db.restoring import Restorer
from clipledger.db.retries import Recheck
from clipledger.events import Events
from clipledger.settings import Settings
from clipledger.stages.restoring import Restoring
from clipledger.storage.spool import Spool

BATCH = 1000

MAY_PASS = (
    Reason.API_UNAVAILABLE,
    Reason.API_MESSAGE,
    Reason.CDN_UNAVAILABLE,
    Reason.TRUNCATED,
    Reason.NOT_MEDIA,
    Reason.STORAGE_UNAVAILABLE,
    Reason.STORAGE_THROTTLED,
    Reason.URL_EXPIRED,
    Reason.THROTTLED,
    Reason.MALFORMED,
    Reason.WRONG_ID,
    Reason.WORKER_KILLED,
)
"""What says nothing of the post itself: a trouble of an hour that used up its attempts, or deaths of processes."""

HUNG_S = 600.0
"""A process that lives has so long to renew its leases after a look of ours: it beats every few seconds."""

ABANDONED_S = 3600.0
"""A call that is open for so long has lost its worker, on whatever machine: no deadline is near it. A member that
did not sign for so long is no longer shown."""


@dataclass(frozen=True, slots=True)
class Swept:
    """What one sweep did."""

    given_back: int
    dead: int
    parts: int
    part_bytes: int
    letters: int
    uploads: int = 0


class Janitor:
    """Keep the house clean between runs and during them."""

    def __init__(
        self,
        archive: Path,
        db: Database,
        queue: Queue,
        credits: Credits,
        members: Members,
        spool: Spool,
        clock: Clock,
        events: Events,
        settings: Settings,
        policy: Policy,
        store: ObjectStore,
        restorer: Restorer,
        chores: Sequence[Callable[[], Awaitable[None]]] = (),
    ) -> None:
        self._chores = chores
        self._db, self._restorer = db, restorer
        self._archive, self._queue, self._credits, self._spool = archive, queue, credits, spool
        self._members = members
        self._clock, self._events, self._policy, self._store = clock, events, policy, store
        self._uploads_after_s = parse_duration(settings.janitor.uploads_after)
        self._late_s = parse_duration(settings.janitor.every) + settings.queue.lease_s
        self._met: dict[str, float] = {}  # when each living worker of this machine was met first
        self._looked_at: float | None = None
        self._recheck = _schedules(settings)
        self._alarms = Alarms(db)
        self._parts_after_s = parse_duration(settings.janitor.parts_after)
        self._letters_keep_s = parse_duration(settings.janitor.dead_letters_keep)

    async def act(self) -> Swept:
        """Make one sweep."""
        back, dead = await self.recover()
        await self._credits.abandon(self._clock.now() - ABANDONED_S, self._clock.now())
        await self._members.forget(self._clock.now() - ABANDONED_S)
        parts, part_bytes = await self._sweep_parts()
        uploads = await self._sweep_store()
        now = self._clock.now()
        letters = await self._queue.summarise_letters(now - self._letters_keep_s, now, BATCH)
        await self._db.write(lambda connection: commits.forget(connection, now - commits.AGED_S, BATCH))
        await self.note()
        swept = Swept(back, dead, parts, part_bytes, letters, uploads)
        if any((back, dead, parts, letters, uploads)):
            self._events.emit("swept", **asdict(swept))
        for chore in self._chores:
            await chore()
        return swept

    async def reconcile(self) -> None:
        """Take in what the store holds when a rebuild did not end, or the database is older than the one before it."""
        begun, noted = await self._restorer.begun(), presence.noted(self._archive)
        newest = await self._restorer.newest()
        if begun is None and (noted is None or (newest or 0.0) >= noted):
            return
        self._events.emit("database_older", why="posts were archived here that it does not know: read from the store")
        restoring = Restoring(self._store, self._restorer, self._clock)
        await restoring.act(after=begun or "", keep_cursor=True, stopping=lambda: False)
        await self._restorer.ended(iso_time(self._clock.now()))
        self._events.emit("reconciled", posts=restoring.tally.restored)
        await self.note(anew=True)

    async def note(self, *, anew: bool = False) -> None:
        """Write into the folder how new the database is: an older one in its place is noticed."""
        if (newest := await self._restorer.keep_newest()) is not None:  # in the database first: the note is held to it
            presence.note(self._archive, newest, anew=anew)

    async def recover(self) -> tuple[int, int]:
        """Take back what dead workers held: at once on this machine, after the lease elsewhere."""
        back = dead = 0
        for worker in presence.stopped_workers(self._archive):
            back += await self._queue.give_back(worker, self._clock.now())
            await self._members.remove(worker)
            presence.forget(self._archive, worker)
        for worker in presence.dead_workers(self._archive):
            released = await self._queue.release_worker(worker, self._clock.now(), self._policy.crashes_max)
            await self._members.remove(worker)
            presence.forget(self._archive, worker)
            back, dead = back + released.given_back, dead + released.dead
        now, spared = self._clock.now(), self._spared()
        released = await self._queue.release_expired(now, self._policy.crashes_max, BATCH, spare=spared)
        return back + released.given_back, dead + released.dead

    async def revive(self) -> int:
        """Have dead posts asked again at the times that the settings name, and one post of each alarm on bytes.

        Gives how many dead ones.
        """
        now = self._clock.now()
        due = [
            Recheck(reason, nth, now - delay_s)
            for reason, delays_s in self._recheck.items()
            for nth, delay_s in enumerate(delays_s)
        ]
        revived = await self._queue.recheck_gone(due, now)
        if revived:
            self._events.emit("asked_again_after_death", ids=revived)
        await self._alarms.probe(now)
        return revived

    def _spared(self) -> list[str]:
        """Name the workers whose leases may have run out while this machine slept: their processes live.

        One that has been alive at our looks for longer than `HUNG_S`, and let its lease run out, hangs.
        """
        now, alive = self._clock.now(), presence.live_workers(self._archive)
        self._met = {worker: self._met.get(worker, now) for worker in alive}
        looked_at, self._looked_at = self._looked_at, now
        slept = looked_at is None or now - looked_at > self._late_s
        return alive if slept else [worker for worker in alive if now - self._met[worker] < HUNG_S]

    async def _sweep_store(self) -> int:
        """Drop uploads that nobody will finish. What is refused or fails is told: nothing depends on it."""
        try:
            return await self._store.sweep(self._uploads_after_s, self._clock.now(), BATCH)
        except (Misconfigured, StorageUnavailable) as error:
            self._events.emit("sweep_failed", why=error.detail)
            return 0

    async def _sweep_parts(self) -> tuple[int, int]:
        count = size = 0
        for leftover in await self._spool.leftovers(self._clock.now(), self._parts_after_s, BATCH):
            if await self._spool.remove(leftover):
                count, size = count + 1, size + leftover.size_bytes
        return count, size


def _schedules(settings: Settings) -> dict[Reason, list[float]]:
    """Say how long after its death a post is asked again, for each reason it may be dead for but in passing."""
    queue = settings.queue
    named = dict.fromkeys(MAY_PASS, queue.recheck_failed) | {
        Reason.NOT_FOUND: queue.recheck_gone,
        Reason.PRIVATE: queue.recheck_private or queue.recheck_gone,
        Reason.REGION: queue.recheck_region or queue.recheck_gone,
    }
    return {reason: sorted(parse_duration(text) for text in texts) for reason, texts in named.items()}

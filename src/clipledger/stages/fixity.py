"""Fixity by rotation: read every stored file again once a period, spread evenly and no faster than allowed.

Each post has its own moment in the period (`core.rotation`); whoever is there when it comes leases the post, reads
its files and writes down what it found. A death costs what was under way. Damage is told, and repaired where the
archive allows credits for that. Must not: read a post twice a period, or take a store that is away for damage.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from clipledger.core.errors import NotSent, StorageThrottled, StorageUnavailable, StorageUnreachable
from clipledger.core.model import AwemeId
from clipledger.core.ports import Clock, ObjectStore
from clipledger.core.rotation import following, read_period, rest_s
from clipledger.core.times import parse_duration, since
from clipledger.db.care import Care, Held
from clipledger.db.catalog import Catalog
from clipledger.db.custody import Act, CustodyRow
from clipledger.db.meta import Meta
from clipledger.events import Events
from clipledger.settings import Settings
from clipledger.stages.damage import Look, look
from clipledger.stages.repair import LEASE_S, Repair

BATCH = 10
READ_LEASE_S = 1800.0
"""Longer than a batch takes at the usual pace; what a lost lease costs is that a post is read twice."""

AGAIN_S = 3600.0
"""A post whose files the store did not give is looked at again so much later."""

UNREAD_MAX = 3
"""A store that answers and does not give a file so often in a row has lost it."""

REPAIR_AGAIN_S = 86_400.0
REPAIRS = 5
BEYOND_S = 60.0
"""A run that does not follow goes on reading at most so much longer than its other work takes."""

DEFAULT_PERIOD_S = 30 * 86_400.0
_PERIOD = "fixity_period"


class Fixity:
    """One process's part in the rotation. `checks`: it reads, else only repairs; `repair` None: damage is only told."""

    def __init__(
        self,
        care: Care,
        catalog: Catalog,
        store: ObjectStore,
        meta: Meta,
        clock: Clock,
        events: Events,
        settings: Settings,
        *,
        worker: str,
        checks: bool,
        repair: Repair | None,
    ) -> None:
        self._care, self._catalog, self._store, self._meta = care, catalog, store, meta
        self._clock, self._events, self._worker, self._repair = clock, events, worker, repair
        self._text, self._bytes_per_s = settings.janitor.fixity, settings.janitor.fixity_bytes_per_s
        self._period_s, self._every_s = read_period(settings.janitor.fixity), parse_duration(settings.janitor.every)
        self._budget = settings.budget.repair_credits_per_day
        self._checks = checks and self._period_s is not None

    async def run(
        self,
        stopping: Callable[[], bool],
        pause: Callable[[float], Awaitable[None]],
        others_left: Callable[[], bool] | None,
        *,
        follow: bool,
    ) -> None:
        """Do what falls due until nothing is due; following, until the stop.

        `others_left` says whether the run's other work is done, which bounds how much longer this may take; None:
        there is no other work, and all that is due is read.
        """
        ends_at: float | None = None
        try:
            while not stopping():
                if await self.act(stopping, pause):
                    if not follow and others_left is not None and others_left():
                        ends_at = ends_at or self._clock.now() + BEYOND_S
                        if self._clock.now() >= ends_at:
                            return
                elif follow:
                    await pause(self._every_s)
                else:
                    return
        finally:
            await self._care.leave(self._worker)

    async def act(self, stopping: Callable[[], bool], pause: Callable[[float], Awaitable[None]]) -> bool:
        """Read, or repair, one batch; False when nothing is due."""
        return (self._checks and await self._check(stopping, pause)) or await self._mend(stopping)

    async def _check(self, stopping: Callable[[], bool], pause: Callable[[float], Awaitable[None]]) -> bool:
        assert self._period_s is not None
        if await self._meta.get(_PERIOD) != self._text:
            await self._care.replan()
            await self._meta.set(_PERIOD, self._text)
        while await self._care.plan(self._clock.now(), self._period_s) and not stopping():
            pass
        now = self._clock.now()
        held = await self._care.claim(BATCH, now, now + self._ahead_s(), READ_LEASE_S, self._worker)
        for nth, each in enumerate(held):
            if stopping():
                await self._care.give_back(held[nth:])
                break
            if (rest := await self._read(each)) > 0:
                await pause(rest)
        return bool(held)

    def _ahead_s(self) -> float:
        """Say how much too early a post may be read: until the next look at what is due, so that none is late."""
        assert self._period_s is not None
        return min(self._every_s, self._period_s / 100)

    async def _read(self, held: Held) -> float:
        """Read one post's files; give how long to rest after it."""
        began, rows = self._clock.now(), await self._catalog.files_of(held.aweme_id)
        if not rows and await self._catalog.post(held.aweme_id) is None:
            await self._care.forget(held)
            return 0.0
        try:
            found = await look(self._store, held.aweme_id, rows)
        except StorageUnavailable as error:
            await self._unread(held, error)
            return 0.0
        if held.hurt and not found.findings and self._repair is not None:
            await self._repair.mend_held(held)  # whole again: so that nothing of the repair is left beside it
        else:
            await self._settle(held, found)
        took_s = since(began, self._clock.now())
        self._events.emit("checked", aweme_id=held.aweme_id, files=found.files, bytes=found.size, seconds=took_s)
        return rest_s(found.size, took_s, self._bytes_per_s)

    async def _unread(self, held: Held, error: StorageUnavailable) -> None:
        """Look again later; a file that the store itself refuses to give again and again is damaged."""
        now = self._clock.now()
        times = await self._care.unread(held, now + AGAIN_S)
        self._events.emit("unread", aweme_id=held.aweme_id, why=error.detail)
        away = isinstance(error, StorageUnreachable | StorageThrottled)
        if times >= UNREAD_MAX and not away:
            again = await self._care.hold(held.aweme_id, now, READ_LEASE_S, self._worker)
            if again is not None:
                rows = await self._catalog.files_of(held.aweme_id)
                await self._settle(again, await look(self._store, held.aweme_id, rows, despite=True))

    async def _settle(self, held: Held, found: Look) -> None:
        assert self._period_s is not None
        now, due_at = self._clock.now(), held.due_at if held.due_at is not None else self._clock.now()
        next_at = following(due_at, now, self._period_s)
        stands = await self._care.checked(
            held, next_at, now, found.findings, damage_told(held.aweme_id, found, now, self._worker)
        )
        if stands and found.findings:
            self._events.emit("damaged", aweme_id=held.aweme_id, why="; ".join(found.findings)[:500])

    async def _mend(self, stopping: Callable[[], bool]) -> bool:
        """Repair damaged posts, a few at a time, each once a day at most and within the day's credits."""
        if self._repair is None or self._repair.is_outage():
            return False
        held = await self._care.claim_damaged(
            REPAIRS, self._clock.now(), LEASE_S, self._worker, again_s=REPAIR_AGAIN_S, budget=self._budget
        )
        for nth, each in enumerate(held):
            if stopping() or self._repair.is_outage():
                await self._care.give_back(held[nth:])
                break
            try:
                await self._repair.mend_held(each)
            except NotSent:  # paused while it stood in line: they stay due
                await self._care.give_back(held[nth + 1 :])
                return False
        return bool(held)


def damage_told(aweme_id: AwemeId, found: Look, now: float, worker: str) -> list[CustodyRow]:
    """Write down for the post's custody what was found of its files."""
    return [
        CustodyRow(
            at=now,
            aweme_id=aweme_id,
            act=Act.DAMAGED,
            kind=damaged.row.kind,
            storage_key=damaged.row.storage_key,
            bytes=damaged.size,
            sha256=damaged.sha256,
            was_key=damaged.row.storage_key,
            was_bytes=damaged.row.bytes,
            was_sha256=damaged.row.sha256,
            detail=damaged.what,
            worker=worker,
        )
        for damaged in found.damaged
    ]

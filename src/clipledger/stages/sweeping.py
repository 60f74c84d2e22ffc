"""Look at every stored file again, range by range: lease one, work through it, save what was found, take the next.

Any number of processes may do so at once. A stop ends after the post under way, with the cursor saved;
a death costs what was read since the last step. Must not: plan a sweep, or say how it ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from clipledger.core.errors import LeaseLost
from clipledger.core.model import AwemeId
from clipledger.core.ports import Clock
from clipledger.db.books import Finding
from clipledger.db.catalog import Catalog
from clipledger.db.sweeps import Range, Step, Sweeps
from clipledger.stages.verify import Verify

VERIFY_MEDIA = "verify_media"
"""The kind of sweep that reads every file of every archived id again."""

PAGE = 200
"""Ids fetched at a time, and in one step at most."""

STEP_S = 5.0
"""A step is saved at least so often: what a kill -9 makes somebody read again."""


class Sweeper:
    """One process's part in one sweep. `stopping` is asked after every post."""

    def __init__(
        self,
        sweeps: Sweeps,
        catalog: Catalog,
        verify: Callable[[], Verify],
        clock: Clock,
        *,
        worker: str,
        lease_s: float,
        stopping: Callable[[], bool],
    ) -> None:
        self._sweeps, self._catalog, self._verify, self._clock = sweeps, catalog, verify, clock
        self._worker, self._lease_s, self._stopping = worker, lease_s, stopping

    async def act(self, sweep: int) -> None:
        """Work until no range is free; a range whose lease was lost is left to whoever has it now."""
        while not self._stopping():
            held = await self._sweeps.claim(sweep, self._clock.now(), self._lease_s, self._worker)
            if held is None:
                return
            await self._held(held)

    async def _held(self, held: Range) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                beat = group.create_task(self._beat(held))
                await self._range(held)
                beat.cancel()
        except* LeaseLost:
            pass  # whoever took it over counts it

    async def _beat(self, held: Range) -> None:
        while True:
            await self._clock.sleep(self._lease_s / 3)
            if not await self._sweeps.renew(held, self._clock.now() + self._lease_s):
                raise LeaseLost(f"range {held.nth} of sweep {held.sweep} was taken over")

    async def _range(self, held: Range) -> None:
        cursor, done = held.cursor, False
        while not done:
            page = await self._catalog.next_archived(cursor, PAGE)
            wanted = [aweme_id for aweme_id in page if aweme_id <= held.last_id]
            ended = len(wanted) < len(page) or len(page) < PAGE
            cursor, done = await self._page(held, cursor, wanted, ended)
            if not done and self._stopping():
                await self._sweeps.release(held)
                return

    async def _page(self, held: Range, cursor: str, wanted: list[AwemeId], ended: bool) -> tuple[str, bool]:
        """Look at one page of ids and save it, in steps; give the new cursor, and whether the range is done."""
        check, found, ids, since = self._verify(), list[Finding](), 0, self._clock.now()
        files = await self._catalog.files_of_many(wanted)
        for nth, aweme_id in enumerate(wanted, start=1):
            found += [finding async for finding in check.post(aweme_id, files.get(aweme_id, []))]
            cursor, ids = aweme_id, ids + 1
            left = nth < len(wanted)
            if self._stopping() or (left and self._clock.now() - since >= STEP_S):
                await self._save(held, Step(cursor, ended and not left, ids, check.files, check.bytes, found))
                if self._stopping():
                    return cursor, ended and not left
                check, found, ids, since = self._verify(), [], 0, self._clock.now()
        await self._save(held, Step(cursor, ended, ids, check.files, check.bytes, found))
        return cursor, ended

    async def _save(self, held: Range, step: Step) -> None:
        if not await self._sweeps.save(held, step, self._clock.now(), self._lease_s):
            raise LeaseLost(f"range {held.nth} of sweep {held.sweep} was taken over")

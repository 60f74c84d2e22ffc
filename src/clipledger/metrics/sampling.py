"""Look into the database for the metrics, but never more often than it can bear.

A look walks the queue, so its price grows with the archive: the next one waits until `AGE_S` have passed and
`SHARE` times what the last one took. Scrapes in between are shown the last look. Must not: raise what the
database refuses; a scrape must tell what it can.
"""

from __future__ import annotations

import asyncio

from clipledger.archive import Archive
from clipledger.core.errors import ClipledgerError
from clipledger.db.figures import figures
from clipledger.metrics.meter import Meter

AGE_S = 5.0
"""A look younger than this is shown again."""

SHARE = 20.0
"""Looking takes at most one part in so many of the time."""

PATIENCE_S = 4.0
"""A scrape waits no longer than this for a look; Prometheus gives up after 10 s unless told otherwise."""


class Sampling:
    """Keeps a meter's archive-wide gauges fresh enough.

    `is_quick`: a look is worth waiting for. Where it is not, scrapes are shown the last look and bring the next
    one about after they were answered.
    """

    def __init__(self, archive: Archive, meter: Meter) -> None:
        self._archive, self._meter = archive, meter
        self._turn = asyncio.Lock()
        self._next_at = self._took_s = 0.0

    @property
    def is_quick(self) -> bool:
        """Say whether the last look took less than a scrape can wait."""
        return self._took_s < PATIENCE_S

    async def refresh(self) -> None:
        """Look again when the last look is old enough; scrapes at the same moment share one look."""
        async with self._turn:
            began = self._archive.clock.now()
            if began < self._next_at:
                return
            try:
                async with asyncio.timeout(PATIENCE_S if self.is_quick else None):
                    await self._look(began)
            except (ClipledgerError, TimeoutError):
                self._meter.could_not_look()
            now = self._archive.clock.now()
            self._took_s = max(now - began, 0.0)
            self._next_at = now + max(AGE_S, self._took_s * SHARE)

    async def _look(self, now: float) -> None:
        settings = self._archive.settings
        found = await figures(self._archive.db, now)
        took_s = max(self._archive.clock.now() - now, 0.0)
        cap, per_minute = settings.budget.credits_per_day, settings.api.requests_per_minute
        self._meter.show(found, now, took_s, cap=cap, per_minute=per_minute)

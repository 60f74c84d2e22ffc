"""Where everything stands, summed once for all who look: pages, the API, live figures.

Summing up a million posts takes longer than a page may. So it is done beside the requests, at most once a second
and for no more than a fifth of the time, and only while somebody looks. Must not: hold up whoever asks.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import inf
from typing import Any

from clipledger.answers.status import status
from clipledger.archive import Archive
from clipledger.core.errors import StorageFull, StorageUnavailable

EVERY_S = 1.0
SHARE = 5
"""Between two sums passes so many times what the last one took."""

FRESH_S = 2.0
PATIENCE_S = 0.05
"""What is older than `FRESH_S` is looked at again; who asks waits for that, where it takes less than `PATIENCE_S`."""

ANEW_S = 0.5

LISTENERS_MAX = 50
BEAT_S = 15.0
"""A listener hears at least this often that the line is open."""


@dataclass(frozen=True, slots=True)
class Figures:
    """One look: the document of `clipledger --json status`, and the number of the look."""

    turn: int
    status: dict[str, Any]


class TooMany(Exception):
    """So many listen already."""


class Pulse:
    """The last look, and who waits for the next. `run` keeps it going; without it each `latest` looks by itself."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._figures: Figures | None = None
        self._at = self._took_s = 0.0  # when it was looked last, by the loop's clock, and how long that took
        self._wanted, self._ended = asyncio.Event(), asyncio.Event()
        self._next, self._looked = asyncio.Event(), asyncio.Event()
        self._looking = asyncio.Lock()
        self._runs = False
        self.listeners = 0

    async def run(self) -> None:
        """Look again and again while somebody wants to know, until `end`."""
        self._runs = True
        while not self._ended.is_set():
            await self._wanted.wait()
            if not self.listeners:
                self._wanted.clear()
            with suppress(StorageUnavailable, StorageFull):  # what is known stays; whoever asks for a post is told
                await self._look()
            pause_s = max(EVERY_S, SHARE * self._took_s)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._ended.wait()

    def end(self) -> None:
        """End `run` and every listener."""
        self._ended.set()
        self._wanted.set()
        self._next.set()

    async def latest(self) -> Figures:
        """Give what is known, and have it looked at again soon."""
        self._wanted.set()
        if self._figures is None or not self._runs:
            turn = self._figures.turn if self._figures is not None else 0
            async with self._looking:  # one for all who came at once
                if self._figures is None or (not self._runs and self._figures.turn == turn):
                    await self._sum()
        elif self._took_s < PATIENCE_S and asyncio.get_running_loop().time() - self._at > FRESH_S:
            with suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE_S):
                    await self._looked.wait()
        assert self._figures is not None
        return self._figures

    async def anew(self) -> Figures:
        """Look again before answering, where that takes less than `ANEW_S`: somebody wants to see what they did."""
        if self._figures is not None and self._took_s < ANEW_S:
            await self._look()
        return await self.latest()

    @contextmanager
    def place(self) -> Iterator[None]:
        """Have one of the places of those who listen for as long as the context lasts; `TooMany` when there is none."""
        if self.listeners >= LISTENERS_MAX:
            raise TooMany
        self.listeners += 1
        try:
            yield
        finally:
            self.listeners -= 1

    async def listen(self) -> AsyncGenerator[Figures | None, None]:
        """Give figures as they change, None when nothing did for `BEAT_S`; ends with `end`. Wants a `place`."""
        told = await self.latest()
        yield told
        while not self._ended.is_set():
            self._wanted.set()
            heard = await self._heard(told)
            yield heard
            told = heard or told

    async def _heard(self, told: Figures) -> Figures | None:
        with suppress(TimeoutError):
            async with asyncio.timeout(BEAT_S):
                while not self._ended.is_set():
                    if self._figures is not None and self._figures.turn > told.turn:
                        return self._figures
                    await self._next.wait()
        return None

    async def _look(self) -> None:
        async with self._looking:
            await self._sum()

    async def _sum(self) -> None:
        # The first look may take sums of any age: nobody should wait for a million posts to be counted.
        known, loop = self._figures, asyncio.get_running_loop()
        began = loop.time()
        found = await status(self._archive, False, inf) if known is None else await status(self._archive, False)
        self._at = loop.time()
        self._took_s = self._at - began
        if known is None or _told(found) != _told(known.status):
            self._figures = Figures(1 if known is None else known.turn + 1, found)
            self._next.set()
            self._next = asyncio.Event()
        else:
            self._figures = Figures(known.turn, found)
        self._looked.set()
        self._looked = asyncio.Event()


def _told(found: dict[str, Any]) -> dict[str, Any]:
    """Leave out what changes by the clock alone."""
    ages = ("as_of", "oldest_due_age_s", "members", "rates")
    told = {name: value for name, value in found.items() if name not in ages}
    fixity = {name: value for name, value in told["fixity"].items() if not name.endswith("age_s")}
    return told | {"fixity": fixity}

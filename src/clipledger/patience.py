"""Wait out a disk that is full, read-only or failing: look again and again, cheaply, until it takes files and rows.

Must not: give work back (whoever held it does), or decide that a run waits at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from clipledger.core.errors import Halt, StorageFull, StorageGone, StorageUnavailable, TooManyOpenFiles
from clipledger.core.ports import Clock
from clipledger.events import Events
from clipledger.worker import Stop, wait_for

T = TypeVar("T")

FIRST_S, LONGEST_S = 1.0, 60.0
"""Pauses between two looks; the longest bounds how long a disk that has room again goes unnoticed."""


class RoomPatience:
    """The patience of one run. `prove` makes sure, spending nothing, that the disk can be written again."""

    def __init__(
        self, prove: Callable[[], Awaitable[None]], clock: Clock, events: Events, stop: Stop, *, waits: bool
    ) -> None:
        self._prove, self._clock, self._events, self._stop, self._waits = prove, clock, events, stop, waits
        self._turn, self._cleared = asyncio.Lock(), 0

    async def through(self, step: Callable[[], Awaitable[T]]) -> T | None:
        """Take a step; where this run waits, take it again after each time that the disk refused it.

        None when the run was told to stop meanwhile. Raises what the step raises when this run does not wait, or
        waiting cannot help.
        """
        while True:
            cleared = self._cleared
            try:
                return await step()
            except* (StorageFull, TooManyOpenFiles) as group:
                trouble = leaf(group)
                if not self._waits or isinstance(trouble, StorageGone):
                    raise
            async with self._turn:  # one looks for all
                if cleared == self._cleared and not await self._outlast(str(trouble)):
                    return None

    async def _outlast(self, why: str) -> bool:
        """Return True once the disk takes files again, False when the run was told to stop before."""
        began_at, pause_s = self._clock.now(), FIRST_S
        self._events.emit("waiting_for_room", why=why, seconds=pause_s)
        while not await wait_for(self._stop.asked, pause_s):
            try:
                await self._prove()
            except StorageGone:
                raise
            except (StorageFull, StorageUnavailable):
                pause_s = min(2 * pause_s, LONGEST_S)
            else:
                self._cleared += 1
                self._events.emit("room_again", seconds=round(self._clock.now() - began_at, 1))
                return True
        return False


def leaf(found: BaseException) -> BaseException:
    """Give the first failure inside a group of them."""
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found


def first_halt(group: BaseExceptionGroup[Halt]) -> Halt:
    """Give the first of some halts."""
    found = leaf(group)
    assert isinstance(found, Halt)
    return found

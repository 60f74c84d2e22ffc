"""Read the store from end to end and bring every whole post into the database that it does not know as archived.

One pass serves a database made anew and one restored from a backup: what is archived already is not even read.
Sidecars are read side by side, posts go in by batches in the order of their keys, and the cursor goes with them, so
that a pass that was killed is taken up. Must not: call the API or the CDN, or change the store.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from clipledger.core import layout, sidecar
from clipledger.core.errors import TooLarge
from clipledger.core.layout import SIDECAR, KeyParts
from clipledger.core.model import AwemeId, ObjectKey
from clipledger.core.ports import Clock, ObjectStore, Stat
from clipledger.core.tombstone import RECALLED_S, Tombstone
from clipledger.db.restoring import Restored, Restorer
from clipledger.stages.metadata import record_of
from clipledger.stages.tombstones import Tombstones

BATCH = 200
READERS = 16
"""Sidecars read at the same time: a bucket answers each in some 20 ms."""

TOLD = 1000
"""Posts named one by one; the rest is counted."""

FOLDERS = ("photos/", "videos/")


@dataclass(frozen=True, slots=True)
class Trouble:
    """A post that could not be restored, and why."""

    aweme_id: AwemeId
    what: str


@dataclass(slots=True)
class Tally:
    """What a pass met: posts with a sidecar, of these known before, restored now; objects and bytes looked over.

    `withheld`: posts that were taken out before, as the store remembers, and were not out in this database.
    """

    posts: int = 0
    known: int = 0
    restored: int = 0
    objects: int = 0
    bytes: int = 0
    incomplete: int = 0
    troubled: int = 0
    withheld: int = 0
    troubles: list[Trouble] = field(default_factory=list)

    def trouble(self, aweme_id: AwemeId, what: str) -> None:
        """Take note of a post whose record cannot be read."""
        self.troubled += 1
        if len(self.troubles) < TOLD:
            self.troubles.append(Trouble(aweme_id, what))


@dataclass(slots=True)
class _Found:
    """All that lies under one author's folder for one id, but for its cover. `last` is the last key of it."""

    aweme_id: AwemeId
    last: ObjectKey
    sidecars: list[ObjectKey] = field(default_factory=list)


class Restoring:
    """Pass over the store. `stopping` is asked between batches."""

    def __init__(self, store: ObjectStore, restorer: Restorer, clock: Clock, *, batch: int = BATCH) -> None:
        self._store, self._restorer, self._clock, self._size = store, restorer, clock, batch
        self._turns = asyncio.Semaphore(READERS)
        self._out = set[str]()
        """Taken out, as far as a pass that only looks knows."""
        self.tally = Tally()

    async def act(
        self, *, after: str = "", keep_cursor: bool = False, only_look: bool = False, stopping: Callable[[], bool]
    ) -> bool:
        """Make one pass over what comes after the key `after`; False when it was stopped before its end.

        `keep_cursor`: the database remembers how far the pass came. `only_look` writes nothing.
        """
        await self._recall(only_look)
        batch: list[_Found] = []
        async for found in self._posts(after):
            batch.append(found)
            if len(batch) == self._size:
                await self._batch(batch, keep_cursor, only_look)
                batch = []
                if stopping():
                    return False
        await self._batch(batch, keep_cursor, only_look)
        return True

    async def _recall(self, only_look: bool) -> None:
        """Take out first what was taken out before, so that no post of it comes back in."""
        batch = list[Tombstone]()
        async for stone in Tombstones(self._store).all():
            if isinstance(stone, Tombstone):
                batch.append(stone)
            else:
                self.tally.trouble(AwemeId(stone[0]), stone[1])
            if len(batch) == self._size:
                await self._take_out(batch, only_look)
                batch = []
        await self._take_out(batch, only_look)

    async def _take_out(self, stones: list[Tombstone], only_look: bool) -> None:
        if only_look:
            self._out |= {stone.aweme_id for stone in stones}
        elif stones:
            self.tally.withheld += await self._restorer.recall(stones, self._clock.now(), RECALLED_S)

    async def _posts(self, after: str) -> AsyncIterator[_Found]:
        """Gather what belongs to one id: its keys follow each other."""
        gathered: _Found | None = None
        async for stat, parts in self._objects(after):
            if gathered is None or gathered.aweme_id != parts.aweme_id or not _together(gathered.last, stat.key):
                if gathered is not None:
                    yield gathered
                gathered = _Found(parts.aweme_id, stat.key)
            gathered.last = stat.key
            if parts.kind == SIDECAR:
                gathered.sidecars.append(stat.key)
        if gathered is not None:
            yield gathered

    async def _objects(self, after: str) -> AsyncIterator[tuple[Stat, KeyParts]]:
        for folder in FOLDERS:
            if after > f"{folder}\uffff":
                continue
            async for stat in self._store.walk(folder, after):
                parts = layout.parse_key(stat.key)
                if parts is not None:
                    self.tally.objects += 1
                    self.tally.bytes += stat.size_bytes
                    yield stat, parts

    async def _batch(self, batch: list[_Found], keep_cursor: bool, only_look: bool) -> None:
        if not batch:
            return
        whole = [found for found in batch if found.sidecars]
        self.tally.incomplete += len(batch) - len(whole)
        wanted = await self._restorer.unknown([found.aweme_id for found in whole]) - self._out
        if not only_look:
            await self._restorer.locate(_places(batch, wanted))
        self.tally.posts += len(whole)
        unknown = [found for found in whole if found.aweme_id in wanted]
        self.tally.known += len(whole) - len(unknown)
        async with asyncio.TaskGroup() as group:
            reading = [group.create_task(self._read(found)) for found in unknown]
        restored = [each for task in reading if (each := task.result()) is not None]
        if only_look:
            self.tally.restored += len(restored)
        elif restored or keep_cursor:
            cursor = batch[-1].last if keep_cursor else None
            self.tally.restored += await self._restorer.restore(restored, self._clock.now(), cursor)

    async def _read(self, found: _Found) -> Restored | None:
        """Read a post's record: the sidecar under its own key, else the latest one that was kept beside it."""
        why = ""
        for key in sorted(found.sidecars, key=_preference):
            try:
                async with self._turns:
                    body = await self._store.read(key, sidecar.MAX_BYTES)
                return _restored(sidecar.read_of(body, found.aweme_id), key, body)
            except (KeyError, TooLarge, sidecar.BadSidecar, ValueError) as error:
                why = why or f"{key}: {error}"
        self.tally.trouble(found.aweme_id, why)
        return None


def _places(batch: list[_Found], wanted: set[AwemeId]) -> dict[AwemeId, tuple[str, str]]:
    """Tell in which folder lie those that are not restored."""
    told = ((found.aweme_id, layout.parse_key(found.last)) for found in batch if found.aweme_id not in wanted)
    return {i: (parts.day, parts.author_part) for i, parts in told if parts is not None and parts.author_part}


def _together(one: str, other: str) -> bool:
    """Tell whether two keys of one id lie in the same place: an id may lie under two days."""
    return one.split("/")[:3] == other.split("/")[:3]


def _preference(key: ObjectKey) -> tuple[bool, int]:
    parts = layout.parse_key(key)
    token = parts.token if parts is not None else None
    return token is not None, -(token or 0)


def _restored(found: sidecar.Sidecar, key: ObjectKey, body: bytes) -> Restored:
    parts = layout.parse_key(key)
    if parts is None or parts.author_part is None or parts.is_photo is not found.is_photo:
        raise sidecar.BadSidecar("lies where posts of the other kind do")
    record = record_of(found, key, body)
    for file in found.files:
        told = layout.parse_key(file.key)
        if told is None or told.aweme_id != parts.aweme_id:
            raise sidecar.BadSidecar(f"lists {file.key}, which is no file of this post")
    first = layout.video_key(parts.day, parts.author_part, parts.aweme_id)
    return Restored(record, found.origin, parts.author_part, layout.first_key(key) if found.is_photo else first)

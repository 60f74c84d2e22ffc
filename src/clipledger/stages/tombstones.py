"""Tombstones in the store: laid when something is taken out, lifted when it is brought back, read by a rebuild.

Must not: decide what is taken out, or touch any other object.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress

from clipledger.core import tombstone
from clipledger.core.errors import TooLarge
from clipledger.core.model import MediaType, ObjectKey
from clipledger.core.ports import KeyTaken, ObjectStore
from clipledger.core.tombstone import BadTombstone, Tombstone

READERS = 32
"""Tombstones read at the same time: a bucket answers each in some 20 ms."""


class Tombstones:
    """The folder `removals/` of one store."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def lay(self, stones: Iterable[Tombstone]) -> None:
        """Lay down those that are missing; one that stands says the same, or what was asked before."""
        for stone in stones:
            with suppress(KeyTaken):
                await self._store.put_bytes(tombstone.key_of(stone), tombstone.encode(stone), MediaType.JSON)

    async def renew(self, stones: Iterable[Tombstone]) -> None:
        """Lay down those that are missing, and anew those that tell other grounds: a post asked for by itself since."""
        for stone in stones:
            told = await self._read(tombstone.key_of(stone))
            if isinstance(told, Tombstone) and (told.reason, told.request) == (stone.reason, stone.request):
                continue
            if told is not None:
                await self._store.delete(tombstone.key_of(stone))
            await self.lay([stone])

    async def lift(self, ids: Sequence[str]) -> None:
        """Remove those of posts that are brought back."""
        for aweme_id in ids:
            await self._store.delete(tombstone.key_of_post(aweme_id))

    async def lift_author(self, author_id: str) -> None:
        """Remove that of an author who is let in again."""
        await self._store.delete(tombstone.key_of_author(author_id))

    async def all(self) -> AsyncIterator[Tombstone | tuple[str, str]]:
        """Read every one, in the order of their keys; (key, what is wrong) for one that cannot be read."""
        async for keys in self._pages():
            async with asyncio.TaskGroup() as group:
                reading = [group.create_task(self._read(key)) for key in keys]
            for task in reading:
                if (read := task.result()) is not None:
                    yield read

    async def _pages(self) -> AsyncIterator[list[ObjectKey]]:
        page: list[ObjectKey] = []
        async for stat in self._store.walk(tombstone.FOLDER):
            page.append(stat.key)
            if len(page) == READERS:
                yield page
                page = []
        yield page

    async def _read(self, key: ObjectKey) -> Tombstone | tuple[str, str] | None:
        try:
            return tombstone.decode(key, await self._store.read(key, tombstone.MAX_BYTES))
        except (BadTombstone, TooLarge) as error:
            return key, str(error)
        except KeyError:  # lifted meanwhile
            return None

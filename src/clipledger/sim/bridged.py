"""A real store for made-up time: its calls run on a real loop in a thread, and the simulated one stands still for them.

`timeloop` runs functions for executors in line, at a step of their own; such a function waits here for the
thread's answer. So a play can archive to a real server, with real sockets, step by step as ever. Must not:
know what the store is, or change what it answers.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

from clipledger.core.model import MediaType, ObjectKey
from clipledger.core.ports import ObjectStore, Part, Stat

T = TypeVar("T")

_BATCH = 256
_PATIENCE_S = 1800.0  # of real time, for one call; the store has deadlines of its own


class BridgedStore:
    """An `ObjectStore` whose calls are made by a thread. `close` leaves it open for the next run; `shut` ends it."""

    def __init__(self, store: ObjectStore) -> None:
        self.url = store.url
        self._store, self._loop = store, asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="bridged-store", daemon=True)
        self._thread.start()

    async def put_part(self, key: ObjectKey, part: Part, media_type: MediaType) -> bool:
        """Put a part: its file is real, so the thread can read it."""
        return await self._call(lambda: self._store.put_part(key, part, media_type))

    async def put_bytes(self, key: ObjectKey, body: bytes, media_type: MediaType) -> bool:
        """Put a body."""
        return await self._call(lambda: self._store.put_bytes(key, body, media_type))

    async def stat(self, key: ObjectKey) -> Stat | None:
        """Look."""
        return await self._call(lambda: self._store.stat(key))

    async def read(self, key: ObjectKey, max_bytes: int) -> bytes:
        """Read."""
        return await self._call(lambda: self._store.read(key, max_bytes))

    async def digest(self, key: ObjectKey) -> tuple[int, str]:
        """Read and hash."""
        return await self._call(lambda: self._store.digest(key))

    async def walk(self, prefix: str, after: str = "") -> AsyncIterator[Stat]:
        """Walk, 256 objects at a time."""
        last = after
        while batch := await self._call(lambda after=last: self._some(prefix, after)):  # type: ignore[misc]
            for stat in batch:
                yield stat
            last = batch[-1].key
            if len(batch) < _BATCH:
                return

    async def delete(self, key: ObjectKey) -> None:
        """Remove."""
        await self._call(lambda: self._store.delete(key))

    async def check(self) -> None:
        """Check."""
        await self._call(self._store.check)

    async def sweep(self, older_than_s: float, now: float, limit: int) -> int:
        """Sweep."""
        return await self._call(lambda: self._store.sweep(older_than_s, now, limit))

    async def close(self) -> None:
        """Do nothing: a run ends, the server's connections stay for the next."""

    def shut(self) -> None:
        """Close the store and end its thread; again does nothing."""
        if not self._loop.is_closed():
            asyncio.run_coroutine_threadsafe(self._store.close(), self._loop).result(_PATIENCE_S)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    async def _some(self, prefix: str, after: str) -> list[Stat]:
        found: list[Stat] = []
        async for stat in self._store.walk(prefix, after):
            found.append(stat)
            if len(found) == _BATCH:
                break
        return found

    async def _call(self, act: Callable[[], Coroutine[Any, Any, T]]) -> T:
        def wait() -> T:
            return asyncio.run_coroutine_threadsafe(act(), self._loop).result(_PATIENCE_S)

        return await asyncio.get_running_loop().run_in_executor(None, wait)

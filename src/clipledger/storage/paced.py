"""Any store, patiently: one that asks to slow down is left alone by everybody, then asked again in place.

What was fetched has been paid for, so a put is worth waiting for; a look that failed is worth repeating
before a post is given back. Beyond its bounds the error goes up, and counts no attempt. Must not: know a
store's kind, the database, or what the bytes are.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol, TypeVar

from clipledger.core.errors import StorageThrottled, StorageUnavailable
from clipledger.core.model import MediaType, ObjectKey
from clipledger.core.ports import Clock, ObjectStore, Part, Stat

T = TypeVar("T")

PATIENCE_S = 900.0
"""So long a call is repeated that is asked to slow down: the pauses double up to 300 s."""

LOOKS = 3
LOOK_AGAIN_S = 1.0
"""A look (stat, read, digest, a page of a walk) that fails is made three times, after 1 s and 2 s."""


class Pause(Protocol):
    """A pause that everybody keeps, `limits.Pause`; a Protocol since storage and limits are strangers."""

    async def over(self) -> None:
        """Return when nobody is asked to wait."""
        ...

    async def throttled(self, retry_after_s: float | None, jitter: float) -> float | None:
        """Pause everybody; give the seconds when this begins a pause, None when one lasts already."""
        ...

    async def succeeded(self) -> None:
        """End the doubling, once the pause is over."""
        ...


class Told(Protocol):
    """Who is told of a pause; `events.Events`."""

    def emit(self, name: str, **fields: object) -> None:
        """Tell that `name` happened."""
        ...


class PacedStore:
    """An `ObjectStore` around another one, with the patience of one process. `jitter` gives numbers in 0..1."""

    def __init__(
        self,
        inner: ObjectStore,
        pause: Pause,
        clock: Clock,
        jitter: Callable[[], float],
        events: Told | None = None,
    ) -> None:
        self.inner, self.url = inner, inner.url
        self._pause, self._clock, self._jitter, self._events = pause, clock, jitter, events

    def telling(self, events: Told) -> PacedStore:
        """Give the same store, whose pauses are told."""
        return PacedStore(self.inner, self._pause, self._clock, self._jitter, events)

    async def put_part(self, key: ObjectKey, part: Part, media_type: MediaType) -> bool:
        """Put, waiting out what asks to slow down. The upload is repeated: the bytes are here, and paid for."""
        return await self._patiently(lambda: self.inner.put_part(key, part, media_type))

    async def put_bytes(self, key: ObjectKey, body: bytes, media_type: MediaType) -> bool:
        """Put, waiting out what asks to slow down."""
        return await self._patiently(lambda: self.inner.put_bytes(key, body, media_type))

    async def stat(self, key: ObjectKey) -> Stat | None:
        """Look, again if need be."""
        return await self._look(lambda: self.inner.stat(key))

    async def read(self, key: ObjectKey, max_bytes: int) -> bytes:
        """Read, again if need be."""
        return await self._look(lambda: self.inner.read(key, max_bytes))

    async def piece(self, key: ObjectKey, start: int, length: int) -> bytes:
        """Read a piece, again if need be."""
        return await self._look(lambda: self.inner.piece(key, start, length))

    async def digest(self, key: ObjectKey) -> tuple[int, str]:
        """Read and hash, again if need be."""
        return await self._look(lambda: self.inner.digest(key))

    async def walk(self, prefix: str, after: str = "") -> AsyncIterator[Stat]:
        """Walk; where it breaks off it is taken up after the last key seen."""
        last, failures = after, 0
        while True:
            try:
                async for stat in self.inner.walk(prefix, last):
                    yield stat
                    last, failures = stat.key, 0
                return
            except StorageUnavailable as error:
                failures += 1
                if failures >= LOOKS:
                    raise
                await self._wait(error, failures)

    async def delete(self, key: ObjectKey) -> None:
        """Remove, waiting out what asks to slow down."""
        await self._patiently(lambda: self.inner.delete(key))

    async def check(self) -> None:
        """Prove that objects can be written."""
        await self._patiently(self.inner.check)

    async def sweep(self, older_than_s: float, now: float, limit: int) -> int:
        """Sweep; a store that asks to slow down is swept another time."""
        await self._pause.over()
        return await self.inner.sweep(older_than_s, now, limit)

    async def close(self) -> None:
        """Close the store."""
        await self.inner.close()

    async def _patiently(self, act: Callable[[], Awaitable[T]]) -> T:
        began_at = self._clock.now()
        while True:
            await self._pause.over()
            try:
                done = await act()
            except StorageThrottled as error:
                await self._slow_down(error)
                if self._clock.now() - began_at >= PATIENCE_S:
                    raise
            else:
                await self._pause.succeeded()
                return done

    async def _look(self, act: Callable[[], Awaitable[T]]) -> T:
        for looked in range(1, LOOKS):
            try:
                return await self._patiently(act)
            except StorageThrottled:
                raise
            except StorageUnavailable as error:
                await self._wait(error, looked)
        return await self._patiently(act)

    async def _wait(self, error: StorageUnavailable, failures: int) -> None:
        if isinstance(error, StorageThrottled):
            await self._slow_down(error)
            await self._pause.over()
        else:
            await self._clock.sleep(LOOK_AGAIN_S * 2 ** (failures - 1))

    async def _slow_down(self, error: StorageThrottled) -> None:
        seconds = await self._pause.throttled(error.retry_after_s, self._jitter())
        if seconds is not None and self._events is not None:
            self._events.emit("store_throttled", why=error.detail, seconds=round(seconds, 1))

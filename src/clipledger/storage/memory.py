"""Objects in a dict: the store of simulations, with the same promises as any other for one process.

Must not: outlive the process, or be kinder than `LocalStore`.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from clipledger.core.errors import TooLarge
from clipledger.core.model import MediaType, ObjectKey
from clipledger.core.ports import KeyTaken, Part, Stat
from clipledger.storage.disk import Runner, in_thread, translated
from clipledger.storage.keys import key_parts, prefix_parts


def _epoch() -> float:
    return 0.0


@dataclass(frozen=True, slots=True)
class _Object:
    body: bytes
    stat: Stat


class MemoryStore:
    """An `ObjectStore` in memory. `now` (unix seconds) dates its objects; 0 without it."""

    url = "memory:"

    def __init__(self, *, now: Callable[[], float] = _epoch, run: Runner = in_thread) -> None:
        self._objects: dict[str, _Object] = {}
        self._now = now
        self._run = run

    async def put_part(self, key: ObjectKey, part: Part, media_type: MediaType) -> bool:
        """Keep the bytes of a sealed part."""
        key_parts(key)
        sealed = (part.size_bytes, part.sha256)

        def read() -> bytes:
            with translated(f"put {key}"):
                return part.path.read_bytes()

        body = await self._run(read)
        if (len(body), hashlib.sha256(body).hexdigest()) != sealed:
            raise ValueError(f"{part.path.name} is not the part that was sealed")
        return self._put(key, body)

    async def put_bytes(self, key: ObjectKey, body: bytes, media_type: MediaType) -> bool:
        """Keep a small body."""
        key_parts(key)
        return self._put(key, bytes(body))

    async def stat(self, key: ObjectKey) -> Stat | None:
        """Give size, time and sha256 of an object; None when there is none."""
        key_parts(key)
        found = self._objects.get(key)
        return found.stat if found else None

    async def read(self, key: ObjectKey, max_bytes: int) -> bytes:
        """Give a small object; KeyError when there is none, `TooLarge` above `max_bytes`."""
        key_parts(key)
        body = self._objects[key].body
        if len(body) > max_bytes:
            raise TooLarge(f"{key} has {len(body)} bytes, more than {max_bytes}")
        return body

    async def piece(self, key: ObjectKey, start: int, length: int) -> bytes:
        """Give `length` bytes from `start` on, fewer at the end; KeyError when there is no object."""
        key_parts(key)
        return self._objects[key].body[start : start + length]

    async def digest(self, key: ObjectKey) -> tuple[int, str]:
        """Hash an object; give (size in bytes, sha256 hex). KeyError when there is none."""
        key_parts(key)
        body = self._objects[key].body
        return len(body), hashlib.sha256(body).hexdigest()

    async def walk(self, prefix: str, after: str = "") -> AsyncIterator[Stat]:
        """Yield every object whose key begins with `prefix` and comes after `after`, in key order."""
        prefix_parts(prefix)
        for key in sorted(key for key in self._objects if key.startswith(prefix) and key > after):
            if found := self._objects.get(key):
                yield found.stat

    async def delete(self, key: ObjectKey) -> None:
        """Forget an object, if there is one."""
        key_parts(key)
        self._objects.pop(key, None)

    async def check(self) -> None:
        """Do nothing: memory can be written."""

    async def sweep(self, older_than_s: float, now: float, limit: int) -> int:
        """Do nothing: no put is ever half done."""
        return 0

    async def close(self) -> None:
        """Do nothing; the objects live as long as the store."""

    def _put(self, key: ObjectKey, body: bytes) -> bool:
        standing = self._objects.get(key)
        if standing is not None:
            if standing.body != body:
                raise KeyTaken(key)
            return False
        self._objects[key] = _Object(body, Stat(key, len(body), self._now(), hashlib.sha256(body).hexdigest()))
        return True

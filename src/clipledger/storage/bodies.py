"""Bytes on their way to a store over the network: of a part's file or in memory, streamed, never read twice.

Must not: know a store or a key.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from stat import S_ISREG

from clipledger.core.ports import Sealed
from clipledger.storage.disk import CHUNK_BYTES, in_thread, translated

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Offer:
    """Bytes to be put: what they are, and `read(offset, n)` that gives some of them."""

    name: str
    size_bytes: int
    sha256: str
    read: Callable[[int, int], bytes]

    def body(self) -> Body:
        """Stream all of it."""
        return Body(self.read, 0, self.size_bytes, self.sha256)

    def piece(self, offset: int, size_bytes: int, sha256: str) -> Body:
        """Stream one range of it."""
        return Body(self.read, offset, size_bytes, sha256)

    def chunks(self, offset: int, size_bytes: int) -> list[tuple[int, int]]:
        """Cut a range into reads of at most 1 MiB, as (offset, size)."""
        end = offset + size_bytes
        return [(at, min(CHUNK_BYTES, end - at)) for at in range(offset, end, CHUNK_BYTES)]


class Body(io.RawIOBase):
    """A readable, seekable range whose sha256 (hex) is known. Reading it moves nothing but its own place.

    A file to the HTTP library, which reads it anew after a redirect. OSError where it ends too soon: who waits for the
    rest would wait for ever.
    """

    def __init__(self, read: Callable[[int, int], bytes], start: int, size_bytes: int, sha256: str) -> None:
        super().__init__()
        self.sha256 = sha256
        self._read, self._start, self._size, self._at = read, start, size_bytes, 0

    def readable(self) -> bool:
        """Say yes."""
        return True

    def seekable(self) -> bool:
        """Say yes."""
        return True

    def read(self, n: int = -1) -> bytes:
        """Give the next `n` bytes, fewer at the end; all that are left when it is not told. Not through a buffer."""
        left = self._size - self._at
        wanted = left if n is None or n < 0 else min(n, left)
        found = self._read(self._start + self._at, wanted) if wanted else b""
        if wanted and not found:
            raise OSError(errno.EIO, "a part is shorter than when it was sealed")
        self._at += len(found)
        return found

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the place."""
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = min(max(origin + offset, 0), self._size)
        return self._at

    def tell(self) -> int:
        """Give the place."""
        return self._at

    def __len__(self) -> int:
        return self._size


def of_bytes(body: bytes) -> Offer:
    """Offer bytes in memory."""
    kept = bytes(body)
    return Offer("body", len(kept), hashlib.sha256(kept).hexdigest(), lambda offset, n: kept[offset : offset + n])


@asynccontextmanager
async def of_part(part: Sealed, doing: str) -> AsyncIterator[Offer]:
    """Offer a sealed part; ValueError when it is not sealed, or its file is not what was sealed."""
    size_bytes, sha256, name = part.size_bytes, part.sha256, part.path.name

    def opened() -> int:
        with translated(doing):
            fd = os.open(part.path, _READ)
            found = os.fstat(fd)
        if not S_ISREG(found.st_mode) or found.st_size != size_bytes:
            os.close(fd)
            raise ValueError(f"{name} is not the part that was sealed")
        return fd

    fd = await in_thread(opened)
    try:
        yield Offer(name, size_bytes, sha256, lambda offset, n: os.pread(fd, n, offset))
    finally:
        os.close(fd)

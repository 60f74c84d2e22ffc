"""Parts: files being received, each named by its attempt and held by a lock while it lives.

`<aweme_id>.<token>.<n>.part`; the lock is taken at birth and freed at the end, so a part whose lock
is free belongs to nobody, whatever its age. A process that dies frees its locks.

Must not: know the store, a key or a video's state; keep a part beyond its `async with`.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import re
import threading
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from clipledger.core.errors import StorageUnavailable
from clipledger.core.model import AwemeId
from clipledger.storage.disk import (
    FILE_MODE,
    Gathered,
    Runner,
    in_thread,
    make_folders,
    set_file_mode,
    sync_file,
    translated,
    write_all,
)

_NAME = re.compile(r"([0-9A-Za-z_-]{1,64})\.([0-9]{1,19})\.([0-9]{1,9})\.part")
_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
HELD_MAX = 256 * 2**10
"""Bytes of a part that are held in memory, at most: for all downloads at once as much as one of them has in buffers."""

_CREATE_TRIES = 4  # the janitor can be in the way once; more often is no accident


@dataclass(frozen=True, slots=True)
class Leftover:
    """A part whose owner is gone."""

    path: Path
    aweme_id: AwemeId
    token: int
    size_bytes: int
    age_s: float


class Spool:
    """The folder of parts; made on first use. It is best kept on the store's own disk."""

    def __init__(self, folder: Path, *, run: Runner = in_thread) -> None:
        self.folder = folder.absolute()
        self._run = run
        self._ending = Gathered(run)

    @asynccontextmanager
    async def open(
        self, aweme_id: AwemeId, token: int, n: int, expected_bytes: int | None = None
    ) -> AsyncIterator[SpoolPart]:
        """Begin the `n`-th part of an attempt; its file is gone afterwards, linked elsewhere or not.

        A part that is expected to have `HELD_MAX` bytes or fewer is held in memory until it is sealed, or larger after
        all. A dead part of that name is replaced; a live one raises `StorageUnavailable`, at the latest by `seal`.
        """
        name = f"{aweme_id}.{token}.{n}.part"
        if not _NAME.fullmatch(name):
            raise ValueError(f"not a part's name: {name!r}")
        part = SpoolPart(self.folder / name, self._run)
        try:
            if expected_bytes is None or expected_bytes > HELD_MAX:
                await self._run(part.create)
            else:
                part.hold()
            yield part
        finally:
            await self._discard(part)

    async def _discard(self, part: SpoolPart) -> None:
        try:
            await self._ending(part.discard)
        except asyncio.CancelledError:
            part.discard()
            raise

    async def leftovers(self, now: float, older_than_s: float, limit: int = 1000) -> list[Leftover]:
        """List up to `limit` parts without an owner that were last written more than `older_than_s` before `now`."""

        def look() -> list[Leftover]:
            with translated(f"list {self.folder}"):
                return self._leftovers(now, older_than_s, limit)

        return await self._run(look)

    async def remove(self, leftover: Leftover) -> bool:
        """Remove a part unless somebody holds it; tell whether it was removed."""

        def remove() -> bool:
            with translated(f"remove {leftover.path.name}"):
                return _remove_dead(leftover.path)

        return await self._run(remove)

    def _leftovers(self, now: float, older_than_s: float, limit: int) -> list[Leftover]:
        found: list[Leftover] = []
        with suppress(FileNotFoundError), os.scandir(self.folder) as entries:
            for entry in entries:
                if len(found) >= limit:
                    break
                left = _leftover(entry, now)
                if left and left.age_s > older_than_s and _is_free(left.path):
                    found.append(left)
        return found


class _State(Enum):
    NEW = "new"
    OPEN = "open"
    SEALED = "sealed"
    FAILED = "failed"
    CLOSED = "closed"


class SpoolPart:
    """A `ports.Part` on a locked file of the spool. `sha256` raises ValueError until it is sealed.

    `create` and `discard` block and belong to the spool; the lock between them and `seal` keeps the
    descriptor from being closed under a thread whose task was cancelled.
    """

    def __init__(self, path: Path, run: Runner) -> None:
        self.path = path
        self._run = run
        self._lock = threading.Lock()
        self._state = _State.NEW
        self._fd = -1
        self._held = bytearray()  # what no file was made for yet
        self._hash = hashlib.sha256()
        self._size_bytes = 0
        self._sha256: str | None = None

    @property
    def size_bytes(self) -> int:
        """Count the bytes written so far."""
        return self._size_bytes

    @property
    def sha256(self) -> str:
        """Give the sha256 in hex, once sealed; ValueError before."""
        if self._sha256 is None:
            raise ValueError(f"{self.path.name} is not sealed")
        return self._sha256

    def write(self, chunk: bytes) -> None:
        """Append and hash. After `StorageFull` or `StorageUnavailable` the part is of no more use."""
        self._expect_open()
        if self._fd < 0 and len(self._held) + len(chunk) <= HELD_MAX:
            self._held += chunk
        else:
            self._state = _State.FAILED  # unless every byte goes through
            with translated(f"write {self.path.name}"):
                self._spill()
                write_all(self._fd, chunk)
            self._state = _State.OPEN
        self._hash.update(chunk)
        self._size_bytes += len(chunk)

    def head(self, n: int) -> bytes:
        """Read the first `n` bytes, fewer when there are fewer."""
        return self.read_at(0, n)

    def read_at(self, offset: int, n: int) -> bytes:
        """Read up to `n` bytes from `offset`; b"" at or past the end."""
        if self._fd < 0 and self._state is not _State.CLOSED:
            return bytes(memoryview(self._held)[offset : offset + n])
        with translated(f"read {self.path.name}"):
            return os.pread(self._fd, n, offset)

    async def seal(self) -> None:
        """Bring the bytes to stable storage and end writing; once sealed, again does nothing."""
        await self._run(self._seal)

    def hold(self) -> None:
        """Take bytes without a file; `seal` makes it."""
        self._state = _State.OPEN

    def create(self) -> None:
        """Create and lock the file, unless the part was discarded before a thread came to it."""
        with self._lock, translated(f"create {self.path.name}"):
            if self._state is _State.NEW:
                self._fd = _create_locked(self.path)
                self._state = _State.OPEN

    def discard(self) -> None:
        """Remove the file, then free its lock; again does nothing."""
        with self._lock:
            self._state = _State.CLOSED
            if self._fd >= 0:
                with suppress(OSError):  # what cannot be removed is found by the janitor: no reason to fail a post
                    self.path.unlink()
                os.close(self._fd)
                self._fd = -1

    def _seal(self) -> None:
        with self._lock:
            if self._state is _State.SEALED:
                return
            self._expect_open()
            self._state = _State.FAILED  # unless the disk says otherwise; a second fsync would lie
            with translated(f"sync {self.path.name}"):
                self._spill()
                sync_file(self._fd)
            self._sha256 = self._hash.hexdigest()
            self._state = _State.SEALED

    def _spill(self) -> None:
        if self._fd < 0:
            self._fd = _create_locked(self.path)
            write_all(self._fd, bytes(self._held))
            self._held = bytearray()

    def _expect_open(self) -> None:
        if self._state is _State.FAILED:
            raise StorageUnavailable(f"{self.path.name} could not be written before")
        if self._state is not _State.OPEN:
            raise ValueError(f"{self.path.name} is {self._state.value}")


def _create_locked(path: Path) -> int:
    for _ in range(_CREATE_TRIES):
        make_folders(path.parent)
        try:
            fd = os.open(path, _CREATE, FILE_MODE)
        except FileExistsError:
            _remove_dead(path)
            continue
        with ExitStack() as undo:
            undo.callback(os.close, fd)
            fcntl.flock(fd, fcntl.LOCK_EX)
            set_file_mode(fd)
            if _is_named(path, fd):  # else the janitor had it between its birth and its lock
                undo.pop_all()
                return fd
    raise StorageUnavailable(f"{path.name} is held by another process")


def _remove_dead(path: Path) -> bool:
    """Unlink a part whose lock is free; tell whether it was."""
    try:
        fd = os.open(path, _OPEN)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not _is_named(path, fd):  # its owner ended between our open and our lock
            return False
        path.unlink()
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True


def _is_named(path: Path, fd: int) -> bool:
    """Tell whether `path` is still this open file."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(fd))
    except FileNotFoundError:
        return False


def _is_free(path: Path) -> bool:
    try:
        fd = os.open(path, _OPEN)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True


def _leftover(entry: os.DirEntry[str], now: float) -> Leftover | None:
    """Read a part's name and size; None for whatever is no part."""
    name = _NAME.fullmatch(entry.name)
    if name is None or not entry.is_file(follow_symlinks=False):
        return None
    try:
        found = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    return Leftover(Path(entry.path), AwemeId(name[1]), int(name[2]), found.st_size, now - found.st_mtime)

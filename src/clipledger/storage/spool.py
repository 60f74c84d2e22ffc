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
from collections import deque
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from clipledger.core.errors import ClipledgerError, StorageUnavailable
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
HELD_MAX = 512 * 2**10
"""Bytes that are gathered before they are hashed and written, aside of the loop."""

CHUNKS_MAX = 1024
"""Chunks that are gathered at most: a server that sends a byte at a time costs no more memory than another."""

WAITING_MAX = 2
"""Gathered pieces of a part that may wait for a thread; with more the loop itself does it, and receives no faster."""

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

        A part that is expected to have `HELD_MAX` bytes or fewer gets its file when it is sealed, or larger after
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

    Bytes are gathered, then hashed and written in a thread, so that the next ones can be received meanwhile; what
    fails there is raised by the call that comes next. `create` and `discard` block and belong to the spool. The
    lock orders the threads: a piece is written whole and once, and no descriptor is closed under one that writes.
    """

    def __init__(self, path: Path, run: Runner) -> None:
        self.path = path
        self._run = run
        self._lock = threading.Lock()
        self._state = _State.NEW
        self._failure: ClipledgerError | MemoryError | None = None
        self._fd = -1
        self._gathering, self._gathered_bytes = list[bytes](), 0
        self._waiting = deque[list[bytes]]()
        self._helped = False
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
        """Append and hash, by and by. After `StorageFull` or `StorageUnavailable` the part is of no more use."""
        self._expect_open()
        self._gathering.append(chunk)
        self._gathered_bytes += len(chunk)
        self._size_bytes += len(chunk)
        if self._gathered_bytes > HELD_MAX or len(self._gathering) > CHUNKS_MAX:
            self._pass_on()
            if len(self._waiting) > WAITING_MAX:
                self._work_off()
                self._expect_open()
            elif not self._helped:  # one thread a part: a second one would only wait for the lock
                self._helped = True
                asyncio.get_running_loop().run_in_executor(None, self._work_off)

    def head(self, n: int) -> bytes:
        """Read the first `n` bytes, fewer when there are fewer."""
        return self.read_at(0, n)

    def read_at(self, offset: int, n: int) -> bytes:
        """Read up to `n` bytes from `offset`; b"" at or past the end."""
        if self._state is not _State.SEALED:
            self._expect_open()
            if self._size_bytes == self._gathered_bytes:
                self._gathering = [b"".join(self._gathering)]
                return self._gathering[0][offset : offset + n]
            self._pass_on()
            self._work_off()
            self._expect_open()
        with translated(f"read {self.path.name}"):
            return os.pread(self._fd, n, offset)

    async def seal(self) -> None:
        """Bring the bytes to stable storage and end writing; once sealed, again does nothing."""
        await self._run(self._seal)

    def hold(self) -> None:
        """Take bytes without a file; it is made when there are many, or by `seal`."""
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
            self._pass_on()
            self._write_waiting()
            self._expect_open()
            self._state = _State.FAILED  # unless the disk says otherwise; a second fsync would lie
            with translated(f"sync {self.path.name}"):
                sync_file(self._fd)
            self._sha256 = self._hash.hexdigest()
            self._state = _State.SEALED

    def _pass_on(self) -> None:
        self._waiting.append(self._gathering)
        self._gathering, self._gathered_bytes = [], 0

    def _work_off(self) -> None:
        with self._lock:
            self._write_waiting()
            self._helped = False  # what came in this very moment is taken by the next piece's thread, or by `seal`

    def _write_waiting(self) -> None:
        try:
            with translated(f"write {self.path.name}"):
                while self._state is _State.OPEN and self._waiting:
                    self._write_piece(self._waiting.popleft())
        except (ClipledgerError, MemoryError) as error:  # the piece is lost: what comes behind it must not be sealed
            self._failure, self._state = error, _State.FAILED

    def _write_piece(self, chunks: list[bytes]) -> None:
        piece = b"".join(chunks)  # one call for all: a thread that lets go of the interpreter waits to have it again
        if self._fd < 0:
            self._fd = _create_locked(self.path)
        write_all(self._fd, piece)
        self._hash.update(piece)

    def _expect_open(self) -> None:
        state = self._state  # looked at first, as a thread sets it last: what failed is then told by its own name
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
        if state is _State.FAILED:
            raise StorageUnavailable(f"{self.path.name} could not be written before")
        if state is not _State.OPEN:
            raise ValueError(f"{self.path.name} is {state.value}")


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

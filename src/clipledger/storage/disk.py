"""What blocking work on a disk needs: a thread to run in, fsync, and names for its failures.

Must not: know a key, a layout or a part; retry anything.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import hashlib
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol, TypeVar

from clipledger.core.errors import ClipledgerError, StorageFull, StorageUnavailable, TooLarge, TooManyOpenFiles

T = TypeVar("T")

FILE_MODE = 0o640
FOLDER_MODE = 0o750
CHUNK_BYTES = 2**20

# Nothing of this passes by itself and none of it is a video's fault: the run stops, work is given back.
_UNWRITABLE = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENOTDIR, errno.EIO}
)
_NO_DESCRIPTOR = frozenset({errno.EMFILE, errno.ENFILE})
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})
_NO_FOLDER_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP})


class Runner(Protocol):
    """Run blocking work where it does not hold up the event loop."""

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]:
        """Give the result of `work()`, or raise what it raised."""


async def in_thread(work: Callable[[], T]) -> T:
    """Run blocking work in a thread of the running loop's own pool."""
    return await asyncio.get_running_loop().run_in_executor(None, work)


class Gathered:
    """Run the small works of many tasks in as few hops to a thread as they need: those that wait together share one.

    For work that neither fails nor waits for a disk, and may be done twice: it is done one after another. Whoever is
    cancelled does its own; that of the others is left to the next of them.
    """

    def __init__(self, run: Runner) -> None:
        self._run, self._waiting, self._turn = run, list[Callable[[], None]](), asyncio.Lock()

    async def __call__(self, work: Callable[[], None]) -> None:
        """Return once `work` was done, by this task's hop or by one before it."""
        self._waiting.append(work)
        async with self._turn:
            if work in self._waiting:
                together, self._waiting = self._waiting, []
                try:
                    await self._run(lambda: [each() for each in together])
                except asyncio.CancelledError:  # no thread may ever come to it
                    self._waiting = [each for each in together if each != work] + self._waiting
                    raise


def failure(error: OSError, doing: str) -> ClipledgerError:
    """Translate a disk's refusal: the one table."""
    where = f" ({error.filename})" if isinstance(error.filename, str) else ""
    if error.errno in _NO_DESCRIPTOR:
        return TooManyOpenFiles(f"{doing}{where}")
    if error.errno == errno.EFBIG:
        return TooLarge(f"{doing}: larger than a file may be here{where}")  # FAT, or a limit of the shell
    link = "; links inside the store are not followed" if error.errno in (errno.ELOOP, errno.ENOTDIR) else ""
    kind = StorageFull if error.errno in _UNWRITABLE else StorageUnavailable
    return kind(f"{doing}: {error.strerror or error}{where}{link}")


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn an OSError of the block into one of our errors; `doing` goes into its detail."""
    try:
        yield
    except OSError as error:
        raise failure(error, doing) from error


def sync_file(fd: int) -> None:
    """Bring a file's bytes to stable storage.

    After an OSError the kernel may have dropped the dirty pages, and a second fsync would lie:
    never call it again for that file.
    """
    os.fsync(fd)


def sync_folder(fd: int) -> None:
    """Bring a folder's entries to stable storage, where the file system knows how (some FUSE do not)."""
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise


def make_folders(folder: Path) -> None:
    """Make a folder and what is missing above it, for owner and group, so that they survive a power cut."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    for place in reversed(missing):
        place.mkdir(FOLDER_MODE, exist_ok=True)
        sync_path(place.parent)


def lock_alone(fd: int) -> None:
    """Lock a new file against sweepers; on a file system without locks nobody can sweep it either."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise


def sync_path(folder: Path) -> None:
    """Sync a folder by its path."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync_folder(fd)
    finally:
        os.close(fd)


def write_all(fd: int, chunk: bytes | bytearray) -> None:
    """Write every byte, however short the kernel's steps."""
    rest = memoryview(chunk)
    while rest:
        rest = rest[os.write(fd, rest) :]


def read_chunks(fd: int) -> Iterator[bytes]:
    """Yield a file's bytes from its start, 1 MiB at a time."""
    offset = 0
    while chunk := os.pread(fd, CHUNK_BYTES, offset):
        offset += len(chunk)
        yield chunk


def digest_file(fd: int) -> tuple[int, str]:
    """Read a file; give its size in bytes and its sha256 in hex."""
    size_bytes, digest = 0, hashlib.sha256()
    for chunk in read_chunks(fd):
        size_bytes += len(chunk)
        digest.update(chunk)
    return size_bytes, digest.hexdigest()


def set_file_mode(fd: int) -> None:
    """Give a file its final mode, whatever the umask."""
    with suppress(PermissionError):  # FAT and its kin have no modes to set
        os.fchmod(fd, FILE_MODE)

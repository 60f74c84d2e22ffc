"""Objects as files in a folder: what stands under a final name is whole, and stays after a power cut.

Every call is one hop to a thread (`walk`: one for 256 objects). A key's folders are opened one
beneath the other without following links, so nothing planted in the tree leads outside of it.

Must not: replace a file (but for `replace`, which exports use), remove a part, or retry for the job's sake.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from stat import S_IMODE, S_ISREG
from typing import Protocol, TypeVar

from clipledger.core.errors import StorageUnavailable, TooLarge
from clipledger.core.layout import FOLDERS
from clipledger.core.model import MediaType, ObjectKey
from clipledger.core.ports import KeyTaken, Part, Sealed, Stat
from clipledger.storage import mark
from clipledger.storage.disk import (
    FILE_MODE,
    Runner,
    digest_file,
    in_thread,
    read_chunks,
    set_file_mode,
    sync_file,
    sync_folder,
    translated,
)
from clipledger.storage.folders import FolderPath, Tree
from clipledger.storage.keys import key_parts, prefix_parts
from clipledger.storage.publish import clear_private, probe, publish_anew, publish_chunks, publish_file

T = TypeVar("T")

_PUT_TRIES = 8  # a folder vanishes only when its last object is deleted: twice in a row is odd already
_WALK_BATCH = 256
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


class LocalStore:
    """An `ObjectStore` on the folder `root`, which the first put makes. Parts are best kept on the same disk.

    A key that is none raises ValueError, and so does a part that is not sealed.
    """

    def __init__(self, root: Path, *, run: Runner = in_thread) -> None:
        self.root = root.absolute()
        self._tree = Tree(self.root)
        self._run = run
        self.url = self._tree.root.as_uri()

    async def put_part(self, key: ObjectKey, part: Part, media_type: MediaType) -> bool:
        """Publish a sealed part by linking it; it is copied where the file system has no links."""
        parts, offer = key_parts(key), _File(part.path, part.size_bytes, part.sha256)
        return await self._off_loop(f"put {key}", lambda: self._put(parts, offer))

    async def put_bytes(self, key: ObjectKey, body: bytes, media_type: MediaType) -> bool:
        """Publish a small body: private file, fsync, link, fsync of the folder."""
        parts = key_parts(key)
        return await self._off_loop(f"put {key}", lambda: self._put(parts, _Body(body)))

    async def replace(self, key: ObjectKey, part: Sealed, media_type: MediaType) -> None:
        """Publish a sealed part in the place of whatever stands there: a reader sees the one or the other, whole."""
        parts = key_parts(key)
        await self._off_loop(f"put {key}", lambda: self._replace(parts, part.path))

    async def stat(self, key: ObjectKey) -> Stat | None:
        """Give size and time of an object; None when there is none. Only a regular file is one."""
        parts = key_parts(key)
        return await self._off_loop(f"stat {key}", lambda: self._stat(parts))

    async def read(self, key: ObjectKey, max_bytes: int) -> bytes:
        """Read a small object whole; KeyError when there is none, `TooLarge` above `max_bytes`."""
        parts = key_parts(key)
        return await self._off_loop(f"read {key}", lambda: self._read(parts, max_bytes))

    async def piece(self, key: ObjectKey, start: int, length: int) -> bytes:
        """Read `length` bytes from `start` on, fewer at the end; KeyError when there is no object."""
        parts = key_parts(key)
        return await self._off_loop(f"read {key}", lambda: self._piece(parts, start, length))

    async def digest(self, key: ObjectKey) -> tuple[int, str]:
        """Read an object; give (size in bytes, sha256 hex). KeyError when there is none."""
        parts = key_parts(key)
        return await self._off_loop(f"read {key}", lambda: self._digest(parts))

    async def walk(self, prefix: str, after: str = "") -> AsyncIterator[Stat]:
        """Yield every object whose key begins with `prefix` and comes after `after`, in key order.

        Holds the names of one folder per level. What is no key is passed over: private names, links,
        the archive's own files. An object that goes or comes meanwhile may be missing.
        """
        found = self._walk(*prefix_parts(prefix), after.encode())
        while batch := await self._off_loop(f"walk {prefix}", lambda: list(islice(found, _WALK_BATCH))):
            for stat in batch:
                yield stat

    async def delete(self, key: ObjectKey) -> None:
        """Remove an object, durably, and the folders that it leaves empty; the topmost folder stays."""
        parts = key_parts(key)
        await self._off_loop(f"delete {key}", lambda: self._delete(parts))

    async def check(self) -> None:
        """Prove that objects can be published here; clear what killed processes left at the top.

        StorageFull when a topmost folder is a link, a file, or shut to us.
        """
        await self._off_loop(f"check {self.url}", self._check)

    async def sweep(self, older_than_s: float, now: float, limit: int) -> int:
        """Remove the private files of dead writers, in up to `limit` folders, those of the latest days first.

        A lock tells the dead from the living, so `older_than_s` is not needed to.
        """
        return await self._off_loop("sweep", lambda: self._sweep(limit))

    async def mark(self) -> str | None:
        """Read the UUID of the archive that this folder belongs to."""
        return await self._off_loop("read the mark", self._mark)

    async def set_mark(self, uuid: str) -> None:
        """Lay the mark down unless there is one."""
        await self._off_loop("mark the folder", lambda: self._set_mark(f"{uuid}\n".encode()))

    async def close(self) -> None:
        """Do nothing: no descriptor outlives its call."""

    async def _off_loop(self, doing: str, work: Callable[[], T]) -> T:
        def job() -> T:
            with translated(doing):
                return work()

        return await self._run(job)

    def _put(self, parts: FolderPath, offer: _Offer) -> bool:
        for _ in range(_PUT_TRIES):
            with suppress(FileNotFoundError), self._tree.opened(parts[:-1], create=True) as folder:
                return _put_in(folder, parts, offer)
        raise StorageUnavailable(f"put {'/'.join(parts)}: the part or, again and again, the folder is gone")

    def _replace(self, parts: FolderPath, source: Path) -> None:
        with self._tree.opened(parts[:-1], create=True) as folder:
            with source.open("rb", buffering=0) as file:
                publish_anew(read_chunks(file.fileno()), folder, parts[-1])
            sync_folder(folder)

    def _stat(self, parts: FolderPath) -> Stat | None:
        try:
            with self._tree.opened(parts[:-1]) as folder:
                found = os.stat(parts[-1], dir_fd=folder, follow_symlinks=False)
        except OSError as error:
            if error.errno in _ABSENT:
                return None
            raise
        return Stat(_key(parts), found.st_size, found.st_mtime) if S_ISREG(found.st_mode) else None

    def _read(self, parts: FolderPath, max_bytes: int) -> bytes:
        with self._object(parts) as fd, open(fd, "rb", closefd=False) as file:
            body = file.read(max_bytes + 1)
        if len(body) > max_bytes:
            raise TooLarge(f"{_key(parts)} has more than {max_bytes} bytes")
        return body

    def _piece(self, parts: FolderPath, start: int, length: int) -> bytes:
        with self._object(parts) as fd:
            return os.pread(fd, length, start)

    def _digest(self, parts: FolderPath) -> tuple[int, str]:
        with self._object(parts) as fd:
            return digest_file(fd)

    def _walk(self, path: FolderPath, start: str, after: bytes) -> Iterator[Stat]:
        for name in self._names(path):
            if name.startswith(start) and _may_follow((*path, name), after):
                if name.endswith("/"):
                    yield from self._walk((*path, name[:-1]), "", after)
                elif stat := self._stat((*path, name)):
                    yield stat

    def _sweep(self, limit: int) -> int:
        removed, waiting = 0, list[FolderPath]([()])
        for _ in range(limit):
            if not waiting:
                break
            path = waiting.pop()
            with suppress(FileNotFoundError, NotADirectoryError), self._tree.opened(path) as folder:
                removed += clear_private(folder)
            waiting += [(*path, name[:-1]) for name in self._names(path) if name.endswith("/")]
        return removed

    def _names(self, path: FolderPath) -> list[str]:
        try:
            return self._tree.names(path)
        except OSError as error:
            if error.errno in _ABSENT:
                return []
            raise

    def _delete(self, parts: FolderPath) -> None:
        try:
            with self._tree.opened(parts[:-1]) as folder:
                with suppress(FileNotFoundError, IsADirectoryError):
                    os.unlink(parts[-1], dir_fd=folder)
                clear_private(folder)  # what a writer that was killed left of it
                sync_folder(folder)
        except OSError as error:
            if error.errno not in _ABSENT:
                raise
        self._tree.prune(parts[:-1])

    def _check(self) -> None:
        with self._tree.opened((), create=True) as root:
            clear_private(root)
            probe(root)
        for name in FOLDERS:
            with (
                translated(f"{self._tree.root / name} must be a folder of its own"),
                suppress(FileNotFoundError),
                self._tree.opened((name,)),
            ):
                pass

    def _mark(self) -> str | None:
        try:
            with self._tree.opened((mark.FOLDER,)) as folder:
                fd = _open_regular(folder, mark.NAME)
        except OSError as error:
            if error.errno not in _ABSENT:
                raise
            return None
        if fd is None:
            return None
        with os.fdopen(fd, "rb") as file:
            return mark.text_of(file.read(mark.BYTES_MAX))

    def _set_mark(self, body: bytes) -> None:
        with self._tree.opened((mark.FOLDER,), create=True) as folder:
            with suppress(FileExistsError):
                publish_chunks([body], folder, mark.NAME)
            sync_folder(folder)

    @contextmanager
    def _object(self, parts: FolderPath) -> Iterator[int]:
        try:
            with self._tree.opened(parts[:-1]) as folder:
                fd = _open_regular(folder, parts[-1])
        except OSError as error:
            if error.errno not in _ABSENT:
                raise
            fd = None
        if fd is None:
            raise KeyError(_key(parts))
        try:
            yield fd
        finally:
            os.close(fd)


class _Offer(Protocol):
    """Bytes on their way under a key: what they are, and how they get their name."""

    @property
    def size_bytes(self) -> int: ...
    @property
    def sha256(self) -> str: ...
    def publish(self, folder: int, name: str) -> None: ...
    def chunks(self) -> Iterable[bytes]: ...


@dataclass(frozen=True, slots=True)
class _File:
    """A sealed part."""

    path: Path
    size_bytes: int
    sha256: str

    def publish(self, folder: int, name: str) -> None:
        self._check_sealed()
        publish_file(self.path, folder, name)

    def chunks(self) -> Iterator[bytes]:
        with self.path.open("rb", buffering=0) as file:
            yield from read_chunks(file.fileno())

    def _check_sealed(self) -> None:
        fd = os.open(self.path, _READ)
        try:
            found = os.fstat(fd)
            if not S_ISREG(found.st_mode) or found.st_size != self.size_bytes:
                raise ValueError(f"{self.path.name} is not the part that was sealed")
            if S_IMODE(found.st_mode) != FILE_MODE:
                set_file_mode(fd)
        finally:
            os.close(fd)


@dataclass(frozen=True, slots=True)
class _Body:
    """Bytes in memory."""

    body: bytes

    @property
    def size_bytes(self) -> int:
        return len(self.body)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.body).hexdigest()

    def publish(self, folder: int, name: str) -> None:
        publish_chunks(self.chunks(), folder, name)

    def chunks(self) -> list[bytes]:
        return [self.body]


def _may_follow(parts: FolderPath, after: bytes) -> bool:
    """Tell whether an object, or any in a folder (its name ends in `/`), has a key after `after`."""
    name = "/".join(parts).encode()
    return name > after or (name.endswith(b"/") and after.startswith(name))


def _key(parts: FolderPath) -> ObjectKey:
    return ObjectKey("/".join(parts))


def _put_in(folder: int, parts: FolderPath, offer: _Offer) -> bool:
    try:
        offer.publish(folder, parts[-1])
    except FileExistsError:
        _adopt(folder, parts, offer)
        return False
    sync_folder(folder)
    return True


def _adopt(folder: int, parts: FolderPath, offer: _Offer) -> None:
    """Make sure that what stands under the key is what was to be put, and that it stays."""
    fd = _open_regular(folder, parts[-1])
    if fd is None:
        raise KeyTaken(_key(parts))
    try:
        if os.fstat(fd).st_size != offer.size_bytes or digest_file(fd)[1] != offer.sha256:
            raise KeyTaken(_key(parts))
        try:
            sync_file(fd)  # copied here by hand, perhaps; and who linked it may have died before its own fsync
        except OSError:
            publish_anew(offer.chunks(), folder, parts[-1])  # never synced again: a second fsync would lie
        sync_folder(folder)
    finally:
        os.close(fd)


def _open_regular(folder: int, name: str) -> int | None:
    """Open a file for reading; None for whatever else has the name: a link, a folder, a pipe."""
    if not S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
        return None
    return os.open(name, _READ, dir_fd=folder)

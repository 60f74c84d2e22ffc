"""Give whole files their final names, never replacing one.

Everything here works on an open folder. A file under construction carries a private name
(`.part-...`) and a lock, so that what a killed process left can be told from what is being written.

Must not: sync the folder (the caller does, once), know a key, or look at what stands under a name.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import itertools
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from clipledger.storage.disk import FILE_MODE, lock_alone, read_chunks, set_file_mode, sync_file, write_all

_PRIVATE = ".part-"
_NO_LINK = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV})
_NO_FLAG = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP})
_RENAME_NOREPLACE = 1  # linux/fs.h
_counter = itertools.count()


def publish_file(source: Path, folder: int, name: str) -> None:
    """Name a sealed file in `folder`: linked, copied where links cannot be. FileExistsError: the name is taken.

    The source stays where it is.
    """
    try:
        os.link(source, name, dst_dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        with source.open("rb", buffering=0) as file:
            publish_chunks(read_chunks(file.fileno()), folder, name)


def publish_chunks(chunks: Iterable[bytes], folder: int, name: str) -> None:
    """Write a new file, sync it, name it in `folder`. FileExistsError: the name is taken."""
    with _private_file(folder) as (fd, private):
        _fill(fd, chunks)
        _name(private, folder, name)


def publish_anew(chunks: Iterable[bytes], folder: int, name: str) -> None:
    """Write bytes into a new file, sync that, and let it take the name of whatever stands there.

    For a standing file whose fsync failed (its pages may be lost, and a second fsync of it would not say so), and
    for the parts of exports. Whoever reads the name meanwhile finds the old bytes or the new ones, whole.
    """
    with _private_file(folder) as (fd, private):
        _fill(fd, chunks)
        os.rename(private, name, src_dir_fd=folder, dst_dir_fd=folder)


def clear_private(folder: int) -> int:
    """Remove the private files that killed processes left in `folder`; live ones are locked and stay. Give how many."""
    with os.scandir(folder) as entries:
        found = [entry.name for entry in entries if entry.name.startswith(_PRIVATE)]
    removed = 0
    for name in found:
        with suppress(OSError):  # alive, gone, or no file at all: never a reason to fail a put
            _remove_dead(folder, name)
            removed += 1
    return removed


def probe(folder: int) -> None:
    """Prove that files can be written, synced and named in `folder`; leave nothing."""
    with _private_file(folder) as (fd, private):
        write_all(fd, b"probe\n")
        sync_file(fd)
        _name(private, folder, f"{private}-probe")
        os.unlink(f"{private}-probe", dir_fd=folder)


def _fill(fd: int, chunks: Iterable[bytes]) -> None:
    for chunk in chunks:
        write_all(fd, chunk)
    set_file_mode(fd)
    sync_file(fd)


@contextmanager
def _private_file(folder: int) -> Iterator[tuple[int, str]]:
    """Create a locked file with a private name; the name is gone afterwards."""
    fd, private = _create_private(folder)
    try:
        lock_alone(fd)
        if os.fstat(fd).st_nlink == 0:  # a sweeper came between birth and lock; the name may be another's now
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), private)
        try:
            yield fd, private
        finally:
            with suppress(FileNotFoundError):  # renamed
                os.unlink(private, dir_fd=folder)
    finally:
        os.close(fd)


def _create_private(folder: int) -> tuple[int, str]:
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    while True:
        private = f"{_PRIVATE}{os.getpid()}-{next(_counter)}"
        with suppress(FileExistsError):  # a process of that number, in another container or before a crash
            return os.open(private, flags, FILE_MODE, dir_fd=folder), private


def _remove_dead(folder: int, name: str) -> None:
    fd = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(name, dir_fd=folder)
    finally:
        os.close(fd)


def _name(private: str, folder: int, name: str) -> None:
    """Turn the private name into the final one by the first way that the file system knows."""
    try:
        os.link(private, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        _rename(private, folder, name)


def _rename(private: str, folder: int, name: str) -> None:
    try:
        _rename_noreplace(private, folder, name)
    except OSError as error:
        if error.errno not in _NO_FLAG:
            raise
        _rename_locked(private, folder, name)


def _rename_noreplace(private: str, folder: int, name: str) -> None:
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if call(folder, os.fsencode(private), folder, os.fsencode(name), _RENAME_NOREPLACE) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), name)


def _rename_locked(private: str, folder: int, name: str) -> None:
    """Look, then rename, alone in the folder: the last resort, safe among our own processes."""
    fcntl.flock(folder, fcntl.LOCK_EX)
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        os.rename(private, name, src_dir_fd=folder, dst_dir_fd=folder)
    else:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)
    finally:
        fcntl.flock(folder, fcntl.LOCK_UN)

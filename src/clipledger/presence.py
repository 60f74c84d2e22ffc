"""Who is at work on an archive of this machine: locks that the kernel drops when a process dies.

Each worker holds a lock file of its own; a worker whose file can be locked is dead, and its videos
are given back at once instead of after the lease. One that a full disk stopped in good order leaves a
`.stop` instead of a `.lock`: what it held is nobody's crash. The archive lock is shared by workers and
held alone by whoever must not be disturbed. Must not: touch the database or the store.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from clipledger.core.errors import ArchiveInUse, Misconfigured, StorageFull, StorageUnavailable, TooManyOpenFiles

PRIVATE = ".clipledger"
"""The archive's own folder: locks and the spool."""

_STOPPED = ".stop"
_NEWEST = "newest"
_NO_DESCRIPTOR = frozenset({errno.EMFILE, errno.ENFILE})


def private_folder(archive: Path) -> Path:
    """Give (and make) the folder that holds locks and parts."""
    return _made(archive / PRIVATE)


@contextmanager
def hold_archive(archive: Path, *, alone: bool = False) -> Iterator[None]:
    """Hold the archive, shared or alone; ArchiveInUse when another process excludes that."""
    descriptor = _opened(private_folder(archive) / "lock")
    try:
        if not _lock(descriptor, fcntl.LOCK_EX if alone else fcntl.LOCK_SH):
            other = "other clipledger processes are at work on it" if alone else "another process holds it alone"
            raise ArchiveInUse(f"{archive}: {other}: wait for it, or stop it")
        yield
    finally:
        os.close(descriptor)


@contextmanager
def hold_worker(archive: Path, worker: str) -> Iterator[None]:
    """Show that `worker` lives, for as long as the context lasts."""
    path = _workers(archive) / f"{worker}.lock"
    descriptor = _locked(path)
    try:
        yield
        path.unlink(missing_ok=True)
    except (StorageFull, StorageUnavailable):
        # It could not even write down that it stopped. A rename takes no space.
        path.rename(path.with_suffix(_STOPPED))
        raise
    finally:
        os.close(descriptor)


def stopped_workers(archive: Path) -> list[str]:
    """List the workers that stopped by themselves and could not give back what they held; `forget` them too."""
    return [path.stem for path in sorted(_workers(archive).glob(f"*{_STOPPED}"))]


def dead_workers(archive: Path) -> list[str]:
    """List the workers of this machine whose process is gone; `forget` them when they are dealt with."""
    return [path.stem for path in sorted(_workers(archive).glob("*.lock")) if _is_free(path)]


def note(archive: Path, newest: float, *, anew: bool = False) -> None:
    """Write down when the newest archived post was captured (unix seconds), unless a newer note stands or `anew`."""
    if not anew and (noted(archive) or 0.0) >= newest:
        return
    name = private_folder(archive) / _NEWEST
    draft = name.with_name(f"{_NEWEST}.{os.getpid()}")
    try:
        draft.write_text(f"{newest!r}\n", encoding="ascii")
        draft.replace(name)
    except OSError:  # only a note: what it is to bring to light can be asked for by hand
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def noted(archive: Path) -> float | None:
    """Read what `note` wrote last; None where there is nothing that can be read."""
    try:
        return float((archive / PRIVATE / _NEWEST).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def live_workers(archive: Path) -> list[str]:
    """List the workers of this machine whose process runs."""
    return [path.stem for path in sorted(_workers(archive).glob("*.lock")) if not _is_free(path)]


def forget(archive: Path, worker: str) -> None:
    """Remove the file of a dead or stopped worker; one that lives after all keeps it."""
    path = _workers(archive) / f"{worker}.lock"
    path.with_suffix(_STOPPED).unlink(missing_ok=True)
    with _tried(path) as is_free:
        if is_free:
            path.unlink(missing_ok=True)


def _workers(archive: Path) -> Path:
    return _made(private_folder(archive) / "workers")


def _made(folder: Path) -> Path:
    with _unwritable(folder):
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    return folder


def _opened(path: Path) -> int:
    with _unwritable(path):
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)


@contextmanager
def _unwritable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _NO_DESCRIPTOR:
            raise TooManyOpenFiles(str(path)) from error
        raise StorageFull(f"{path}: {error.strerror}") from error


def _locked(path: Path) -> int:
    """Open and lock a lock file anew until it is the one under its name: a sweep may take an unlocked one for dead."""
    while True:
        descriptor = _opened(path)
        _lock(descriptor, fcntl.LOCK_EX, wait=True)  # a sweep tries it for a moment
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        os.close(descriptor)


def _is_free(path: Path) -> bool:
    with _tried(path) as is_free:
        return is_free


@contextmanager
def _tried(path: Path) -> Iterator[bool]:
    """Lock a file without waiting, for as long as the context lasts; False when it is held or not there."""
    descriptor = None
    with _unwritable(path), suppress(FileNotFoundError):
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    if descriptor is None:
        yield False
        return
    try:
        yield _lock(descriptor, fcntl.LOCK_EX)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, how: int, *, wait: bool = False) -> bool:
    """Lock, and tell whether that was possible. Misconfigured on a file system without locks."""
    try:
        fcntl.flock(descriptor, how if wait else how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise Misconfigured(
            f"the archive folder lies on a file system without locks ({error.strerror}), so that two programs could "
            "not be kept apart: keep it on a local disk; storage.url may name the other one"
        ) from error
    return True

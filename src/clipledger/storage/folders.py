"""A tree of folders beneath one root: opened without following links, made to last.

Must not: know what lies in the folders, or remember more than a bounded number of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from clipledger.core.errors import StorageGone
from clipledger.storage.disk import FOLDER_MODE, make_folders, sync_folder, sync_path
from clipledger.storage.keys import is_name, is_private
from clipledger.storage.publish import clear_private

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_BENEATH = _FOLDER | os.O_NOFOLLOW
_KNOWN_MAX = 1024  # half a megabyte; a forgotten folder costs one more fsync, nothing else

FolderPath = tuple[str, ...]
"""The names from the root down to a folder; () is the root."""


class Tree:
    """The folders below `root`. Safe to use from many threads; holds no descriptor between calls.

    The root is the same folder for a lifetime: once met, it is never made again, and another one in
    its place (a disk unmounted, a folder moved) raises `StorageGone` before anything is read or written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._identity: tuple[int, int] | None = None
        self._known: set[tuple[FolderPath, int]] = set()

    @contextmanager
    def opened(self, path: FolderPath, *, create: bool = False) -> Iterator[int]:
        """Open a folder below the root; `create` makes what is missing, durably. Gives its descriptor.

        Raises FileNotFoundError for a folder that is not there (with `create`: removed that very
        moment by somebody else), NotADirectoryError where a file or a link stands in the way.
        """
        fd = self._open_root(create)
        try:
            for depth, name in enumerate(path, start=1):
                found_standing = create and self._make(fd, path[:depth])
                child = os.open(name, _BENEATH, dir_fd=fd)
                os.close(fd)
                fd = child
                if found_standing:
                    clear_private(fd)
            yield fd
        finally:
            os.close(fd)

    def names(self, path: FolderPath) -> list[str]:
        """List the objects and folders (ending in `/`) of one folder, in key order."""
        with self.opened(path) as fd, os.scandir(fd) as entries:
            return sorted(_listed(entry) for entry in entries if _is_listed(entry, top=not path))

    def prune(self, path: FolderPath) -> None:
        """Remove a folder and the ones above it as far as they are empty; the topmost stays."""
        with suppress(OSError):  # not empty, or no folder: somebody else's now
            for depth in range(len(path) - 1, 0, -1):
                with suppress(FileNotFoundError), self.opened(path[:depth]) as parent:
                    os.rmdir(path[depth], dir_fd=parent)

    def _make(self, parent: int, path: FolderPath) -> bool:
        """See to it that a folder exists and survives a power cut; tell whether it stood there, unknown to us."""
        made = _mkdir(path[-1], parent)
        # The inode tells a folder from a later one of its name.
        met = (path, os.stat(path[-1], dir_fd=parent, follow_symlinks=False).st_ino)
        if not made and met in self._known:
            return False
        sync_folder(parent)  # also for one found standing: its maker may have died before its own fsync
        if len(self._known) >= _KNOWN_MAX:
            self._known.clear()
        self._known.add(met)
        return not made

    def _open_root(self, create: bool) -> int:
        if create and self._identity is None:
            make_folders(self.root)
            with suppress(PermissionError):  # a parent that we may not even read is not of our making
                sync_path(self.root.parent)  # but who made the root may have died before this
        try:
            fd = os.open(self.root, _FOLDER)
        except FileNotFoundError:
            if self._identity is None:
                raise
            raise self._gone() from None
        found = os.fstat(fd)
        identity = (found.st_dev, found.st_ino)
        if self._identity not in (None, identity):
            os.close(fd)
            raise self._gone()
        self._identity = identity
        return fd

    def _gone(self) -> StorageGone:
        return StorageGone(f"{self.root} is not the folder it was: unmounted or replaced? start again when it is back")


def _mkdir(name: str, parent: int) -> bool:
    try:
        os.mkdir(name, FOLDER_MODE, dir_fd=parent)
    except FileExistsError:
        return False
    return True


def _listed(entry: os.DirEntry[str]) -> str:
    return entry.name + "/" if entry.is_dir(follow_symlinks=False) else entry.name


def _is_listed(entry: os.DirEntry[str], *, top: bool) -> bool:
    """Tell whether an entry may be an object or lead to some: no link, no device, no private name."""
    if not is_name(entry.name) or (top and is_private(entry.name)):
        return False
    return entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False)

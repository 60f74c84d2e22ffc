"""Room on the disks that a run writes to: a reserve is kept, so that what is under way can be finished.

Must not: write anything, or know what needs the room.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from clipledger.core.errors import StorageFull
from clipledger.core.sizes import shown_size
from clipledger.storage.disk import Runner, in_thread, translated

AUTO_BYTES = 256 * 2**20
AUTO_SHARE = 1 / 20
"""A reserve of one's own choosing counts as it is; the automatic one is at most this share of the disk."""

INODES = 1000
"""A post takes up to a few dozen files and as many folders; some file systems count none."""


class Room:
    """The reserve of some folders' disks, in bytes; None for the automatic one, 0 for none at all."""

    def __init__(self, folders: Sequence[Path], reserve_bytes: int | None, *, run: Runner = in_thread) -> None:
        self._folders, self._reserve_bytes, self._run = tuple(folders), reserve_bytes, run

    async def check(self) -> None:
        """Raise StorageFull when less is free than is to be kept free. What cannot be looked at is not judged here."""
        await self._run(self._check)

    def _check(self) -> None:
        for folder in self._folders:
            place = next(place for place in (folder, *folder.parents) if place.exists())
            with translated(f"look at the room on {place}"):
                self._judge(place, os.statvfs(place))

    def _judge(self, place: Path, disk: os.statvfs_result) -> None:
        free, whole = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
        keep = min(AUTO_BYTES, int(whole * AUTO_SHARE)) if self._reserve_bytes is None else self._reserve_bytes
        if whole and free < keep:
            raise StorageFull(
                f"{place}: {shown_size(free)} free, and storage.reserve keeps {shown_size(keep)}: free space on this "
                "disk, or lower storage.reserve"
            )
        if disk.f_files and self._reserve_bytes != 0 and disk.f_favail < min(INODES, disk.f_files * AUTO_SHARE):
            raise StorageFull(f"{place}: {disk.f_favail} inodes are left: remove small files from this disk")

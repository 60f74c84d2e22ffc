"""Small file systems in memory, for disks that fill up. Needs root; says so loudly where that is missing."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, options: str) -> Iterator[Path]:
    """Mount one with `options` such as `size=2M` or `nr_inodes=300`; skip, and say so, where that is not permitted."""
    if os.geteuid() != 0:
        pytest.skip("NOT TESTED: a small disk: needs root to mount one")
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True)
    if done.returncode:
        pytest.skip(f"NOT TESTED: a small disk: mounts are not permitted: {done.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def remount(disk: Path, options: str) -> None:
    """Give it other options."""
    subprocess.run(["mount", "-o", f"remount,{options}", str(disk)], check=True)


@contextmanager
def read_only_mount(disk: Path, at: Path) -> Iterator[Path]:
    """Show a file system at a second place, where nothing can be written."""
    at.mkdir()
    subprocess.run(["mount", "--bind", str(disk), str(at)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(at)], check=True)
        yield at
    finally:
        subprocess.run(["umount", str(at)], check=True)

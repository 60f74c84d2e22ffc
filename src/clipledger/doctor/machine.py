"""The machine and the installation: Python, packages, SQLite, room on the disk, open files.

Must not: open an archive.
"""

from __future__ import annotations

import os
import platform
import re
import resource
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

from clipledger import __version__
from clipledger.core.errors import StorageFull
from clipledger.doctor.finding import Finding, green, red, yellow
from clipledger.settings import Cdn, Settings
from clipledger.wiring import open_files_needed

PYTHON_MIN = (3, 11)
SQLITE_MIN = (3, 35, 0)
"""RETURNING, which every claim uses, came with 3.35."""

ROOM_MIN_BYTES = 256 * 2**20
ROOM_FEW_POSTS = 100

_NEEDED_BY: tuple[tuple[str, str, str], ...] = (
    ("postgres", "database.url", r"postgres"),
    ("s3", "storage.url", r"s3:"),
    ("cloud", "storage.url", r"(gs|az):"),
)
"""Extras that a setting's beginning asks for."""

_REQUIRES = re.compile(r"([A-Za-z0-9._-]+)[^;]*(?:;.*extra == ['\"]([\w-]+)['\"])?")


def python() -> Finding:
    """Look at the interpreter."""
    found = f"clipledger {__version__}, Python {platform.python_version()}, {platform.platform(terse=True)}"
    if sys.version_info[:2] < PYTHON_MIN:
        return red(
            "python", found, "this Python is too old", "install Python 3.11 or newer and install clipledger there"
        )
    return green("python", found)


def packages(settings: Settings | None) -> Iterator[Finding]:
    """Look at what is installed, extra by extra."""
    missing = []
    for extra, names in sorted(_by_extra(metadata.requires("clipledger") or []).items()):
        versions = {name: _version(name) for name in names}
        lacks = [name for name, version in versions.items() if version is None]
        told = ", ".join(f"{name} {version or 'missing'}" for name, version in versions.items())
        if not extra and lacks:
            yield red("packages", told, f"{lacks[0]} is not installed", "install clipledger anew")
        elif not extra:
            yield green("packages", told)
        elif not lacks:
            yield green(f"extra {extra}", told)
        elif wish := _wish(extra, settings):
            means = f"{wish} asks for the extra {extra}, which is not installed"
            yield red(f"extra {extra}", told, means, f"pip install 'clipledger[{extra}]'")
        else:
            missing.append(extra)
    if missing:
        yield green("extras", f"not installed: {', '.join(missing)}", "no setting asks for them")


def sqlite() -> Finding:
    """Look at the SQLite library."""
    found, needed = f"SQLite {sqlite3.sqlite_version}", ".".join(map(str, SQLITE_MIN))
    if sqlite3.sqlite_version_info < SQLITE_MIN:
        return red("sqlite", found, f"claims need {needed}", "use a Python built with a newer SQLite")
    return green("sqlite", found, f"{needed} or newer is needed")


def descriptors(settings: Settings | None) -> Finding:
    """Hold the limit on open files against what a run can have open at once."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = open_files_needed((settings.cdn if settings else Cdn()).concurrency)  # type: ignore[call-arg]
    unlimited = soft == resource.RLIM_INFINITY
    found = f"{'no limit on' if unlimited else soft} open files; a run may have {need} open"
    if unlimited or soft >= need:
        return green("open files", found)
    means = "a run would fail to open connections and files under load"
    return red("open files", found, means, f"ulimit -n {need * 2}, LimitNOFILE= in a unit, or lower cdn.concurrency")


def disk(folder: Path, post_bytes: float | None) -> Finding:
    """Say how much room there is, and how many posts that is. `post_bytes` is the size of a post here, if known."""
    place = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    try:
        there = os.statvfs(place)
    except OSError as error:
        cause = StorageFull(f"{place}: {error.strerror}")
        return red("disk", cause.detail, "nothing is known of the disk", "check the mount and its rights", cause)
    free = there.f_bavail * there.f_frsize
    posts = int(free / post_bytes) if post_bytes else None
    inodes = there.f_favail if there.f_files else None  # some file systems count none
    found = f"{_size(free)} free" + (f", {inodes:,} inodes free" if inodes is not None else "")
    means = f"room for about {posts:,} posts of the archive's average size" if posts is not None else ""
    next_ = "free space, or let storage.url point to a larger place"
    if free < ROOM_MIN_BYTES or (inodes is not None and inodes < 1000):
        return red("disk", found, means or "captures would fail", next_, StorageFull(found))
    if posts is not None and posts < ROOM_FEW_POSTS:
        return yellow("disk", found, means, next_)
    return green("disk", found, means)


def _by_extra(requirements: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in requirements:
        if match := _REQUIRES.match(line):
            found.setdefault(match[2] or "", []).append(match[1])
    found.pop("dev", None)
    return found


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _wish(extra: str, settings: Settings | None) -> str | None:
    """Name the setting that asks for an extra."""
    values: Mapping[str, str] = (
        {"database.url": settings.database.url, "storage.url": settings.storage.url} if settings is not None else {}
    )
    return next(
        (name for known, name, begins in _NEEDED_BY if known == extra and re.match(begins, values.get(name, ""))), None
    )


def _size(count: float) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"

"""What the tests of a fleet share: who is at work as the database tells it, and who was killed and replaced."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

from process.harness import Archive, Sim, archive_for, wait_until

REPLACED_S = 5.0
"""The promise: a killed worker is replaced within this time."""


def busy_archive(folder: Path, sim: Sim, **env: str) -> Archive:
    """Make an archive with every list of the world, slow enough that workers can be watched."""
    archive = archive_for(folder, sim, **{"CLIPLEDGER_CDN__CONCURRENCY": "4"} | env)
    archive.cli("add", "-q", *sim.names())
    return archive


def workers_of(archive: Archive) -> dict[int, str]:
    """List the processes at work: id and name."""
    return dict(archive.rows("SELECT pid, worker FROM workers"))


def wait_for_workers(archive: Archive, count: int, seconds: float = 60.0) -> dict[int, str]:
    """Wait until so many processes have signed."""
    wait_until(lambda: len(workers_of(archive)) >= count, seconds)
    return workers_of(archive)


def seated(archive: Archive) -> set[int]:
    """List the processes that sit for this archive, whether or not they have signed yet."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            found |= {int(entry.name)} if {"--attended", str(archive.folder)} <= set(words) else set()
    return found


def kill_one(archive: Archive, victim: int) -> float:
    """Kill a process; give how long it took until another one sat in its place. Waits until that one has signed."""
    before, since = seated(archive), time.monotonic()
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: bool(seated(archive) - before), 60.0)
    took_s, new = time.monotonic() - since, seated(archive) - before
    wait_until(lambda: not new.isdisjoint(workers_of(archive)), 60.0)
    return took_s


def in_flight_of(archive: Archive, name: str) -> int:
    """Count what a worker holds."""
    return int(archive.one("SELECT count(*) FROM archive_queue WHERE worker = ?", name))


def paid_twice(archive: Archive) -> int:
    """Count the resolves that a death made necessary a second time."""
    return int(archive.one("SELECT count(*) FROM credits WHERE reason = 'crash_after_resolve'"))


def ended(process: subprocess.Popen[bytes], seconds: float = 90.0) -> int:
    """Wait for a process; give its exit code."""
    return process.wait(seconds)

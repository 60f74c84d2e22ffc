"""A power cut in the middle of a run, on a real file system: what was said to be safe before it must be there after it.

An observer outside reads the run's events; the file system (ext4 or XFS in a file, on a loop device) is then shut down
at once, with or without its log flushed, so that whatever is not on the disk by now is lost. It is mounted again, held
against what the observer had read, run to the end and judged. The control is the same with every fsync made to do
nothing (`eatmydata`): it must lose something, else the harness proves nothing. Shared by the tests and by
`benchmarks/power_loss.py`. Must not: stand for drives that lie about their caches, or for torn sectors.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Event, Thread
from typing import Any

from process.harness import Archive, simulator
from process.killing import Moment, judged, placed
from process.zygote import Zygote, forked, zygote

POSTS = 16
KINDS = ("ext4", "xfs")
SIZES = {"ext4": 96 * 2**20, "xfs": 320 * 2**20}  # mkfs.xfs refuses less than 300 MiB; the images are sparse
# commit=300: no commit of the journal by the clock may do the work of an fsync.
OPTIONS = {"ext4": "loop,commit=300", "xfs": "loop"}

_SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN, XFS_IOC_GOINGDOWN: what `xfs_io -x -c shutdown` calls
_LOG_FLUSHED, _LOG_LOST = b"\x01\x00\x00\x00", b"\x02\x00\x00\x00"  # `shutdown -f` and `shutdown`
_WORLDS = (7, 8, 9)


class NotPermitted(RuntimeError):
    """This machine lets nobody mount a disk, or cut its power: what could be proven here is not."""


class Disk:
    """A small file system in a file, mounted on a loop device, whose power can be cut."""

    def __init__(self, place: Path, kind: str = "ext4", *, options: str = "") -> None:
        self._options = options or OPTIONS[kind]
        self.kind, self.image, self.mount = kind, place / f"{kind}.img", place / kind
        self.mount.mkdir()
        with self.image.open("wb") as image:
            image.truncate(SIZES[kind])
        _sh(f"mkfs.{kind}", "-q", self.image)

    def on(self) -> None:
        """Mount it."""
        _sh("mount", "-o", self._options, self.image, self.mount)

    def cut(self, *, flush_log: bool = False) -> None:
        """Cut the power; NotPermitted where this kernel cannot."""
        fd = os.open(self.mount, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, _SHUTDOWN, _LOG_FLUSHED if flush_log else _LOG_LOST)
        except OSError as error:
            raise NotPermitted(f"this kernel cannot cut the power of {self.kind}: {error.strerror}") from error
        finally:
            os.close(fd)

    def off(self) -> None:
        """Unmount it."""
        _sh("umount", self.mount)

    def settle(self) -> None:
        """Bring all that is on it to the disk: where a cycle begins is no part of it."""
        _sh("sync", "-f", self.mount)


@contextmanager
def powered(place: Path, kind: str, *, defaults: bool = False) -> Iterator[Disk]:
    """Give a mounted disk; unmounted afterwards. NotPermitted, with the reason, where that is not permitted.

    `defaults`: mounted as anybody would, for comparisons; else so that nothing but an fsync brings bytes to the disk.
    """
    if (why := why_not(kind)) is not None:
        raise NotPermitted(why)
    disk = Disk(place, kind, options="loop" if defaults else "")
    try:
        disk.on()
    except subprocess.CalledProcessError as error:
        raise NotPermitted(f"loop mounts are not permitted: {error.stderr.decode().strip()}") from None
    try:
        yield disk
    finally:
        disk.off()


def why_not(kind: str) -> str | None:
    """Say why the power cannot be cut here; None when it may be tried."""
    if os.geteuid() != 0:
        return "needs root to mount a disk"
    if shutil.which(f"mkfs.{kind}") is None:
        return f"mkfs.{kind} is not installed (apt: e2fsprogs, xfsprogs)"
    return None


def eatmydata() -> Path | None:
    """Find the library that makes fsync do nothing (apt: eatmydata)."""
    return next(iter(sorted(Path("/usr/lib").glob("*/libeatmydata.so"))), None)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one cycle ended. `told`: events read before the cut; `lost`: what they had promised and was not there."""

    told: int
    lost: tuple[str, ...]
    findings: tuple[str, ...]


def cycle(disk: Disk, dice: random.Random, *, safe: bool = True) -> Outcome:
    """Cut the power at a drawn moment of a run. `safe` False: with every fsync made to do nothing."""
    seed, flush_log, moment = dice.choice(_WORLDS), dice.random() < 0.5, Moment.drawn(dice, POSTS)
    folder = disk.mount / "cycle"
    folder.mkdir()
    with simulator(POSTS, seed=seed) as sim, placed(folder, sim) as archive:
        disk.settle()
        told = _run_and_cut(archive, disk, moment, flush_log=flush_log and safe, own=None if safe else _careless())
        disk.off()
        disk.on()
        findings: list[str] = []
        try:
            lost = promised_and_not_there(archive, told)
            if safe:
                archive.finish()
                findings += judged(archive, sim, "", 0).findings
        except (AssertionError, sqlite3.Error) as error:  # a database that cannot be read is a loss like any other
            lost = (f"{type(error).__name__}: {str(error)[:1500]}",)
    shutil.rmtree(folder, ignore_errors=True)
    return Outcome(len(told), tuple(lost), tuple(findings))


@cache
def _careless() -> Zygote:
    library = eatmydata()
    assert library is not None
    return Zygote(LD_PRELOAD=str(library))


def _run_and_cut(archive: Archive, disk: Disk, moment: Moment, *, flush_log: bool, own: Zygote | None) -> list[Any]:
    """Run, cut, kill; give what the run had told before the cut."""
    told: list[bytes] = []
    come, over = Event(), Event()
    words = ["--archive", str(archive.folder), "run", "--json"]
    with forked(own or zygote(), words, archive.env) as process:

        def observe() -> None:
            assert process.stdout is not None
            for line in process.stdout:
                told.append(line)
                if len(told) >= moment.event:
                    come.set()
            over.set()
            come.set()

        observer = Thread(target=observe)
        observer.start()
        if moment.event:
            come.wait()
        time.sleep(moment.delay_s)
        # When the power goes everything stops. A process that ran on could be told by a file system in the middle of
        # its shutdown that an fsync succeeded, and pay for a call whose row is gone.
        os.kill(process.pid, signal.SIGSTOP)
        before = list(told)
        disk.cut(flush_log=flush_log)
        process.kill()
        observer.join()
    return [json.loads(line) for line in before]


def promised_and_not_there(archive: Archive, told: list[Any]) -> list[str]:
    """Hold the tables and files, as they are after the cut, against the events before it."""
    state = dict(archive.rows("SELECT aweme_id, state FROM archive_queue"))
    settled = archive.one("SELECT COUNT(*) FROM credits WHERE outcome <> 'sent'")
    sidecars = {i: key for i, key in archive.rows("SELECT aweme_id, storage_key FROM files WHERE kind = 'sidecar'")}
    lost = []
    for event in told:
        match event["event"]:
            case "stored" if state.get(event["aweme_id"]) not in ("stored", "archived"):
                lost.append(f"{event['aweme_id']} was stored and is {state.get(event['aweme_id'])}")
            case "archived" if state.get(event["aweme_id"]) != "archived":
                lost.append(f"{event['aweme_id']} was archived and is {state.get(event['aweme_id'])}")
            case "archived" if not _is_whole(archive.folder / sidecars.get(event["aweme_id"], "none")):
                lost.append(f"{event['aweme_id']} was archived and its sidecar is not whole")
    if settled < (calls := sum(event["event"] == "call" for event in told)):
        lost.append(f"{calls} calls were answered, {settled} are in the ledger")
    if len(state) < (new := sum(event["new"] for event in told if event["event"] == "page")):
        lost.append(f"{new} ids were queued, {len(state)} are there")
    return lost


def _is_whole(sidecar: Path) -> bool:
    try:
        json.loads(sidecar.read_bytes())
    except (OSError, ValueError):
        return False
    return True


def _sh(*command: str | Path) -> None:
    subprocess.run([str(part) for part in command], check=True, capture_output=True)

"""Disks that are full, read-only or failing, and processes without descriptors: wait or end, and burn nothing."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any

import pytest

from clipledger.archive import open_archive
from clipledger.core.model import AwemeId, State
from process.faulting import why_not
from process.harness import Archive, Sim, events_of, finished_archive, simulator, wait_until
from process.killing import judged, placed
from process.small_disk import read_only_mount, remount, small_disk
from process.zygote import Forked, forked, zygote

pytestmark = pytest.mark.slow

RESERVE = "CLIPLEDGER_STORAGE__RESERVE"


@contextmanager
def world(folder: Path, posts: int = 40, faults: str = "calm", **env: str) -> Iterator[tuple[Archive, Sim]]:
    """Serve a small world and queue all that its lists show."""
    folder.mkdir(exist_ok=True)
    with simulator(posts, faults, seed=7) as sim, placed(folder, sim) as archive:
        archive.env |= env
        yield archive, sim


@contextmanager
def following(archive: Archive, **limits: int) -> Iterator[tuple[Forked, Iterator[Any]]]:
    """Run with --follow; give its events as they come. All are read: a full pipe would hold it up."""
    words = ["--archive", str(archive.folder), "run", "--follow", "--json"]
    with forked(zygote(), words, archive.env, **limits) as process:
        told: Queue[Any] = Queue()
        reader = Thread(target=lambda: [told.put(event) for event in chain(events_of(process.stdout), [None])])
        reader.start()
        yield process, iter(told.get, None)
        process.kill()
        reader.join()


def until(events: Iterator[Any], name: str) -> Any:
    """Read on until an event comes."""
    for event in events:
        if event["event"] == name:
            return event
    raise AssertionError(f"{name} never came")


def until_all_is_archived(archive: Archive, sim: Sim) -> int:
    """Wait for every post that a list shows; give how many."""
    count = sum(post["listed"] and post["alive"] for post in sim.truth()["posts"])
    wait_until(lambda: len(archive.ids()) >= count, 90)
    return count


def ends_with_130(process: Forked) -> None:
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait() == 130


def nothing_is_burnt(archive: Archive) -> None:
    assert archive.ids("running") == [] and archive.ids("dead") == []
    assert not archive.one("SELECT MAX(attempts) FROM archive_queue WHERE state = 'pending'")
    assert archive.one("SELECT COUNT(*) FROM credits WHERE outcome = 'sent'") == 0


def all_is_saved_in_the_end(archive: Archive, sim: Sim) -> None:
    summary = archive.finish()
    assert summary["exit"] == "ok" and summary["states"]["dead"] == 0
    assert archive.one("SELECT MAX(crashes) FROM archive_queue") == 0
    assert judged(archive, sim, "", 0).findings == ()


def test_below_the_reserve_nothing_is_begun(tmp_path: Path) -> None:
    """A run that finds less free space than the reserve ends with exit 6, says so, and has bought no post."""
    with world(tmp_path / "here", **{RESERVE: "8000T"}) as (archive, sim):
        told = archive.cli("run", "--json", code=6)
        assert told.summary["exit"] == "storage" and "storage.reserve" in told.summary["why"]
        assert sim.details() == 0
        nothing_is_burnt(archive)
        archive.env[RESERVE] = "0"
        all_is_saved_in_the_end(archive, sim)


@pytest.mark.root
@pytest.mark.parametrize(
    ("few", "many"), [("size=2M", "size=64M"), ("size=64M,nr_inodes=80", "size=64M,nr_inodes=9000")]
)
def test_following_waits_for_space_and_goes_on_by_itself(tmp_path: Path, few: str, many: str) -> None:
    """With --follow a disk without space or inodes pauses the run; given room it goes on, and nothing is burnt."""
    with small_disk(tmp_path / "disk", few) as disk, world(disk / "here") as (archive, sim):
        with following(archive) as (process, events):
            assert until(events, "waiting_for_room")["why"]
            paid = sim.details()
            remount(disk, many)
            assert until(events, "room_again")["seconds"] > 0
            assert until_all_is_archived(archive, sim) >= sim.details() - paid
            ends_with_130(process)
        nothing_is_burnt(archive)
        assert archive.one("SELECT MAX(attempts) FROM archive_queue") == 1
        all_is_saved_in_the_end(archive, sim)


@pytest.mark.root
def test_an_archive_on_a_disk_that_is_read_only_can_be_read(tmp_path: Path) -> None:
    """What nobody has open is searched and verified where nothing can be written; a run says why it cannot."""
    with small_disk(tmp_path / "disk", "size=64M") as disk:
        archive = finished_archive(disk / "here")
        with closing(sqlite3.connect(archive.folder / "clipledger.db")) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert not list(archive.folder.glob("*.db-*")), "whoever closes it last takes the log away"
        before = archive.json("search")
        remount(disk, "ro")
        assert archive.json("search") == before
        archive.cli("status")
        archive.cli("verify")
        archive.cli("run", code=6).says("Read-only")


@pytest.mark.root
def test_who_reads_through_a_read_only_mount_sees_what_others_write(tmp_path: Path) -> None:
    """Where an archive is written through another mount meanwhile, each read tells what stands then."""
    with small_disk(tmp_path / "disk", "size=64M") as disk, read_only_mount(disk, tmp_path / "seen") as seen:
        archive = finished_archive(disk / "here")
        with closing(sqlite3.connect(archive.folder / "clipledger.db")) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        first = archive.ids("archived")[0]

        async def read() -> None:
            async with open_archive(seen / "here") as reader:
                assert (await reader.queue.counts())[State.ARCHIVED] > 20
                for words in (("withdraw", first, "--reason", "x", "--request", "y", "--now"), ("db", "scrub")):
                    archive.cli(*words)
                    row = await reader.queue.row(AwemeId(first))
                    assert row is not None and row.state == "withheld", words

        asyncio.run(read())


@pytest.mark.root
def test_a_full_disk_stopped_while_it_waits_gives_all_back(tmp_path: Path) -> None:
    """SIGTERM ends a run that waits for room; even when not a row can be written, the next run finds nothing burnt."""
    with small_disk(tmp_path / "disk", "size=64M") as disk, world(disk / "here") as (archive, sim):
        archive.cli("run", "--max-videos", "2", code=5)
        (ballast := disk / "ballast").touch()
        with following(archive) as (process, events):
            until(events, "stored")
            fill(ballast)
            until(events, "waiting_for_room")
            os.kill(process.pid, signal.SIGTERM)
            assert process.wait() in (6, 130)
        ballast.unlink()
        all_is_saved_in_the_end(archive, sim)
        assert archive.one("SELECT MAX(attempts) FROM archive_queue") == 1


def fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file:
        for step in (2**20, 2**12):
            try:
                while True:
                    file.write(b"x" * step)
            except OSError:
                continue


@pytest.mark.parametrize(
    ("call", "fault"),
    [("fsync", "error=EIO:when=8"), ("pwrite64", "error=ENOSPC:when=70..72"), ("linkat", "error=ENOSPC:when=3..4")],
)
def test_calls_that_fail_for_a_while_pause_a_run_that_follows(tmp_path: Path, call: str, fault: str) -> None:
    """Whichever call the disk refuses for a while, as any user: the run waits, goes on by itself, and burns nothing."""
    if (why := why_not()) is not None:
        pytest.skip(why)
    with world(tmp_path / "here", 12) as (archive, sim):
        inject = f"inject={call}:{fault}"
        wrap = ["strace", "-f", "-qq", "-o", str(tmp_path / "trace"), "-e", f"trace={call}", "-e", inject]
        plain = Archive(archive.folder, archive.env)
        command = [*wrap, *plain.command("run", "--follow", "--json")]
        with subprocess.Popen(command, env=plain.env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            until_all_is_archived(archive, sim)
            child = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])
            os.kill(child, signal.SIGTERM)
            out, _ = process.communicate(timeout=60)
        names = {json.loads(line)["event"] for line in out.splitlines()}
        assert "(INJECTED)" in (tmp_path / "trace").read_text()
        assert process.returncode == 130, names
        nothing_is_burnt(archive)
        all_is_saved_in_the_end(archive, sim)


def test_too_few_descriptors_slow_a_run_down_and_burn_nothing(tmp_path: Path) -> None:
    """With far too few descriptors a run says so, works on fewer posts at a time, saves all, and buys none twice."""
    with world(tmp_path / "here", faults="slow_body=1:60000") as (archive, sim):
        told = ended_within(archive, RLIMIT_NOFILE=30)
        (said,) = [event for event in told if event["event"] == "open_files"]
        assert said["limit"] == 30 and "posts at a time" in said["why"]
        nothing_is_burnt(archive)
        all_is_saved_in_the_end(archive, sim)


def ended_within(archive: Archive, **limits: int) -> list[Any]:
    """Run under limits; give its events."""
    with forked(zygote(), ["--archive", str(archive.folder), "run", "--json"], archive.env, **limits) as process:
        told = list(events_of(process.stdout))
        assert process.wait() in (0, 3, 6)
    return told


def test_a_limit_that_may_be_raised_is_raised(tmp_path: Path) -> None:
    """A soft limit below what the settings need is raised by the run itself, which says so."""
    with world(tmp_path / "here", 4) as (archive, _):
        wrap = ("prlimit", "--nofile=64:4096")
        told = Archive(archive.folder, archive.env).cli("run", "--json", wrap=wrap)
        (event,) = [event for event in told.lines if event["event"] == "open_files"]
        assert event["limit"] == event["need"] > 64 and "raised from 64" in event["why"]

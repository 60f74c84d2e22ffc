"""What the janitor may do in the spool: everything to a dead part, nothing to a living one."""

from __future__ import annotations

import asyncio
import fcntl
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from clipledger.core.model import AwemeId
from clipledger.storage.local import LocalStore
from clipledger.storage.spool import Spool
from contract.stores import no_descriptor_leaks, put_part, run

ID = AwemeId("7387261234567890123")
FAR_FUTURE = 1e12


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "new" / "spool")


def names(spool: Spool) -> list[str]:
    return sorted(path.name for path in spool.folder.glob("*"))


async def left(spool: Spool) -> list[str]:
    return sorted(found.path.name for found in await spool.leftovers(FAR_FUTURE, 0))


def test_a_living_part_is_never_a_leftover(spool: Spool) -> None:
    """The janitor neither lists nor removes a part that somebody still writes, however old it looks."""

    async def scenario() -> None:
        async with spool.open(ID, 1, 0) as part:
            os.utime(part.path, (0, 0))
            assert await left(spool) == []
            fake = (await fake_leftover(spool, part.path))[0]
            assert not await spool.remove(fake)
            assert part.path.exists()
        assert not await spool.remove(fake)

    run(scenario())


async def fake_leftover(spool: Spool, path: Path) -> list[Any]:
    """List a part as it looked before somebody opened that very name again."""
    twin = Spool(spool.folder.parent / "twin")
    twin.folder.mkdir()
    (twin.folder / path.name).touch()
    found = await twin.leftovers(FAR_FUTURE, 0)
    return [type(found[0])(path, found[0].aweme_id, found[0].token, 0, 1.0)]


DYING = """
import asyncio, os, sys
from pathlib import Path
from clipledger.storage.spool import Spool

async def main():
    async with Spool(Path(sys.argv[1])).open("7387261234567890123", 5, 2) as part:
        part.write(b"half" * 200_000)
        part.head(4)
        print(part.path.name, flush=True)
        sys.stdin.read()

asyncio.run(main())
"""


def test_the_parts_of_a_killed_worker_are_found_and_removed(spool: Spool) -> None:
    """A part belongs to its worker until the very moment that the worker dies; then the janitor gets it."""
    command = [sys.executable, "-c", DYING, str(spool.folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        name = worker.stdout.readline().strip()
        assert run(left(spool)) == []
        worker.kill()
        worker.wait()

    async def scenario() -> None:
        found = (await spool.leftovers(FAR_FUTURE, 0))[0]
        assert (found.path.name, found.aweme_id, found.token, found.size_bytes) == (name, ID, 5, 800_000)
        now = found.path.stat().st_mtime
        assert [part.age_s for part in await spool.leftovers(now + 60.5, 60)] == [60.5]
        assert await spool.leftovers(now + 59.5, 60) == []
        assert await spool.remove(found)
        assert not await spool.remove(found)

    run(scenario())
    assert names(spool) == []


def test_what_is_no_part_is_left_alone(spool: Spool, tmp_path: Path) -> None:
    """A foreign file, a folder or a link in the spool is not listed; a sweep is bounded; no spool is no leftover."""
    assert run(left(spool)) == []
    spool.folder.mkdir(parents=True)
    (tmp_path / "mine").touch()
    (spool.folder / "notes.txt").touch()
    (spool.folder / "1.1.1.part").symlink_to(tmp_path / "mine")
    (spool.folder / "2.1.1.part").mkdir()
    os.mkfifo(spool.folder / "3.1.1.part")
    for n in range(5):
        (spool.folder / f"7.{n}.0.part").touch()
    assert run(left(spool)) == [f"7.{n}.0.part" for n in range(5)]
    assert len(run(spool.leftovers(FAR_FUTURE, 0, limit=3))) == 3


def test_a_janitor_between_birth_and_lock_does_no_harm(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that the janitor snatches in the instant before it is locked is simply made again."""
    flock = fcntl.flock
    snatched: list[Path] = []

    def snatching(fd: int, how: int) -> None:
        if not snatched:
            snatched.append(Path(f"/proc/self/fd/{fd}").readlink())
            snatched[0].unlink()
        flock(fd, how)

    monkeypatch.setattr(fcntl, "flock", snatching)

    async def scenario() -> None:
        async with spool.open(ID, 1, 0) as part:
            part.write(b"x")
            assert names(spool) == [part.path.name]

    with no_descriptor_leaks():
        run(scenario())
    assert len(snatched) == 1


def test_a_part_reborn_under_the_janitors_hand_is_spared(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead part that was replaced by a living one while the janitor reached for it is not removed."""
    spool.folder.mkdir(parents=True)
    path = spool.folder / f"{ID}.1.0.part"
    path.write_bytes(b"dead")
    found = run(spool.leftovers(FAR_FUTURE, 0))[0]
    flock = fcntl.flock

    def outrun(fd: int, how: int) -> None:
        path.unlink()
        path.write_bytes(b"alive")
        flock(fd, how)

    monkeypatch.setattr(fcntl, "flock", outrun)
    assert not run(spool.remove(found))
    assert path.read_bytes() == b"alive"


def test_a_greedy_janitor_never_takes_a_living_part(spool: Spool) -> None:
    """With the janitor sweeping all the time, every download still ends up stored whole."""
    store = LocalStore(spool.folder.parent)

    async def sweep(done: asyncio.Event) -> None:
        while not done.is_set():
            for found in await spool.leftovers(FAR_FUTURE, 0):
                await spool.remove(found)

    async def worker(name: int) -> None:
        for n in range(25):
            assert await put_part(store, spool, f"videos/{name}/{n}.mp4", b"%d" % n * 999)

    async def scenario() -> None:
        done = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(sweep(done))
            async with asyncio.TaskGroup() as workers:
                for name in range(4):
                    workers.create_task(worker(name))
            done.set()
        assert [found.size_bytes async for found in store.walk("videos/")] == [
            len(b"%d" % int(path.rpartition("/")[2][:-4]) * 999)
            for path in sorted(f"videos/{name}/{n}.mp4" for name in range(4) for n in range(25))
        ]

    run(scenario())
    assert names(spool) == []

"""What a folder promises on bad disks: no hard links, full, unwritable, failing fsync, swapped."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import fcntl
import hashlib
import os
import stat as modes
import subprocess
import tempfile
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from clipledger.core.errors import StorageFull, StorageUnavailable, TooLarge
from clipledger.core.model import AwemeId
from clipledger.core.ports import KeyTaken
from clipledger.storage.local import LocalStore
from clipledger.storage.spool import Spool
from contract.stores import SIDECAR, VIDEO, files_below, keys, put, put_part, race, run


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "archive" / ".clipledger" / "spool")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "archive"


class NoLinks:
    """A file system that refuses hard links; `across` refuses only those between folders."""

    def __init__(self, code: int, *, across: bool = False) -> None:
        self.code, self.across, self.link = code, across, os.link

    def __call__(self, src: Any, dst: Any, **where: Any) -> None:
        if not self.across or where.get("src_dir_fd") is None:
            raise OSError(self.code, os.strerror(self.code), str(src))
        self.link(src, dst, **where)


class OldLibc:
    """A C library without renameat2."""

    def __init__(self, *_: Any, **__: Any) -> None: ...


@pytest.mark.parametrize("libc", ["renameat2", "none"])
@pytest.mark.parametrize(
    "links",
    [NoLinks(errno.EPERM), NoLinks(errno.EOPNOTSUPP), NoLinks(errno.EMLINK), NoLinks(errno.EXDEV, across=True)],
    ids=["EPERM", "EOPNOTSUPP", "EMLINK", "EXDEV"],
)
def test_without_hard_links_the_promise_is_the_same(
    archive: Path, spool: Spool, monkeypatch: pytest.MonkeyPatch, links: NoLinks, libc: str
) -> None:
    """On a disk without hard links objects are copied, still never replaced, and no private file stays."""
    monkeypatch.setattr(os, "link", links)
    if libc == "none":
        monkeypatch.setattr(ctypes, "CDLL", OldLibc)
    store = LocalStore(archive)

    async def scenario() -> None:
        await store.check()
        assert await put_part(store, spool, VIDEO, b"v" * 3_000_000)
        assert not await put_part(store, spool, VIDEO, b"v" * 3_000_000)
        with pytest.raises(KeyTaken):
            await put_part(store, spool, VIDEO, b"w" * 3_000_000)
        assert await put(store, SIDECAR, b"s")
        assert not await put(store, SIDECAR, b"s")
        with pytest.raises(KeyTaken):
            await put(store, SIDECAR, b"t")
        assert await store.digest(VIDEO) == (3_000_000, hashlib.sha256(b"v" * 3_000_000).hexdigest())
        await store.delete(VIDEO)
        for _ in range(5):
            results = await race(store, spool, [bytes([n]) * 5000 for n in range(6)])
            assert sorted(results, key=str) == [None] * 5 + [True]
            await store.delete(VIDEO)

    run(scenario())
    assert files_below(archive) == [SIDECAR]
    assert modes.S_IMODE((archive / SIDECAR).stat().st_mode) == 0o640


def test_a_spool_on_another_disk_works(archive: Path) -> None:
    """Parts may lie on another file system than the store."""
    shm = Path("/dev/shm")
    if not shm.is_dir() or shm.stat().st_dev == archive.parent.stat().st_dev or not os.access(shm, os.W_OK):
        pytest.skip("NOT TESTED: no second writable file system (/dev/shm) on this machine")
    with tempfile.TemporaryDirectory(dir=shm) as folder:
        store, spool = LocalStore(archive), Spool(Path(folder))

        async def scenario() -> None:
            assert await put_part(store, spool, VIDEO, b"v" * 100_000)
            assert not await put_part(store, spool, VIDEO, b"v" * 100_000)

        run(scenario())
    assert (archive / VIDEO).read_bytes() == b"v" * 100_000
    assert files_below(archive) == [VIDEO]


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (errno.ENOSPC, StorageFull),
        (errno.EDQUOT, StorageFull),
        (errno.EROFS, StorageFull),
        (errno.EACCES, StorageFull),
        (errno.EIO, StorageFull),
        (errno.EMFILE, StorageUnavailable),
        (errno.ESTALE, StorageUnavailable),
    ],
)
def test_a_disks_refusals_have_names(
    archive: Path, spool: Spool, monkeypatch: pytest.MonkeyPatch, code: int, error: type[Exception]
) -> None:
    """A full or unwritable disk stops the run, any other fault is tried again, and nothing stands under the key."""
    store = LocalStore(archive)
    monkeypatch.setattr(os, "link", NoLinks(code))

    async def scenario() -> None:
        for putting in (put_part(store, spool, VIDEO, b"x"), put(store, VIDEO, b"x")):
            with pytest.raises(error, match=os.strerror(code)):
                await putting

    run(scenario())
    assert files_below(archive) == []


def test_the_last_resort_never_replaces_either(archive: Path, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the disk has neither links nor a careful rename, two workers still cannot overwrite each other."""
    rename, both = os.rename, threading.Barrier(2)

    def slow(*names: Any, **where: Any) -> None:
        with suppress(threading.BrokenBarrierError):  # as it should be: nobody else came this far
            both.wait(timeout=0.1)
        rename(*names, **where)

    monkeypatch.setattr(os, "link", NoLinks(errno.EPERM))
    monkeypatch.setattr(ctypes, "CDLL", OldLibc)
    monkeypatch.setattr(os, "rename", slow)
    store = LocalStore(archive)
    assert sorted(run(race(store, spool, [b"one", b"two"])), key=str) == [None, True]


def test_adopting_and_deleting_are_as_durable_as_putting(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An object found standing is synced with its folder before it counts, and a deleted one cannot come back."""
    store, fsync = LocalStore(archive), os.fsync
    synced: list[int] = []

    def recording(fd: int) -> None:
        synced.append(os.fstat(fd).st_ino)
        fsync(fd)

    final = archive / VIDEO
    final.parent.mkdir(parents=True)
    final.write_bytes(b"copied by hand")
    run(put(store, SIDECAR, b"x"))
    monkeypatch.setattr(os, "fsync", recording)
    assert not run(put(store, VIDEO, b"copied by hand"))
    assert synced[-2:] == [final.stat().st_ino, final.parent.stat().st_ino]
    synced.clear()
    run(store.delete(VIDEO))
    assert synced == [final.parent.stat().st_ino]


class FailingSync:
    """An fsync that fails with EIO for folders, and counts the calls."""

    def __init__(self) -> None:
        self.fsync, self.broken = os.fsync, True

    def __call__(self, fd: int) -> None:
        if self.broken and modes.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self.fsync(fd)


def test_nothing_is_promised_when_the_folder_cannot_be_synced(
    archive: Path, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A put whose folder could not be synced is an error, and the next try adopts what it left."""
    store = LocalStore(archive)
    sync = FailingSync()

    async def scenario() -> None:
        await put(store, SIDECAR, b"warm")
        monkeypatch.setattr(os, "fsync", sync)
        for key in (VIDEO, "videos/dt=new/author=a/1.mp4"):
            with pytest.raises(StorageFull):
                await put_part(store, spool, key, b"x")
        with pytest.raises(StorageFull):
            await put_part(store, spool, VIDEO, b"x")  # standing, but still not safe
        sync.broken = False
        assert not await put_part(store, spool, VIDEO, b"x")

    run(scenario())


def test_a_folder_that_was_swapped_for_another_is_not_written_to(archive: Path, spool: Spool) -> None:
    """When the archive's disk is unmounted under a running worker, it stops instead of filling the disk below."""
    store = LocalStore(archive)

    async def refused() -> None:
        for act in (
            lambda: put(store, SIDECAR, b"x"),
            lambda: store.stat(SIDECAR),
            lambda: store.read(SIDECAR, 10),
            lambda: keys(store),
            lambda: store.delete(SIDECAR),
            store.check,
        ):
            with pytest.raises(StorageFull, match="not the folder it was"):
                await act()

    run(put(store, SIDECAR, b"x"))
    moved = archive.rename(archive.with_name("moved"))
    run(refused())
    assert not archive.exists()
    archive.mkdir()
    run(refused())
    assert list(archive.iterdir()) == []
    archive.rmdir()
    moved.rename(archive)
    assert run(store.read(SIDECAR, 10)) == b"x"


@pytest.mark.root
def test_a_really_full_disk_is_named_and_leaves_nothing_broken(tmp_path: Path) -> None:
    """On a disk that fills up, puts say that it is full, what stands is whole, and a read-only disk is told too."""
    mount = tmp_path / "small"
    mount.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(mount)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"NOT TESTED: cannot mount a tmpfs: {mounted.stderr.strip()}")
    try:
        store, spool = LocalStore(mount / "archive"), Spool(mount / "spool")

        async def fill(putting: Callable[[int], Awaitable[bool]]) -> None:
            with pytest.raises(StorageFull):
                for n in range(20):
                    await putting(n)

        async def scenario() -> None:
            await fill(lambda n: put_part(store, spool, f"videos/{n}.mp4", b"v" * 40_000))
            await fill(lambda n: put(store, f"videos/{n}.json", b"j" * 9_000))
            async for found in store.walk(""):
                assert found.size_bytes == (40_000 if found.key.endswith("mp4") else 9_000)
            assert len(await keys(store)) > 5

        run(scenario())
        subprocess.run(["mount", "-o", "remount,ro", str(mount)], check=True)
        for writing in (put(store, "videos/ro.json", b""), store.check()):
            with pytest.raises(StorageFull):
                run(writing)
    finally:
        subprocess.run(["umount", str(mount)], check=True)


class LostPages:
    """An fsync that fails once for one file, as after a write that the disk did not take; counts calls by inode."""

    def __init__(self, inode: int) -> None:
        self.fsync, self.inode, self.calls = os.fsync, inode, 0

    def __call__(self, fd: int) -> None:
        if os.fstat(fd).st_ino == self.inode:
            self.calls += 1
            if self.calls == 1:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
        self.fsync(fd)


def test_a_standing_file_whose_fsync_failed_is_written_anew(
    archive: Path, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second fsync would lie: the same bytes go into a new file, which takes the name; the old is never synced."""
    store, final = LocalStore(archive), archive / VIDEO
    final.parent.mkdir(parents=True)
    for putting in (
        lambda: put(store, VIDEO, b"v" * 3_000_000),
        lambda: put_part(store, spool, VIDEO, b"v" * 3_000_000),
    ):
        final.write_bytes(b"v" * 3_000_000)
        monkeypatch.setattr(os, "fsync", sync := LostPages(final.stat().st_ino))
        assert not run(putting())
        assert sync.calls == 1 and final.stat().st_ino != sync.inode
        assert final.read_bytes() == b"v" * 3_000_000 and files_below(archive) == [VIDEO]
        monkeypatch.undo()


def test_a_part_whose_fsync_failed_is_never_synced_again(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that could not be synced is of no more use: no second try can make it look safe."""

    async def scenario() -> None:
        async with spool.open(AwemeId("1"), 1, 0) as part:
            part.write(b"x")
            sync = LostPages(part.path.stat().st_ino)
            monkeypatch.setattr(os, "fsync", sync)
            with pytest.raises(StorageFull):
                await part.seal()
            for again in (part.seal, lambda: asyncio.to_thread(part.write, b"y")):
                with pytest.raises(StorageUnavailable):
                    await again()
            assert sync.calls == 1
            with pytest.raises(ValueError, match="not sealed"):
                assert part.sha256

    run(scenario())


def test_a_file_larger_than_the_disk_takes_is_its_own_trouble(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """EFBIG stops no run and is tried a few times only: another disk may take it, this one never will."""

    def refuse(*_: Any) -> int:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))

    async def scenario() -> None:
        async with spool.open(AwemeId("1"), 1, 0) as part:
            monkeypatch.setattr(os, "write", refuse)
            part.write(b"x")
            with pytest.raises(TooLarge):
                await part.seal()
            monkeypatch.undo()

    run(scenario())


def test_without_locks_files_are_stored_all_the_same(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a share without locks objects are put as safely; what a dead process left there is not swept."""
    refuse = OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    def no_locks(*_: Any) -> None:
        raise refuse

    store = LocalStore(archive)
    monkeypatch.setattr(fcntl, "flock", no_locks)
    assert run(put(store, SIDECAR, b"s"))
    (left := (archive / SIDECAR).with_name(".part-1-1")).write_bytes(b"left")
    assert not run(put(store, SIDECAR, b"s")) and run(put(store, VIDEO, b"v"))
    run(store.check())
    assert left.exists() and (archive / SIDECAR).read_bytes() == b"s"

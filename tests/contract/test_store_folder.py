"""What a folder must promise beyond the contract of every store: links, modes, private names."""

from __future__ import annotations

import asyncio
import fcntl
import os
import stat as modes
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from clipledger.core.errors import StorageFull
from clipledger.core.model import MediaType, ObjectKey
from clipledger.core.ports import KeyTaken, ObjectStore
from clipledger.storage.local import LocalStore
from clipledger.storage.spool import Spool
from contract.stores import SIDECAR, VIDEO, files_below, keys, put, put_part, run, sealed

T = TypeVar("T")


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "archive" / ".clipledger" / "spool")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "archive"


def test_a_link_among_the_folders_is_not_followed(archive: Path, spool: Spool, tmp_path: Path) -> None:
    """A link planted in the tree leads nowhere: nothing is written, read, listed or deleted through it."""
    outside = tmp_path / "outside"
    (outside / "author=a").mkdir(parents=True)
    (outside / "author=a" / "1.mp4").write_bytes(b"secret")
    (archive / "videos").mkdir(parents=True)
    (archive / "videos" / "dt=1").symlink_to(outside)
    (archive / "covers").symlink_to(outside)
    store = LocalStore(archive)

    async def scenario() -> None:
        for key in ("videos/dt=1/author=a/1.mp4", "covers/author=a/1.mp4"):
            with pytest.raises(StorageFull, match="not followed"):
                await put_part(store, spool, key.replace("1.mp4", "2.mp4"), b"x")
            with pytest.raises(StorageFull, match="not followed"):
                await put(store, key, b"x")
            with pytest.raises(KeyError):
                await store.read(ObjectKey(key), 100)
            assert await store.stat(ObjectKey(key)) is None
            await store.delete(ObjectKey(key))
        assert await keys(store) == []

    run(scenario())
    assert files_below(outside) == ["author=a/1.mp4"]


@pytest.mark.parametrize("target", ["outside.mp4", "dangling"])
def test_a_link_under_the_final_name_is_not_followed(archive: Path, spool: Spool, tmp_path: Path, target: str) -> None:
    """A link planted where an object should stand counts as taken: never followed, never replaced."""
    (tmp_path / "outside.mp4").write_bytes(b"mine")
    final = archive / VIDEO
    final.parent.mkdir(parents=True)
    final.symlink_to(tmp_path / target)
    store = LocalStore(archive)

    async def scenario() -> None:
        for putting in (put_part(store, spool, VIDEO, b"mine"), put(store, VIDEO, b"mine")):
            with pytest.raises(KeyTaken):
                await putting
        assert await store.stat(VIDEO) is None
        with pytest.raises(KeyError):
            await store.read(VIDEO, 100)
        assert await keys(store) == []
        await store.delete(VIDEO)

    run(scenario())
    assert not final.is_symlink()
    assert files_below(tmp_path) == ["outside.mp4"]


def test_a_pipe_under_the_final_name_holds_nobody_up(archive: Path) -> None:
    """A pipe or folder where an object should stand is told as taken and does not hang a worker."""
    final = archive / VIDEO
    final.parent.mkdir(parents=True)
    os.mkfifo(final)
    (archive / SIDECAR).mkdir()
    store = LocalStore(archive)

    async def scenario() -> None:
        for key in (VIDEO, SIDECAR):
            with pytest.raises(KeyTaken):
                await put(store, key, b"x")
            with pytest.raises(KeyError):
                await store.digest(key)
        assert await keys(store) == []

    run(scenario())


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.mark.parametrize("mask", [0o000, 0o077])
def test_files_are_for_owner_and_group(archive: Path, spool: Spool, mask: int) -> None:
    """Stored files have mode 0640 whatever my umask; new folders let in nobody else."""
    store = LocalStore(archive)

    async def scenario() -> None:
        await put_part(store, spool, VIDEO, b"x")
        await put(store, SIDECAR, b"y")
        async with sealed(spool, b"z") as part:
            part.path.chmod(0o777)
            await store.put_part(ObjectKey("covers/z.jpg"), part, MediaType.JPEG)

    with umask(mask):
        run(scenario())
    for key in (VIDEO, SIDECAR, "covers/z.jpg"):
        assert modes.S_IMODE((archive / key).stat().st_mode) == 0o640
    for folder in (archive, archive / "videos", (archive / VIDEO).parent):
        assert modes.S_IMODE(folder.stat().st_mode) & 0o027 == 0


def test_a_put_is_one_link_and_no_copy(archive: Path, spool: Spool) -> None:
    """A video is written to the disk once: the stored file is the part itself, and a put is one hop to a thread."""
    hops = 0

    async def inline(work: Callable[[], T]) -> T:
        nonlocal hops
        hops += 1
        return work()

    store = LocalStore(archive, run=inline)

    async def scenario() -> None:
        async with sealed(spool, b"x") as part:
            await store.put_part(VIDEO, part, MediaType.MP4)
            assert (archive / VIDEO).samefile(part.path)
        await put(store, SIDECAR, b"y")

    run(scenario())
    assert hops == 2


def test_emptied_folders_go_and_the_topmost_stays(archive: Path) -> None:
    """Deleting the last object of an author and day removes their folders, never `videos` and never a full one."""
    store = LocalStore(archive)

    async def scenario() -> None:
        await put(store, "videos/dt=1/author=a/1.mp4", b"1")
        await put(store, "videos/dt=1/author=a/2.mp4", b"2")
        await put(store, "videos/dt=1/author=b/3.mp4", b"3")
        await store.delete(ObjectKey("videos/dt=1/author=a/1.mp4"))
        assert (archive / "videos/dt=1/author=a").is_dir()
        await store.delete(ObjectKey("videos/dt=1/author=a/2.mp4"))
        assert not (archive / "videos/dt=1/author=a").exists()
        await store.delete(ObjectKey("videos/dt=1/author=b/3.mp4"))

    run(scenario())
    assert [path.name for path in archive.rglob("*")] == ["videos"]


def test_putting_and_deleting_in_one_folder_do_not_disturb_each_other(archive: Path, spool: Spool) -> None:
    """A worker that stores into a folder which another one just emptied succeeds all the same."""
    store, other = LocalStore(archive), LocalStore(archive)

    async def worker(mine: ObjectStore, name: str) -> None:
        key = ObjectKey(f"videos/dt=1/author=a/{name}.mp4")
        for _ in range(40):
            assert await put_part(mine, spool, key, b"x")
            await mine.delete(key)

    async def scenario() -> None:
        async with asyncio.TaskGroup() as tasks:
            for n in range(4):
                tasks.create_task(worker((store, other)[n % 2], str(n)))

    run(scenario())
    assert files_below(archive) == []


def test_the_archives_own_files_are_no_objects(archive: Path) -> None:
    """A walk over the whole archive passes over its database, settings, spool, links and foreign names."""
    store = LocalStore(archive)
    run(put(store, VIDEO, b"x"))
    (archive / ".clipledger" / "spool").mkdir(parents=True)
    for name in ("clipledger.db", "clipledger.db-wal", "clipledger.toml", ".clipledger/spool/1.1.1.part"):
        (archive / name).write_bytes(b"")
    ((archive / VIDEO).parent / ".part-1-1").write_bytes(b"")
    (archive / "link.mp4").symlink_to(archive / VIDEO)
    (archive / "videos" / os.fsdecode(b"\xff.mp4")).write_bytes(b"")
    assert run(keys(store)) == [VIDEO]


@pytest.mark.slow
def test_walking_takes_no_more_memory_for_more_objects(archive: Path) -> None:
    """A walk over many folders holds the names of a few, not of all."""
    for folder in range(60):
        place = archive / "videos" / f"dt={folder:03}"
        place.mkdir(parents=True)
        for n in range(50):
            (place / f"{n}.mp4").touch()

    async def scenario() -> int:
        count = 0
        async for _ in LocalStore(archive).walk("videos/"):
            count += 1
        return count

    tracemalloc.start()
    try:
        assert run(scenario()) == 3000
        assert tracemalloc.get_traced_memory()[1] < 500_000  # all 3,000 at once take twice as much
    finally:
        tracemalloc.stop()


def test_looking_into_a_store_does_not_make_it(archive: Path) -> None:
    """Reading from a folder that does not exist finds nothing and creates nothing; the first put makes it."""
    store = LocalStore(archive / "deep" / "down")

    async def scenario() -> None:
        assert await store.stat(VIDEO) is None
        assert await keys(store) == []
        await store.delete(VIDEO)

    run(scenario())
    assert not archive.exists()
    assert run(put(store, VIDEO, b"x"))


def test_what_killed_workers_left_is_cleared(archive: Path) -> None:
    """Private files of dead writers go when their folder is next written to; those of living ones stay."""
    folder = (archive / VIDEO).parent
    folder.mkdir(parents=True)
    (folder / ".part-1-1").write_bytes(b"dead")
    (folder / ".part-link").symlink_to("/nowhere")
    (archive / ".part-2-2").write_bytes(b"dead")
    alive = folder / ".part-3-3"
    with alive.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        store = LocalStore(archive)

        async def scenario() -> None:
            await store.check()
            await put(store, VIDEO, b"x")

        run(scenario())
    assert files_below(archive) == sorted(
        [VIDEO, *(str(p.relative_to(archive)) for p in (alive, folder / ".part-link"))]
    )


def test_a_name_with_control_characters_is_kept(archive: Path, spool: Spool) -> None:
    """A folder keeps names that no bucket could list: what stood in an archive before is found again."""
    key = "videos/author=a b\n\t'\"\\$;|/1.mp4"

    async def scenario() -> None:
        store = LocalStore(archive)
        await put_part(store, spool, key, b"odd")
        assert await keys(store) == [key]
        assert await store.read(ObjectKey(key), 10) == b"odd"

    run(scenario())


def test_a_sweep_removes_what_killed_workers_left(archive: Path) -> None:
    """Private files of dead writers go from every folder, the latest day's first; a bound is kept to."""
    for day in ("dt=2026-05-28", "dt=2026-05-29"):
        (archive / "videos" / day).mkdir(parents=True)
        (archive / "videos" / day / ".part-1-1").write_bytes(b"dead")
    store = LocalStore(archive)
    assert run(store.sweep(0.0, 0.0, 3)) == 1
    assert files_below(archive) == ["videos/dt=2026-05-28/.part-1-1"]
    assert run(store.sweep(0.0, 0.0, 1000)) == 1
    assert files_below(archive) == []


@pytest.mark.parametrize("name", ["videos", "photos", "covers"])
@pytest.mark.parametrize("made", ["a link", "a file"])
def test_a_topmost_folder_that_is_none_is_told_before_a_credit_is_spent(name: str, made: str, tmp_path: Path) -> None:
    """A link or a file where videos, photos or covers belong is named in one line before anything is spent."""
    root, elsewhere = tmp_path / "archive", tmp_path / "elsewhere"
    root.mkdir()
    elsewhere.mkdir()
    if made == "a link":
        (root / name).symlink_to(elsewhere)
    else:
        (root / name).write_text("x")
    store = LocalStore(root)

    async def act() -> None:
        with pytest.raises(StorageFull, match=rf"{root}/{name} must be a folder of its own: .*not followed"):
            await store.check()
        with pytest.raises(StorageFull):
            await store.put_bytes(ObjectKey(f"{name}/a/1.json"), b"{}", MediaType.JSON)

    asyncio.run(act())
    assert list(elsewhere.iterdir()) == []

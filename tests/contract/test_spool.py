"""The spool's promises: a part is its owner's from birth to end, and whole or nothing."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipledger.core.errors import StorageFull, StorageUnavailable
from clipledger.core.model import AwemeId, MediaType, ObjectKey
from clipledger.storage.local import LocalStore
from clipledger.storage.spool import CHUNKS_MAX, HELD_MAX, Spool, SpoolPart
from contract.stores import no_descriptor_leaks, run

T = TypeVar("T")

ID = AwemeId("7387261234567890123")


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "new" / "spool")


def names(spool: Spool) -> list[str]:
    return sorted(path.name for path in spool.folder.glob("*"))


@settings(max_examples=30, deadline=None)
@given(
    chunks=st.lists(st.binary(max_size=200_000) | st.binary(max_size=50).map(lambda some: some * 20_000), max_size=5),
    expected=st.sampled_from([None, 0, HELD_MAX, 10**9]),
)
def test_a_part_counts_and_hashes_what_it_was_given(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[bytes], expected: int | None
) -> None:
    """However the bytes arrive, the sealed part holds exactly them, with their size, sha256 and first bytes."""
    spool, body = Spool(tmp_path_factory.getbasetemp() / "hashed"), b"".join(chunks)

    async def scenario() -> None:
        async with spool.open(ID, 7, 0, expected) as part:
            for chunk in chunks:
                part.write(chunk)
            assert part.size_bytes == len(body)
            assert (part.head(12), part.read_at(5, 9), part.read_at(10**9, 9)) == (body[:12], body[5:14], b"")
            await part.seal()
            await part.seal()
            assert part.path.read_bytes() == body
            assert (part.size_bytes, part.sha256) == (len(body), hashlib.sha256(body).hexdigest())
            assert part.head(12) == body[:12]
        assert part.sha256 == hashlib.sha256(body).hexdigest()

    run(scenario())


def test_a_part_is_named_by_its_attempt_and_ends_with_it(spool: Spool) -> None:
    """A part's file tells id, token and number, is for owner and group, and is gone when the attempt is over."""

    async def scenario() -> None:
        async with spool.open(ID, 42, 3) as part:
            assert names(spool) == [f"{ID}.42.3.part"]
            assert part.path.stat().st_mode & 0o777 == 0o640

    with no_descriptor_leaks():
        run(scenario())
    assert names(spool) == []


def test_a_small_part_is_a_file_once_it_is_sealed(spool: Spool) -> None:
    """A small film is kept in memory while it is checked; what was promised too small becomes a file all the same."""

    async def scenario() -> None:
        async with spool.open(ID, 1, 0, 3) as small, spool.open(ID, 1, 1, 3) as grown:
            small.write(b"abc")
            grown.write(b"x" * HELD_MAX)
            assert names(spool) == []
            grown.write(b"x")
            assert grown.read_at(HELD_MAX, 9) == b"x"
            assert names(spool) == [f"{ID}.1.1.part"] and grown.path.stat().st_size == HELD_MAX + 1
            await small.seal()
            assert small.path.read_bytes() == b"abc" and small.path.stat().st_mode & 0o777 == 0o640
            async with spool.open(ID, 1, 0, 3) as twin:
                with pytest.raises(StorageUnavailable):
                    await twin.seal()
            assert small.path.exists()

    with no_descriptor_leaks():
        run(scenario())
    assert names(spool) == []


def test_a_failed_attempt_leaves_no_file(spool: Spool) -> None:
    """When the download breaks in the middle, its part goes and the error stays what it was."""

    async def scenario() -> None:
        with pytest.raises(RuntimeError, match="the network"):
            async with spool.open(ID, 1, 0) as part:
                part.write(b"half")
                raise RuntimeError("the network")

    with no_descriptor_leaks():
        run(scenario())
    assert names(spool) == []


@pytest.mark.parametrize("turns", range(12))
@pytest.mark.parametrize("cancels", [1, 3])
@pytest.mark.parametrize("expected", [None, 100_000])
def test_an_attempt_cancelled_anywhere_leaves_no_file(
    spool: Spool, turns: int, cancels: int, expected: int | None
) -> None:
    """Stopping a worker at any moment, even impatiently, leaves neither a part nor an open file behind."""

    async def attempt() -> None:
        async with spool.open(ID, 1, 0, expected) as part:
            part.write(b"x" * 100_000)
            await part.seal()
            await asyncio.Event().wait()

    async def scenario() -> None:
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(attempt())
            for _ in range(turns):
                await asyncio.sleep(0)
            for _ in range(cancels):
                task.cancel()
                await asyncio.sleep(0)

    with no_descriptor_leaks():
        run(scenario())
    assert names(spool) == []


def test_a_cancelled_attempt_is_cleaned_when_its_thread_comes_late(spool: Spool) -> None:
    """A part whose file is made only after its task was cancelled is not made at all, or removed again."""
    late: list[Callable[[], object]] = []

    async def held_back(work: Callable[[], T]) -> T:
        late.append(work)
        if len(late) > 1:
            return work()
        await asyncio.Event().wait()
        raise AssertionError

    slow = Spool(spool.folder, run=held_back)

    async def attempt() -> None:
        async with slow.open(ID, 1, 0):
            raise AssertionError

    async def scenario() -> None:
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(attempt())
            await asyncio.sleep(0)
            task.cancel()
        late[0]()

    with no_descriptor_leaks():
        run(scenario())
    assert names(spool) == []


def test_a_cancelled_attempt_takes_no_others_end_with_it(spool: Spool) -> None:
    """Parts that end together share a thread: when the one who waits for it is stopped, the others' files go too."""
    busy: list[asyncio.Event] = []

    async def one_thread(work: Callable[[], T]) -> T:
        if busy:
            await busy.pop(0).wait()
        return work()

    shared = Spool(spool.folder, run=one_thread)

    async def attempt(n: int, end: asyncio.Event) -> None:
        async with shared.open(ID, 1, n):
            await end.wait()

    async def scenario() -> None:
        ends, soon, never = [asyncio.Event(), asyncio.Event()], asyncio.Event(), asyncio.Event()
        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            attempts = [tasks.create_task(attempt(n, ends[n > 0])) for n in range(3)]
            await asyncio.sleep(0)
            assert len(names(spool)) == 3
            busy.extend((soon, never))
            for event in (*ends, soon):  # the first ends alone, the others wait, then one of them asks for both
                event.set()
                for _ in range(5):
                    await asyncio.sleep(0)
            attempts[1].cancel()

    with no_descriptor_leaks():
        run(scenario())
    assert names(spool) == []


def test_only_a_sealed_part_has_a_hash_and_only_an_open_one_is_written(spool: Spool) -> None:
    """Nobody can take the hash of half a file, or add to one that is sealed or over."""

    async def scenario() -> None:
        async with spool.open(ID, 1, 0) as part:
            part.write(b"x")
            with pytest.raises(ValueError, match="not sealed"):
                _ = part.sha256
            await part.seal()
            with pytest.raises(ValueError, match="sealed"):
                part.write(b"y")
        with pytest.raises(ValueError, match="closed"):
            part.write(b"y")
        with pytest.raises(ValueError, match="closed"):
            await part.seal()

    run(scenario())


def test_short_writes_lose_nothing(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the kernel takes a few bytes at a time, all of them still arrive."""
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, chunk: write(fd, bytes(chunk[:7])))

    async def scenario() -> None:
        async with spool.open(ID, 1, 0) as part:
            part.write(bytes(range(256)))
            assert part.read_at(0, 300) == bytes(range(256))

    run(scenario())


@pytest.mark.parametrize(
    ("call", "code", "error"),
    [
        ("write", errno.ENOSPC, StorageFull),
        ("write", errno.EDQUOT, StorageFull),
        ("write", errno.EIO, StorageFull),
        ("fsync", errno.EIO, StorageFull),
        ("fsync", errno.ENOSPC, StorageFull),
    ],
)
def test_a_part_that_failed_once_is_never_trusted_again(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, call: str, code: int, error: type[Exception]
) -> None:
    """After a failed write or fsync the part can be neither sealed nor stored, even if the disk recovers."""
    calls: list[int] = []

    def broken(fd: int, *_: Any) -> int:
        calls.append(fd)
        raise OSError(code, os.strerror(code))

    async def use(part: SpoolPart) -> None:
        part.write(b"bytes")
        await part.seal()

    async def scenario() -> None:
        async with spool.open(ID, 1, 0) as part:
            with monkeypatch.context() as patch, pytest.raises(error):
                patch.setattr(os, call, broken)
                await use(part)
            for again in (use(part), part.seal()):
                with pytest.raises(StorageUnavailable, match="before"):
                    await again
            with pytest.raises(ValueError, match="not sealed"):
                await LocalStore(spool.folder.parent).put_part(ObjectKey("videos/1.mp4"), part, MediaType.MP4)

    run(scenario())
    assert len(calls) == 1


@pytest.mark.parametrize("told_by", ["write", "read", "seal"])
def test_what_fails_aside_is_told_by_the_next_call(spool: Spool, monkeypatch: pytest.MonkeyPatch, told_by: str) -> None:
    """A disk that is full while the next bytes arrive ends the download: nobody goes on, and nothing is sealed."""

    def full(fd: int, *_: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async def ask(part: SpoolPart) -> None:
        if told_by == "seal":
            await part.seal()
        elif told_by == "read":
            part.read_at(0, 9)
        else:
            part.write(b"more")

    async def scenario() -> None:
        async with spool.open(ID, 1, 0, 10**9) as part:
            monkeypatch.setattr(os, "write", full)
            part.write(b"x" * (HELD_MAX + 1))
            await asyncio.get_running_loop().run_in_executor(None, lambda: None)
            for _ in range(200):
                await asyncio.sleep(0.01)
                if not part._waiting:  # the thread has had its piece
                    break
            with pytest.raises(StorageFull):
                await ask(part)
            with pytest.raises(StorageUnavailable, match="before"):
                await part.seal()

    with no_descriptor_leaks():
        run(scenario())
    assert names(spool) == []


@pytest.mark.parametrize("meanwhile", ["nothing", "more"])
def test_a_piece_that_memory_did_not_suffice_for_spoils_the_part(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    """What a thread lost for want of memory is never passed over: a film with a hole in it is not sealed."""
    write, calls = os.write, list[int]()

    def once(fd: int, chunk: Any) -> int:
        calls.append(fd)
        if len(calls) == 1:
            raise MemoryError
        return write(fd, chunk)

    async def scenario() -> None:
        async with spool.open(ID, 1, 0) as part:
            monkeypatch.setattr(os, "write", once)
            part.write(b"x" * (HELD_MAX + 1))
            for _ in range(200):
                await asyncio.sleep(0.01)
                if calls and not part._lock.locked():  # the thread has had its piece
                    break
            with pytest.raises(MemoryError):
                if meanwhile == "more":
                    part.write(b"y" * (HELD_MAX + 1))
                await part.seal()
            with pytest.raises(StorageUnavailable, match="before"):
                await part.seal()
            with pytest.raises(ValueError, match="not sealed"):
                _ = part.sha256

    with no_descriptor_leaks():
        run(scenario())
    assert names(spool) == []


def test_a_server_that_sends_bytes_one_by_one_takes_no_more_memory(spool: Spool) -> None:
    """Chunks are counted as well as bytes, and come together in the file however many there were."""
    body = bytes(range(256)) * 40

    async def scenario() -> None:
        async with spool.open(ID, 1, 0, 9) as part:
            for byte in body:
                part.write(bytes([byte]))
                assert len(part._gathering) <= CHUNKS_MAX
            assert part.read_at(0, len(body)) == body
            await part.seal()
            assert part.sha256 == hashlib.sha256(body).hexdigest()

    run(scenario())


@pytest.mark.parametrize("aweme_id", ["", "../1", "a/b", "a.b", "1\0", "7" * 65, "١"])
def test_an_id_that_is_none_makes_no_file(spool: Spool, aweme_id: str) -> None:
    """Whatever the API calls an id, no part is made outside the spool."""

    async def scenario() -> None:
        async with spool.open(AwemeId(aweme_id), 1, 0):
            raise AssertionError

    with pytest.raises(ValueError, match="not a part's name"):
        run(scenario())
    assert names(spool) == []


def test_a_dead_part_of_the_same_name_makes_room(spool: Spool) -> None:
    """A name left by a dead worker is taken over empty; one that a living worker holds is refused."""
    spool.folder.mkdir(parents=True)
    (spool.folder / f"{ID}.1.0.part").write_bytes(b"old")

    async def scenario() -> None:
        async with spool.open(ID, 1, 0) as part:
            assert part.head(10) == b""
            part.write(b"new")
            with pytest.raises(StorageUnavailable, match="held by another"):
                async with spool.open(ID, 1, 0):
                    raise AssertionError
            await part.seal()
            assert part.path.read_bytes() == b"new"

    run(scenario())
    assert names(spool) == []


def test_a_link_in_place_of_a_part_is_not_followed(spool: Spool, tmp_path: Path) -> None:
    """A link planted under a part's name never leads the bytes elsewhere."""
    (tmp_path / "mine").write_bytes(b"mine")
    spool.folder.mkdir(parents=True)
    (spool.folder / f"{ID}.1.0.part").symlink_to(tmp_path / "mine")

    async def scenario() -> None:
        async with spool.open(ID, 1, 0):
            raise AssertionError

    with pytest.raises(StorageFull):
        run(scenario())
    assert (tmp_path / "mine").read_bytes() == b"mine"


def test_all_disk_work_goes_through_the_one_door(spool: Spool) -> None:
    """A simulation can run the spool inline: opening, sealing and closing are one hop each."""
    hops: list[Callable[[], object]] = []

    def inline(work: Callable[[], T]) -> Awaitable[T]:
        async def done() -> T:
            hops.append(work)
            return work()

        return done()

    async def scenario() -> None:
        async with Spool(spool.folder, run=inline).open(ID, 1, 0) as part:
            part.write(b"x")
            await part.seal()

    run(scenario())
    assert len(hops) == 3

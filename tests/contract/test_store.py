"""The promises of `ports.ObjectStore`, run against every store."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipledger.core.errors import StorageUnavailable, TooLarge
from clipledger.core.model import AwemeId, MediaType, ObjectKey
from clipledger.core.ports import KeyTaken, ObjectStore
from clipledger.storage.keys import key_parts
from clipledger.storage.probe import FOLDER, Triable
from clipledger.storage.spool import Spool
from contract.stores import MAKERS, SIDECAR, VIDEO, Servers, files_below, keys, put, put_part, race, run, sealed

ROUNDS = 6
"""Of a race: each lets six putters loose at once."""


@pytest.fixture(params=MAKERS)
def store(request: pytest.FixtureRequest, tmp_path: Path, s3_servers: Servers) -> Iterator[ObjectStore]:
    store = MAKERS[request.param](tmp_path, s3_servers)
    yield store
    run(store.close())


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "archive" / ".clipledger" / "spool")


def test_a_new_object_is_what_was_put(store: ObjectStore, spool: Spool) -> None:
    """What I put is what I read, with its size and sha256, whether it came from a part or from memory."""

    async def scenario() -> None:
        for key, body, created in (
            (VIDEO, b"moov" * 50_000, await put_part(store, spool, VIDEO, b"moov" * 50_000)),
            (SIDECAR, b'{"a": 1}', await put(store, SIDECAR, b'{"a": 1}')),
            (ObjectKey("covers/empty"), b"", await put(store, "covers/empty", b"")),
        ):
            assert created is True
            found = await store.stat(key)
            assert found is not None and (found.key, found.size_bytes) == (key, len(body))
            assert found.sha256 in (None, hashlib.sha256(body).hexdigest())
            assert await store.read(key, len(body)) == body
            assert await store.digest(key) == (len(body), hashlib.sha256(body).hexdigest())

    run(scenario())


def test_any_piece_of_an_object_can_be_read(store: ObjectStore, spool: Spool) -> None:
    """A player that seeks gets the bytes from where it asked on, and no more than there are."""

    async def scenario() -> None:
        body = bytes(range(256)) * 1000
        await put_part(store, spool, VIDEO, body)
        for start, length in ((0, 1), (0, len(body)), (255, 3), (100_000, 70_000), (len(body) - 1, 10)):
            assert await store.piece(VIDEO, start, length) == body[start : start + length]
        with pytest.raises(KeyError):
            await store.piece(ObjectKey("videos/nobody.mp4"), 0, 10)

    run(scenario())


def test_the_same_bytes_are_adopted(store: ObjectStore, spool: Spool) -> None:
    """Putting what already stands is no error and says that nothing new was made."""

    async def scenario() -> None:
        assert await put_part(store, spool, VIDEO, b"same")
        assert not await put_part(store, spool, VIDEO, b"same")
        assert not await put(store, VIDEO, b"same")
        assert await put(store, SIDECAR, b"also")
        assert not await put_part(store, spool, SIDECAR, b"also")

    run(scenario())


@pytest.mark.parametrize("other", [b"othr", b"longer", b""])
def test_other_bytes_never_replace(store: ObjectStore, spool: Spool, other: bytes) -> None:
    """A key that holds other bytes is refused, and what stands there stays as it is."""

    async def scenario() -> None:
        await put(store, VIDEO, b"mine")
        with pytest.raises(KeyTaken) as part_refused:
            await put_part(store, spool, VIDEO, other)
        with pytest.raises(KeyTaken):
            await put(store, VIDEO, other)
        assert part_refused.value.key == VIDEO
        assert await store.read(VIDEO, 100) == b"mine"
        assert await keys(store) == [VIDEO]

    run(scenario())


def test_the_part_stays_until_its_owner_removes_it(store: ObjectStore, spool: Spool) -> None:
    """Storing a part leaves its file; leaving the part removes the file and not the object."""

    async def scenario() -> None:
        async with sealed(spool, b"bytes") as part:
            await store.put_part(VIDEO, part, MediaType.MP4)
            assert part.path.read_bytes() == b"bytes"
        assert not part.path.exists()
        assert await store.read(VIDEO, 100) == b"bytes"

    run(scenario())


def test_an_absent_key_is_told(store: ObjectStore) -> None:
    """What is not there has no stat, cannot be read or hashed, and can be deleted all the same."""

    async def scenario() -> None:
        await put(store, "videos/a/b.json", b"1")
        for key in (VIDEO, ObjectKey("videos/a"), ObjectKey("videos/a/b.json/c"), ObjectKey("videos/a/b")):
            assert await store.stat(key) is None
            with pytest.raises(KeyError):
                await store.read(key, 100)
            with pytest.raises(KeyError):
                await store.digest(key)
            await store.delete(key)
        assert await keys(store) == ["videos/a/b.json"]

    run(scenario())


def test_reading_is_bounded(store: ObjectStore) -> None:
    """A sidecar as large as the bound is read, one byte more is refused."""

    async def scenario() -> None:
        await put(store, SIDECAR, b"12345")
        assert await store.read(SIDECAR, 5) == b"12345"
        with pytest.raises(TooLarge):
            await store.read(SIDECAR, 4)

    run(scenario())


def test_walking_is_in_key_order_and_keeps_to_the_prefix(store: ObjectStore) -> None:
    """A walk shows every object below the prefix once, sorted by key as a bucket sorts them."""
    wanted = [
        "covers/dt=2026-05-29/1.jpg",
        "photos/d/author=a.b/1.json",
        "photos/d/author=a/1.json",
        "photos/d/author=a/1/01.jpg",
        "photos/d/author=a/1/02.jpg",
        "photos/d/author=a/10.json",
        "photos/d/author=aé/1.json",
        "photos/d/author=\U0001f600/1.json",
        "photos/d/author=\uffee/1.json",
    ]
    wanted.sort(key=str.encode)

    async def scenario() -> None:
        for key in reversed(wanted):
            await put(store, key, key.encode())
        assert await keys(store) == wanted
        for prefix in (
            "photos/",
            "photos",
            "photos/d/author=a/",
            "photos/d/author=a",
            "photos/d/author=a/1",
            wanted[0],
        ):
            assert await keys(store, prefix) == [key for key in wanted if key.startswith(prefix)]
        assert await keys(store, "videos/") == []
        assert await keys(store, "photos/d/author=a/10.json/") == []
        assert [found.size_bytes async for found in store.walk("covers/")] == [len(wanted[0])]

    run(scenario())


@pytest.mark.slow
@pytest.mark.parametrize("store", ["local", "memory", "ministack", "cloud-s3"], indirect=True)
def test_a_long_folder_is_walked_whole(store: ObjectStore) -> None:
    """A day with hundreds of covers is walked whole, and deleting behind the walk loses none of the rest."""
    wanted = [f"covers/dt=2026-05-29/{n:04}.jpg" for n in range(600)]

    async def scenario() -> None:
        for key in wanted:
            await put(store, key, b"")
        seen = []
        async for found in store.walk("covers/"):
            seen.append(found.key)
            await store.delete(found.key)
        assert seen == wanted
        assert await keys(store) == []

    run(scenario())


def test_a_deleted_key_is_free_again(store: ObjectStore) -> None:
    """Deleting twice is no error, and the key then takes other bytes."""

    async def scenario() -> None:
        await put(store, SIDECAR, b"old")
        await store.delete(SIDECAR)
        await store.delete(SIDECAR)
        assert await store.stat(SIDECAR) is None
        assert await put(store, SIDECAR, b"new")
        assert await store.read(SIDECAR, 10) == b"new"

    run(scenario())


def test_an_unsealed_part_is_refused(store: ObjectStore, spool: Spool) -> None:
    """Bytes that are not on stable storage yet never get a final name."""

    async def scenario() -> None:
        async with spool.open(AwemeId("7387261234567890123"), 1, 0) as part:
            part.write(b"half")
            with pytest.raises(ValueError, match="not sealed"):
                await store.put_part(VIDEO, part, MediaType.MP4)
        assert await store.stat(VIDEO) is None

    run(scenario())


def test_a_part_that_was_changed_or_lost_is_refused(store: ObjectStore, spool: Spool) -> None:
    """A part that somebody cut short, lengthened or removed after it was sealed is not stored."""

    async def scenario() -> None:
        async with sealed(spool, b"sealed") as part:
            for meddle in (b"sealed and more", b"se"):
                part.path.write_bytes(meddle)
                with pytest.raises(ValueError, match="not the part"):
                    await store.put_part(VIDEO, part, MediaType.MP4)
            part.path.unlink()
            with pytest.raises(StorageUnavailable):
                await store.put_part(VIDEO, part, MediaType.MP4)
        assert await keys(store) == []

    run(scenario())


BAD_KEYS = (
    "",
    "/etc/passwd",
    "../x",
    "videos/../../x",
    "videos/./x",
    "videos//x",
    "videos/",
    "videos/a\0b",
    "videos/.part-1",
    "videos/.hidden/x",
    ".clipledger/spool/x",
    "clipledger.toml",
    "clipledger.db",
    "clipledger.db-wal/x",
    "videos/\udc80",
    "videos/" + "a" * 256,
    "/".join(["a" * 100] * 11),
)


@pytest.mark.parametrize("key", BAD_KEYS)
def test_what_is_no_key_is_refused_everywhere(store: ObjectStore, spool: Spool, tmp_path: Path, key: str) -> None:
    """No key reaches outside the store, into its private folder or onto the archive's own files."""
    bad = ObjectKey(key)

    async def refused(act: Callable[[], Awaitable[object]]) -> None:
        with pytest.raises(ValueError, match=r"not a key|codec"):
            await act()

    async def scenario() -> None:
        async with sealed(spool, b"x") as part:
            await refused(lambda: store.put_part(bad, part, MediaType.MP4))
        for act in (
            lambda: put(store, key, b"x"),
            lambda: store.stat(bad),
            lambda: store.read(bad, 10),
            lambda: store.digest(bad),
            lambda: store.delete(bad),
        ):
            await refused(act)

    run(scenario())
    assert files_below(tmp_path) == []


@pytest.mark.parametrize("prefix", ["/", "../", "videos/../", "videos/..", ".clipledger/", "videos//", ".cl"])
def test_what_is_no_prefix_is_refused(store: ObjectStore, prefix: str) -> None:
    """A walk cannot be sent outside the store either."""
    with pytest.raises(ValueError, match="not a"):
        run(keys(store, prefix))


@pytest.mark.parametrize(
    "name",
    [
        "author=%E3%81%82%2F..%2F/1.mp4",
        "author=あ/1.mp4",
        "author=a b'\"$;|/1.mp4",
        "author=e\u0301/é.mp4",
        "author=~/-rf",
        "author=" + "x" * 240 + "/1.mp4",
    ],
)
def test_odd_handles_are_kept_as_they_are(store: ObjectStore, spool: Spool, name: str) -> None:
    """A key comes back from a walk exactly as it was put, whatever signs it holds."""

    async def scenario() -> None:
        await put_part(store, spool, f"videos/{name}", b"odd")
        assert await keys(store) == [f"videos/{name}"]
        assert await store.read(ObjectKey(f"videos/{name}"), 10) == b"odd"

    run(scenario())


def test_of_many_putters_one_wins(store: ObjectStore, spool: Spool) -> None:
    """When workers put different bytes under one key at once, exactly one wins and all others are told."""

    async def scenario() -> None:
        for _ in range(ROUNDS):
            bodies = [bytes([n]) * 5000 for n in range(6)]
            results = await race(store, spool, bodies)
            assert sorted(results, key=str) == [None] * 5 + [True]
            assert await store.read(VIDEO, 5000) in bodies
            await store.delete(VIDEO)

    run(scenario())


def test_many_putters_of_the_same_bytes_agree(store: ObjectStore, spool: Spool) -> None:
    """When workers put the same bytes at once, one creates the object and the others adopt it."""

    async def scenario() -> None:
        for _ in range(ROUNDS):
            results = await race(store, spool, [b"same" * 1000] * 6)
            assert sorted(results, key=str) == [False] * 5 + [True]
            await store.delete(VIDEO)

    run(scenario())


def test_a_check_leaves_nothing(store: ObjectStore, tmp_path: Path) -> None:
    """Probing a store at start-up writes nothing that stays."""

    async def scenario() -> None:
        await store.check()
        assert await keys(store) == []
        await store.close()

    run(scenario())
    assert files_below(tmp_path) == []


def test_a_walk_is_taken_up_where_it_stopped(store: ObjectStore) -> None:
    """A walk after a key shows exactly what comes after it, whether something stands there or not."""
    wanted = [f"videos/{folder}/{n}.mp4" for folder in ("a", "a-b", "b") for n in range(3)]

    async def scenario() -> None:
        for key in wanted:
            await put(store, key, b"")
        order = await keys(store)
        assert sorted(order) == sorted(wanted)
        for after in (*order, "videos/a", "videos/a/", "videos/a/1.z", "a", "z"):
            assert [found.key async for found in store.walk("videos/", after)] == [k for k in order if k > after]

    run(scenario())


def test_a_sweep_leaves_what_is_whole(store: ObjectStore, spool: Spool) -> None:
    """Sweeping after dead writers finds none where none died, and touches no object."""

    async def scenario() -> None:
        await put_part(store, spool, VIDEO, b"whole" * 10_000)
        assert await store.sweep(0.0, 1e12, 100) == 0
        assert await keys(store) == [VIDEO]

    run(scenario())


NAMES = st.sampled_from(["a", "b", "a-b", "é%2F", "dt=1"])
KEYS = st.builds(lambda folders, leaf: "/".join([*folders, leaf + ".x"]), st.lists(NAMES, max_size=3), NAMES)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), KEYS, st.sampled_from([b"", b"1", b"2"])),
        st.tuples(st.just("part"), KEYS, st.sampled_from([b"", b"1", b"2"])),
        st.tuples(st.just("delete"), KEYS, st.just(b"")),
        st.tuples(st.just("walk"), st.one_of(KEYS, NAMES, st.just("")), st.just(b"")),
    ),
    max_size=15,
)


async def play(store: ObjectStore, spool: Spool, steps: list[tuple[str, str, bytes]]) -> list[object]:
    """Do the steps; give every answer."""
    answers: list[object] = []
    for act, key, body in steps:
        try:
            if act == "delete":
                await store.delete(ObjectKey(key))
            elif act == "walk":
                answers.append(await keys(store, key))
            else:
                answers.append(await (put_part(store, spool, key, body) if act == "part" else put(store, key, body)))
        except KeyTaken:
            answers.append("taken")
    return [*answers, await keys(store)]


@pytest.mark.parametrize("name", [name for name in MAKERS if name != "local"])
@pytest.mark.slow
@settings(max_examples=6, deadline=None)
@given(steps=STEPS)
def test_every_store_answers_alike(name: str, s3_servers: Servers, steps: list[tuple[str, str, bytes]]) -> None:
    """What a simulation, a bucket or a cloud answers is what a folder would have answered."""
    with tempfile.TemporaryDirectory() as folder:
        spool = Spool(Path(folder) / "spool")
        answers = []
        for make in (MAKERS["local"], MAKERS[name]):
            store = make(Path(folder), s3_servers)
            answers.append(run(play(store, spool, steps)))
            run(store.close())
    assert answers[0] == answers[1]


@given(st.text(alphabet=st.sampled_from("a./\0%é\ud800"), max_size=20))
def test_a_key_is_a_path_that_stays_below(key: str) -> None:
    """Whatever text is taken for a key leads to one place below the root and back to the same text."""
    try:
        parts = key_parts(key)
    except ValueError:
        return
    assert "/".join(parts) == key
    assert os.path.normpath(f"/root/{key}") == f"/root/{key}"
    assert not any(part.startswith(".") for part in parts)


def test_a_sweep_drops_what_a_killed_probe_left(store: ObjectStore) -> None:
    """What a process that was killed while it tried the store left behind goes when it is old, and not before."""
    if not isinstance(store, Triable):
        pytest.skip("a store that is not tried: nothing is left in it")

    async def scenario() -> None:
        body, name = b"a trial", f"{FOLDER}/0000/single"
        await store.attempt(name, body, sha256=hashlib.sha256(body).hexdigest(), multipart=False)
        await put(store, VIDEO, b"whole")
        assert await store.sweep(3600.0, time.time(), 100) == 0
        assert await store.sweep(0.0, 1e12, 0) == 0
        assert await store.names(f"{FOLDER}/") == [name]
        assert await store.sweep(0.0, 1e12, 100) == 1
        assert await store.names(f"{FOLDER}/") == [] and await keys(store) == [VIDEO]

    run(scenario())

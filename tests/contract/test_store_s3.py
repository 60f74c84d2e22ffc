"""What an S3 store promises when the server or the way to it misbehaves: each fault by itself, before a real server."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clipledger.core.errors import Misconfigured, StorageFull, StorageThrottled, StorageUnavailable
from clipledger.core.model import MediaType, ObjectKey
from clipledger.core.ports import KeyTaken
from clipledger.storage import aws as aws_module
from clipledger.storage.aws import Address, Aws
from clipledger.storage.mark import OBJECT
from clipledger.storage.place import read_place
from clipledger.storage.probe import Mode, probe
from clipledger.storage.s3 import S3Store
from clipledger.storage.spool import Spool
from contract.stores import SIDECAR, VIDEO, Servers, keys, put_part, race, run, sealed
from process.harness import wait_until
from s3_front import Front, s3_front
from s3_servers import BUCKET, S3Server, boto

BODY = bytes(range(256)) * 400


@pytest.fixture
def server(s3_servers: Servers) -> S3Server:
    return s3_servers("ministack")


@pytest.fixture
def front(server: S3Server) -> Iterator[Front]:
    with s3_front(server.endpoint_url) as front:
        yield front


@pytest.fixture
def store(front: Front, server: S3Server) -> Iterator[S3Store]:
    yield from opened(front, server.url())


@pytest.fixture
def pieces(front: Front, server: S3Server) -> Iterator[S3Store]:
    """Give a store that uploads everything in pieces of 5 MiB, the least that S3 takes."""
    yield from opened(front, server.url(), single_bytes_max=1, piece_bytes=5 * 2**20)


def opened(front: Front, url: str, **sizes: int) -> Iterator[S3Store]:
    store = S3Store(read_place(url), Aws(Address(front.endpoint_url)), **sizes)
    yield store
    run(store.close())


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


def uploads(server: S3Server, store: S3Store) -> list[str]:
    """List unfinished uploads behind the store's back."""
    prefix = store.url.removeprefix(f"s3://{BUCKET}/")
    client = boto(server)
    found = client.list_multipart_uploads(Bucket=BUCKET, Prefix=prefix).get("Uploads", [])
    client.close()
    return [upload["Key"] for upload in found]


async def stands(store: S3Store, key: str, body: bytes) -> bool:
    return await store.digest(ObjectKey(key)) == (len(body), hashlib.sha256(body).hexdigest())


def test_a_put_whose_answer_was_lost_is_adopted(store: S3Store, front: Front, spool: Spool) -> None:
    """When the connection breaks after the store took the bytes, trying again finds them and makes nothing new."""
    front.always("lost", "put")

    async def scenario() -> None:
        with pytest.raises(StorageUnavailable):
            await put_part(store, spool, VIDEO, BODY)
        front.always(None)
        assert not await put_part(store, spool, VIDEO, BODY)
        assert await stands(store, VIDEO, BODY)

    run(scenario())


def test_an_upload_in_pieces_whose_answer_was_lost_is_adopted_without_sending_it_again(
    pieces: S3Store, front: Front, spool: Spool
) -> None:
    """When the last answer of a large upload is lost, the next try sees that it stands and sends no byte."""
    front.times(1, "lost", "complete")

    async def scenario() -> None:
        with pytest.raises(StorageUnavailable):
            await put_part(pieces, spool, VIDEO, BODY)
        sent = front.seen["part"]
        assert not await put_part(pieces, spool, VIDEO, BODY)
        assert front.seen["part"] == sent and await stands(pieces, VIDEO, BODY)

    run(scenario())


@pytest.mark.parametrize("spoil", ["cut", "error", "lost"])
def test_a_broken_upload_leaves_nothing_half_done(
    pieces: S3Store, store: S3Store, front: Front, server: S3Server, spool: Spool, spoil: str
) -> None:
    """When an upload breaks half-way nothing stands under the key, no piece is left over, and it can be redone."""

    async def scenario() -> None:
        front.always(spoil, "part")
        with pytest.raises(StorageUnavailable):
            await put_part(pieces, spool, VIDEO, BODY * 120)
        front.always(None)
        assert uploads(server, pieces) == [] and await pieces.stat(VIDEO) is None
        assert await put_part(pieces, spool, VIDEO, BODY * 120)
        assert await stands(pieces, VIDEO, BODY * 120)
        if spoil == "cut":
            front.always(spoil, "put")
            with pytest.raises(StorageUnavailable):
                await put_part(store, spool, VIDEO, BODY)
            assert await store.stat(VIDEO) is None

    run(scenario())


def test_a_bucket_of_another_region_is_named_even_after_an_upload(store: S3Store, front: Front, spool: Spool) -> None:
    """A store that reads all of a file before it says that it lies elsewhere is misconfigured, not out of reach."""

    async def scenario() -> None:
        front.always("elsewhere", "put")
        with pytest.raises(Misconfigured, match="another region"):
            await put_part(store, spool, VIDEO, BODY)

    run(scenario())


def test_an_error_under_status_200_is_an_error(pieces: S3Store, front: Front, server: S3Server, spool: Spool) -> None:
    """When the store says 200 and then that it failed, the object does not count as stored until it stands."""
    front.times(1, "false_ok", "complete")

    async def scenario() -> None:
        with pytest.raises(StorageUnavailable, match="InternalError"):
            await put_part(pieces, spool, VIDEO, BODY)
        assert not await put_part(pieces, spool, VIDEO, BODY)  # it did stand: the front only lied
        assert await stands(pieces, VIDEO, BODY)

    run(scenario())
    assert uploads(server, pieces) == []


def test_a_conflict_is_tried_again(store: S3Store, front: Front, spool: Spool) -> None:
    """When somebody else is at the very name (409), the put is made again a moment later; for ever it is given up."""

    async def scenario() -> None:
        front.times(2, "conflict", "put")
        assert await put_part(store, spool, VIDEO, BODY)
        front.times(1, "conflict", "put")
        assert not await put_part(store, spool, VIDEO, BODY)
        front.times(1, "conflict", "put")
        with pytest.raises(KeyTaken):
            await put_part(store, spool, VIDEO, BODY[:-1])

    run(scenario())


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        ("slow_down", StorageThrottled),
        ("no_room", StorageFull),
        ("denied", Misconfigured),
        ("error", StorageUnavailable),
    ],
)
def test_refusals_have_names(store: S3Store, front: Front, spool: Spool, spoil: str, error: type[Exception]) -> None:
    """Slow down, no room, no right and a fault are told apart in each call, and nothing stands after a refused put."""

    async def scenario() -> None:
        acts: tuple[tuple[str, Callable[[], Any]], ...] = (
            ("put", lambda: put_part(store, spool, VIDEO, BODY)),
            ("get", lambda: store.read(VIDEO, 10)),
            ("list", lambda: keys(store)),
            ("delete", lambda: store.delete(VIDEO)),
        )
        for act, call in acts:
            front.times(1, spoil, act)
            with pytest.raises(error):
                await call()
            assert front.spoilt[spoil]
        front.times(1, spoil, "head")
        with pytest.raises(StorageUnavailable if spoil in ("slow_down", "error") else error):
            await store.stat(VIDEO)
        assert await keys(store) == []

    run(scenario())


def test_a_server_that_never_answers_is_given_up(
    store: S3Store, front: Front, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every call has a deadline: a silent server is a fault, not a hang."""
    monkeypatch.setattr(aws_module, "DEADLINE_S", 0.5)
    front.rule = lambda asked: "hang"

    async def scenario() -> None:
        for call in (put_part(store, spool, VIDEO, b"x"), store.stat(VIDEO), store.read(VIDEO, 9), keys(store)):
            with pytest.raises(StorageUnavailable, match="no answer in time"):
                await call

    run(scenario())


def test_a_cancelled_upload_aborts_its_pieces(pieces: S3Store, front: Front, server: S3Server, spool: Spool) -> None:
    """When a worker is told to stop in the middle of a large upload, what it sent is dropped at once."""
    front.rule = lambda asked: "hang" if asked.act == "part" else None

    async def scenario() -> None:
        putting = asyncio.ensure_future(put_part(pieces, spool, VIDEO, BODY * 120))
        await asyncio.to_thread(wait_until, lambda: front.seen["part"] > 0)
        putting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await putting
        assert uploads(server, pieces) == [] and await pieces.stat(VIDEO) is None

    run(scenario())


def test_a_sweep_aborts_what_killed_workers_began(store: S3Store, server: S3Server, spool: Spool) -> None:
    """Uploads begun long ago are aborted, younger ones and those of others are left alone, and a bound is kept to."""
    prefix = store.url.removeprefix(f"s3://{BUCKET}/") + "/"
    client = boto(server)
    for key in (f"{prefix}videos/1.mp4", f"{prefix}videos/2.mp4", "elsewhere/3.mp4"):
        client.create_multipart_upload(Bucket=BUCKET, Key=key)
    begun = client.list_multipart_uploads(Bucket=BUCKET, Prefix=prefix)["Uploads"][0]["Initiated"].timestamp()
    assert run(store.sweep(60.0, begun + 30.0, 100)) == 0
    assert run(store.sweep(60.0, begun + 120.0, 1)) == 1
    assert run(store.sweep(60.0, begun + 120.0, 100)) == 1
    assert uploads(server, store) == []
    assert len(client.list_multipart_uploads(Bucket=BUCKET, Prefix="elsewhere/").get("Uploads", [])) == 1
    client.close()


def test_bytes_that_changed_since_they_were_sealed_are_not_stored_in_pieces(
    pieces: S3Store, server: S3Server, spool: Spool
) -> None:
    """A part whose bytes changed behind our back, at the same size, never gets a name."""

    async def scenario() -> None:
        async with sealed(spool, BODY) as part:
            part.path.write_bytes(BODY[::-1])
            with pytest.raises(ValueError, match="not the part"):
                await pieces.put_part(VIDEO, part, MediaType.MP4)
        assert await pieces.stat(VIDEO) is None

    run(scenario())
    assert uploads(server, pieces) == []


@pytest.mark.slow
def test_a_walk_goes_on_over_pages(store: S3Store, server: S3Server) -> None:
    """More objects than one answer holds are all listed, in order, and a walk begins again in the middle."""
    prefix = store.url.removeprefix(f"s3://{BUCKET}/") + "/"
    client = boto(server)
    wanted = [f"covers/dt=2026-05-29/{n:05}.jpg" for n in range(1203)]
    for key in wanted:
        client.put_object(Bucket=BUCKET, Key=prefix + key, Body=b"")
    client.close()

    async def scenario() -> None:
        assert await keys(store, "covers/") == wanted
        assert [found.key async for found in store.walk("covers/", wanted[1100])] == wanted[1101:]

    run(scenario())


def test_what_others_put_is_compared_by_its_bytes(store: S3Store, server: S3Server, spool: Spool) -> None:
    """An object without our note of its sha256 is read before it is adopted or left alone."""
    prefix = store.url.removeprefix(f"s3://{BUCKET}/") + "/"
    client = boto(server)
    client.put_object(Bucket=BUCKET, Key=prefix + VIDEO, Body=BODY)
    client.close()

    async def scenario() -> None:
        assert not await put_part(store, spool, VIDEO, BODY)
        with pytest.raises(KeyTaken):
            await put_part(store, spool, VIDEO, BODY[::-1])

    run(scenario())


def test_an_object_says_what_it_is(store: S3Store, server: S3Server, spool: Spool) -> None:
    """A browser shown an object learns its type, and an operator its sha256, without reading it."""
    run(put_part(store, spool, VIDEO, BODY))
    client = boto(server)
    head = client.head_object(Bucket=BUCKET, Key=store.url.removeprefix(f"s3://{BUCKET}/") + "/" + VIDEO)
    client.close()
    assert head["ContentType"] == "video/mp4"
    assert head["Metadata"] == {"sha256": hashlib.sha256(BODY).hexdigest(), "bytes": str(len(BODY))}


def test_an_object_that_broke_off_counts_as_absent_and_is_replaced(
    store: S3Store, server: S3Server, spool: Spool
) -> None:
    """What a careless server kept of a killed upload is never taken for whole: it is not there, and makes way."""
    prefix = store.url.removeprefix(f"s3://{BUCKET}/") + "/"
    client = boto(server)
    note = {"sha256": hashlib.sha256(BODY).hexdigest(), "bytes": str(len(BODY))}
    client.put_object(Bucket=BUCKET, Key=prefix + VIDEO, Body=BODY[:1000], Metadata=note)
    client.close()

    async def scenario() -> None:
        assert await store.stat(VIDEO) is None
        for look in (store.read(VIDEO, 10**6), store.digest(VIDEO)):
            with pytest.raises(KeyError):
                await look
        assert await put_part(store, spool, VIDEO, BODY)
        assert await stands(store, VIDEO, BODY)

    run(scenario())


def test_a_mark_that_broke_off_is_nobodys(store: S3Store, server: S3Server) -> None:
    """A first run killed while it marked its place leaves no archive that cannot use it; another's mark stays."""
    where = {"Bucket": BUCKET, "Key": f"{store.url.removeprefix(f's3://{BUCKET}/')}/{OBJECT}"}
    client = boto(server)
    client.put_object(**where, Body=b"", Metadata={"bytes": "5"})

    async def scenario() -> None:
        assert await store.mark() is None
        await store.set_mark("mine")
        assert await store.mark() == "mine"
        await store.set_mark("yours")
        assert await store.mark() == "mine"

    run(scenario())
    client.put_object(**where, Body=b"")  # by hand, and no note of a size: not ours to judge
    assert run(store.mark()) == ""
    client.close()


def test_no_byte_is_read_twice_to_be_sent(store: S3Store, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small upload reads its file once: what signs it is known from the fetch."""
    read = 0
    pread = os.pread

    def counting(fd: int, n: int, offset: int) -> bytes:
        nonlocal read
        found = pread(fd, n, offset)
        read += len(found)
        return found

    monkeypatch.setattr(os, "pread", counting)
    run(put_part(store, spool, VIDEO, BODY))
    assert read == len(BODY)


@pytest.mark.parametrize(
    ("blind", "mode"),
    [((), Mode.CONDITIONAL), (("complete",), Mode.CONDITIONAL_SINGLE), (("put", "complete"), Mode.HEAD_THEN_PUT)],
    ids=["keeps-all", "forgets-at-the-end", "forgets-always"],
)
def test_a_store_that_replaces_silently_is_found_out(
    front: Front, server: S3Server, spool: Spool, blind: tuple[str, ...], mode: Mode
) -> None:
    """Whatever of If-None-Match a store ignores, the probe finds it, and then nothing is overwritten."""
    front.rule = lambda asked: "unconditional" if asked.act in blind else None
    for store in opened(front, server.url(), single_bytes_max=100_000):

        async def scenario(store: S3Store = store) -> None:
            found = await probe(store, now=1.0, token="t")
            assert found.mode is mode and found.lists_at_once and (found.warning is None) == (not blind)
            assert await store.names("") == []
            store.mode = found.mode
            for size in (10, 200_000):
                for other in (b"y" * size, b"y" * (size - 1)):
                    assert await put_part(store, spool, VIDEO, b"x" * size)
                    assert not await put_part(store, spool, VIDEO, b"x" * size)
                    with pytest.raises(KeyTaken):
                        await put_part(store, spool, VIDEO, other)
                    assert await stands(store, VIDEO, b"x" * size)
                    await store.delete(VIDEO)
                results = await race(store, spool, [bytes([n]) * size for n in range(4)])
                assert sorted(results, key=str) == [None] * 3 + [True]
                await store.delete(VIDEO)

        run(scenario())


def test_a_probe_that_is_refused_says_so(store: S3Store, front: Front) -> None:
    """A bucket that may not be written, or has no room, is told at start, before anything is paid for."""
    for spoil, error in (("denied", Misconfigured), ("no_room", StorageFull), ("error", StorageUnavailable)):
        front.times(1, spoil, "put")
        with pytest.raises(error):
            run(probe(store, now=1.0, token="t"))
    front.rule = lambda asked: "denied" if asked.act == "delete" else None
    found = run(probe(store, now=1.0, token="t"))
    assert found.mode is Mode.CONDITIONAL and "cannot be removed" in " ".join(found.problems)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "mode"), [("s3rver", Mode.HEAD_THEN_PUT), ("ceph", Mode.CONDITIONAL_SINGLE)])
def test_a_real_server_that_ignores_conditions_is_found_out(
    s3_servers: Servers, spool: Spool, name: str, mode: Mode
) -> None:
    """s3rver replaces silently, Ceph 16 at the end of a multipart: the probe tells, and nothing is overwritten."""
    server = s3_servers(name)
    store = S3Store(read_place(server.url()), Aws(Address(server.endpoint_url)), single_bytes_max=100_000)

    async def scenario() -> None:
        found = await probe(store, now=1.0, token="t")
        assert found.mode is mode and found.warning
        assert await store.names("") == []
        store.mode = found.mode
        for key, size in ((SIDECAR, 10), (VIDEO, 200_000)):
            assert await put_part(store, spool, key, b"x" * size)
            assert not await put_part(store, spool, key, b"x" * size)
            with pytest.raises(KeyTaken):
                await put_part(store, spool, key, b"y" * size)
            assert await stands(store, key, b"x" * size)
        await store.delete(VIDEO)
        results = await race(store, spool, [bytes([n]) * 200_000 for n in range(4)])
        assert sorted(results, key=str) == [None] * 3 + [True]
        await store.close()

    run(scenario())

"""What the tests of the stores share: the stores by name, and short ways to put and look."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import obstore.store

from clipledger.core.model import AwemeId, MediaType, ObjectKey
from clipledger.core.ports import KeyTaken, ObjectStore
from clipledger.storage.aws import Address, Aws
from clipledger.storage.cloud import CloudStore
from clipledger.storage.local import LocalStore
from clipledger.storage.memory import MemoryStore
from clipledger.storage.place import read_place
from clipledger.storage.probe import Mode
from clipledger.storage.s3 import S3Store
from clipledger.storage.spool import Spool, SpoolPart
from s3_servers import BUCKET, S3Server

T = TypeVar("T")

Servers = Callable[[str], S3Server]
"""Gives a running server by its name."""


def s3(name: str, mode: Mode = Mode.CONDITIONAL, **sizes: int) -> Callable[[Path, Servers], ObjectStore]:
    """Make a store on a server, in a place of its own."""

    def make(folder: Path, servers: Servers) -> ObjectStore:
        server = servers(name)
        store = S3Store(read_place(server.url()), Aws(Address(server.endpoint_url)), **sizes)
        store.mode = mode
        return store

    return make


def cloud_on_s3(folder: Path, servers: Servers) -> ObjectStore:
    """Make the store of gs: and az: on obstore's own way into S3: what can be had without their clouds."""
    server = servers("ministack")
    bucket = obstore.store.S3Store(
        BUCKET,
        config={"endpoint": server.endpoint_url, "region": "us-east-1", "copy_if_not_exists": "multipart"},
        client_options={"allow_http": True},
    )
    return CloudStore(read_place(server.url()), bucket, small_bytes_max=20_000)


MAKERS: dict[str, Callable[[Path, Servers], ObjectStore]] = {
    "local": lambda folder, _: LocalStore(folder / "archive"),
    "memory": lambda folder, _: MemoryStore(),
    "ministack": s3("ministack"),
    "ministack-in-pieces": s3("ministack", single_bytes_max=1),
    "ministack-looking": s3("ministack", Mode.HEAD_THEN_PUT, single_bytes_max=20_000),
    "moto": s3("moto"),
    "moto-looking-at-the-end": s3("moto", Mode.CONDITIONAL_SINGLE, single_bytes_max=1),
    "cloud-memory": lambda folder, _: CloudStore(read_place("gs://clips/a"), obstore.store.MemoryStore()),
    "cloud-s3": cloud_on_s3,
}
if os.environ.get("CLIPLEDGER_CEPH"):  # the whole suite takes a minute more there
    MAKERS["ceph"] = s3("ceph")
    MAKERS["ceph-looking-at-the-end"] = s3("ceph", Mode.CONDITIONAL_SINGLE, single_bytes_max=1)
VIDEO = ObjectKey("videos/dt=2026-05-29/author=alice123/7387261234567890123.mp4")
SIDECAR = ObjectKey("videos/dt=2026-05-29/author=alice123/7387261234567890123.json")
_numbers = itertools.count()


_runner = asyncio.Runner()


def run(scenario: Coroutine[Any, Any, T]) -> T:
    """Play a scenario on the loop of this process: a store's connections live on one loop."""
    return _runner.run(scenario)


@asynccontextmanager
async def sealed(spool: Spool, body: bytes) -> AsyncIterator[SpoolPart]:
    """Open a part that holds `body`, sealed."""
    async with spool.open(AwemeId("7387261234567890123"), 1, next(_numbers)) as part:
        part.write(body)
        await part.seal()
        yield part


async def put_part(store: ObjectStore, spool: Spool, key: str, body: bytes) -> bool:
    """Put `body` the way of a video."""
    async with sealed(spool, body) as part:
        return await store.put_part(ObjectKey(key), part, MediaType.MP4)


async def put(store: ObjectStore, key: str, body: bytes) -> bool:
    """Put `body` the way of a sidecar."""
    return await store.put_bytes(ObjectKey(key), body, MediaType.JSON)


async def keys(store: ObjectStore, prefix: str = "") -> list[str]:
    """Walk."""
    return [found.key async for found in store.walk(prefix)]


async def race(store: ObjectStore, spool: Spool, bodies: list[bytes]) -> list[bool | None]:
    """Put all bodies under one key at once: True created, False adopted, None refused."""
    results: list[bool | None] = []

    async def one(n: int, body: bytes) -> None:
        try:
            putting = put_part(store, spool, VIDEO, body) if n % 2 else put(store, VIDEO, body)
            results.append(await putting)
        except KeyTaken:
            results.append(None)

    async with asyncio.TaskGroup() as tasks:
        for n, body in enumerate(bodies):
            tasks.create_task(one(n, body))
    return results


def files_below(folder: Path) -> list[str]:
    """List everything but folders, relative."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


@contextmanager
def no_descriptor_leaks() -> Iterator[None]:
    """Fail when the block leaves a file open."""

    def count() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    _runner.get_loop()  # its own descriptors stay, whichever test is the first of its process
    before = count()
    yield
    assert count() <= before

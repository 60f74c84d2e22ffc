"""The promise of `ports.ReplacingStore`, which exports use, run against every store that makes it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from clipledger.core.model import MediaType, ObjectKey
from clipledger.core.ports import ReplacingStore
from clipledger.export.staging import sealed
from contract.stores import MAKERS, Servers, run

REPLACING = [name for name in MAKERS if name != "memory"]
KEY = ObjectKey("posts/dt=2026-05-29/part-0.parquet")


@pytest.mark.parametrize("name", REPLACING)
def test_a_part_takes_the_place_of_its_elder(name: str, tmp_path: Path, s3_servers: Servers) -> None:
    """What is put in the place of an object stands there whole, smaller or larger; the file it came from stays."""
    store: ReplacingStore = MAKERS[name](tmp_path, s3_servers)  # type: ignore[assignment]

    async def scenario() -> None:
        for body in (b"old" * 20_000, b"new", b"", b"larger" * 40_000, b"larger" * 40_000):
            path = tmp_path / "aside"
            path.write_bytes(body)
            await store.replace(KEY, sealed(path, KEY, "posts", 1, 0), MediaType.UNKNOWN)
            assert await store.read(KEY, 1 << 20) == body == path.read_bytes()
            assert await store.digest(KEY) == (len(body), hashlib.sha256(body).hexdigest())
            assert [found.key async for found in store.walk("posts/")] == [KEY]
        await store.close()

    run(scenario())

"""A process that stores posts and says so: started, traced and killed by the durability tests.

Run as `python archiving_child.py FOLDER FIRST COUNT WORKERS`. Prints a key once its put has returned. With
WORKERS 0 it puts one after the other and waits for a line on stdin after each.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from clipledger.core.model import AwemeId, MediaType, ObjectKey
from clipledger.storage.local import LocalStore
from clipledger.storage.spool import Spool


def video_key(n: int) -> ObjectKey:
    """Name the n-th video: three new folders for every fifth."""
    return ObjectKey(f"videos/dt={n // 10:04}/author=a{n // 5}/{n}.mp4")


def content(key: str) -> bytes:
    """Derive an object's bytes from its key: 0.1 to 400 KiB, so that a file tells what it should hold."""
    seed = hashlib.sha256(key.encode()).digest()
    return seed * (4 + seed[0] * 50 if key.endswith(".mp4") else 4 + seed[0])


def say(key: str) -> None:
    """Tell the parent in one write."""
    os.write(1, f"{key}\n".encode())


async def archive(store: LocalStore, spool: Spool, n: int) -> None:
    """Store one post: video, then sidecar."""
    key = video_key(n)
    async with spool.open(AwemeId(str(n)), os.getpid(), 0) as part:
        body = content(key)
        for start in range(0, len(body), 65536):
            part.write(body[start : start + 65536])
        await part.seal()
        await store.put_part(key, part, MediaType.MP4)
        say(key)
    sidecar = ObjectKey(key.replace(".mp4", ".json"))
    await store.put_bytes(sidecar, content(sidecar), MediaType.JSON)
    say(sidecar)


async def work(store: LocalStore, spool: Spool, numbers: Iterator[int], *, in_step: bool) -> None:
    """Store posts until the numbers run out."""
    for n in numbers:
        await archive(store, spool, n)
        if in_step:
            sys.stdin.readline()


async def main() -> None:
    """Store COUNT posts with WORKERS at a time."""
    folder, first, count, workers = Path(sys.argv[1]), *map(int, sys.argv[2:])
    store, spool = LocalStore(folder), Spool(folder / ".clipledger" / "spool")
    numbers = iter(range(first, first + count))
    async with asyncio.TaskGroup() as tasks:
        for _ in range(max(workers, 1)):
            tasks.create_task(work(store, spool, numbers, in_step=workers == 0))


if __name__ == "__main__":
    asyncio.run(main())

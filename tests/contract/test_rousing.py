"""The one question that a waiting run asks: is there anything to do? Whoever rests is roused by its answer alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipledger.db.database import Database
from clipledger.db.queue import Queue
from clipledger.db.sources import SourceIn, Sources
from clipledger.db.standing import calls_for_work
from contract.archives import NOW
from contract.queues import add, claim, with_queue


async def calls(db: Database, now: float) -> bool:
    return await db.read(lambda connection: calls_for_work(connection, now))


pytestmark = pytest.mark.usefixtures("backend")


def test_a_video_that_falls_due_calls(tmp_path: Path) -> None:
    """What is queued for later calls when its time has come, and no more once somebody has it."""

    async def act(queue: Queue, db: Database) -> None:
        assert not await calls(db, NOW)
        await add(queue, 1, now=NOW + 10)
        assert not await calls(db, NOW + 9)
        assert await calls(db, NOW + 10)
        await claim(queue, now=NOW + 10)
        assert not await calls(db, NOW + 11)

    with_queue(tmp_path, act)


def test_a_post_that_is_not_indexed_calls(tmp_path: Path) -> None:
    """A post whose sidecar stands calls until the index has it, whoever stored it."""

    async def act(queue: Queue, db: Database) -> None:
        await add(queue, 1)
        [job] = await claim(queue)
        await queue.mark_resolved(job, NOW, "author=a", "videos/dt=2026-05-28/author=a/1.mp4")  # type: ignore[arg-type]
        assert not await calls(db, NOW)
        await queue.mark_stored(job, NOW)
        assert await calls(db, NOW)

    with_queue(tmp_path, act)


def test_a_source_calls_when_it_is_due_and_nobody_reads_it(tmp_path: Path) -> None:
    """A list calls at its time, not while it is read, paused, or holds nothing but what was added by hand."""

    async def act(queue: Queue, db: Database) -> None:
        sources = Sources(db)
        await sources.register(SourceIn("hand", "hand", "", NOW))
        assert not await calls(db, NOW)
        await sources.register(SourceIn("@a", "user", "a", NOW))
        assert await calls(db, NOW)
        await sources.claim_due(NOW, 60.0, "w")
        assert not await calls(db, NOW + 1)
        assert await calls(db, NOW + 61), "its reader is gone"

    with_queue(tmp_path, act)

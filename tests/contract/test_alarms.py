"""Alarms about one video for many posts, on both databases."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from clipledger.core.errors import Reason
from clipledger.core.lifecycle import PARKED_S, PROBE_MIN_S, CallReason
from clipledger.core.model import Job, ObjectKey, State
from clipledger.db.alarms import ALLOWED, DISPROVED, RAISED, Alarms, standing
from clipledger.db.database import Database
from clipledger.db.queue import Queue
from contract.archives import NOW, vid
from contract.queues import add, claim, ended, with_queue

pytestmark = pytest.mark.usefixtures("backend")

SHA = "ab" * 32


async def served(queue: Queue, job: Job, sha256: str = SHA) -> None:
    """Note which bytes a job was served."""
    key = ObjectKey(f"videos/{job.aweme_id}.mp4")
    assert await queue.mark_resolved(job, NOW, "alice", key, video_sha256=sha256)


async def kept_back(queue: Queue, job: Job, now: float = NOW) -> None:
    """Park a job that was served what many others were."""
    said = ended(job, burn=False, due_at=now + PARKED_S, reason=Reason.SAME_BYTES, call_reason=CallReason.RECHECK)
    assert await queue.settle(said, now)


def test_everybody_who_was_served_some_bytes_is_counted_once(tmp_path: Path) -> None:
    """Each post counts as soon as its bytes are noted, stored or not, and no longer once it was served others."""

    async def act(queue: Queue, db: Database) -> None:
        alarms = Alarms(db)
        await add(queue, 1, 2, 3)
        jobs = await claim(queue, 3)
        assert await alarms.holders(SHA, 9) == 0
        for job in jobs:
            await served(queue, job)
        await served(queue, jobs[0])
        assert await alarms.holders(SHA, 9) == 3 and await alarms.holders(SHA, 2) == 2
        await served(queue, jobs[0], "cd" * 32)
        assert await alarms.holders(SHA, 9) == 2
        assert await alarms.served([job.aweme_id for job in jobs] + [vid(9)]) == [SHA, "cd" * 32]

    with_queue(tmp_path, act)


def test_many_downloads_ask_at_once_and_each_hears_of_its_own_bytes(tmp_path: Path) -> None:
    """Whether bytes are suspicious is asked for all downloads in one statement, and nobody gets another's answer."""

    async def act(queue: Queue, db: Database) -> None:
        alarms, shas = Alarms(db), [f"{nth:064x}" for nth in range(40)]
        await add(queue, *range(1, 5))
        for job, sha256 in zip(await claim(queue, 4), (shas[0], shas[0], shas[1], shas[2]), strict=True):
            await served(queue, job, sha256)
        await alarms.note(shas[2], ALLOWED, NOW, "a meme")
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(alarms.standing(sha256, 9)) for sha256 in (*shas, shas[0])]
        heard = [task.result() for task in asked]
        assert heard == [(None, 2), (None, 1), (ALLOWED, 0), *[(None, 0)] * 37, (None, 2)]

    with_queue(tmp_path, act)


def test_one_post_is_asked_again_for_all(tmp_path: Path) -> None:
    """While posts wait for an alarm one of them is due when its hour has come, and not another beside it."""

    async def act(queue: Queue, db: Database) -> None:
        alarms = Alarms(db)
        await add(queue, 1, 2, 3)
        for job in await claim(queue, 3):
            await served(queue, job)
            await kept_back(queue, job)
        await alarms.note(SHA, RAISED, NOW, "six of them")
        assert await alarms.probe(NOW + PROBE_MIN_S - 1) == 0
        assert await alarms.probe(NOW + PROBE_MIN_S) == 1 and await alarms.probe(NOW + PROBE_MIN_S + 60) == 0
        [job] = await claim(queue, 9, NOW + PROBE_MIN_S + 60)
        assert job.video_sha256 == SHA and job.call_reason == CallReason.RECHECK
        await kept_back(queue, job, NOW + PROBE_MIN_S + 60)
        assert await alarms.probe(NOW + PROBE_MIN_S + 120) == 0, "not before its next hour"
        [alarm] = await alarms.all()
        assert (alarm.state, alarm.archived, alarm.waiting, alarm.evidence) == (RAISED, 0, 3, "six of them")
        assert await db.read(standing) == 1

    with_queue(tmp_path, act)


def test_what_waits_is_due_once_the_bytes_are_accepted(tmp_path: Path) -> None:
    """Accepted bytes make due whoever waits for them, and nobody else; nobody is asked again for all any more."""

    async def act(queue: Queue, db: Database) -> None:
        alarms = Alarms(db)
        await add(queue, 1, 2, 3)
        one, two, other = await claim(queue, 3)
        for job in (one, two):
            await served(queue, job)
            await kept_back(queue, job)
        await queue.settle(ended(other, due_at=NOW + 5000), NOW)
        await alarms.note(SHA, RAISED, NOW, "x")
        await alarms.note(SHA, ALLOWED, NOW, "real copies")
        assert await alarms.probe(NOW + 86_400.0) == 0
        assert await alarms.release(SHA, NOW + 10) == 2
        assert {job.aweme_id for job in await claim(queue, 9, NOW + 10)} == {one.aweme_id, two.aweme_id}
        assert await db.read(standing) == 0 and await alarms.state(SHA) == ALLOWED
        assert await alarms.state("00" * 32) is None

    with_queue(tmp_path, act)


def test_posts_that_were_stored_with_a_placeholder_are_named(tmp_path: Path) -> None:
    """Once some bytes were found to stand in for others, the posts that are stored with them can be listed."""

    async def act(queue: Queue, db: Database) -> None:
        alarms = Alarms(db)
        await add(queue, 1, 2)
        one, two = await claim(queue, 2)
        await served(queue, one)
        await served(queue, two)
        assert await queue.mark_stored(one, NOW)
        await kept_back(queue, two)
        await alarms.note(SHA, RAISED, NOW, "x")
        assert await alarms.doubted() == []
        await alarms.note(SHA, DISPROVED, NOW, "a canary was served it")
        assert await alarms.doubted() == [one.aweme_id]
        row = await queue.row(two.aweme_id)
        assert row is not None and (row.state, row.attempts) == (State.PENDING, 0)

    with_queue(tmp_path, act)

"""The queue: what an attempt comes to, what no stale worker can do, and who is suspected."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from clipledger.core.errors import Reason
from clipledger.core.lifecycle import CallReason
from clipledger.core.model import ObjectKey, State
from clipledger.db.database import Database
from clipledger.db.queue import Queue
from contract.archives import NOW, commits, vid
from contract.queues import add, claim, ended, suspected, with_queue

pytestmark = pytest.mark.usefixtures("backend")

# Settled


def test_a_stale_worker_changes_nothing(tmp_path: Path) -> None:
    """A worker whose lease was lost can change nothing of the video any more, whatever it reports."""

    async def act(queue: Queue, _db: Database) -> None:
        await add(queue, 1)
        (old,) = await claim(queue)
        await queue.release_expired(NOW + 61, crashes_max=3)
        (new,) = await claim(queue, now=NOW + 61, worker="v")
        before = await queue.row(vid(1))
        assert not await queue.mark_resolved(old, NOW, "author=x", ObjectKey("x"), True)
        assert not await queue.mark_stored(old, NOW)
        assert not await queue.settle(ended(old), NOW)
        assert not await queue.settle(ended(old, state=State.DEAD), NOW)
        assert not await queue.settle(suspected(old), NOW)
        assert await queue.row(vid(1)) == before
        assert await queue.failures(9) == []
        assert await queue.mark_stored(new, NOW + 62)
        assert not await queue.mark_stored(new, NOW + 63)
        assert not await queue.settle(ended(new), NOW + 63)

    with_queue(tmp_path, act)


def test_settling_twice_at_once_counts_once(tmp_path: Path) -> None:
    """Of two reports on one attempt in the same commit the first stands and the second is refused."""

    async def act(queue: Queue, _db: Database) -> None:
        await add(queue, 1)
        (job,) = await claim(queue)
        async with asyncio.TaskGroup() as group:
            first = group.create_task(queue.settle(ended(job, burn=False), NOW))
            second = group.create_task(queue.settle(ended(job, burn=False), NOW))
        assert (first.result(), second.result()) == (True, False)
        row = await queue.row(vid(1))
        assert row is not None and row.attempts == 0

    with_queue(tmp_path, act)


def test_what_is_settled_together_is_told_apart(tmp_path: Path) -> None:
    """Among many reports in one commit each worker learns whether its own lease still held."""

    async def act(queue: Queue, _db: Database) -> None:
        await add(queue, *range(40))
        jobs = await claim(queue, 40)
        stale = [replace(job, token=job.token + n % 2) for n, job in enumerate(jobs)]
        with commits() as seen:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(queue.mark_stored(job, NOW)) for job in stale]
        assert [task.result() for task in tasks] == [n % 2 == 0 for n in range(40)]
        assert len(seen) == 1
        assert (await queue.counts())[State.STORED] == 20

    with_queue(tmp_path, act)


def test_key_and_author_are_fixed_by_the_first_resolve(tmp_path: Path) -> None:
    """A retry, another day or a renamed handle meets the same key."""

    async def act(queue: Queue, _db: Database) -> None:
        await add(queue, 1)
        (job,) = await claim(queue)
        await queue.mark_resolved(job, NOW + 1, "author=old", ObjectKey("old"), thin=True)
        await queue.mark_resolved(job, NOW + 9, "author=new", ObjectKey("new"), thin=False)
        row = await queue.row(vid(1))
        assert row is not None
        assert (row.resolved_at, row.author_part, row.storage_key, row.thin) == (NOW + 1, "author=old", "old", False)
        await queue.mark_resolved(job, NOW + 9, "author=new", ObjectKey("new"), anew=True)
        row = await queue.row(vid(1))
        assert row is not None and (row.author_part, row.storage_key) == ("author=old", "new"), "nothing stood there"

    with_queue(tmp_path, act)


def test_a_verdict_is_written_as_given(tmp_path: Path) -> None:
    """A retry waits until its time with its reason; a shutdown gives the attempt back."""

    async def act(queue: Queue, _db: Database) -> None:
        await add(queue, 1, 2)
        one, other = await claim(queue, 2)
        await queue.settle(ended(one, detail="x" * 900), NOW)
        await queue.settle(ended(other, burn=False, reason=Reason.SHUTDOWN, due_at=NOW), NOW)
        rows = [await queue.row(one.aweme_id), await queue.row(other.aweme_id)]
        assert [(r.attempts, r.due_at, r.last_reason, r.lease_until, r.worker) for r in rows if r] == [
            (1, NOW + 100, Reason.TRUNCATED, None, None),
            (0, NOW, Reason.SHUTDOWN, None, None),
        ]
        assert rows[0] is not None and rows[0].last_detail == "x" * 500
        assert [row.aweme_id for row in await queue.waiting(1)] == [other.aweme_id]

    with_queue(tmp_path, act)


def test_the_dead_have_their_letter(tmp_path: Path) -> None:
    """A dead video has its dead letter from the very moment it is dead."""

    async def act(queue: Queue, _db: Database) -> None:
        await add(queue, 1)
        (job,) = await claim(queue)
        with commits() as seen:
            assert await queue.settle(ended(job, state=State.DEAD), NOW + 5)
        assert len(seen) == 1
        (letter,) = await queue.failures(9)
        assert (letter.aweme_id, letter.reason, letter.detail, letter.attempts) == (
            vid(1),
            "truncated_body",
            "short",
            1,
        )
        assert (letter.died_at, letter.source) == (NOW + 5, "hand")
        row = await queue.row(vid(1))
        assert row is not None and (row.state, row.settled_at) == (State.DEAD, NOW + 5)
        assert await queue.failures(9, Reason.NOT_FOUND) == []
        assert len(await queue.failures(9, Reason.TRUNCATED)) == 1

    with_queue(tmp_path, act)


def test_a_stored_video_without_sidecar_goes_back(tmp_path: Path) -> None:
    """A video that was reported stored and has no sidecar is captured again."""

    async def act(queue: Queue, _db: Database) -> None:
        await add(queue, 1)
        (job,) = await claim(queue)
        assert not await queue.unstore(vid(1), "gone", NOW)
        await queue.mark_stored(job, NOW)
        assert await queue.unstore(vid(1), "gone", NOW + 1)
        (again,) = await claim(queue, now=NOW + 1)
        assert again.call_reason == CallReason.RETRY

    with_queue(tmp_path, act)


# Suspected


def test_a_suspect_waits_for_its_verdict(tmp_path: Path) -> None:
    """A video said to be gone is neither dead nor captured again until the window has spoken."""

    async def act(queue: Queue, _db: Database) -> None:
        await add(queue, 1, 2)
        for job in await claim(queue, 2):
            await queue.settle(suspected(job), NOW + 5 + job.token)
        assert await queue.suspect_count() == 2
        assert [s.reason for s in await queue.suspects(9)] == [Reason.NOT_FOUND] * 2
        assert await claim(queue, 9, NOW + 10**6) == []
        assert (await queue.counts())[State.PENDING] == 2
        assert await queue.next_due_at() is None
        assert await queue.due_count(NOW + 10**6, 9) == 0
        row = await queue.row(vid(1))
        assert row is not None and (row.attempts, row.not_founds, row.first_not_found_at) == (0, 0, None)

    with_queue(tmp_path, act)


def test_old_suspicions_are_confirmed_and_young_ones_wait(tmp_path: Path) -> None:
    """Only suspicions that later healthy answers vouch for become deaths, each with its letter."""

    async def act(queue: Queue, _db: Database) -> None:
        await add(queue, 1, 2)
        newer, older = await claim(queue, 2)
        await queue.settle(suspected(older), NOW + 1)
        await queue.settle(suspected(newer), NOW + 9)
        assert await queue.confirm_suspects(NOW + 5, NOW + 20) == 1
        assert await queue.confirm_suspects(NOW + 5, NOW + 20) == 0
        (letter,) = await queue.failures(9)
        assert (letter.aweme_id, letter.reason, letter.attempts) == (older.aweme_id, Reason.NOT_FOUND, 1)
        row = await queue.row(older.aweme_id)
        assert row is not None
        assert (row.state, row.suspect_at, row.suspect_reason, row.last_reason) == (State.DEAD, None, None, "not_found")
        assert row.attempts == 1
        assert await queue.suspect_count() == 1

    with_queue(tmp_path, act)


def test_an_acquitted_video_is_tried_again(tmp_path: Path) -> None:
    """After an outage every suspect is pending again; only counted acquittals are held against it."""

    async def act(queue: Queue, _db: Database) -> None:
        await add(queue, 1)
        (job,) = await claim(queue)
        await queue.settle(suspected(job), NOW + 1)
        assert await queue.acquit_suspects(NOW + 2, NOW + 30, Reason.OUTAGE) == 1
        row = await queue.row(vid(1))
        assert row is not None
        assert (row.due_at, row.last_reason, row.not_founds, row.first_not_found_at) == (NOW + 30, "outage", 0, None)
        for round_ in (1, 2):
            (job,) = await claim(queue, now=NOW + 100 * round_)
            assert (job.not_founds, job.call_reason) == (round_ - 1, CallReason.RECHECK)
            await queue.settle(suspected(job), NOW + 100 * round_)
            await queue.acquit_suspects(NOW + 100 * round_, NOW, count=True)
        row = await queue.row(vid(1))
        assert row is not None
        assert (row.not_founds, row.first_not_found_at, row.suspect_at) == (2, NOW + 100, None)
        assert row.last_reason == Reason.NOT_FOUND

    with_queue(tmp_path, act)


@pytest.mark.slow
def test_many_suspects_go_in_bounded_steps(tmp_path: Path) -> None:
    """A great outage's suspects are settled completely, in transactions of bounded size."""

    async def act(queue: Queue, _db: Database) -> None:
        await add(queue, *range(1201))
        async with asyncio.TaskGroup() as group:
            for job in await claim(queue, 1201):
                group.create_task(queue.settle(suspected(job), NOW))
        with commits() as seen:
            assert await queue.acquit_suspects(NOW, NOW) == 1201
        assert len(seen) == 3
        async with asyncio.TaskGroup() as group:
            for job in await claim(queue, 1201):
                group.create_task(queue.settle(suspected(job), NOW))
        assert await queue.confirm_suspects(NOW, NOW) == 1201
        assert (await queue.counts())[State.DEAD] == 1201

    with_queue(tmp_path, act)

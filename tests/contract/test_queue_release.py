"""The queue: what is put back, by sweeps and by the operator, and how it is looked at."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from clipledger.core.errors import Reason
from clipledger.core.lifecycle import CallReason
from clipledger.core.model import AwemeId, ObjectKey, State
from clipledger.db.credits import CallOutcome, Credits
from clipledger.db.database import Database
from clipledger.db.queue import Queue
from clipledger.db.sources import SourceIn, Sources
from contract.archives import NOW, call_of, is_postgres, vid
from contract.queues import add, claim, ended, numbers, suspected, with_queue

pytestmark = pytest.mark.usefixtures("backend")

# Put back


def test_the_videos_of_a_dead_worker_are_given_back(tmp_path: Path) -> None:
    """A worker that vanished loses its videos when their leases run out; that a call was made is remembered."""

    async def act(queue: Queue, db: Database) -> None:
        credits = Credits(db)
        await add(queue, 1, 2, 3)
        paid, unpaid, refused = await claim(queue, 3)
        await credits.intend(call_of(paid), NOW)
        await credits.settle(await credits.intend(call_of(refused), NOW), CallOutcome.REFUSED, 0, NOW)
        assert await queue.release_expired(NOW + 60, 3) == await queue.release_expired(NOW, 3)
        released = await queue.release_expired(NOW + 60.001, 3)
        assert (released.given_back, released.dead) == (3, 0)
        rows = {job.aweme_id: await queue.row(job.aweme_id) for job in (paid, unpaid, refused)}
        assert [(r.state, r.crashes, r.attempts, r.due_at, r.call_reason) for r in rows.values() if r] == [
            (State.PENDING, 1, 1, NOW + 60.001, CallReason.CRASH),
            (State.PENDING, 1, 1, NOW + 60.001, CallReason.FIRST),
            (State.PENDING, 1, 1, NOW + 60.001, CallReason.CRASH),
        ]
        totals = {total.outcome: total.credits for total in await credits.totals()}
        assert totals == {CallOutcome.UNKNOWN: 1, CallOutcome.REFUSED: 0}

    with_queue(tmp_path, act)


def test_only_a_resolve_of_the_lost_attempt_counts_as_paid(tmp_path: Path) -> None:
    """A worker that died before it bought anything leaves the reason of the next resolve as it was."""

    async def act(queue: Queue, db: Database) -> None:
        credits = Credits(db)
        await add(queue, 1)
        (first,) = await claim(queue)
        await credits.settle(await credits.intend(call_of(first), NOW), CallOutcome.OK, 1, NOW)
        await queue.settle(ended(first, due_at=NOW), NOW)
        await claim(queue)
        await queue.release_expired(NOW + 61, 3)
        row = await queue.row(vid(1))
        assert row is not None and row.call_reason == CallReason.RETRY

    with_queue(tmp_path, act)


def test_a_video_that_kills_three_workers_is_dead(tmp_path: Path) -> None:
    """A video that took three workers down with it is not handed to a fourth."""

    async def act(queue: Queue, _db: Database) -> None:
        await add(queue, 1)
        for crash in (1, 2, 3):
            now = NOW + 100 * crash
            assert len(await queue.claim(1, now, 60, "w", alone=crash == 3)) == 1
            released = await queue.release_expired(now + 61, crashes_max=3)
            assert (released.given_back, released.dead) == ((1, 0) if crash < 3 else (0, 1))
        (letter,) = await queue.failures(9)
        assert (letter.reason, letter.attempts) == (Reason.WORKER_KILLED, 3)
        assert "3 times" in letter.detail
        assert await queue.retry(Reason.WORKER_KILLED, NOW + 900) == 1
        (job,) = await claim(queue, now=NOW + 900)
        assert job.attempts == 1, "put back as if never tried"

    with_queue(tmp_path, act)


def test_a_suspicious_video_is_tried_alone(tmp_path: Path) -> None:
    """A video that was under way when two workers died is handed out only to a worker with nothing else to lose."""

    async def act(queue: Queue, _db: Database) -> None:
        await add(queue, 1)
        for _ in range(2):
            await claim(queue, 9)
            await queue.release_expired(NOW + 61, crashes_max=3)
            await queue.retry([vid(1)], NOW)
        await add(queue, 2)
        assert numbers(await claim(queue, 9, NOW + 61)) == [2]
        assert numbers(await queue.claim(9, NOW + 61, 60, "v", alone=True)) == [1]

    with_queue(tmp_path, act)


def test_old_dead_letters_lose_only_their_detail(tmp_path: Path) -> None:
    """After a long time a dead letter is one line: id, reason and date stay for ever."""

    async def act(queue: Queue, _db: Database) -> None:
        await add(queue, 1, 2)
        for now, job in zip((NOW, NOW + 50), await claim(queue, 2), strict=True):
            await queue.settle(ended(job, state=State.DEAD), now)
        assert await queue.summarise_letters(NOW + 50, NOW + 99) == 1
        assert await queue.summarise_letters(NOW + 50, NOW + 99) == 0
        old, young = await queue.letter(vid(2)), await queue.letter(vid(1))
        assert old is not None and young is not None
        assert (old.detail, old.reason, old.died_at, old.summarised_at) == ("", Reason.TRUNCATED, NOW, NOW + 99)
        assert (young.detail, young.summarised_at) == ("short", None)
        assert await queue.letter(vid(3)) is None

    with_queue(tmp_path, act)


def test_a_sweep_is_bounded(tmp_path: Path) -> None:
    """A sweep for lost leases takes no more than it was told to, the oldest first."""

    async def act(queue: Queue, _db: Database) -> None:
        await add(queue, *range(7))
        await claim(queue, 3)
        await claim(queue, 4, NOW + 5)
        assert (await queue.release_expired(NOW + 99, 3, limit=3)).given_back == 3
        assert [row.added_at for row in [await queue.row(vid(6))] if row and row.state == State.PENDING] == [NOW]
        assert (await queue.counts())[State.RUNNING] == 4

    with_queue(tmp_path, act)


def test_a_worker_known_to_be_dead_gives_everything_back(tmp_path: Path) -> None:
    """When a worker is known to have died its videos, its sources and its open calls are freed at once."""

    async def act(queue: Queue, db: Database) -> None:
        sources, credits = Sources(db), Credits(db)
        await sources.register(SourceIn("@a", "user", "a", NOW))
        listing = await sources.claim_due(NOW, 600, "w")
        assert listing is not None
        await add(queue, 1, 2)
        mine, others = await claim(queue), await claim(queue, worker="v")
        await credits.intend(call_of(mine[0], "w"), NOW)
        await credits.intend(replace(call_of(mine[0], "w"), endpoint="/user-posts/", aweme_id=None), NOW)
        await credits.intend(call_of(others[0], "v"), NOW)
        released = await queue.release_worker("w", NOW + 1, 3)
        assert (released.given_back, released.dead) == (1, 0)
        assert await queue.renew(others, NOW, 60) == set()
        open_calls = {(t.endpoint, t.outcome) for t in await credits.totals()}
        assert open_calls == {("/post-detail/", "unknown"), ("/user-posts/", "unknown"), ("/post-detail/", "sent")}
        again = await sources.claim_due(NOW + 1, 60, "v")
        assert again is not None and again.token == 2
        (job,) = await claim(queue, now=NOW + 1)
        assert job.call_reason == CallReason.CRASH

    with_queue(tmp_path, act)


def test_a_dead_worker_of_any_size_is_emptied(tmp_path: Path) -> None:
    """However many videos a dead worker held, all of them are freed."""

    async def act(queue: Queue, _db: Database) -> None:
        await add(queue, *range(1001))
        assert len(await claim(queue, 1001)) == 1001
        assert (await queue.release_worker("w", NOW, 3)).given_back == 1001

    with_queue(tmp_path, act)


def test_a_worker_that_stops_burns_nothing(tmp_path: Path) -> None:
    """A shutdown gives every video back with its attempt, and calls it no crash."""

    async def act(queue: Queue, db: Database) -> None:
        await add(queue, 1, 2)
        one, _other = await claim(queue, 2)
        await Credits(db).intend(call_of(one), NOW)
        assert await queue.give_back("w", NOW + 1) == 2
        assert await queue.give_back("w", NOW + 1) == 0
        jobs = await claim(queue, 2, NOW + 1)
        assert [(j.attempts, j.call_reason) for j in jobs] == [(1, CallReason.INTERRUPTED), (1, CallReason.FIRST)]
        row = await queue.row(vid(1))
        assert row is not None and (row.crashes, row.last_reason) == (0, Reason.SHUTDOWN)

    with_queue(tmp_path, act)


async def _one_of_each(queue: Queue) -> dict[str, AwemeId]:
    """Make a dead, a waiting, a suspect, a due, a running and a stored video."""
    await add(queue, *range(6))
    jobs = await claim(queue, 5)
    await queue.settle(ended(jobs[0], state=State.DEAD), NOW)
    await queue.settle(ended(jobs[1], reason=Reason.NOT_MEDIA), NOW)
    await queue.settle(suspected(jobs[2]), NOW)
    await queue.mark_stored(jobs[3], NOW)
    names = ("dead", "waiting", "suspect", "stored", "running")
    return {name: job.aweme_id for name, job in zip(names, jobs, strict=True)} | {"due": vid(0)}


def test_retry_makes_the_failed_and_the_waiting_due(tmp_path: Path) -> None:
    """`retry` puts the dead back as if never tried and ends every wait; running and stored videos stay."""

    async def act(queue: Queue, _db: Database) -> None:
        ids = await _one_of_each(queue)
        assert await queue.retry(None, NOW + 1) == 3
        assert await queue.retry(None, NOW + 1) == 0
        assert await queue.failures(9) == []
        assert await queue.suspect_count() == 0
        rows = {name: await queue.row(aweme_id) for name, aweme_id in ids.items()}
        told = {name: (row.state, row.attempts, row.due_at, row.call_reason) for name, row in rows.items() if row}
        assert told == {
            "dead": (State.PENDING, 0, NOW + 1, CallReason.OPERATOR),
            "waiting": (State.PENDING, 1, NOW + 1, CallReason.RETRY),
            "suspect": (State.PENDING, 0, NOW + 1, CallReason.RECHECK),
            "due": (State.PENDING, 0, NOW, CallReason.FIRST),
            "running": (State.RUNNING, 1, NOW, CallReason.FIRST),
            "stored": (State.STORED, 1, NOW, CallReason.FIRST),
        }
        assert rows["dead"] is not None and rows["dead"].settled_at is None

    with_queue(tmp_path, act)


def test_retry_takes_ids_or_a_reason(tmp_path: Path) -> None:
    """`retry ID...` touches those ids alone, `retry --reason R` those that failed for it."""

    async def act(queue: Queue, _db: Database) -> None:
        ids = await _one_of_each(queue)
        assert await queue.retry([ids["due"], ids["running"], ids["stored"], AwemeId("404")], NOW + 1) == 0
        assert await queue.retry(Reason.NOT_MEDIA, NOW + 1) == 1
        assert await queue.retry([ids["dead"]], NOW + 1) == 1
        assert await queue.retry([], NOW + 1) == 0
        assert await queue.suspect_count() == 1

    with_queue(tmp_path, act)


def test_retry_reaches_every_row(tmp_path: Path) -> None:
    """`retry` without a limit of its own misses none of thousands."""

    async def act(queue: Queue, _db: Database) -> None:
        await add(queue, *range(1300), now=NOW + 50)
        assert await queue.retry(None, NOW) == 1300
        assert await queue.due_count(NOW, 5000) == 1300

    with_queue(tmp_path, act)


# Looked at


def test_the_backlog_counts_what_is_freshly_due(tmp_path: Path) -> None:
    """The backlog counts what fell due within the window, over all priorities, up to a cap."""

    async def act(queue: Queue, _db: Database) -> None:
        await add(queue, 1, 2, now=NOW)
        await add(queue, 3, now=NOW - 30, priority=2)
        await add(queue, 4, now=NOW - 90)
        await add(queue, 5, now=NOW + 1, priority=1)
        assert await queue.backlog(NOW, 60, 100) == 3
        assert await queue.backlog(NOW, 60, 2) == 2
        assert await queue.due_count(NOW, 100) == 4
        assert await queue.next_due_at() == NOW - 90

    with_queue(tmp_path, act)


def test_latency_runs_from_discovery_to_resolve(tmp_path: Path) -> None:
    """Latency is the time from first sight of a video to its first answered resolve."""

    async def act(queue: Queue, db: Database) -> None:
        credits = Credits(db)
        await add(queue, 1, 2)
        for delay, job in zip((7, 9), await claim(queue, 2), strict=True):
            seq = await credits.intend(call_of(job), NOW)
            await credits.settle(seq, CallOutcome.OK, 1, NOW + delay)
            await queue.mark_resolved(job, NOW + delay, "author=a", ObjectKey("k"))
        assert sorted(await queue.latencies()) == [7, 9]
        assert await queue.latencies(limit=1) == [9]

    with_queue(tmp_path, act)


@pytest.mark.slow
def test_a_long_queue_is_claimed_as_quickly_as_a_short_one(tmp_path: Path) -> None:
    """Many waiting videos of which few are due make a claim no slower: it never walks past what is not due."""
    half = 10_000 if is_postgres() else 100_000  # the benchmarks say how it fares with millions

    async def quickest_claim(queue: Queue) -> float:
        loop, spans = asyncio.get_running_loop(), []
        for _ in range(5):
            began = loop.time()
            assert len(await claim(queue, 30)) == 30
            spans.append(loop.time() - began)
        return min(spans)

    async def act(queue: Queue, _db: Database) -> None:
        await add(queue, *range(200_000, 200_150), priority=3)
        short = await quickest_claim(queue)
        await queue.add_by_hand([(vid(n), None) for n in range(half)], "hand", 0, NOW + 3600)
        await queue.add_by_hand([(vid(n), None) for n in range(half, 2 * half)], "hand", 5, NOW + 3600)
        await add(queue, *range(200_150, 200_300), priority=3)
        assert await quickest_claim(queue) < 10 * short  # walking through them all takes a hundred times as long

    with_queue(tmp_path, act)

"""The queue: how ids come in, are handed out, settled and put back, and what no stale worker can do."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import event

from clipledger.core.errors import Reason
from clipledger.core.lifecycle import CallReason, Settlement
from clipledger.core.model import AwemeId, Job, ObjectKey, State
from clipledger.db.credits import CallOutcome, Credits
from clipledger.db.database import Database
from clipledger.db.intake import AddedOut
from clipledger.db.queue import Queue
from clipledger.db.sources import SourceIn, Sources
from contract.archives import NOW, call_of, commits, in_archive, page_of, post, vid

Act = Callable[[Queue, Database], Awaitable[None]]


def with_queue(folder: Path, act: Act) -> None:
    """Run `act` on the queue of a new archive."""
    in_archive(folder, lambda db: act(Queue(db), db))


async def _add(queue: Queue, *numbers: int, now: float = NOW, priority: int = 0) -> None:
    await queue.add_by_hand([(vid(n), None) for n in numbers], "hand", priority, now)


async def _claim(queue: Queue, n: int = 1, now: float = NOW, worker: str = "w") -> list[Job]:
    return await queue.claim(n, now, 60.0, worker)


def _ended(job: Job, **change: object) -> Settlement:
    plain = Settlement(
        job.aweme_id, job.token, State.PENDING, NOW + 100, True, Reason.TRUNCATED, "short", CallReason.RETRY
    )
    return replace(plain, **change)  # type: ignore[arg-type]


def _suspected(job: Job) -> Settlement:
    return _ended(job, burn=False, suspect=True, reason=Reason.NOT_FOUND, call_reason=CallReason.RECHECK)


def _numbers(jobs: list[Job]) -> list[int]:
    return [int(job.aweme_id) - int(vid(0)) for job in jobs]


def _all_rows(folder: Path, sql: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(folder / "clipledger.db")
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


# Coming in


def test_an_id_is_queued_once(tmp_path: Path) -> None:
    """However many sources show a video, it is queued once, and every source is remembered."""

    async def act(queue: Queue, db: Database) -> None:
        await Sources(db).register_all([SourceIn(name, "user", name[1:], NOW) for name in ("@a", "@b")])
        first = await queue.add_page(page_of([post(1), post(2)], source="@a"))
        second = await queue.add_page(page_of([post(2), post(3), post(3)], source="@b", now=NOW + 5))
        assert (first.new, first.known, second.new, second.known) == (2, 0, 1, 1)
        row = await queue.row(vid(2))
        assert row is not None
        assert (row.source, row.added_at, row.state) == ("@a", NOW, State.PENDING)

    with_queue(tmp_path, act)
    seen = _all_rows(tmp_path, "SELECT source, substr(aweme_id, -1) FROM sightings ORDER BY 1, 2")
    assert seen == [("@a", "1"), ("@a", "2"), ("@b", "2"), ("@b", "3")]


def test_a_sighting_keeps_its_first_time(tmp_path: Path) -> None:
    """A source's sighting of a video keeps the time it was first made and moves the last one."""

    async def act(queue: Queue, _db: Database) -> None:
        await queue.add_page(page_of([post(1)]))
        await queue.add_page(page_of([post(1, pinned=True, is_ad=True)], now=NOW + 60))

    with_queue(tmp_path, act)
    assert _all_rows(tmp_path, "SELECT seen_at, last_seen_at, pinned, is_ad FROM sightings") == [
        ("2026-05-28T20:26:40.000Z", "2026-05-28T20:27:40.000Z", 1, 1)
    ]


def test_counters_of_a_list_are_kept(tmp_path: Path) -> None:
    """Each list that shows counters adds a point to a video's history; a silent one adds none."""

    async def act(queue: Queue, _db: Database) -> None:
        await queue.add_page(page_of([post(1, 10, None, 3), post(2), post(1, 99)]))
        await queue.add_page(page_of([post(1, 11)], now=NOW + 60))

    with_queue(tmp_path, act)
    history = "SELECT substr(aweme_id, -1), feed, play_count, digg_count, comment_count FROM post_metrics_history"
    assert _all_rows(tmp_path, history + " ORDER BY observed_at") == [
        ("1", "list", 10, None, 3),
        ("1", "list", 11, None, None),
    ]


def test_a_page_moves_its_source_on(tmp_path: Path) -> None:
    """A page's ids and the cursor behind them are saved together."""

    async def act(queue: Queue, db: Database) -> None:
        sources = Sources(db)
        await sources.register(SourceIn("@a", "user", "a", NOW))
        job = await sources.claim_due(NOW, 60, "w")
        assert job is not None
        await sources.begin_pass(job, NOW)
        with commits() as seen:
            out = await queue.add_page(
                page_of([post(1)], token=job.token, following="30", lease_until=NOW + 90, bad_items=2)
            )
        assert len(seen) == 1 and not out.lease_lost
        (row,) = await sources.all()
        assert (row.cursor, row.cursor_at, row.pass_pages, row.pass_new, row.bad_items) == ("30", NOW, 1, 1, 2)
        assert (row.lease_until, row.next_at, row.pass_end) == (NOW + 90, NOW + 60, None)
        await queue.add_page(page_of([], token=job.token, used="30", end="end", lease_until=NOW + 90))
        (row,) = await sources.all()
        assert (row.cursor, row.pass_end, row.lease_until) == (None, "end", None)

    with_queue(tmp_path, act)


def test_a_circle_of_cursors_is_told(tmp_path: Path) -> None:
    """A list whose cursors go in a circle is noticed when it would ask for the same page again."""

    async def act(queue: Queue, db: Database) -> None:
        sources = Sources(db)
        await sources.register(SourceIn("@a", "user", "a", NOW))
        job = await sources.claim_due(NOW, 60, "w")
        assert job is not None
        ends = []
        for used, following in ((None, "30"), ("30", "60"), ("60", "30")):
            out = await queue.add_page(page_of([], token=job.token, used=used, following=following))
            assert out.progress is not None
            ends.append(out.progress.pass_end)
        assert ends == [None, None, "loop"]
        await sources.begin_pass(job, NOW)
        out = await queue.add_page(page_of([], token=job.token, following="30"))
        assert out.progress is not None and out.progress.pass_end is None

    with_queue(tmp_path, act)


def test_a_late_page_keeps_its_ids_and_not_its_cursor(tmp_path: Path) -> None:
    """A page that comes after its lease was lost still adds its ids, which were paid for, and moves no cursor."""

    async def act(queue: Queue, db: Database) -> None:
        sources = Sources(db)
        await sources.register(SourceIn("@a", "user", "a", NOW))
        old = await sources.claim_due(NOW, 60, "w")
        new = await sources.claim_due(NOW + 61, 60, "v")
        assert old is not None and new is not None
        out = await queue.add_page(page_of([post(1)], token=old.token, following="30"))
        assert (out.new, out.lease_lost, out.progress) == (1, True, None)
        (row,) = await sources.all()
        assert (row.cursor, row.pass_pages, row.worker) == (None, 0, "v")

    with_queue(tmp_path, act)


def test_a_page_that_cannot_be_decided_leaves_nothing(tmp_path: Path) -> None:
    """A page is saved whole or not at all."""

    def broken(_new: int, _seen: bool) -> object:
        raise ZeroDivisionError

    async def act(queue: Queue, db: Database) -> None:
        await Sources(db).register(SourceIn("@a", "user", "a", NOW))
        job = await Sources(db).claim_due(NOW, 60, "w")
        assert job is not None
        with pytest.raises(ZeroDivisionError):
            await queue.add_page(replace(page_of([post(1, 5)], token=job.token), decide=broken))  # type: ignore[arg-type]
        assert await queue.row(vid(1)) is None

    with_queue(tmp_path, act)
    assert _all_rows(tmp_path, "SELECT * FROM sightings UNION ALL SELECT 1,1,1,1,1,1 FROM post_metrics_history") == []


def test_the_list_item_is_kept_only_on_request(tmp_path: Path) -> None:
    """A list item rides along with its video only when the operator captures lean."""

    async def act(queue: Queue, _db: Database) -> None:
        await queue.add_page(page_of([post(1, reply={"title": "x"})], keep_hint=True, priority=3))
        await queue.add_page(page_of([post(2, reply={"title": "y"})]))
        rows = [await queue.row(vid(1)), await queue.row(vid(2))]
        assert [(row.hint, row.priority) for row in rows if row] == [({"title": "x"}, 3), (None, 0)]
        (job,) = await _claim(queue)
        assert job.hint == {"title": "x"}

    with_queue(tmp_path, act)
    assert _all_rows(tmp_path, "SELECT count(*) FROM archive_queue WHERE hint IS NULL") == [(1,)]


def test_ids_by_hand_are_counted_once(tmp_path: Path) -> None:
    """Of ids added by hand each distinct one counts once, as new or as known, with its first spelling."""

    async def act(queue: Queue, _db: Database) -> None:
        await _add(queue, 1)
        asked = [(vid(1), "u1"), (vid(2), "first"), (vid(2), "second"), (vid(3), None)]
        assert await queue.add_by_hand(asked, "hand", 5, NOW) == AddedOut(new=2, known=1)
        assert await queue.add_by_hand([], "hand", 5, NOW) == AddedOut(new=0, known=0)
        rows = [await queue.row(vid(n)) for n in (1, 2, 3)]
        assert [(row.asked_url, row.priority) for row in rows if row] == [(None, 0), ("first", 5), (None, 5)]

    with_queue(tmp_path, act)


# Handed out


def test_the_freshest_is_handed_out_first(tmp_path: Path) -> None:
    """What fell due last is captured first; of videos found together, the newest post first."""

    async def act(queue: Queue, _db: Database) -> None:
        await _add(queue, 5, now=NOW)
        await _add(queue, 1, 3, 2, now=NOW + 10)
        await _add(queue, 4, now=NOW + 99)
        assert _numbers(await _claim(queue, 9, NOW + 20)) == [3, 2, 1, 5]

    with_queue(tmp_path, act)


def test_priority_comes_before_freshness(tmp_path: Path) -> None:
    """A video of higher priority is captured before any fresher one of lower priority."""

    async def act(queue: Queue, _db: Database) -> None:
        await _add(queue, 1, now=NOW, priority=10)
        await _add(queue, 2, 3, now=NOW + 5)
        await _add(queue, 4, now=NOW + 1, priority=-(2**31))
        await _add(queue, 5, now=NOW, priority=2**31 - 1)
        assert _numbers(await _claim(queue, 2, NOW + 9)) == [5, 1]
        assert _numbers(await _claim(queue, 9, NOW + 9)) == [3, 2, 4]

    with_queue(tmp_path, act)


def test_a_claim_holds_what_the_attempt_needs(tmp_path: Path) -> None:
    """Each claim counts an attempt, raises the token, and carries what earlier attempts fixed."""

    async def act(queue: Queue, _db: Database) -> None:
        await queue.add_by_hand([(vid(1), "https://x/1")], "hand", 0, NOW)
        (first,) = await _claim(queue)
        assert first == Job(vid(1), 1, "hand", 1, NOW, "2026-05-28", CallReason.FIRST, asked_url="https://x/1")
        assert await _claim(queue) == []
        assert await queue.mark_resolved(first, NOW + 2, "author=a", ObjectKey("videos/k.mp4"))
        assert await queue.settle(_ended(first), NOW + 3)
        assert await _claim(queue, now=NOW + 99) == []
        (second,) = await _claim(queue, now=NOW + 100)
        assert (second.token, second.attempts, second.call_reason) == (2, 2, CallReason.RETRY)
        assert (second.author_part, second.storage_key) == ("author=a", "videos/k.mp4")

    with_queue(tmp_path, act)


def test_two_workers_never_hold_one_video(tmp_path: Path) -> None:
    """Workers of several processes that claim at once share the videos out, none twice."""

    async def act(queue: Queue, db: Database) -> None:
        await _add(queue, *range(100))
        async with Database.open(tmp_path / "clipledger.db") as other, asyncio.TaskGroup() as group:
            doors = (queue, Queue(other))
            tasks = [group.create_task(_claim(doors[n % 2], 10, worker=str(n))) for n in range(14)]
        claimed = [number for task in tasks for number in _numbers(task.result())]
        assert sorted(claimed) == list(range(100))

    with_queue(tmp_path, act)


def test_a_claim_reads_the_due_index(tmp_path: Path) -> None:
    """Claiming stays a walk along one index, however long the queue is and whatever waits in it."""
    asked: list[tuple[str, tuple[object, ...]]] = []

    async def act(queue: Queue, db: Database) -> None:
        await _add(queue, *range(50))
        event.listen(db._engine, "before_cursor_execute", lambda _c, _k, sql, values, *_: asked.append((sql, values)))
        await _claim(queue, 5)
        await queue.backlog(NOW, 60, 100)
        await queue.next_due_at()
        await queue.release_expired(NOW, 3)

    with_queue(tmp_path, act)
    connection = sqlite3.connect(tmp_path / "clipledger.db")
    plans = [
        row[3]
        for sql, values in asked
        if "archive_queue" in sql
        for row in connection.execute("EXPLAIN QUERY PLAN " + sql, values)
    ]
    connection.close()
    assert "SEARCH due USING INDEX archive_queue_due (priority=? AND due_at<?)" in plans
    assert any("archive_queue_open (state=? AND lease_until<?)" in plan for plan in plans)
    assert not [plan for plan in plans if plan.startswith("SCAN archive_queue") or "TEMP B-TREE" in plan]


def test_leases_are_lengthened_only_for_their_holder(tmp_path: Path) -> None:
    """A worker that was too slow learns which of its videos were taken from it."""

    async def act(queue: Queue, _db: Database) -> None:
        await _add(queue, 1, 2, 3)
        jobs = await _claim(queue, 3)
        assert await queue.renew(jobs, NOW + 30, 60) == set()
        await queue.settle(_ended(jobs[0], due_at=NOW), NOW)
        (again,) = await _claim(queue, worker="v")
        await queue.mark_stored(jobs[1], NOW)
        assert await queue.renew(jobs, NOW + 50, 60) == {jobs[0].aweme_id, jobs[1].aweme_id}
        rows = [await queue.row(job.aweme_id) for job in jobs]
        assert [row.lease_until for row in rows if row] == [NOW + 60, None, NOW + 110]
        assert again.token == 2 and await queue.renew([], NOW, 60) == set()

    with_queue(tmp_path, act)


# Settled


def test_a_stale_worker_changes_nothing(tmp_path: Path) -> None:
    """A worker whose lease was lost can change nothing of the video any more, whatever it reports."""

    async def act(queue: Queue, _db: Database) -> None:
        await _add(queue, 1)
        (old,) = await _claim(queue)
        await queue.release_expired(NOW + 61, crashes_max=3)
        (new,) = await _claim(queue, now=NOW + 61, worker="v")
        before = await queue.row(vid(1))
        assert not await queue.mark_resolved(old, NOW, "author=x", ObjectKey("x"), True)
        assert not await queue.mark_stored(old, NOW)
        assert not await queue.settle(_ended(old), NOW)
        assert not await queue.settle(_ended(old, state=State.DEAD), NOW)
        assert not await queue.settle(_suspected(old), NOW)
        assert await queue.row(vid(1)) == before
        assert await queue.failures(9) == []
        assert await queue.mark_stored(new, NOW + 62)
        assert not await queue.mark_stored(new, NOW + 63)
        assert not await queue.settle(_ended(new), NOW + 63)

    with_queue(tmp_path, act)


def test_settling_twice_at_once_counts_once(tmp_path: Path) -> None:
    """Of two reports on one attempt in the same commit the first stands and the second is refused."""

    async def act(queue: Queue, _db: Database) -> None:
        await _add(queue, 1)
        (job,) = await _claim(queue)
        async with asyncio.TaskGroup() as group:
            first = group.create_task(queue.settle(_ended(job, burn=False), NOW))
            second = group.create_task(queue.settle(_ended(job, burn=False), NOW))
        assert (first.result(), second.result()) == (True, False)
        row = await queue.row(vid(1))
        assert row is not None and row.attempts == 0

    with_queue(tmp_path, act)


def test_what_is_settled_together_is_told_apart(tmp_path: Path) -> None:
    """Among many reports in one commit each worker learns whether its own lease still held."""

    async def act(queue: Queue, _db: Database) -> None:
        await _add(queue, *range(40))
        jobs = await _claim(queue, 40)
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
        await _add(queue, 1)
        (job,) = await _claim(queue)
        await queue.mark_resolved(job, NOW + 1, "author=old", ObjectKey("old"), thin=True)
        await queue.mark_resolved(job, NOW + 9, "author=new", ObjectKey("new"), thin=False)
        row = await queue.row(vid(1))
        assert row is not None
        assert (row.resolved_at, row.author_part, row.storage_key, row.thin) == (NOW + 1, "author=old", "old", False)

    with_queue(tmp_path, act)


def test_a_verdict_is_written_as_given(tmp_path: Path) -> None:
    """A retry waits until its time with its reason; a shutdown gives the attempt back."""

    async def act(queue: Queue, _db: Database) -> None:
        await _add(queue, 1, 2)
        one, other = await _claim(queue, 2)
        await queue.settle(_ended(one, detail="x" * 900), NOW)
        await queue.settle(_ended(other, burn=False, reason=Reason.SHUTDOWN, due_at=NOW), NOW)
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
        await _add(queue, 1)
        (job,) = await _claim(queue)
        with commits() as seen:
            assert await queue.settle(_ended(job, state=State.DEAD), NOW + 5)
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
        await _add(queue, 1)
        (job,) = await _claim(queue)
        assert not await queue.unstore(vid(1), "gone", NOW)
        await queue.mark_stored(job, NOW)
        assert await queue.unstore(vid(1), "gone", NOW + 1)
        (again,) = await _claim(queue, now=NOW + 1)
        assert again.call_reason == CallReason.RETRY

    with_queue(tmp_path, act)


# Suspected


def test_a_suspect_waits_for_its_verdict(tmp_path: Path) -> None:
    """A video said to be gone is neither dead nor captured again until the window has spoken."""

    async def act(queue: Queue, _db: Database) -> None:
        await _add(queue, 1, 2)
        for job in await _claim(queue, 2):
            await queue.settle(_suspected(job), NOW + 5 + job.token)
        assert await queue.suspect_count() == 2
        assert [s.reason for s in await queue.suspects(9)] == [Reason.NOT_FOUND] * 2
        assert await _claim(queue, 9, NOW + 10**6) == []
        assert (await queue.counts())[State.PENDING] == 2
        assert await queue.next_due_at() is None
        assert await queue.due_count(NOW + 10**6, 9) == 0
        row = await queue.row(vid(1))
        assert row is not None and (row.attempts, row.not_founds, row.first_not_found_at) == (0, 0, None)

    with_queue(tmp_path, act)


def test_old_suspicions_are_confirmed_and_young_ones_wait(tmp_path: Path) -> None:
    """Only suspicions that later healthy answers vouch for become deaths, each with its letter."""

    async def act(queue: Queue, _db: Database) -> None:
        await _add(queue, 1, 2)
        newer, older = await _claim(queue, 2)
        await queue.settle(_suspected(older), NOW + 1)
        await queue.settle(_suspected(newer), NOW + 9)
        assert await queue.confirm_suspects(NOW + 5, NOW + 20) == 1
        assert await queue.confirm_suspects(NOW + 5, NOW + 20) == 0
        (letter,) = await queue.failures(9)
        assert (letter.aweme_id, letter.reason, letter.attempts) == (older.aweme_id, Reason.NOT_FOUND, 1)
        row = await queue.row(older.aweme_id)
        assert row is not None
        assert (row.state, row.suspect_at, row.suspect_reason, row.last_reason) == (State.DEAD, None, None, "not_found")
        assert await queue.suspect_count() == 1

    with_queue(tmp_path, act)


def test_an_acquitted_video_is_tried_again(tmp_path: Path) -> None:
    """After an outage every suspect is pending again; only counted acquittals are held against it."""

    async def act(queue: Queue, _db: Database) -> None:
        await _add(queue, 1)
        (job,) = await _claim(queue)
        await queue.settle(_suspected(job), NOW + 1)
        assert await queue.acquit_suspects(NOW + 2, NOW + 30, Reason.OUTAGE) == 1
        row = await queue.row(vid(1))
        assert row is not None
        assert (row.due_at, row.last_reason, row.not_founds, row.first_not_found_at) == (NOW + 30, "outage", 0, None)
        for round_ in (1, 2):
            (job,) = await _claim(queue, now=NOW + 100 * round_)
            assert (job.not_founds, job.call_reason) == (round_ - 1, CallReason.RECHECK)
            await queue.settle(_suspected(job), NOW + 100 * round_)
            await queue.acquit_suspects(NOW + 100 * round_, NOW, count=True)
        row = await queue.row(vid(1))
        assert row is not None
        assert (row.not_founds, row.first_not_found_at, row.suspect_at) == (2, NOW + 100, None)
        assert row.last_reason == Reason.NOT_FOUND

    with_queue(tmp_path, act)


def test_many_suspects_go_in_bounded_steps(tmp_path: Path) -> None:
    """A great outage's suspects are settled completely, in transactions of bounded size."""

    async def act(queue: Queue, _db: Database) -> None:
        await _add(queue, *range(1201))
        async with asyncio.TaskGroup() as group:
            for job in await _claim(queue, 1201):
                group.create_task(queue.settle(_suspected(job), NOW))
        with commits() as seen:
            assert await queue.acquit_suspects(NOW, NOW) == 1201
        assert len(seen) == 3
        async with asyncio.TaskGroup() as group:
            for job in await _claim(queue, 1201):
                group.create_task(queue.settle(_suspected(job), NOW))
        assert await queue.confirm_suspects(NOW, NOW) == 1201
        assert (await queue.counts())[State.DEAD] == 1201

    with_queue(tmp_path, act)


# Put back


def test_the_videos_of_a_dead_worker_are_given_back(tmp_path: Path) -> None:
    """A worker that vanished loses its videos when their leases run out; a paid resolve is remembered."""

    async def act(queue: Queue, db: Database) -> None:
        credits = Credits(db)
        await _add(queue, 1, 2, 3)
        paid, unpaid, refused = await _claim(queue, 3)
        await credits.intend(call_of(paid), NOW)
        await credits.settle(await credits.intend(call_of(refused), NOW), CallOutcome.REFUSED, 0, NOW)
        assert await queue.release_expired(NOW + 60, 3) == await queue.release_expired(NOW, 3)
        released = await queue.release_expired(NOW + 60.001, 3)
        assert (released.given_back, released.dead) == (3, 0)
        rows = {job.aweme_id: await queue.row(job.aweme_id) for job in (paid, unpaid, refused)}
        assert [(r.state, r.crashes, r.attempts, r.due_at, r.call_reason) for r in rows.values() if r] == [
            (State.PENDING, 1, 1, NOW + 60.001, CallReason.CRASH),
            (State.PENDING, 1, 1, NOW + 60.001, CallReason.FIRST),
            (State.PENDING, 1, 1, NOW + 60.001, CallReason.FIRST),
        ]
        totals = {total.outcome: total.credits for total in await credits.totals()}
        assert totals == {CallOutcome.UNKNOWN: 1, CallOutcome.REFUSED: 0}

    with_queue(tmp_path, act)


def test_only_a_resolve_of_the_lost_attempt_counts_as_paid(tmp_path: Path) -> None:
    """A worker that died before it bought anything leaves the reason of the next resolve as it was."""

    async def act(queue: Queue, db: Database) -> None:
        credits = Credits(db)
        await _add(queue, 1)
        (first,) = await _claim(queue)
        await credits.settle(await credits.intend(call_of(first), NOW), CallOutcome.OK, 1, NOW)
        await queue.settle(_ended(first, due_at=NOW), NOW)
        await _claim(queue)
        await queue.release_expired(NOW + 61, 3)
        row = await queue.row(vid(1))
        assert row is not None and row.call_reason == CallReason.RETRY

    with_queue(tmp_path, act)


def test_a_video_that_kills_three_workers_is_dead(tmp_path: Path) -> None:
    """A video that took three workers down with it is not handed to a fourth."""

    async def act(queue: Queue, _db: Database) -> None:
        await _add(queue, 1)
        for crash in (1, 2, 3):
            now = NOW + 100 * crash
            assert len(await queue.claim(1, now, 60, "w", alone=crash == 3)) == 1
            released = await queue.release_expired(now + 61, crashes_max=3)
            assert (released.given_back, released.dead) == ((1, 0) if crash < 3 else (0, 1))
        (letter,) = await queue.failures(9)
        assert (letter.reason, letter.attempts) == (Reason.WORKER_KILLED, 3)
        assert "3 times" in letter.detail

    with_queue(tmp_path, act)


def test_a_suspicious_video_is_tried_alone(tmp_path: Path) -> None:
    """A video that was under way when two workers died is handed out only to a worker with nothing else to lose."""

    async def act(queue: Queue, _db: Database) -> None:
        await _add(queue, 1)
        for _ in range(2):
            await _claim(queue, 9)
            await queue.release_expired(NOW + 61, crashes_max=3)
            await queue.retry([vid(1)], NOW)
        await _add(queue, 2)
        assert _numbers(await _claim(queue, 9, NOW + 61)) == [2]
        assert _numbers(await queue.claim(9, NOW + 61, 60, "v", alone=True)) == [1]

    with_queue(tmp_path, act)


def test_old_dead_letters_lose_only_their_detail(tmp_path: Path) -> None:
    """After a long time a dead letter is one line: id, reason and date stay for ever."""

    async def act(queue: Queue, _db: Database) -> None:
        await _add(queue, 1, 2)
        for now, job in zip((NOW, NOW + 50), await _claim(queue, 2), strict=True):
            await queue.settle(_ended(job, state=State.DEAD), now)
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
        await _add(queue, *range(7))
        await _claim(queue, 3)
        await _claim(queue, 4, NOW + 5)
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
        await _add(queue, 1, 2)
        mine, others = await _claim(queue), await _claim(queue, worker="v")
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
        (job,) = await _claim(queue, now=NOW + 1)
        assert job.call_reason == CallReason.CRASH

    with_queue(tmp_path, act)


def test_a_worker_that_stops_burns_nothing(tmp_path: Path) -> None:
    """A shutdown gives every video back with its attempt, and calls it no crash."""

    async def act(queue: Queue, db: Database) -> None:
        await _add(queue, 1, 2)
        one, _other = await _claim(queue, 2)
        await Credits(db).intend(call_of(one), NOW)
        assert await queue.give_back("w", NOW + 1) == 2
        assert await queue.give_back("w", NOW + 1) == 0
        jobs = await _claim(queue, 2, NOW + 1)
        assert [(j.attempts, j.call_reason) for j in jobs] == [(1, CallReason.INTERRUPTED), (1, CallReason.FIRST)]
        row = await queue.row(vid(1))
        assert row is not None and (row.crashes, row.last_reason) == (0, Reason.SHUTDOWN)

    with_queue(tmp_path, act)


async def _one_of_each(queue: Queue) -> dict[str, AwemeId]:
    """Make a dead, a waiting, a suspect, a due, a running and a stored video."""
    await _add(queue, *range(6))
    jobs = await _claim(queue, 5)
    await queue.settle(_ended(jobs[0], state=State.DEAD), NOW)
    await queue.settle(_ended(jobs[1], reason=Reason.NOT_MEDIA), NOW)
    await queue.settle(_suspected(jobs[2]), NOW)
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
        await _add(queue, *range(1300), now=NOW + 50)
        assert await queue.retry(None, NOW) == 1300
        assert await queue.due_count(NOW, 5000) == 1300

    with_queue(tmp_path, act)


# Looked at


def test_the_backlog_counts_what_is_freshly_due(tmp_path: Path) -> None:
    """The backlog counts what fell due within the window, over all priorities, up to a cap."""

    async def act(queue: Queue, _db: Database) -> None:
        await _add(queue, 1, 2, now=NOW)
        await _add(queue, 3, now=NOW - 30, priority=2)
        await _add(queue, 4, now=NOW - 90)
        await _add(queue, 5, now=NOW + 1, priority=1)
        assert await queue.backlog(NOW, 60, 100) == 3
        assert await queue.backlog(NOW, 60, 2) == 2
        assert await queue.due_count(NOW, 100) == 4
        assert await queue.next_due_at() == NOW - 90

    with_queue(tmp_path, act)


def test_latency_runs_from_discovery_to_resolve(tmp_path: Path) -> None:
    """Latency is the time from first sight of a video to its first answered resolve."""

    async def act(queue: Queue, db: Database) -> None:
        credits = Credits(db)
        await _add(queue, 1, 2)
        for delay, job in zip((7, 9), await _claim(queue, 2), strict=True):
            seq = await credits.intend(call_of(job), NOW)
            await credits.settle(seq, CallOutcome.OK, 1, NOW + delay)
            await queue.mark_resolved(job, NOW + delay, "author=a", ObjectKey("k"))
        assert sorted(await queue.latencies()) == [7, 9]
        assert await queue.latencies(limit=1) == [9]

    with_queue(tmp_path, act)


@pytest.mark.slow
def test_a_long_queue_is_claimed_in_milliseconds(tmp_path: Path) -> None:
    """With 200,000 waiting videos of which few are due, a claim takes milliseconds; adding 100,000 ids seconds."""

    async def act(queue: Queue, _db: Database) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await queue.add_by_hand([(vid(n), None) for n in range(100_000)], "hand", 0, NOW + 3600)
        assert loop.time() - began < 6
        await queue.add_by_hand([(vid(n), None) for n in range(100_000, 200_000)], "hand", 5, NOW + 3600)
        await _add(queue, *range(200_000, 200_300), priority=3)
        spans = []
        for _ in range(10):
            began = loop.time()
            assert len(await _claim(queue, 30)) == 30
            spans.append(loop.time() - began)
        assert sorted(spans)[5] < 0.02

    with_queue(tmp_path, act)

"""The queue: how ids come in and are handed out."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import event

from clipledger.core.errors import Reason
from clipledger.core.lifecycle import CallReason
from clipledger.core.model import Job, ObjectKey, State
from clipledger.db.database import Database
from clipledger.db.intake import AddedOut
from clipledger.db.queue import Queue
from clipledger.db.retries import Recheck
from clipledger.db.sources import SourceIn, Sources
from contract.archives import NOW, archive_at, commits, on_sqlite, page_of, post, vid
from contract.queues import add, all_rows, claim, ended, numbers, with_queue

pytestmark = pytest.mark.usefixtures("backend")

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
    seen = all_rows(tmp_path, "SELECT source, substr(aweme_id, 19) FROM sightings ORDER BY 1, 2")
    assert seen == [("@a", "1"), ("@a", "2"), ("@b", "2"), ("@b", "3")]


def test_a_sighting_keeps_its_first_time(tmp_path: Path) -> None:
    """A source's sighting of a video keeps the time it was first made and moves the last one."""

    async def act(queue: Queue, _db: Database) -> None:
        await queue.add_page(page_of([post(1)]))
        await queue.add_page(page_of([post(1, pinned=True, is_ad=True)], now=NOW + 60))

    with_queue(tmp_path, act)
    assert all_rows(tmp_path, "SELECT seen_at, last_seen_at, pinned, is_ad FROM sightings") == [
        ("2026-05-28T20:26:40.000Z", "2026-05-28T20:27:40.000Z", 1, 1)
    ]


def test_counters_of_a_list_are_kept(tmp_path: Path) -> None:
    """Each list that shows counters adds a point to a video's history; a silent one adds none."""

    async def act(queue: Queue, _db: Database) -> None:
        await queue.add_page(page_of([post(1, 10, None, 3), post(2), post(1, 99)]))
        await queue.add_page(page_of([post(1, 11)], now=NOW + 60))

    with_queue(tmp_path, act)
    history = "SELECT substr(aweme_id, 19), feed, play_count, digg_count, comment_count FROM post_metrics_history"
    assert all_rows(tmp_path, history + " ORDER BY observed_at") == [
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
    assert all_rows(tmp_path, "SELECT source FROM sightings UNION ALL SELECT feed FROM post_metrics_history") == []


def test_the_list_item_is_kept_only_on_request(tmp_path: Path) -> None:
    """A list item rides along with its video only when the operator captures lean."""

    async def act(queue: Queue, _db: Database) -> None:
        await queue.add_page(page_of([post(1, reply={"title": "x"})], keep_hint=True, priority=3))
        await queue.add_page(page_of([post(2, reply={"title": "y"})]))
        rows = [await queue.row(vid(1)), await queue.row(vid(2))]
        assert [(row.hint, row.priority) for row in rows if row] == [({"title": "x"}, 3), (None, 0)]
        (job,) = await claim(queue)
        assert job.hint == {"title": "x"}

    with_queue(tmp_path, act)
    assert all_rows(tmp_path, "SELECT count(*) FROM archive_queue WHERE hint IS NULL") == [(1,)]


def test_ids_by_hand_are_counted_once(tmp_path: Path) -> None:
    """Of ids added by hand each distinct one counts once, as new or as known, with its first spelling."""

    async def act(queue: Queue, _db: Database) -> None:
        await add(queue, 1)
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
        await add(queue, 5, now=NOW)
        await add(queue, 1, 3, 2, now=NOW + 10)
        await add(queue, 4, now=NOW + 99)
        assert numbers(await claim(queue, 9, NOW + 20)) == [3, 2, 1, 5]

    with_queue(tmp_path, act)


def test_priority_comes_before_freshness(tmp_path: Path) -> None:
    """A video of higher priority is captured before any fresher one of lower priority."""

    async def act(queue: Queue, _db: Database) -> None:
        await add(queue, 1, now=NOW, priority=10)
        await add(queue, 2, 3, now=NOW + 5)
        await add(queue, 4, now=NOW + 1, priority=-(2**31))
        await add(queue, 5, now=NOW, priority=2**31 - 1)
        assert numbers(await claim(queue, 2, NOW + 9)) == [5, 1]
        assert numbers(await claim(queue, 9, NOW + 9)) == [3, 2, 4]

    with_queue(tmp_path, act)


def test_a_claim_holds_what_the_attempt_needs(tmp_path: Path) -> None:
    """Each claim counts an attempt, raises the token, and carries what earlier attempts fixed."""

    async def act(queue: Queue, _db: Database) -> None:
        await queue.add_by_hand([(vid(1), "https://x/1")], "hand", 0, NOW)
        (first,) = await claim(queue)
        told = {"asked_url": "https://x/1", "due_at": NOW}
        assert first == Job(vid(1), 1, "hand", 1, NOW, "2026-05-28", CallReason.FIRST, **told)  # type: ignore[arg-type]
        assert await claim(queue) == []
        assert await queue.mark_resolved(first, NOW + 2, "author=a", ObjectKey("videos/k.mp4"))
        assert await queue.settle(ended(first), NOW + 3)
        assert await claim(queue, now=NOW + 99) == []
        (second,) = await claim(queue, now=NOW + 100)
        assert (second.token, second.attempts, second.call_reason) == (2, 2, CallReason.RETRY)
        assert (second.author_part, second.storage_key) == ("author=a", "videos/k.mp4")

    with_queue(tmp_path, act)


def test_two_workers_never_hold_one_video(tmp_path: Path) -> None:
    """Workers of several processes that claim at once share the videos out, none twice."""

    async def act(queue: Queue, db: Database) -> None:
        await add(queue, *range(100))
        async with Database.open(archive_at(tmp_path)) as other, asyncio.TaskGroup() as group:
            doors = (queue, Queue(other))
            tasks = [group.create_task(claim(doors[n % 2], 10, worker=str(n))) for n in range(14)]
        claimed = [number for task in tasks for number in numbers(task.result())]
        assert sorted(claimed) == list(range(100))

    with_queue(tmp_path, act)


@on_sqlite
def test_a_claim_reads_the_due_index(tmp_path: Path) -> None:
    """Claiming stays a walk along one index, however long the queue is and whatever waits in it."""
    asked: list[tuple[str, tuple[object, ...]]] = []

    async def act(queue: Queue, db: Database) -> None:
        await add(queue, *range(50))
        watched = db._engines.reading
        event.listen(watched, "before_cursor_execute", lambda _c, _k, sql, values, *_: asked.append((sql, values)))
        await claim(queue, 5)
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


def test_many_times_to_ask_the_dead_again_are_taken(tmp_path: Path) -> None:
    """A schedule of a year of weeks, for every reason, is no statement that a database refuses."""

    async def act(queue: Queue, _db: Database) -> None:
        weeks = [Recheck(reason, nth, NOW - nth * 604_800) for reason in Reason for nth in range(52)]
        assert await queue.recheck_gone(weeks, NOW) == 0 and await queue.recheck_gone([], NOW) == 0

    with_queue(tmp_path, act)


def test_leases_are_lengthened_only_for_their_holder(tmp_path: Path) -> None:
    """A worker that was too slow learns which of its videos were taken from it."""

    async def act(queue: Queue, _db: Database) -> None:
        await add(queue, 1, 2, 3)
        jobs = await claim(queue, 3)
        assert await queue.renew(jobs, NOW + 30, 60) == set()
        await queue.settle(ended(jobs[0], due_at=NOW), NOW)
        (again,) = await claim(queue, worker="v")
        await queue.mark_stored(jobs[1], NOW)
        assert await queue.renew(jobs, NOW + 50, 60) == {jobs[0].aweme_id, jobs[1].aweme_id}
        rows = [await queue.row(job.aweme_id) for job in jobs]
        assert [row.lease_until for row in rows if row] == [NOW + 60, None, NOW + 110]
        assert again.token == 2 and await queue.renew([], NOW, 60) == set()

    with_queue(tmp_path, act)

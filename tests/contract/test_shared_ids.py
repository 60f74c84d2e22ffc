"""Sources that show each other's posts: knowing a post from one list must not end another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from clipledger.core.model import Post
from clipledger.core.passes import PageSeen, PassState, SourceProgress, after_page
from clipledger.db.database import Database
from clipledger.db.intake import PageIn
from clipledger.db.queue import Queue
from clipledger.db.sources import SourceIn, SourceJob, Sources
from contract.archives import NOW, vid
from contract.queues import with_queue

pytestmark = pytest.mark.usefixtures("backend")

PAGES = 6


async def _pass(queue: Queue, sources: Sources, at: float) -> tuple[SourceJob, int]:
    """Read one whole pass of the due source, ten posts a page; give the source and the pages read."""
    job = await sources.claim_due(at, 60, "w")
    assert job is not None
    await sources.begin_pass(job, at)
    job, pages = replace(job, pass_started_at=at), 0
    state = PassState(0, 0, 0, job.full_pass_at is not None, True, 100, 3600)
    end = None
    while end is None:
        posts = tuple(Post(vid(pages * 10 + nth)) for nth in range(10))
        more = pages + 1 < PAGES
        seen = PageSeen(10, 10, more, str(pages + 1) if more else None, str(pages) if pages else None)
        progress = await _page(queue, job, posts, seen, state, at + 1 + pages)
        state = replace(state, pages=progress.pass_pages, new=progress.pass_new, stale=progress.pass_stale)
        pages, end = pages + 1, progress.pass_end
    return job, pages


async def _page(
    queue: Queue, job: SourceJob, posts: tuple[Post, ...], seen: PageSeen, state: PassState, now: float
) -> SourceProgress:
    def decide(new_ids: int, cursor_seen: bool) -> SourceProgress:
        return after_page(state, seen, new_ids=new_ids, cursor_seen=cursor_seen, now=now)

    since = (job.pass_started_at or 0.0) if job.full_pass_at is None else 0.0
    page = PageIn(
        job.source, job.token, posts, now, seen.used_cursor, seen.cursor, decide, lease_until=now + 60, seen_since=since
    )
    out = await queue.add_page(page)
    assert out.progress is not None
    return out.progress


def test_posts_known_from_another_source_do_not_end_a_first_pass(tmp_path: Path) -> None:
    """A profile whose newest posts were all found through a tag is still listed to its end."""

    async def act(queue: Queue, db: Database) -> None:
        sources = Sources(db)
        await sources.register(SourceIn("#tag", "tag", "tag", NOW))
        assert (await _pass(queue, sources, NOW))[1] == PAGES
        await sources.register(SourceIn("@a", "user", "a", NOW + 100))
        job, pages = await _pass(queue, sources, NOW + 100)
        assert (job.source, pages) == ("@a", PAGES)

    with_queue(tmp_path, act)


def test_a_first_pass_that_begins_anew_goes_through_what_it_saw_before(tmp_path: Path) -> None:
    """A first pass that was broken off and starts again from the top still reaches the posts below."""

    async def act(queue: Queue, db: Database) -> None:
        sources = Sources(db)
        await sources.register(SourceIn("@a", "user", "a", NOW))
        job = await sources.claim_due(NOW, 60, "w")
        assert job is not None
        await sources.begin_pass(job, NOW)
        job = replace(job, pass_started_at=NOW)
        state = PassState(0, 0, 0, False, True, 100, 3600)
        for number in range(4):
            posts = tuple(Post(vid(number * 10 + nth)) for nth in range(10))
            seen = PageSeen(10, 10, True, str(number + 1), str(number) if number else None)
            await _page(queue, job, posts, seen, state, NOW + 1 + number)
        await sources.release(job)
        assert (await _pass(queue, sources, NOW + 10))[1] == PAGES

    with_queue(tmp_path, act)


def test_a_finished_source_stops_at_what_it_knows(tmp_path: Path) -> None:
    """Once a list was read to its end, the next pass costs one page when nothing is new."""

    async def act(queue: Queue, db: Database) -> None:
        sources = Sources(db)
        await sources.register(SourceIn("@a", "user", "a", NOW))
        assert (await _pass(queue, sources, NOW))[1] == PAGES
        assert (await _pass(queue, sources, NOW + 10 * 3600))[1] == 1

    with_queue(tmp_path, act)

"""Sources: registered once, read by one worker at a time, remembered with their numeric id."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from sqlalchemy import update

from clipledger.core.errors import Reason
from clipledger.db.database import Database
from clipledger.db.queue import Queue
from clipledger.db.sources import SourceIn, SourceJob, Sources
from clipledger.db.tables import sources as table
from contract.archives import NOW, in_archive, page_of

pytestmark = pytest.mark.usefixtures("backend")


def with_sources(folder: Path, act: Callable[[Sources, Database], Awaitable[None]]) -> None:
    """Run `act` on the sources of a new archive."""
    in_archive(folder, lambda db: act(Sources(db), db))


async def _claim(sources: Sources, now: float = NOW, worker: str = "w") -> SourceJob:
    job = await sources.claim_due(now, 60, worker)
    assert job is not None
    return job


def test_a_source_is_registered_once(tmp_path: Path) -> None:
    """Adding a known source again changes only what was asked for this time."""

    async def act(sources: Sources, _db: Database) -> None:
        first = SourceIn("#cats", "tag", "cats", NOW, region="US", priority=3, every_s=3600, max_pages=9)
        again = SourceIn("#cats", "tag", "cats", NOW + 9, region="US", every_s=60)
        assert await sources.register(first)
        assert not await sources.register(again)
        assert await sources.register_all([]) == []
        (row,) = await sources.all()
        assert (row.priority, row.every_s, row.max_pages, row.region) == (3, 60, 9, "US")
        assert (row.added_at, row.next_at) == (NOW, NOW)

    with_sources(tmp_path, act)


def test_a_list_of_sources_tells_which_are_new(tmp_path: Path) -> None:
    """Of many sources added at once each is told new or known, a repeated one known the second time."""

    async def act(sources: Sources, _db: Database) -> None:
        await sources.register(SourceIn("@b", "user", "b", NOW))
        given = [SourceIn(f"@{name}", "user", name, NOW) for name in "abca"]
        assert await sources.register_all(given) == [True, False, True, False]
        assert [row.source for row in await sources.all()] == ["@a", "@b", "@c"]

    with_sources(tmp_path, act)


def test_the_longest_due_source_is_read_first(tmp_path: Path) -> None:
    """Sources are read in the order in which they fell due; one being read, or not due, is left alone."""

    async def act(sources: Sources, _db: Database) -> None:
        for name, at in (("@late", NOW + 9), ("@first", NOW), ("@second", NOW + 1)):
            await sources.register(SourceIn(name, "user", name[1:], at))
        assert await sources.next_due_at() == NOW
        assert (await _claim(sources, NOW + 5)).source == "@first"
        assert (await _claim(sources, NOW + 5)).source == "@second"
        assert await sources.claim_due(NOW + 5, 60, "w") is None

    with_sources(tmp_path, act)


def test_nobody_waits_at_a_source_that_is_being_read(tmp_path: Path) -> None:
    """A source that another worker reads falls due when that lease ends, not now: an idle lister does not spin."""

    async def act(sources: Sources, _db: Database) -> None:
        await sources.register(SourceIn("@a", "user", "a", NOW))
        job = await _claim(sources, NOW + 5)
        assert await sources.next_due_at() == NOW + 65
        await sources.register(SourceIn("@b", "user", "b", NOW + 30))
        assert await sources.next_due_at() == NOW + 30
        await sources.release(job)
        assert await sources.next_due_at() == NOW

    with_sources(tmp_path, act)


def test_a_handle_is_one_source_however_it_is_spelt(tmp_path: Path) -> None:
    """`@Alice` and `@alice` are one source, shown as it was first written; a tag's spelling may matter and is kept."""

    async def act(sources: Sources, _db: Database) -> None:
        given = [SourceIn("@Alice", "user", "Alice", NOW), SourceIn("@alice", "user", "alice", NOW, priority=4)]
        assert await sources.register_all(given) == [True, False]
        assert not await sources.register(SourceIn("@ALICE", "user", "ALICE", NOW, every_s=60))
        assert await sources.register(SourceIn("liked:@alice", "liked", "alice", NOW))
        assert not await sources.register(SourceIn("liked:@ALICE", "liked", "ALICE", NOW))
        tags = [SourceIn("#Dance", "tag", "Dance", NOW), SourceIn("#dance", "tag", "dance", NOW)]
        assert await sources.register_all(tags) == [True, True]
        rows = {row.source: row for row in await sources.all()}
        assert list(rows) == ["#Dance", "#dance", "@Alice", "liked:@alice"]
        assert (rows["@Alice"].priority, rows["@Alice"].every_s) == (4, 60)
        await sources.save_entity("@Alice", "77", None, NOW)
        assert {(await _claim(sources)).entity_id for _ in range(4)} == {None, "77"}
        assert {row.entity_id for row in await sources.all() if row.kind == "liked"} == {"77"}

    with_sources(tmp_path, act)


def test_another_interval_counts_from_the_last_pass(tmp_path: Path) -> None:
    """`add --every` on a known source moves its next read; one that failed keeps its back-off."""

    async def act(sources: Sources, db: Database) -> None:
        await sources.register_all([SourceIn(f"@{name}", "user", name, NOW) for name in "ab"])
        done = {"pass_started_at": NOW, "pass_end": "end", "next_at": NOW + 9000}
        await db.write(lambda connection: connection.execute(update(table).values(done)))
        failed = update(table).where(table.c.source == "@b").values(failures=1)
        await db.write(lambda connection: connection.execute(failed))
        for name in "ab":
            await sources.register(SourceIn(f"@{name}", "user", name, NOW + 60, every_s=600))
        assert [row.next_at for row in await sources.all()] == [NOW + 600, NOW + 9000]
        await sources.register(SourceIn("@a", "user", "a", NOW + 60, every_s=30))
        assert (await sources.all())[0].next_at == NOW + 60
        await sources.register(SourceIn("@a", "user", "a", NOW + 60, every_s=86400))
        assert (await sources.all())[0].next_at == NOW + 86400

    with_sources(tmp_path, act)


def test_posts_added_by_hand_are_never_listed(tmp_path: Path) -> None:
    """The source of hand-added posts costs no call: there is no list behind it."""

    async def act(sources: Sources, _db: Database) -> None:
        await sources.register(SourceIn("hand", "hand", "", NOW))
        assert await sources.claim_due(NOW, 60, "w") is None
        assert await sources.next_due_at() is None

    with_sources(tmp_path, act)


def test_a_paused_source_is_left_alone(tmp_path: Path) -> None:
    """A paused source is not read, and nobody waits for it."""

    async def act(sources: Sources, db: Database) -> None:
        await sources.register(SourceIn("@a", "user", "a", NOW))
        await db.write(lambda connection: connection.execute(update(table).values(paused_at=NOW)))
        assert await sources.claim_due(NOW, 60, "w") is None
        assert await sources.next_due_at() is None

    with_sources(tmp_path, act)


def test_a_lost_source_is_read_by_another_worker(tmp_path: Path) -> None:
    """A source whose reader vanished is read on by another, and the first one's reports change nothing."""

    async def act(sources: Sources, _db: Database) -> None:
        await sources.register(SourceIn("@a", "user", "a", NOW))
        old = await _claim(sources)
        assert await sources.claim_due(NOW + 60, 60, "v") is None
        new = await _claim(sources, NOW + 60.001, "v")
        (before,) = await sources.all()
        assert not await sources.begin_pass(old, NOW)
        assert not await sources.fail(old, Reason.API_UNAVAILABLE, "", NOW + 9)
        assert not await sources.release(old)
        assert await sources.renew([old], NOW, 999) == {"@a"}
        assert await sources.all() == [before]
        assert await sources.renew([new], NOW + 61, 60) == set()
        assert await sources.release(new)
        assert await sources.renew([new], NOW + 61, 60) == {"@a"}
        assert (await _claim(sources, NOW + 61)).token == 3

    with_sources(tmp_path, act)


def test_a_failed_page_is_counted_and_its_pass_goes_on(tmp_path: Path) -> None:
    """A page that failed is asked again later from the same cursor; a good page forgets the failures."""

    async def act(sources: Sources, db: Database) -> None:
        await sources.register(SourceIn("@a", "user", "a", NOW))
        job = await _claim(sources)
        await sources.begin_pass(job, NOW)
        await Queue(db).add_page(page_of([], token=job.token, following="30"))
        job = await _claim(sources, NOW + 60)
        assert (job.pass_no, job.cursor) == (1, "30")
        assert await sources.fail(job, Reason.API_UNAVAILABLE, "x" * 900, NOW + 100)
        (row,) = await sources.all()
        assert (row.failures, row.last_reason, row.next_at, row.lease_until) == (1, "api_unavailable", NOW + 100, None)
        assert row.last_detail == "x" * 500
        job = await _claim(sources, NOW + 100)
        assert (job.cursor, job.pass_pages, job.failures) == ("30", 1, 1)
        await Queue(db).add_page(page_of([], token=job.token, following="60"))
        (row,) = await sources.all()
        assert (row.failures, row.last_reason, row.cursor) == (0, None, "60")

    with_sources(tmp_path, act)


def test_a_new_pass_begins_at_the_top(tmp_path: Path) -> None:
    """Each pass starts from the top and counts from nothing."""

    async def act(sources: Sources, db: Database) -> None:
        await sources.register(SourceIn("@a", "user", "a", NOW))
        job = await _claim(sources)
        await sources.begin_pass(job, NOW)
        await Queue(db).add_page(page_of([], token=job.token, following="30"))
        assert await sources.begin_pass(job, NOW + 5)
        (row,) = await sources.all()
        assert (row.pass_no, row.cursor, row.pass_pages, row.pass_stale, row.pass_end) == (2, None, 0, 0, None)
        assert row.pass_started_at == NOW + 5

    with_sources(tmp_path, act)


def test_a_handle_is_looked_up_once(tmp_path: Path) -> None:
    """A handle's numeric id is bought once and serves the user's posts, likes and stories alike."""

    async def act(sources: Sources, _db: Database) -> None:
        await sources.register(SourceIn("@a", "user", "a", NOW))
        job = await _claim(sources)
        assert job.entity_id is None
        await sources.save_entity("@a", "107955", 42, NOW)
        await sources.register(SourceIn("liked:@a", "liked", "a", NOW))
        await sources.register(SourceIn("#a", "tag", "a", NOW))
        entities = {}
        for _ in range(2):
            job = await _claim(sources)
            entities[job.source] = job.entity_id
        assert entities == {"liked:@a": "107955", "#a": None}
        rows = {row.source: (row.entity_id, row.declared, row.declared_at) for row in await sources.all()}
        assert rows["@a"] == ("107955", 42, NOW)
        assert rows["liked:@a"] == ("107955", None, None)
        await sources.save_entity("@a", "107955", None, NOW + 9)
        assert rows["@a"] == ("107955", 42, NOW)

    with_sources(tmp_path, act)

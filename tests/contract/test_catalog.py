"""The catalog: a stored post becomes archived once, with its row, its files and its counters."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from clipledger.core.model import (
    Author,
    AwemeId,
    Counters,
    FileKind,
    MediaType,
    ObjectKey,
    Post,
    Quality,
    State,
    StoredFile,
)
from clipledger.db.catalog import Catalog, Record, SidecarFile
from clipledger.db.database import Database
from clipledger.db.queue import Queue
from contract.archives import NOW, commits, in_archive, page_of, post, raw, vid

pytestmark = pytest.mark.usefixtures("backend")

COUNTERS = Counters(1, 2, 3, 4, 5, 6)


def with_catalog(folder: Path, act: Callable[[Catalog, Queue], Awaitable[None]]) -> None:
    """Run `act` on the catalog of a new archive."""

    async def both(db: Database) -> None:
        await act(Catalog(db), Queue(db))

    in_archive(folder, both)


def record_of(number: int, captured_at: float = NOW + 5, counters: Counters = COUNTERS) -> Record:
    """Make a complete video post with a cover."""
    key = ObjectKey(f"videos/{number}.mp4")
    told = Post(
        vid(number), Author("107955", "alice", "Alice"), "A day", "US", 12.5, 1_700_000_000, counters, music_id="77"
    )
    files = (
        StoredFile(FileKind.VIDEO, key, 10, "a" * 64, MediaType.MP4, Quality.HD),
        StoredFile(FileKind.COVER, ObjectKey(f"covers/{number}.jpg"), 3, "b" * 64, MediaType.JPEG),
    )
    sidecar = ObjectKey(f"videos/{number}.json")
    return Record(told, key, sidecar, 10, "a" * 64, files, SidecarFile(7, "c" * 64), captured_at, False)


async def _store(queue: Queue, *numbers: int) -> None:
    await queue.add_by_hand([(vid(n), None) for n in numbers], "hand", 0, NOW)
    for job in await queue.claim(len(numbers), NOW, 60, "w"):
        await queue.mark_resolved(job, NOW, "author=alice", ObjectKey(f"videos/{job.aweme_id}.mp4"))
        await queue.mark_stored(job, NOW + 1)


def test_a_stored_post_is_archived_with_everything(tmp_path: Path) -> None:
    """When a post is archived its row, its files, its sidecar and its counters are there in the same moment."""

    async def act(catalog: Catalog, queue: Queue) -> None:
        await _store(queue, 1)
        with commits() as seen:
            assert await catalog.record([record_of(1)], NOW + 9) == 1
        assert len(seen) == 1
        told = await catalog.post(vid(1))
        assert told is not None
        assert (told.author_id, told.author_handle, told.title, told.duration) == ("107955", "alice", "A day", 12.5)
        assert (told.counters, told.create_time, told.music_id) == (Counters(1, 2, 3, 4, 5, 6), 1_700_000_000, "77")
        assert (told.storage_key, told.sidecar_key, told.bytes) == ("videos/1.mp4", "videos/1.json", 10)
        assert (told.archived_at, told.counters_at, told.is_photo) == (NOW + 5, NOW + 5, False)
        files = await catalog.files_of(vid(1))
        assert [(f.kind, f.storage_key, f.bytes, f.rendition) for f in files] == [
            ("cover", "covers/1.jpg", 3, None),
            ("sidecar", "videos/1.json", 7, None),
            ("video", "videos/1.mp4", 10, "hd"),
        ]
        assert await catalog.size() == (3, 20)
        row = await queue.row(vid(1))
        assert row is not None and (row.state, row.settled_at) == (State.ARCHIVED, NOW + 9)

    with_catalog(tmp_path, act)
    measured = raw(tmp_path, "SELECT feed, play_count, collect_count FROM post_metrics_history")
    assert measured == [("capture", 1, 6)]


def test_recording_again_changes_nothing(tmp_path: Path) -> None:
    """Indexing a post a second time, or one that is not stored, changes nothing."""

    async def act(catalog: Catalog, queue: Queue) -> None:
        await _store(queue, 1)
        await queue.add_by_hand([(vid(2), None)], "hand", 0, NOW)
        batch = [record_of(1), record_of(1), record_of(2), record_of(3)]
        assert await catalog.record(batch, NOW + 9) == 1
        before = (await catalog.post(vid(1)), await catalog.files_of(vid(1)), await queue.row(vid(1)))
        assert await catalog.record([record_of(1, NOW + 50)], NOW + 60) == 0
        assert await catalog.record([], NOW) == 0
        assert (await catalog.post(vid(1)), await catalog.files_of(vid(1)), await queue.row(vid(1))) == before
        assert await catalog.post(vid(2)) is None
        assert await queue.row(vid(3)) is None

    with_catalog(tmp_path, act)


def _put_back(folder: Path, number: int) -> None:
    raw(folder, "UPDATE archive_queue SET state = 'stored' WHERE aweme_id = ?", vid(number))


def test_the_first_archiving_is_never_forgotten(tmp_path: Path) -> None:
    """A post captured once more keeps the time it was first archived; its counters become the latest told."""

    async def act(catalog: Catalog, queue: Queue) -> None:
        await _store(queue, 1)
        await catalog.record([record_of(1)], NOW)
        for at, counters in ((NOW + 50, Counters(play=100)), (NOW + 20, Counters(play=50, digg=9))):
            _put_back(tmp_path, 1)
            record = replace(record_of(1, at, counters), storage_key=ObjectKey("videos/other.mp4"))
            assert await catalog.record([record], at) == 1
        told = await catalog.post(vid(1))
        assert told is not None
        assert (told.archived_at, told.counters_at, told.storage_key) == (NOW + 5, NOW + 50, "videos/other.mp4")
        assert told.counters == Counters(100, 2, 3, 4, 5, 6)

    with_catalog(tmp_path, act)


def test_lists_refresh_the_counters_of_archived_posts(tmp_path: Path) -> None:
    """A later list moves an archived post's counters on; what it does not tell stays."""

    async def act(catalog: Catalog, queue: Queue) -> None:
        await _store(queue, 1)
        await catalog.record([record_of(1)], NOW)
        await queue.add_page(page_of([post(1, 2**33, None, 8), post(2, 1)], now=NOW + 60))
        await queue.add_page(page_of([post(1)], now=NOW + 90))
        told = await catalog.post(vid(1))
        assert told is not None
        assert (told.counters, told.counters_at) == (Counters(2**33, 2, 8, 4, 5, 6), NOW + 60)

    with_catalog(tmp_path, act)


def test_what_waits_to_be_indexed_is_listed(tmp_path: Path) -> None:
    """Videos whose sidecar stands are listed until they are indexed."""

    async def act(catalog: Catalog, queue: Queue) -> None:
        await _store(queue, 1, 2)
        await queue.add_by_hand([(vid(3), None)], "hand", 0, NOW)
        await queue.claim(1, NOW, 60, "w")
        rows = await catalog.stored(9)
        assert {(row.aweme_id, row.storage_key, row.stored_at) for row in rows} == {
            (vid(n), f"videos/{vid(n)}.mp4", NOW + 1) for n in (1, 2)
        }
        assert len(await catalog.stored(1)) == 1
        await catalog.record([record_of(1)], NOW)
        assert [row.aweme_id for row in await catalog.stored(9)] == [vid(2)]

    with_catalog(tmp_path, act)


def test_canaries_are_the_posts_archived_last(tmp_path: Path) -> None:
    """Posts known to be alive a short while ago are found, the latest first."""

    async def act(catalog: Catalog, queue: Queue) -> None:
        await _store(queue, 1, 2, 3)
        await catalog.record([record_of(n, NOW + at) for n, at in ((1, 5), (2, 30), (3, 10))], NOW)
        assert await catalog.canaries(2, NOW + 1e6) == [vid(2), vid(3)]
        assert await catalog.canaries(9, NOW - 1e6) == [], "only what was archived before that moment"

    with_catalog(tmp_path, act)


def test_archived_ids_are_paged_in_order(tmp_path: Path) -> None:
    """`verify` meets every archived id once, a page at a time."""

    async def act(catalog: Catalog, queue: Queue) -> None:
        await _store(queue, *range(7))
        await catalog.record([record_of(n) for n in range(6)], NOW)
        met: list[AwemeId] = []
        while page := await catalog.next_archived(met[-1] if met else "", 4):
            met += page
        assert met == [vid(n) for n in range(6)]

    with_catalog(tmp_path, act)

"""Search on both databases: the same words find the same posts, in the same order, page by page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from clipledger.core.errors import UsageError
from clipledger.core.model import Author, Counters, ObjectKey
from clipledger.core.query import parse
from clipledger.core.words import GONE
from clipledger.db import search as search_module
from clipledger.db import speech as speech_module
from clipledger.db.availability import answered, vanished
from clipledger.db.catalog import Catalog, Record
from clipledger.db.database import Database
from clipledger.db.queue import Queue
from clipledger.db.search import Hit, Search, Sort
from clipledger.db.search_index import SearchIndex
from contract.archives import NOW, in_archive, is_postgres, raw, vid
from contract.test_catalog import record_of

pytestmark = pytest.mark.usefixtures("backend")

DAY = 86_400 << 32
TITLES = (
    "A black cat #cats #FYP",
    "black dog, white cat",
    "Café in New York #fyp",
    "york new and old",
    "東京タワー #踊ってみた \U0001f431",
    "don't panic \U0001f44d\U0001f3fd",
    "' OR 1=1; -- \" * NEAR(cat)",
)


def number_of(index: int) -> int:
    """Number the posts a day apart."""
    return index * DAY


def record(index: int, title: str, plays: int | None = None, who: str = "alice") -> Record:
    """Make a post of `who`, a day after the one before."""
    made = record_of(number_of(index), counters=Counters(plays, 1))
    author = Author(str(1000 + sum(who.encode())), who, who.title())
    key = ObjectKey(f"videos/{vid(number_of(index))}.mp4")
    return replace(made, post=replace(made.post, title=title, author=author), storage_key=key)


def with_posts(folder: Path, records: Sequence[Record], act: Callable[[Database], Awaitable[None]]) -> None:
    """Run `act` on an archive that holds `records`."""

    async def main(db: Database) -> None:
        queue = Queue(db)
        await queue.add_by_hand([(each.post.aweme_id, None) for each in records], "hand", 0, NOW)
        for job in await queue.claim(len(records), NOW, 60, "w"):
            await queue.mark_resolved(job, NOW, "author=a", ObjectKey(f"videos/{job.aweme_id}.mp4"))
            await queue.mark_stored(job, NOW + 1)
        assert await Catalog(db).record(records, NOW + 9) == len(records)
        await act(db)

    in_archive(folder, main)


async def found(db: Database, text: str, sort: Sort = Sort.NEW, limit: int = 50) -> list[int]:
    """Give the numbers of what a search finds."""
    page = await Search(db).find(parse(text), sort, limit)
    return [(int(hit.aweme_id) - int(vid(0))) // DAY for hit in page.hits]


def test_the_same_words_find_the_same_posts(tmp_path: Path) -> None:
    """Words, phrases, prefixes, refusals, tags, other scripts and emoji find what a reader would expect."""

    async def act(db: Database) -> None:
        for text, wanted in {
            "cat": [6, 1, 0],
            "black cat": [1, 0],
            '"black cat"': [0],
            "black -dog": [0],
            "-cat": [5, 4, 3, 2],
            "bla*": [1, 0],
            "dog OR york": [3, 2, 1],
            '"new york"': [2],
            "cafe": [2],
            "CAFÉ": [2],
            "東京": [4],
            "京東": [],
            "\U0001f431": [4],
            "\U0001f44d": [5],
            "dont": [5],
            "tag:#fyp": [2, 0],
            "#踊ってみた": [4],
            "#cat": [],
            "or 1": [6],
            '"cat alice"': [],
            "alice": [6, 5, 4, 3, 2, 1, 0],
            "music:77 region:us -is:photo": [6, 5, 4, 3, 2, 1, 0],
            "": [6, 5, 4, 3, 2, 1, 0],
        }.items():
            assert await found(db, text) == wanted, text
            assert await found(db, text, Sort.OLD) == wanted[::-1], text
            assert await Search(db).count(parse(text)) == len(wanted), text

    with_posts(tmp_path, [record(index, title) for index, title in enumerate(TITLES)], act)


def test_days_and_plays_narrow_a_search(tmp_path: Path) -> None:
    """since and until go by the moment of creation, which the id holds; plays by the latest count."""
    records = [record(index, "cat", 10**index) for index in range(5)]

    async def act(db: Database) -> None:
        first = "2023-11-11"  # of vid(0)
        assert await found(db, f"cat until:{first}") == await found(db, f"until:{first}") == [0]
        assert await found(db, "since:2023-11-12 until:2023-11-13") == [2, 1]
        assert await found(db, "cat since:2023-11-12 until:2023-11-13") == [2, 1]
        assert await found(db, "cat plays:100") == await found(db, "plays:100") == [4, 3, 2]
        assert await found(db, "since:2030-01-01") == await found(db, "cat since:2030-01-01") == []

    with_posts(tmp_path, records, act)


def test_pages_are_stable_in_every_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Page after page gives each match once, in order, whichever way the order was made, also while posts arrive."""
    plays = [5, None, 7, 7, 7, 1, 9, 3]
    records = [record(index, "cat " + "dog " * (index % 3), count) for index, count in enumerate(plays)]
    by_plays, asked = [6, 4, 3, 2, 0, 7, 5], dict(speech_module._SPEECH)

    async def act(db: Database) -> None:
        for sort, wanted in ((Sort.NEW, [7, 6, 5, 4, 3, 2, 1, 0]), (Sort.OLD, list(range(8))), (Sort.PLAYS, by_plays)):
            for text in ("cat", ""):
                assert await pages(db, text, sort) == wanted
        assert sorted(await pages(db, "cat", Sort.GROWTH)) == [0, 2, 3, 4, 5, 6, 7]
        assert await pages(db, "dog cat", Sort.RELEVANCE) == [5, 2, 7, 4, 1], (
            "the share of what was asked for, newest first"
        )
        for name in ("GLANCED", "GLANCED_LOOKUPS"):  # from here on no first look fills a page
            monkeypatch.setattr(search_module, name, 1)
        for sorted_max, gathered_max, walked_max in product((0, 100), (0, 100), (4000, 2)):
            for name, each in asked.items():
                change = replace(each, sorted_max=sorted_max, gathered_max=gathered_max, walked_max=walked_max)
                monkeypatch.setitem(speech_module._SPEECH, name, change)
            monkeypatch.setattr(search_module, "GATHERED_WALKED_MAX", walked_max)
            how = f"sorted up to {sorted_max}, gathered up to {gathered_max}, {walked_max} walked"
            assert await pages(db, "cat", Sort.PLAYS) == by_plays, how
            assert await pages(db, "dog", Sort.PLAYS) == [4, 2, 7, 5], how
            assert await pages(db, "dog", Sort.NEW) == [7, 5, 4, 2, 1], how
            assert await pages(db, "dog plays:5", Sort.OLD) == [2, 4], how
            assert await pages(db, "dog cat", Sort.RELEVANCE) == [5, 2, 7, 4, 1], how
            assert await Search(db).count(parse("dog plays:5")) == 2, how

    with_posts(tmp_path, records, act)


async def pages(db: Database, text: str, sort: Sort) -> list[int]:
    """Read a search to its end, two posts a page, and back again from its last post to the first."""
    found = await _read(db, text, sort, None, backwards=False)
    back = await _read(db, text, sort, found[-1].key, backwards=True) if found else []
    assert [hit.key for hit in back] == [hit.key for hit in reversed(found[:-1])], "the way back is another"
    return [(int(hit.aweme_id) - int(vid(0))) // DAY for hit in found]


async def _read(db: Database, text: str, sort: Sort, after: str | None, *, backwards: bool) -> list[Hit]:
    hits = list[Hit]()
    for _ in range(20):
        page = await Search(db).find(parse(text), sort, 2, after, backwards=backwards)
        hits += page.hits
        if (after := page.after) is None:
            return hits
    raise AssertionError("the pages do not end")


def test_a_key_of_another_order_is_refused(tmp_path: Path) -> None:
    """A key that no page gave is told in one line, never handed to the database."""

    async def act(db: Database) -> None:
        for sort in Sort:
            for after in ("x", "1:2:3", "'; DROP TABLE posts", "9" * 30, "nan:5", ""):
                with pytest.raises(UsageError):
                    await Search(db).find(parse("cat"), sort, 2, after)

    with_posts(tmp_path, [record(0, "cat")], act)


def test_an_author_is_found_under_every_handle(tmp_path: Path) -> None:
    """Who was renamed is found under the old and the new handle, with all posts."""
    records = [record(0, "one", who="old"), record(1, "two", who="old"), record(2, "three", who="bob")]
    renamed = record(3, "four", who="old")
    renamed = replace(renamed, post=replace(renamed.post, author=replace(renamed.post.author, handle="New.Name")))

    async def act(db: Database) -> None:
        assert await found(db, "from:@old") == await found(db, "from:new.name") == [3, 1, 0]
        assert await found(db, "from:@bob") == [2]
        assert await found(db, "-from:@bob") == [3, 1, 0]
        assert await found(db, "from:nobody") == []

    with_posts(tmp_path, [*records, renamed], act)


def test_what_is_gone_is_found_as_gone(tmp_path: Path) -> None:
    """A post that vanished keeps its row and is found by is:gone; one that comes back no longer is."""

    async def act(db: Database) -> None:
        await db.write(lambda connection: vanished(connection, vid(0), NOW + 50, NOW + 60, "not_found"))
        assert (await found(db, "is:gone"), await found(db, "cat -is:gone")) == ([0], [1])
        page = await Search(db).find(parse(GONE), Sort.NEW, 5)
        assert [hit.gone_at for hit in page.hits] == [NOW + 50]
        await db.write(lambda connection: answered(connection, vid(0), NOW + 90))
        assert (await found(db, "is:gone"), await found(db, "cat -is:gone")) == ([], [1, 0])

    with_posts(tmp_path, [record(0, "cat"), record(1, "cat")], act)


def test_facets_count_what_was_found(tmp_path: Path) -> None:
    """Authors, tags, regions and months of the matches are counted, the largest first."""
    records = [record(0, "cat #a #b"), record(1, "cat #a"), record(2, "cat", who="bob"), record(3, "dog #b")]

    async def act(db: Database) -> None:
        for text in ("cat", "until:2023-11-13"):
            told = await Search(db).facets(parse(text))
            assert (told.counted, told.complete) == (3, True)
            assert [(handle, n) for _, handle, n in told.authors] == [("alice", 2), ("bob", 1)]
            assert told.tags == (("a", 2), ("b", 1))
            assert told.regions == (("US", 3),) and told.months == (("2023-11", 3),)

    with_posts(tmp_path, records, act)


def test_the_index_is_proven_and_made_anew(tmp_path: Path) -> None:
    """`reindex` notices an entry that is wrong, missing or nobody's, and leaves an index equal to the posts."""

    async def act(db: Database) -> None:
        index = SearchIndex(db)
        assert (await index.prove()).holds
        raw(tmp_path, "UPDATE posts SET title = 'a llama' WHERE aweme_id = ?", vid(0))
        key = vid(DAY) if is_postgres() else int(vid(DAY))
        raw(tmp_path, f"DELETE FROM post_search WHERE {'aweme_id' if is_postgres() else 'rowid'} = ?", key)
        raw(tmp_path, "DELETE FROM posts WHERE aweme_id = ?", vid(2 * DAY))
        broken = await index.prove()
        assert (set(broken.wrong), broken.stray, broken.holds) == ({vid(0), vid(DAY)}, 1, False)
        await index.mend(broken)
        assert (await index.prove()).holds
        assert (await found(db, "llama"), await found(db, "cat")) == ([0], [1])
        assert raw(tmp_path, "SELECT count(*) FROM hashtags") == [(1,)]

    with_posts(tmp_path, [record(index, "cat #x") for index in range(3)], act)


def test_an_archive_without_an_index_is_filled(tmp_path: Path) -> None:
    """Posts archived before there was an index are found once it was filled, as the migration does."""

    async def act(db: Database) -> None:
        from clipledger.db.search_index import fill

        for table in ("post_search", "hashtags", "availability", "refreshes", "authors", "author_handles"):
            raw(tmp_path, f"DELETE FROM {table}")
        assert await found(db, "cat") == []
        assert await db.write(fill) == 2
        assert await found(db, "cat") == await found(db, "from:@alice") == [1, 0]
        assert (await SearchIndex(db).prove()).holds

    with_posts(tmp_path, [record(0, "cat"), record(1, "cat")], act)


def test_a_page_costs_the_same_whatever_is_searched(tmp_path: Path) -> None:
    """Only the posts of the page are read in full."""

    async def act(db: Database) -> None:
        page: Any = await Search(db).find(parse("cat"), Sort.NEW, 3)
        assert len(page.hits) == 3 and page.after == vid(5 * DAY)

    with_posts(tmp_path, [record(index, "cat") for index in range(8)], act)

"""Refreshes, availability, authors and what is gone, on both databases."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from clipledger.core.errors import Reason
from clipledger.core.history import DOUBT_S
from clipledger.core.lifecycle import CallReason
from clipledger.core.model import BY_HAND, Author, Counters, Post
from clipledger.db.authors import Authors
from clipledger.db.availability import runs
from clipledger.db.credits import CallIn, CallOutcome, Credits
from clipledger.db.database import Database
from clipledger.db.gone import Gone, Wanted
from clipledger.db.queue import Queue
from clipledger.db.refreshes import Refreshes
from clipledger.db.sources import SourceIn, Sources
from contract.archives import NOW, page_of, raw, vid
from contract.test_search import number_of, record, with_posts

pytestmark = pytest.mark.usefixtures("backend")

HOUR_S = 3600.0
CAPTURED = NOW + 5
LEASE_S = 60.0


def seen(index: int, *counters: int | None, who: str = "alice") -> Post:
    """Make what an answer says of a post later."""
    author = record(index, "", who=who).post.author
    return Post(vid(number_of(index)), author, counters=Counters(*counters))


async def spend(db: Database, index: int, at: float) -> None:
    """Put a refresh into the ledger."""
    ledger = Credits(db)
    call = CallIn("/post-detail/", vid(number_of(index)), None, CallReason.REFRESH, "w")
    await ledger.settle(await ledger.intend(call, at), CallOutcome.OK, 1, at)


def test_steps_come_due_one_after_another(tmp_path: Path) -> None:
    """A post is due at each step after its capture, once; what an answer tells becomes its latest and its history."""

    async def act(db: Database) -> None:
        refreshes = Refreshes(db, "1h,1d")
        assert await refreshes.wanted() and await refreshes.plan(NOW + 10) == 1 and await refreshes.plan(NOW + 10) == 0
        assert await refreshes.next_at() == CAPTURED + HOUR_S
        assert await refreshes.claim(5, CAPTURED + HOUR_S - 1, LEASE_S, "w") == []
        at = CAPTURED + HOUR_S + 30
        [held] = await refreshes.claim(5, at, LEASE_S, "w")
        assert await refreshes.claim(5, at, LEASE_S, "v") == [], "a lease is one process's"
        assert not await refreshes.alive(held, seen(0, 70, 2), at)
        assert await refreshes.next_at() == CAPTURED + 24 * HOUR_S
        assert raw(tmp_path, "SELECT play_count, digg_count FROM posts") == [(70, 2)]
        assert raw(tmp_path, "SELECT feed, play_count FROM post_metrics_history ORDER BY observed_at") == [
            ("capture", 100),
            ("refresh", 70),
        ]

    with_posts(tmp_path, [record(0, "cat", 100)], act)


def test_a_source_can_have_steps_of_its_own(tmp_path: Path) -> None:
    """Posts of a source with steps follow these, all others the default; taking them back plans anew."""

    async def act(db: Database) -> None:
        sources, refreshes = Sources(db), Refreshes(db, "")
        await sources.register(SourceIn("#a", "tag", "a", NOW))
        [job] = [await sources.claim_due(NOW, 60, "w")]
        assert job is not None
        await Queue(db).add_page(page_of([seen(0, 1)], source="#a", token=job.token, now=NOW + 1, end="end"))
        assert not await refreshes.wanted() and not await refreshes.wish("#b", "1h")
        assert await refreshes.wish("#a", "2h") and await refreshes.wanted()
        assert await refreshes.plan(NOW + 10) == 2
        assert await refreshes.next_at() == CAPTURED + 2 * HOUR_S
        assert (await refreshes.standing(NOW)).planned == 1
        assert await refreshes.wish("#a", None) and await refreshes.plan(NOW + 10) == 1
        assert await refreshes.next_at() is None

    with_posts(tmp_path, [record(0, "cat"), record(1, "cat")], act)


def test_the_budget_counts_what_is_spent_and_under_way(tmp_path: Path) -> None:
    """However many processes claim, a day's refreshes never exceed the budget; the next day has its own."""

    async def act(db: Database) -> None:
        refreshes = Refreshes(db, "1h", budget=5)
        at = CAPTURED + HOUR_S + 1
        await refreshes.plan(NOW)
        await spend(db, 9, at)
        claims = await asyncio.gather(*(refreshes.claim(3, at, LEASE_S, f"w{n}") for n in range(4)))
        assert sorted(len(claim) for claim in claims) == [0, 0, 1, 3]
        assert len({held.aweme_id for claim in claims for held in claim}) == 4
        assert await refreshes.claim(3, at, LEASE_S, "w") == []
        assert len(await refreshes.claim(9, at + 24 * HOUR_S, LEASE_S, "w")) == 5

    with_posts(tmp_path, [record(index, "cat") for index in range(10)], act)


def test_what_was_claimed_and_not_asked_is_due_as_it_was(tmp_path: Path) -> None:
    """A stop or a death loses no step; an answer that comes after the lease was lost changes no schedule."""

    async def act(db: Database) -> None:
        refreshes, at = Refreshes(db, "1h"), CAPTURED + HOUR_S + 1
        await refreshes.plan(NOW)
        first = await refreshes.claim(1, at, LEASE_S, "w")
        await refreshes.give_back(first)
        second = await refreshes.claim(1, at, LEASE_S, "w")
        await refreshes.leave("w")
        third = await refreshes.claim(1, at, LEASE_S, "w")
        [fourth] = await refreshes.claim(1, at + LEASE_S + 1, LEASE_S, "v")
        assert [held.token for held in (*first, *second, *third, fourth)] == [1, 2, 3, 4]
        await refreshes.put_off(third[0], at + 999)
        assert await refreshes.next_at() == CAPTURED + HOUR_S
        await refreshes.put_off(fourth, at + 300)
        assert await refreshes.next_at() == at + 300

    with_posts(tmp_path, [record(0, "cat")], act)


def test_a_post_that_vanished_is_dated_and_can_come_back(tmp_path: Path) -> None:
    """Not found is a doubt; believed, it is gone since the first time, with its reason; lists that still show it
    change nothing; an answer brings it back."""

    async def act(db: Database) -> None:
        refreshes, at = Refreshes(db, "1h,6h"), CAPTURED + HOUR_S + 1
        await refreshes.plan(NOW)
        held = {each.aweme_id: each for each in await refreshes.claim(3, at, LEASE_S, "w")}
        for index in (1, 2):
            await refreshes.alive(held[vid(number_of(index))], seen(index, 1), at)
        assert await refreshes.missing(
            held[vid(0)],
            Reason.PRIVATE,
            at,
        )
        assert await refreshes.next_at() == at + DOUBT_S
        assert await Gone(db).archived(Wanted(), 9) == []
        again = at + DOUBT_S
        round_ = await refreshes.claim_round(20, again, LEASE_S, "w")
        assert [each.aweme_id for each in round_.doubted] == [vid(0)]
        assert {each.aweme_id for each in round_.neighbours} == {vid(number_of(1)), vid(number_of(2))}
        assert await refreshes.vanished([vid(0)], again) == 1 and await refreshes.vanished([vid(0)], again) == 0
        await Queue(db).add_page(page_of([seen(0, 3)], now=again + 50))
        states = await db.read(lambda connection: runs(connection, vid(0)))
        assert [(run.state, run.first_at, run.last_at, run.reason, run.ended_at) for run in states] == [
            ("present", CAPTURED, CAPTURED, "", at),
            ("gone", at, again, "unavailable:private", None),
        ]
        [gone] = await Gone(db).archived(Wanted(since=at, author="@alice", tag="x"), 9)
        assert (gone.gone_at, gone.last_seen_at, gone.tags, gone.archived) == (at, CAPTURED, ("x",), True)
        for other in (Wanted(since=at + 1), Wanted(author="@bob"), Wanted(tag="y"), Wanted(source="#none")):
            assert await Gone(db).archived(other, 9) == []
        later = CAPTURED + 7 * HOUR_S
        [held_back] = [each for each in await refreshes.claim(5, later, LEASE_S, "w") if each.aweme_id == vid(0)]
        assert await refreshes.alive(held_back, seen(0, 5), later)
        assert await Gone(db).archived(Wanted(), 9) == []

    with_posts(tmp_path, [record(index, "cat #x") for index in range(3)], act)


def test_a_round_without_budget_for_neighbours_is_not_begun(tmp_path: Path) -> None:
    """Doubts wait for the next day rather than cost more than the budget."""

    async def act(db: Database) -> None:
        refreshes, at = Refreshes(db, "1h", budget=2), CAPTURED + HOUR_S + 1
        await refreshes.plan(NOW)
        for held in await refreshes.claim(2, at, LEASE_S, "w"):
            await refreshes.missing(held, Reason.NOT_FOUND, at)
        assert (await refreshes.claim_round(20, at + DOUBT_S, LEASE_S, "w")).doubted == ()
        wide = Refreshes(db, "1h", budget=4)
        assert len((await wide.claim_round(20, at + DOUBT_S, LEASE_S, "w")).doubted) == 2

    with_posts(tmp_path, [record(index, "cat") for index in range(4)], act)


def test_every_handle_of_an_author_is_kept(tmp_path: Path) -> None:
    """Lists and captures tell handles: each is kept with its first and last day, the latest is the author's."""

    async def act(db: Database) -> None:
        queue, renamed = Queue(db), seen(0, 1)
        author_id = renamed.author.id
        renamed = replace(renamed, author=Author(author_id, "Al.New", "Al"))
        await queue.add_page(page_of([renamed], now=NOW + 99))
        await queue.add_page(page_of([replace(renamed, author=Author("", "nobody"))], now=NOW + 120))
        [row] = await Authors(db).called("@ALICE")
        assert (row.author_id, row.handle, row.nickname, row.archived) == (author_id, "Al.New", "Al", 1)
        assert (row.first_seen_at, row.last_seen_at) == (CAPTURED, NOW + 99)
        assert [(each.handle, each.first_seen_at) for each in row.handles] == [
            ("al.new", NOW + 99),
            ("alice", CAPTURED),
        ]
        assert await Authors(db).page("", 5) == [row] == await Authors(db).called("al.new")
        assert await Authors(db).page(author_id, 5) == await Authors(db).called("nobody") == []

    with_posts(tmp_path, [record(0, "cat")], act)


def test_an_id_that_was_never_there_is_dated_by_itself(tmp_path: Path) -> None:
    """A dead id that nobody could resolve is listed with the moment its own id tells."""

    async def act(db: Database) -> None:
        raw(
            tmp_path,
            "INSERT INTO dead_letters (aweme_id, reason, attempts, died_at) VALUES (?, 'not_found', 1, ?)",
            vid(7),
            "2026-05-29T00:00:00.000Z",
        )
        [gone] = await Gone(db).never_resolved(Wanted(), 9)
        assert (gone.created_at, gone.archived, gone.reason) == (float(int(vid(7)) >> 32), False, "not_found")

    with_posts(tmp_path, [], act)


def test_an_id_that_was_typed_was_not_seen(tmp_path: Path) -> None:
    """What the operator typed tells nothing of when a post was there; what a list showed does."""

    async def act(db: Database) -> None:
        for n, source in ((7, BY_HAND), (8, "@alice")):
            dead = "INSERT INTO dead_letters (aweme_id, reason, attempts, died_at) VALUES (?, 'not_found', 1, ?)"
            raw(tmp_path, dead, vid(n), "2026-05-29T00:00:00.000Z")
            shown = "INSERT INTO sightings (source, aweme_id, seen_at, last_seen_at, is_ad, pinned)"
            raw(
                tmp_path,
                shown + " VALUES (?, ?, ?, ?, FALSE, FALSE)",
                source,
                vid(n),
                *["2026-05-28T00:00:00.000Z"] * 2,
            )
        seen = {gone.aweme_id: gone.last_seen_at for gone in await Gone(db).never_resolved(Wanted(), 9)}
        assert seen[vid(7)] is None and seen[vid(8)] is not None

    with_posts(tmp_path, [], act)

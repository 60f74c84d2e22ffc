"""The books: every law of the ledger is checked, every source is balanced, and what is kept for people."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from clipledger.core.errors import Reason
from clipledger.core.lifecycle import CallReason, Settlement
from clipledger.core.model import ObjectKey, State
from clipledger.db.books import PAGE, Balance, Books, Finding
from clipledger.db.catalog import Catalog
from clipledger.db.credits import CallOutcome, Credits
from clipledger.db.database import Database
from clipledger.db.queue import Queue
from clipledger.db.samples import KEPT, Event, Sample, Samples
from clipledger.db.sources import SourceIn, Sources
from clipledger.db.switches import Switch, Switches
from contract.archives import NOW, archive_at, call_of, in_archive, is_made, new_archive, page_of, post, raw, vid
from contract.test_catalog import record_of

pytestmark = pytest.mark.usefixtures("backend")


async def _fill(db: Database) -> None:
    """Make an archive with one archived, one dead, one stored, one running and two pending videos."""
    queue, credits = Queue(db), Credits(db)
    await Sources(db).register_all([SourceIn(name, "user", name[1:], NOW) for name in ("@a", "@b", "@idle")])
    await Sources(db).save_entity("@a", "1", 40, NOW)
    await queue.add_page(page_of([post(n) for n in (1, 2, 3, 4)], source="@a", token=0))
    await queue.add_page(page_of([post(n) for n in (4, 5, 6)], source="@b", token=0))
    for number in (6, 5, 4, 3):
        (job,) = await queue.claim(1, NOW, 60, "w")
        assert job.aweme_id == vid(number)
        seq = await credits.intend(call_of(job), NOW)
        await credits.settle(seq, CallOutcome.OK, 1, NOW)
        if number == 5:
            end = Settlement(job.aweme_id, job.token, State.DEAD, NOW, True, Reason.PRIVATE, "", CallReason.RETRY)
            await queue.settle(end, NOW)
        if number in (6, 4):
            await queue.mark_resolved(job, NOW, "author=a", ObjectKey(f"videos/{number}.mp4"))
            await queue.mark_stored(job, NOW)
    await Catalog(db).record([record_of(4)], NOW)


async def _findings(path: Path | str) -> list[Finding]:
    async with Database.open(path) as db:
        return [finding async for finding in Books(db).check()]


def _damage(folder: Path, *statements: str) -> list[Finding]:
    if not is_made(folder):
        in_archive(folder, _fill)
    for statement in statements:
        raw(folder, statement)
    return asyncio.run(_findings(archive_at(folder)))


def test_an_honest_archive_balances(tmp_path: Path) -> None:
    """An archive in the middle of its work has no finding."""
    assert _damage(tmp_path) == []


_DAMAGES = [
    (f"UPDATE archive_queue SET state = 'lost' WHERE aweme_id = '{vid(2)}'", 2, "is in a state we do not know"),
    ("DELETE FROM posts", 4, "is archived without a row in posts"),
    ("DELETE FROM files WHERE kind <> 'sidecar'", 4, "is archived without a file"),
    ("DELETE FROM files WHERE kind = 'sidecar'", 4, "is archived without a sidecar"),
    ("DELETE FROM dead_letters", 5, "is dead without a dead letter"),
    (
        f"INSERT INTO dead_letters(aweme_id, reason, attempts, died_at) VALUES ('{vid(1)}', 'x', 1, '2026-01-01')",
        1,
        "has a dead letter and is not dead",
    ),
    (f"DELETE FROM archive_queue WHERE aweme_id = '{vid(1)}'", 1, "was seen and is not in the queue"),
    ("UPDATE archive_queue SET lease_until = NULL WHERE state = 'running'", 3, "is running without a lease"),
    (
        f"UPDATE archive_queue SET lease_until = '2026-01-01T00:00:00.000Z' WHERE aweme_id = '{vid(1)}'",
        1,
        "has a lease and is not running",
    ),
    (f"UPDATE archive_queue SET storage_key = NULL WHERE aweme_id = '{vid(6)}'", 6, "is stored without a key"),
    (
        f"UPDATE archive_queue SET suspect_at = '2026-01-01T00:00:00.000Z' WHERE aweme_id = '{vid(6)}'",
        6,
        "is a suspect and not pending",
    ),
    (
        f"UPDATE archive_queue SET state = 'pending' WHERE aweme_id = '{vid(4)}'",
        4,
        "has a row in posts and is not archived",
    ),
]


@pytest.mark.parametrize(("statement", "number", "what"), _DAMAGES, ids=[what for _, _, what in _DAMAGES])
def test_every_broken_law_is_found(tmp_path: Path, statement: str, number: int, what: str) -> None:
    """Each way in which the ledger can be wrong is found, with the id it is wrong for."""
    assert _damage(tmp_path, statement) == [Finding(vid(number), what)]


def test_a_missing_receipt_is_found(tmp_path: Path) -> None:
    """An archived post that nobody paid for is found, and so is the day whose sum no longer holds."""
    found = _damage(tmp_path, f"DELETE FROM credits WHERE aweme_id = '{vid(4)}'")
    assert [(finding.aweme_id, finding.what) for finding in found] == [
        (vid(4), "is archived without a row in credits"),
        ("", "credits of 2026-05-28 (UTC): the day says 4, its calls sum to 3"),
    ]


def test_every_day_is_summed(tmp_path: Path) -> None:
    """A wrong sum is found on any day: one with calls only, and one without any."""
    found = _damage(
        tmp_path,
        "INSERT INTO credit_days VALUES ('2025-01-01', 7)",
        "INSERT INTO credits(at, endpoint, reason) VALUES ('2027-03-04T23:59:59.999Z', '/x/', 'first')",
    )
    assert [finding.what for finding in found] == [
        "credits of 2025-01-01 (UTC): the day says 7, its calls sum to 0",
        "credits of 2027-03-04 (UTC): the day says 0, its calls sum to 1",
    ]


def test_thousands_of_findings_are_all_told(tmp_path: Path) -> None:
    """However much is damaged, every id is named once."""

    async def act(db: Database) -> None:
        await Queue(db).add_by_hand([(vid(n), None) for n in range(PAGE * 2 + 1)], "hand", 0, NOW)

    in_archive(tmp_path, act)
    found = _damage(tmp_path, "UPDATE archive_queue SET state = 'lost'")
    assert [finding.aweme_id for finding in found] == [vid(n) for n in range(PAGE * 2 + 1)]


def test_every_source_is_balanced(tmp_path: Path) -> None:
    """For each source what was seen equals what is archived, dead, withheld and waiting; ids count once in all."""

    async def act(db: Database) -> None:
        await _fill(db)
        books = Books(db)
        assert await books.per_source() == [
            Balance("@a", seen=4, archived=1, waiting=3, declared=40),
            Balance("@b", seen=3, archived=1, dead=1, waiting=1, reasons={"unavailable:private": 1}),
            Balance("@idle"),
        ]
        assert [(seen.source, seen.seen_at) for seen in await books.sightings(vid(4))] == [("@a", NOW), ("@b", NOW)]
        assert await books.everything() == Balance(
            "", seen=6, archived=1, dead=1, waiting=4, reasons={"unavailable:private": 1}
        )

    in_archive(tmp_path, act)


def test_the_newest_samples_are_kept(tmp_path: Path) -> None:
    """Replies we could not read are kept for people, the newest of them, in bounded space."""

    async def act(db: Database) -> None:
        samples = Samples(db)
        async with asyncio.TaskGroup() as group:
            for n in range(KEPT + 5):
                group.create_task(samples.keep(Sample(NOW + n, "/post-detail/", "odd", "x" * 100_000, vid(n))))
        kept = await samples.newest()
        assert [sample.aweme_id for sample in kept] == [vid(n) for n in reversed(range(5, KEPT + 5))]
        assert {len(sample.body) for sample in kept} == {65_536}

    in_archive(tmp_path, act)


def test_events_are_noted(tmp_path: Path) -> None:
    """What an operator asks about later is found, the newest first."""

    async def act(db: Database) -> None:
        samples = Samples(db)
        events = [Event(NOW, "breaker_opened", {"gone": 26}), Event(NOW + 1, "lease_lost", {}, vid(1), "@a", "w")]
        for event in events:
            await samples.note(event)
        assert await samples.events(9) == events[::-1]
        assert await samples.events(1) == events[1:]

    in_archive(tmp_path, act)


def test_a_switch_is_seen_by_every_process(tmp_path: Path) -> None:
    """A breaker opened by one process is open for another, with its evidence."""
    path = new_archive(tmp_path)

    async def main() -> None:
        async with Database.open(path) as one, Database.open(path) as other:
            assert await Switches(other).get("breaker") is None
            for switch in (Switch("breaker", "open", NOW, "26 of 50 gone"), Switch("breaker", "closed", NOW + 1)):
                await Switches(one).set(switch)
                assert await Switches(other).get("breaker") == switch

    asyncio.run(main())

"""Two who ask for the same, and a sweep amid an undo, on either database: no request is lost, and nobody stays out."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipledger.core.model import ObjectKey
from clipledger.core.tombstone import RECALLED_S
from clipledger.db.audit import AuditLog
from clipledger.db.bans import Hidden
from clipledger.db.books import Books
from clipledger.db.database import Database
from clipledger.db.queue import Queue
from clipledger.db.removals import Earlier, Grounds, Removals
from clipledger.db.restoring import Restorer
from clipledger.db.withheld import Receipts
from contract.archives import NOW, in_archive, raw, vid
from contract.queues import claim
from contract.test_custody import ALICE, WHO, archived
from contract.test_withheld_authors import refuse_late

pytestmark = pytest.mark.usefixtures("backend")

LETTER_A = Grounds("a court", "letter A", delay_s=90_000.0)
LETTER_B = Grounds("they asked", "letter B", delay_s=86_400.0, author_id=ALICE.id)


async def withdrawn(db: Database, *numbers: int) -> Removals:
    """Archive posts of Alice's, and withdraw her with them on letter B."""
    await archived(db, *numbers)
    removals = Removals(db, WHO)
    assert await removals.withhold_author(ALICE.id, LETTER_B, NOW) is None
    await removals.take([vid(n) for n in numbers], LETTER_B, NOW)
    return removals


def test_a_sweep_amid_an_undo_leaves_nobody_out(tmp_path: Path) -> None:
    """What a sweep hides again before the ban is lifted comes back with it; after that a sweep hides nothing."""

    async def act(db: Database) -> None:
        removals = await withdrawn(db, 1, 2)
        assert await removals.restore([vid(1), vid(2)], "a mistake", NOW + 1) == [vid(1), vid(2)]
        found = await removals.strays("")
        ban = found[vid(1)]
        assert set(found) == {vid(1), vid(2)}
        assert await removals.take_strays([vid(1)], ban, 7.0, NOW + 2) == [vid(1)]
        assert await removals.take_strays([vid(1)], ban, 7.0, NOW + 2) == []
        lifted = await removals.lift_ban(ALICE.id, "a mistake", NOW + 3)
        assert lifted is not None and (lifted.back, lifted.hidden) == ((vid(1),), Hidden())
        assert await removals.take_strays([vid(1), vid(2)], ban, 7.0, NOW + 4) == [], "looked up before, too late now"
        assert await removals.lift_ban(ALICE.id, "a mistake", NOW + 5) is None
        assert not [finding async for finding in Books(db).check()]

    in_archive(tmp_path, act)
    assert raw(tmp_path, "SELECT count(*) FROM removals") == [(0,)]
    assert raw(tmp_path, "SELECT count(*) FROM archive_queue WHERE state = 'archived'") == [(2,)]


def test_a_sweep_leaves_the_date_of_what_is_out(tmp_path: Path) -> None:
    """A post that was withdrawn since the sweep looked keeps its grounds and its date."""

    async def act(db: Database) -> None:
        await archived(db, 1)
        removals = Removals(db, WHO)
        await removals.withhold_author(ALICE.id, LETTER_B, NOW)
        ban = (await removals.strays(""))[vid(1)]
        await removals.take([vid(1)], LETTER_A, NOW)
        assert await removals.take_strays([vid(1)], ban, 7.0, NOW + 2) == []

    in_archive(tmp_path, act)
    assert raw(tmp_path, "SELECT request FROM removals") == [("letter A",)]


def test_a_post_asked_for_by_itself_stays_out_when_its_author_comes_back(tmp_path: Path) -> None:
    """The second request is the post's own: it is told and logged, keeps the earlier date, and outlives the first."""

    async def act(db: Database) -> None:
        removals = await withdrawn(db, 1, 2)
        taken = await removals.take([vid(1)], LETTER_A, NOW + 5)
        assert (taken.taken, taken.noted) == ((vid(1),), {vid(1): Earlier("letter B", NOW)})
        (receipt,) = await Receipts(db).of_all([vid(1)])
        assert (receipt.reason, receipt.request, receipt.asked_at) == ("a court", "letter A", NOW)
        assert receipt.purge_at == NOW + 86_400
        told = [(row.act, row.why, row.detail) for row in await AuditLog(db, WHO).about(vid(1))]
        assert told == [("withdraw", "they asked", "letter B"), ("withdraw", "a court", "letter A")]
        assert (await removals.take([vid(1)], LETTER_A, NOW + 6)).noted == {}, "asked again, as who was cut off does"
        assert (await removals.take([vid(1)], LETTER_B, NOW + 6)).noted == {}, "logged as the author's"

        lifted = await removals.lift_ban(ALICE.id, "another Alice", NOW + 7)
        assert lifted is not None and (lifted.back, lifted.hidden) == ((vid(2),), Hidden(others=(vid(1),)))
        assert await removals.restore([vid(1)], "settled", NOW + 8) == [vid(1)]

    in_archive(tmp_path, act)


def test_a_third_request_for_a_post_leaves_its_grounds(tmp_path: Path) -> None:
    """What stands on its own keeps its first grounds; whoever asks later is told and logged."""

    async def act(db: Database) -> None:
        await archived(db, 1)
        removals = Removals(db, WHO)
        await removals.take([vid(1)], LETTER_A, NOW)
        taken = await removals.take([vid(1)], Grounds("again", "letter C", delay_s=9e9), NOW + 1)
        assert taken.noted == {vid(1): Earlier("letter A", NOW)}
        assert [row.detail for row in await AuditLog(db, WHO).about(vid(1))] == ["letter A", "letter C"]

    in_archive(tmp_path, act)
    assert raw(tmp_path, "SELECT request FROM removals") == [("letter A",)]


def test_two_requests_for_an_author_are_logged_and_lifted_as_one(tmp_path: Path) -> None:
    """The first ban stands; the second request is in the log once, and the undo tells both."""

    async def act(db: Database) -> None:
        removals = await withdrawn(db, 1)
        second = Grounds("a court", "letter A", author_id=ALICE.id)
        for _ in range(2):
            stood = await removals.withhold_author(ALICE.id, second, NOW + 1)
            assert stood is not None and (stood.request, stood.asked_at) == ("letter B", NOW)
        assert [row.detail for row in await AuditLog(db, WHO).about(f"author:{ALICE.id}")] == ["letter B", "letter A"]
        lifted = await removals.lift_ban(ALICE.id, "a mistake", NOW + 2)
        assert lifted is not None and lifted.asked == (("they asked", "letter B"), ("a court", "letter A"))
        assert await removals.withhold_author(ALICE.id, second, NOW + 3) is None, "a new one begins anew"
        lifted = await removals.lift_ban(ALICE.id, "a mistake", NOW + 4)
        assert lifted is not None and lifted.asked == (("a court", "letter A"),)

    in_archive(tmp_path, act)


def test_what_is_being_erased_is_named_by_an_undo(tmp_path: Path) -> None:
    """An undo that comes amid a purge names what it could not bring back; the purge ends as it would."""

    async def act(db: Database) -> None:
        removals = await withdrawn(db, 1, 2)
        await removals.take([vid(1)], Grounds("they asked", "letter B", author_id=ALICE.id), NOW + 1)
        assert [purge.aweme_id for purge in await removals.begin([vid(1)], NOW + 1)] == [vid(1)]
        lifted = await removals.lift_ban(ALICE.id, "a mistake", NOW + 2)
        assert lifted is not None and (lifted.back, lifted.hidden) == ((vid(2),), Hidden(erasing=(vid(1),)))
        assert await removals.end([vid(1)], NOW + 3) == [vid(1)]
        assert not [finding async for finding in Books(db).check()]

    in_archive(tmp_path, act)


def test_what_was_begun_of_a_withheld_author_is_erased_too(tmp_path: Path) -> None:
    """An id whose earlier attempt may have left files goes into quarantine, not past it; an undo has it wait again."""

    async def act(db: Database) -> None:
        queue, removals = Queue(db), Removals(db, WHO)
        await queue.add_by_hand([(vid(1), None), (vid(2), None)], "by-hand", 0, NOW)
        jobs = {job.aweme_id: job for job in await claim(queue, 2)}
        begun_before = "UPDATE archive_queue SET author_part = 'alice'"
        await db.write(lambda connection: connection.exec_driver_sql(begun_before))
        await removals.withhold_author(ALICE.id, LETTER_B, NOW + 1)
        for job in jobs.values():
            assert not await queue.mark_resolved(job, NOW + 2, "alice", ObjectKey("videos/k"), author_id=ALICE.id)
        assert (await removals.hidden_of(ALICE.id, await removals.ban_on(ALICE.id))).for_ban == (vid(1), vid(2))
        later = NOW + 3 + RECALLED_S
        (begun,) = await removals.begin([vid(1)], later)
        assert begun.author_part == "alice"
        assert await removals.end([vid(1)], later) == [vid(1)]
        lifted = await removals.lift_ban(ALICE.id, "a mistake", later)
        assert lifted is not None and lifted.back == (vid(2),)
        assert [job.aweme_id for job in await claim(queue, 9, now=later + 1)] == [vid(2)]

    in_archive(tmp_path, act)
    assert raw(tmp_path, "SELECT author_part FROM archive_queue ORDER BY aweme_id") == [(None,), ("alice",)]


def test_ids_kept_out_by_a_page_that_came_too_late_wait_again(tmp_path: Path) -> None:
    """Who looked before the ban was lifted, and wrote after, is found by a sweep."""

    async def act(db: Database) -> None:
        queue, removals = Queue(db), Removals(db, WHO)
        await queue.add_by_hand([(vid(1), None)], "by-hand", 0, NOW)
        await db.write(lambda connection: refuse_late(connection, vid(1)))
        assert await removals.let_in() == [ALICE.id]
        await removals.lift_ban(ALICE.id, "it was let in", NOW + 4)
        assert await removals.let_in() == []
        assert [job.aweme_id for job in await claim(queue, 9, now=NOW + 100)] == [vid(1)]

    in_archive(tmp_path, act)


def test_a_slip_is_unknown_again_unless_it_stands_in_the_store(tmp_path: Path) -> None:
    """An undo forgets what nothing had shown; what a rebuild met in the store meanwhile waits, its place known."""

    async def act(db: Database) -> None:
        removals = Removals(db, WHO)
        taken = await removals.take([vid(1), vid(2)], LETTER_A, NOW)
        assert taken.unseen == (vid(1), vid(2))
        await Restorer(db, removals).locate({vid(2): ("2026-05-29", "alice")})
        assert await removals.restore([vid(1), vid(2)], "a slip", NOW + 1) == [vid(1), vid(2)]
        assert not [finding async for finding in Books(db).check()]

    in_archive(tmp_path, act)
    assert raw(tmp_path, "SELECT aweme_id, state, author_part FROM archive_queue") == [(vid(2), "pending", "alice")]

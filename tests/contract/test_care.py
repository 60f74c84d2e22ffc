"""Who reads and who repairs which post, and what the store brings back into the tables, on both databases."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from clipledger.core.chain import Who
from clipledger.core.errors import Reason
from clipledger.core.lifecycle import CallReason, Settlement
from clipledger.core.model import FileKind, ObjectKey, State
from clipledger.core.sidecar import Origin, Replaced
from clipledger.db.care import Care
from clipledger.db.comparing import Compared, differences
from clipledger.db.credits import CallIn, CallOutcome, Credits
from clipledger.db.custody import Act, Custody, CustodyRow
from clipledger.db.database import Database
from clipledger.db.queue import Queue
from clipledger.db.removals import Removals
from clipledger.db.restoring import UNKNOWN_SOURCE, Restored, Restorer
from contract.archives import NOW, in_archive, new_archive, raw
from contract.test_search import record, with_posts

pytestmark = pytest.mark.usefixtures("backend")

DAY_S, PERIOD_S, LEASE_S = 86_400.0, 30 * 86_400.0, 600.0
RECORDS = [record(index, f"post {index} #tag") for index in range(12)]
IDS = [each.post.aweme_id for each in RECORDS]

WHO = Who("ann", "desk", "1.0")


def restored(index: int, origin: Origin | None = None) -> Restored:
    key = ObjectKey(f"videos/dt=2026-05-29/author=a/{IDS[index]}.mp4")
    return Restored(RECORDS[index], origin, "a", key)


def test_each_post_is_leased_to_one_and_due_once_a_period(tmp_path: Path) -> None:
    """Two processes never hold one post; what was read is due one period later, what was given back at once."""

    async def act(db: Database) -> None:
        care = Care(db)
        assert await care.plan(NOW, PERIOD_S) == len(IDS) and await care.plan(NOW, PERIOD_S) == 0
        end = NOW + PERIOD_S
        one = await care.claim(7, end, end, LEASE_S, "v")
        other = await care.claim(7, end, end, LEASE_S, "w")
        assert len(one) == 7 and len(other) == 5 and {each.aweme_id for each in (*one, *other)} == set(IDS)
        assert [each.due_at for each in one] == sorted(each.due_at or 0.0 for each in one)
        await care.give_back(other)
        assert len(await care.claim(7, end, end, LEASE_S, "w")) == 5
        for each in one:
            assert each.due_at is not None and await care.checked(each, each.due_at + PERIOD_S, end)
            assert not await care.checked(replace(each, token=each.token - 1), 0.0, end), (
                "a stale token changes nothing"
            )
        assert await care.claim(9, end, end, LEASE_S, "v") == []
        assert len(await care.claim(9, end + LEASE_S + 1, end, LEASE_S, "v")) == 5, "leases of the dead run out"
        stands = await care.standing(end + 10, PERIOD_S)
        assert (stands.posts, stands.overdue, stands.damaged) == (12, 5, 0)

    with_posts(tmp_path, RECORDS, act)


def test_repairs_stay_within_the_days_credits(tmp_path: Path) -> None:
    """What the day spent on repairs and what is under way count together; a post is tried once a day."""

    async def act(db: Database) -> None:
        care, ledger = Care(db), Credits(db)
        await care.plan(NOW, PERIOD_S)
        at = NOW + PERIOD_S
        row = CustodyRow(at, IDS[0], Act.DAMAGED, FileKind.VIDEO, ObjectKey("k"))
        for held in await care.claim(5, at, at, LEASE_S, "w"):
            assert await care.checked(held, at + PERIOD_S, at, ["gone bad"], [replace(row, aweme_id=held.aweme_id)])
        assert (await care.standing(at, PERIOD_S)).damaged == 5
        assert [post.damage for post in await care.damaged(9)] == ["gone bad"] * 5
        again = {"again_s": DAY_S, "budget": 3}
        call = CallIn("/post-detail/", IDS[0], None, CallReason.REPAIR, "w")
        await ledger.settle(await ledger.intend(call, at), CallOutcome.OK, 1, at)
        first = await care.claim_damaged(9, at, LEASE_S, "v", **again)
        assert len(first) == 2 and await care.claim_damaged(9, at, LEASE_S, "w", **again) == []
        assert await care.hold(first[0].aweme_id, at, LEASE_S, "w") is None
        assert await care.not_mended(first[0], at, [])
        assert await care.mended(first[1], at + PERIOD_S, at, [])
        assert len(await care.claim_damaged(9, at, LEASE_S, "v", again_s=DAY_S, budget=None)) == 3
        assert (await care.standing(at, PERIOD_S)).damaged == 4
        assert [each.act for each in await Custody(db).of(first[1].aweme_id)] == [Act.DAMAGED]

    with_posts(tmp_path, RECORDS, act)


def test_the_store_brings_back_what_waits_is_dead_or_unknown(tmp_path: Path) -> None:
    """A post that stands is archived, whatever the queue thought of it, but for one at work on and a withheld one."""

    async def act(db: Database) -> None:
        queue, restorer = Queue(db), Restorer(db, Removals(db, WHO))
        assert await restorer.is_empty()
        await queue.add_by_hand([(each, None) for each in IDS[:6]], "hand", 0, NOW)
        jobs = {job.aweme_id: job for job in await queue.claim(3, NOW, 60, "w")}
        dead, running, crashed = (jobs[each] for each in sorted(jobs))
        why = (Reason.NOT_FOUND, "said so", CallReason.RETRY)
        await queue.settle(Settlement(dead.aweme_id, dead.token, State.DEAD, NOW, True, *why), NOW)
        await queue.renew([running], NOW + 500, 60)
        held = raw(tmp_path, "UPDATE archive_queue SET state = 'withheld' WHERE aweme_id = ? RETURNING 1", IDS[5])
        assert held and crashed.aweme_id != running.aweme_id
        at = NOW + 200
        assert await restorer.unknown(IDS) == set(IDS) - {IDS[5]}
        told = [restored(index, Origin("@alice", NOW - 5, "a link")) for index in range(11)] + [restored(11)]
        await restorer.restore(told, at, "as far as this")
        states = dict(raw(tmp_path, "SELECT aweme_id, state FROM archive_queue"))
        assert states == {each: "archived" for each in IDS} | {running.aweme_id: "running", IDS[5]: "withheld"}
        assert raw(tmp_path, "SELECT count(*) FROM dead_letters") == [(0,)]
        assert raw(tmp_path, "SELECT source, asked_url FROM archive_queue WHERE aweme_id = ?", IDS[8]) == [
            ("@alice", "a link")
        ]
        assert raw(tmp_path, "SELECT source FROM sightings WHERE aweme_id = ?", IDS[11]) == [(UNKNOWN_SOURCE,)]
        assert raw(tmp_path, "SELECT count(*) FROM hashtags WHERE tag = 'tag'") == [(10,)]
        assert await restorer.begun() == "as far as this"
        assert await restorer.restore(told, at) == 0, "it is idempotent"
        await restorer.ended("then")
        assert await restorer.begun() is None and not await restorer.is_empty()

    in_archive(tmp_path, act)


def test_two_databases_are_told_apart_by_what_sidecars_hold(tmp_path: Path) -> None:
    """Equal archives are equal; a changed title, a lost file, another source and a missing post are each named."""
    known_at, rebuilt_at = tmp_path / "known", tmp_path / "rebuilt"
    known_at.mkdir()
    rebuilt_at.mkdir()
    old = Replaced(NOW, FileKind.VIDEO, ObjectKey("k"), 1, "ab", ObjectKey("k"), 2, "cd")
    told = [restored(index, Origin("@alice", NOW)) for index in range(12)]
    told[3] = replace(told[3], record=replace(told[3].record, replaced=(old,)))

    async def act(known: Database) -> None:
        await Restorer(known, Removals(known, WHO)).restore(told, NOW)
        async with Database.open(new_archive(rebuilt_at)) as rebuilt:
            await Restorer(rebuilt, Removals(rebuilt, WHO)).restore(told, NOW + 5)
            compared = Compared()
            assert [each async for each in differences(rebuilt, known, compared)] == [] and compared.posts == 12
            assert [each.was_sha256 for each in await Custody(rebuilt).of(IDS[3])] == ["ab"]
            raw(known_at, "UPDATE posts SET play_count = 77, counters_at = counters_at WHERE aweme_id = ?", IDS[0])
            raw(known_at, "UPDATE posts SET title = 'other' WHERE aweme_id = ?", IDS[1])
            raw(known_at, "DELETE FROM files WHERE aweme_id = ?", IDS[2])
            raw(known_at, "UPDATE archive_queue SET source = '@bob' WHERE aweme_id = ?", IDS[4])
            raw(rebuilt_at, "UPDATE archive_queue SET state = 'dead' WHERE aweme_id = ?", IDS[5])
            found = {each.aweme_id: each.tables async for each in differences(rebuilt, known, Compared())}
        one, two, four, five = (str(IDS[n]) for n in (1, 2, 4, 5))
        assert found == {one: ("posts",), two: ("files",), four: ("archive_queue",), five: ("archive_queue",)}

    in_archive(known_at, act)

"""The ledger of paid calls: written before, settled after, and never past the cap."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from clipledger.core.breaker import Answer, Outcome
from clipledger.core.errors import CapReached
from clipledger.core.lifecycle import CallReason
from clipledger.db.credits import Call, CallIn, CallOutcome, Credits, utc_day
from clipledger.db.database import Database
from contract.archives import NOW, archive_at, commits, in_archive, vid

pytestmark = pytest.mark.usefixtures("backend")

CALL = CallIn("/post-detail/", vid(1), "@a", CallReason.FIRST, "w", 1)
TODAY = "2026-05-28"
MIDNIGHT = 1_780_012_800.0


def with_credits(folder: Path, act: Callable[[Credits, Database], Awaitable[None]]) -> None:
    """Run `act` on the credits of a new archive."""
    in_archive(folder, lambda db: act(Credits(db), db))


def test_a_call_is_on_the_books_before_it_is_sent(tmp_path: Path) -> None:
    """A call counts as one credit from before it is sent, so that a crash hides nothing."""

    async def act(credits: Credits, _db: Database) -> None:
        seq = await credits.intend(CALL, NOW)
        assert await credits.spent(TODAY) == 1
        assert await credits.of(vid(1)) == [Call(NOW, "/post-detail/", "first", "sent", 1, None)]
        (total,) = await credits.totals()
        assert (total.outcome, total.calls, total.credits, total.reason) == ("sent", 1, 1, "first")
        assert await credits.settle(seq, CallOutcome.OK, 1, NOW + 1)
        assert await credits.spent(TODAY) == 1

    with_credits(tmp_path, act)


def test_what_a_call_did_not_cost_is_refunded(tmp_path: Path) -> None:
    """A refused call costs the day nothing, once, however often it is reported."""

    async def act(credits: Credits, _db: Database) -> None:
        kept = await credits.intend(CALL, NOW)
        refused = await credits.intend(CALL, NOW)
        assert await credits.settle(refused, CallOutcome.REFUSED, 0, NOW + 1)
        assert not await credits.settle(refused, CallOutcome.REFUSED, 0, NOW + 2)
        assert not await credits.settle(9999, CallOutcome.OK, 1, NOW + 2)
        assert await credits.spent(TODAY) == 1
        await credits.settle(kept, CallOutcome.UNKNOWN, 1, NOW + 1)
        totals = {total.outcome: (total.calls, total.credits) for total in await credits.totals()}
        assert totals == {"refused": (1, 0), "unknown": (1, 1)}

    with_credits(tmp_path, act)


def test_settling_a_call_twice_at_once_refunds_once(tmp_path: Path) -> None:
    """Two reports on one call in the same commit refund it once."""

    async def act(credits: Credits, _db: Database) -> None:
        seq = await credits.intend(CALL, NOW)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(credits.settle(seq, CallOutcome.REFUSED, 0, NOW)) for _ in range(2)]
        assert [task.result() for task in tasks] == [True, False]
        assert await credits.spent(TODAY) == 0

    with_credits(tmp_path, act)


def test_the_refund_goes_to_the_day_of_the_call(tmp_path: Path) -> None:
    """A call made before midnight and refused after it is refunded to the day it was counted on."""

    async def act(credits: Credits, _db: Database) -> None:
        seq = await credits.intend(CALL, MIDNIGHT - 0.5)
        await credits.intend(CALL, MIDNIGHT)
        await credits.settle(seq, CallOutcome.REFUSED, 0, MIDNIGHT + 1)
        assert (await credits.spent("2026-05-28"), await credits.spent("2026-05-29")) == (0, 1)
        assert await credits.spent("2026-05-30") == 0

    with_credits(tmp_path, act)


def test_the_cap_is_reached_exactly(tmp_path: Path) -> None:
    """With a cap of 60 credits a day exactly 60 calls of 100 are made, whoever asks at once."""

    async def act(credits: Credits, _db: Database) -> None:
        made, refused = [], []

        async def attempt() -> None:
            try:
                made.append(await credits.intend(CALL, NOW, cap=60))
            except CapReached as error:
                refused.append(error.detail)

        async with asyncio.TaskGroup() as group:
            for _ in range(100):
                group.create_task(attempt())
        assert (len(made), len(set(made)), len(refused)) == (60, 60, 40)
        assert refused[0] == "budget.credits_per_day: 60 credits are spent on 2026-05-28 (UTC)"
        assert await credits.spent(TODAY) == 60
        assert sum(total.calls for total in await credits.totals()) == 60
        await credits.settle(made[0], CallOutcome.THROTTLED, 0, NOW)
        await attempt()
        assert len(made) == 61

    with_credits(tmp_path, act)


def test_a_cap_of_nothing_spends_nothing(tmp_path: Path) -> None:
    """A cap of 0 allows no call at all; a new day allows the cap again."""

    async def act(credits: Credits, _db: Database) -> None:
        with pytest.raises(CapReached):
            await credits.intend(CALL, NOW, cap=0)
        await credits.intend(CALL, NOW, cap=1)
        with pytest.raises(CapReached):
            await credits.intend(CALL, NOW, cap=1)
        assert await credits.intend(CALL, MIDNIGHT, cap=1)

    with_credits(tmp_path, act)


def test_two_processes_share_one_cap(tmp_path: Path) -> None:
    """The cap holds for all processes on the archive together."""

    async def act(credits: Credits, _db: Database) -> None:
        made = []

        async def attempt(door: Credits) -> None:
            try:
                made.append(await door.intend(CALL, NOW, cap=25))
            except CapReached:
                return

        async with Database.open(archive_at(tmp_path)) as other, asyncio.TaskGroup() as group:
            doors = (credits, Credits(other))
            for n in range(60):
                group.create_task(attempt(doors[n % 2]))
        assert len(made) == len(set(made)) == 25

    with_credits(tmp_path, act)


def test_calls_of_many_tasks_share_a_commit(tmp_path: Path) -> None:
    """Writing calls down before they are sent does not cost each of them its own commit."""

    async def act(credits: Credits, _db: Database) -> None:
        with commits() as seen:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(credits.intend(replace(CALL, aweme_id=vid(n)), NOW)) for n in range(50)]
        assert len(seen) == 1
        seqs = [task.result() for task in tasks]
        async with asyncio.TaskGroup() as group:
            for n, seq in enumerate(seqs):
                group.create_task(credits.settle(seq, CallOutcome.OK if n % 2 else CallOutcome.GONE, 1, NOW + n))
        told = await credits.outcomes(["/post-detail/"], 100)
        assert {(o.aweme_id, o.at): o.answer for o in told} == {
            (vid(n), NOW + n): Answer.ALIVE if n % 2 else Answer.GONE for n in range(50)
        }

    with_credits(tmp_path, act)


def test_a_call_nobody_settles_is_taken_as_paid(tmp_path: Path) -> None:
    """A call whose sender vanished becomes `unknown` and stays on the bill; younger ones stay open."""

    async def act(credits: Credits, _db: Database) -> None:
        old = await credits.intend(CALL, NOW)
        young = await credits.intend(CALL, NOW + 100)
        assert await credits.abandon(NOW + 50, NOW + 200) == 1
        assert not await credits.settle(old, CallOutcome.REFUSED, 0, NOW + 201)
        assert await credits.settle(young, CallOutcome.OK, 1, NOW + 201)
        assert await credits.spent(TODAY) == 2

    with_credits(tmp_path, act)


def test_the_breaker_remembers_over_a_restart(tmp_path: Path) -> None:
    """The last answers, oldest first, are there after a restart; canaries and failures are not among them.

    A failure it is too when another post came than was asked for: that tells nothing of the shape of replies.
    """

    async def act(credits: Credits, _db: Database) -> None:
        calls = [
            (CALL, CallOutcome.OK),
            (replace(CALL, aweme_id=vid(2)), CallOutcome.GONE),
            (replace(CALL, aweme_id=vid(3)), CallOutcome.FAILED),
            (replace(CALL, aweme_id=vid(4), reason=CallReason.CANARY), CallOutcome.OK),
            (replace(CALL, aweme_id=None, endpoint="/user-posts/"), CallOutcome.OK),
            (replace(CALL, aweme_id=vid(5)), CallOutcome.OK),
            (replace(CALL, aweme_id=vid(6)), CallOutcome.WRONG_ID),
            (replace(CALL, aweme_id=vid(7)), CallOutcome.MALFORMED),
        ]
        for n, (call, outcome) in enumerate(calls):
            await credits.settle(await credits.intend(call, NOW), outcome, 1, NOW + n)
        expected = [
            Outcome(NOW, Answer.ALIVE, vid(1)),
            Outcome(NOW + 1, Answer.GONE, vid(2)),
            Outcome(NOW + 5, Answer.ALIVE, vid(5)),
            Outcome(NOW + 7, Answer.MALFORMED, vid(7)),
        ]
        assert await credits.outcomes(["/post-detail/"], 50) == expected
        assert await credits.outcomes(["/post-detail/"], 2) == expected[2:]

    with_credits(tmp_path, act)


def test_a_day_is_a_utc_day() -> None:
    """The day of a call is its UTC day, to the millisecond."""
    assert (utc_day(MIDNIGHT - 0.001), utc_day(MIDNIGHT)) == ("2026-05-28", "2026-05-29")


def test_canaries_are_told_with_what_they_were_answered(tmp_path: Path) -> None:
    """Of the posts asked for, the answers that found them alive or gone when they were asked as canaries, in order."""

    async def act(credits: Credits, _db: Database) -> None:
        for nth, (number, outcome, reason) in enumerate(
            [
                (1, CallOutcome.GONE, CallReason.CANARY),
                (2, CallOutcome.OK, CallReason.CANARY),
                (1, CallOutcome.GONE, CallReason.FIRST),
                (3, CallOutcome.GONE, CallReason.CANARY),
                (1, CallOutcome.FAILED, CallReason.CANARY),
                (1, CallOutcome.OK, CallReason.CANARY),
            ]
        ):
            call = replace(CALL, aweme_id=vid(number), reason=reason)
            await credits.settle(await credits.intend(call, NOW + nth), outcome, 1, NOW + nth + 0.5)
        assert await credits.canaries([vid(1), vid(2), vid(9)]) == [
            Outcome(NOW, Answer.GONE, vid(1)),
            Outcome(NOW + 1, Answer.ALIVE, vid(2)),
            Outcome(NOW + 5, Answer.ALIVE, vid(1)),
        ]
        assert await credits.canaries([]) == []

    with_credits(tmp_path, act)

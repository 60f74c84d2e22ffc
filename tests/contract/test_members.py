"""The roll of an archive: who is at work, what they hear, and what is left of those who are gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipledger.db.database import Database
from clipledger.db.members import Members, Sign
from clipledger.db.queue import Queue
from clipledger.db.sources import SourceIn, Sources
from clipledger.db.switches import PAUSE, PAUSED, RESUMED, Switch, Switches
from clipledger.membership import BEAT_S, SIGN_S, SILENT_S, Doing, Membership, Place
from contract.archives import NOW, LoopClock, archive_at, commits, in_archive, in_jumping_time, new_archive, vid

pytestmark = pytest.mark.usefixtures("backend")


def sign(worker: str, at: float = NOW, **more: object) -> Sign:
    told: dict[str, object] = dict.fromkeys(("in_flight", "captured", "bytes", "spent"), 0)
    told |= {"videos_per_min": 0.0, "credits_per_min": 0.0}
    return Sign(worker, "host-a", 42, "capture", NOW, at, **(told | more))  # type: ignore[arg-type]


def test_a_member_is_shown_with_what_it_does(tmp_path: Path) -> None:
    """A process's row holds what it told last; it is gone once it left, and dropped once it is silent for long."""

    async def act(db: Database) -> None:
        members = Members(db)
        await members.sign(sign("a"))
        await members.sign(sign("a", NOW + 5, in_flight=3, captured=9))
        await members.sign(sign("b", NOW + 100))
        first, second = await members.all()
        assert (first.worker, first.seen_at, first.in_flight, first.captured) == ("a", NOW + 5, 3, 9)
        assert second.worker == "b" and first.stop == 0
        assert await members.forget(NOW + 50) == 1
        await members.remove("b")
        assert await members.all() == []

    in_archive(tmp_path, act)


def test_orders_are_heard_with_the_next_sign(tmp_path: Path) -> None:
    """A pause, a paused source and a stop reach every process with its next sign, in one commit."""

    async def act(db: Database) -> None:
        members, switches, sources = Members(db), Switches(db), Sources(db)
        await sources.register_all([SourceIn(name, "user", name[1:], NOW) for name in ("@a", "@b")])
        orders = await members.sign(sign("w"), ["@a"])
        assert (orders.stop, orders.pause, orders.paused_sources) == (0, None, frozenset())
        await switches.set(Switch(PAUSE, PAUSED, NOW, "moving house"))
        await sources.pause(["@a", "@b"], NOW)
        await members.ask_to_stop(["w", "nobody"], 2)
        with commits() as seen:
            orders = await members.sign(sign("w", NOW + 5), ["@a"])
        assert len(seen) == 1
        assert orders.stop == 2 and orders.paused_sources == {"@a"}
        assert orders.pause is not None and orders.pause.evidence == "moving house"
        await switches.set(Switch(PAUSE, RESUMED, NOW, ""))
        assert (await members.sign(sign("w", NOW + 6))).pause is None

    in_archive(tmp_path, act)


def test_leases_are_counted_by_worker(tmp_path: Path) -> None:
    """`status` says how many posts each process holds, and when the first lease ends."""

    async def act(db: Database) -> None:
        queue, members = Queue(db), Members(db)
        await queue.add_by_hand([(vid(n), None) for n in range(5)], "by-hand", 0, NOW)
        await queue.claim(2, NOW, 60.0, "a")
        await queue.claim(2, NOW + 10, 60.0, "b")
        assert [(held.worker, held.count, held.first_until) for held in await members.leases()] == [
            ("a", 2, NOW + 60),
            ("b", 2, NOW + 70),
        ]

    in_archive(tmp_path, act)


def test_a_source_that_has_no_list_cannot_be_paused(tmp_path: Path) -> None:
    """Only what is listed can be paused; what was paused is not due, and is due again at once when resumed."""

    async def act(db: Database) -> None:
        sources = Sources(db)
        await sources.register_all([SourceIn("@a", "user", "a", NOW), SourceIn("by-hand", "hand", "", NOW)])
        assert await sources.pause(["@a", "by-hand", "@nobody"], NOW) == {"@a"}
        assert await sources.claim_due(NOW, 60.0, "w") is None and await sources.next_due_at() is None
        assert await sources.pause(["@a"], None) == {"@a"}
        job = await sources.claim_due(NOW, 60.0, "w")
        assert job is not None and job.source == "@a"

    in_archive(tmp_path, act)


def test_one_that_does_nothing_hears_each_beat_and_writes_seldom(tmp_path: Path) -> None:
    """A disk can rest while nothing happens; an order is heard all the same, and what is new is told at once."""
    new_archive(tmp_path)

    async def main() -> None:
        async with Database.open(archive_at(tmp_path)) as db:
            clock, members, done = LoopClock(), Members(db), [0]
            roll = Membership("w", Place("h", 1), {"capture"}, members, clock, lambda: Doing(0, done[0], 0, 0))
            seen: list[float] = []
            for _ in range(13):
                assert (await roll.sign()).stop == 0
                seen.append((await members.all())[0].seen_at)
                assert clock.now() - seen[-1] < SILENT_S / 2
                await clock.sleep(BEAT_S)
            assert len(set(seen)) == 1 + 12 * BEAT_S / SIGN_S
            await roll.sign()
            await members.ask_to_stop(["w"], 1)
            await clock.sleep(BEAT_S)
            assert (await roll.sign()).stop == 1
            done[0] = 1
            await clock.sleep(BEAT_S)
            await roll.sign()
            (told,) = await members.all()
            assert told.captured == 1 and clock.now() - told.seen_at < 0.01, "the write itself takes a moment"

    in_jumping_time(main())


def test_rates_are_those_of_the_last_minute(tmp_path: Path) -> None:
    """Videos and credits a minute follow what a process does now, not what it did an hour ago."""
    new_archive(tmp_path)

    async def main() -> None:
        async with Database.open(archive_at(tmp_path)) as db:
            clock, members, done = LoopClock(), Members(db), [0, 0]
            roll = Membership("w", Place("h", 1), {"capture"}, members, clock, lambda: Doing(1, done[0], 0, done[1]))
            for _ in range(24):  # two minutes at sixty a minute, two credits each
                await clock.sleep(BEAT_S)
                done[:] = done[0] + 5, done[1] + 10
                await roll.sign()
            (busy,) = await members.all()
            assert round(busy.videos_per_min) == 60 and round(busy.credits_per_min) == 120
            for _ in range(13):
                await clock.sleep(BEAT_S)
                await roll.sign()
            (idle,) = await members.all()
            assert idle.videos_per_min == 0 and idle.captured == 120
            await roll.leave()
            assert await members.all() == []

    in_jumping_time(main())

"""Sweeps over leased ranges: planned from the ids, shared by any number of processes, each file counted once."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipledger.core.model import AwemeId
from clipledger.db.books import Finding
from clipledger.db.database import Database
from clipledger.db.queue import Queue
from clipledger.db.sweeps import KEPT, RANGE_IDS_MIN, Range, Step, Sweeps
from contract.archives import NOW, in_archive, vid

pytestmark = pytest.mark.usefixtures("backend")

KIND = "verify_media"


async def with_ids(db: Database, count: int) -> Sweeps:
    await Queue(db).add_by_hand([(vid(n), None) for n in range(count)], "by-hand", 0, NOW)
    return Sweeps(db)


async def all_ranges(sweeps: Sweeps, sweep: int, worker: str = "w") -> list[Range]:
    held = []
    while (found := await sweeps.claim(sweep, NOW, 60.0, worker)) is not None:
        held.append(found)
    return held


def step(held: Range, *, done: bool = True, files: int = 3, found: int = 0) -> Step:
    findings = [Finding(AwemeId(held.last_id), f"damage {n}") for n in range(found)]
    return Step(held.last_id if done else held.cursor, done, 1, files, 100, findings)


def test_the_ranges_hold_every_id_once(tmp_path: Path) -> None:
    """Whatever the number of ids and processes, each id lies in exactly one range, and the ranges are of one size."""

    @settings(max_examples=12)
    @given(st.integers(0, 300), st.integers(1, 40))
    def holds(count: int, parts: int) -> None:
        folder = tmp_path / f"{count}-{parts}"
        folder.mkdir(exist_ok=True)

        async def act(db: Database) -> None:
            sweeps = await with_ids(db, count)
            sweep = await sweeps.plan(KIND, NOW, parts)
            ranges = await all_ranges(sweeps, sweep)
            held = [[vid(n) for n in range(count) if each.cursor < vid(n) <= each.last_id] for each in ranges]
            assert sorted(aweme_id for ids in held for aweme_id in ids) == [vid(n) for n in range(count)]
            sizes = [len(ids) for ids in held]
            assert all(size == sizes[0] for size in sizes[:-1]) and all(sizes)
            assert len(sizes) <= parts or sizes[0] == RANGE_IDS_MIN
            assert (await sweeps.standing(sweep)).planned == count

        in_archive(folder, act)

    holds()


def test_a_sweep_that_is_open_is_gone_on_with(tmp_path: Path) -> None:
    """Two who begin at once share one sweep; it ends when no range is left, and only then another can begin."""

    async def act(db: Database) -> None:
        sweeps = await with_ids(db, 100)
        sweep = await sweeps.plan(KIND, NOW, 2)
        assert await sweeps.plan(KIND, NOW + 1, 8) == sweep == await sweeps.open(KIND)
        first, second = await all_ranges(sweeps, sweep)
        assert await sweeps.save(first, step(first), NOW, 60.0)
        assert not await sweeps.end(sweep, NOW)
        assert await sweeps.save(second, step(second, found=2), NOW, 60.0)
        assert await sweeps.end(sweep, NOW + 9) and await sweeps.open(KIND) is None
        stands = await sweeps.standing(sweep)
        assert (stands.ids, stands.files, stands.bytes, stands.findings) == (2, 6, 200, 2)
        assert stands.ended_at == NOW + 9 and stands.passed == stands.planned == 100
        assert [found.what for found in await sweeps.findings(sweep, 10)] == ["damage 0", "damage 1"]
        assert await sweeps.plan(KIND, NOW + 10, 2) == sweep + 1

    in_archive(tmp_path, act)


def test_a_range_that_was_lost_counts_nothing(tmp_path: Path) -> None:
    """Who was taken for dead and comes back changes no number: the range's new holder counts its files."""

    async def act(db: Database) -> None:
        sweeps = await with_ids(db, 50)
        sweep = await sweeps.plan(KIND, NOW, 1)
        late = await sweeps.claim(sweep, NOW, 60.0, "late")
        assert late is not None and await sweeps.save(late, step(late, done=False), NOW, 60.0)
        assert await sweeps.claim(sweep, NOW + 59, 60.0, "other") is None
        other = await sweeps.claim(sweep, NOW + 61, 60.0, "other")
        assert other is not None and other.token > late.token
        assert not await sweeps.save(late, step(late, found=1), NOW + 62, 60.0)
        assert not await sweeps.renew(late, NOW + 200)
        await sweeps.release(late)
        assert await sweeps.save(other, step(other), NOW + 63, 60.0)
        stands = await sweeps.standing(sweep)
        assert (stands.files, stands.findings) == (6, 0) and await sweeps.findings(sweep, 10) == []

    in_archive(tmp_path, act)


def test_what_a_dead_worker_held_is_free_at_once(tmp_path: Path) -> None:
    """A process known to be dead holds no range until its lease runs out: the next one goes on at its cursor."""

    async def act(db: Database) -> None:
        sweeps = await with_ids(db, 50)
        sweep = await sweeps.plan(KIND, NOW, 1)
        held = await sweeps.claim(sweep, NOW, 60.0, "dead")
        assert held is not None
        assert await sweeps.save(held, Step(vid(20), False, 21, 42, 1, []), NOW, 60.0)
        await Queue(db).release_worker("dead", NOW + 1, 3)
        again = await sweeps.claim(sweep, NOW + 1, 60.0, "next")
        assert again is not None and again.cursor == vid(20)

    in_archive(tmp_path, act)


def test_old_results_go(tmp_path: Path) -> None:
    """The results of the last sweeps are kept, those before are dropped with their ranges and findings."""

    async def act(db: Database) -> None:
        sweeps = await with_ids(db, 30)
        made = []
        for _ in range(KEPT + 2):
            made.append(sweep := await sweeps.plan(KIND, NOW, 1))
            for held in await all_ranges(sweeps, sweep):
                await sweeps.save(held, step(held, found=1), NOW, 60.0)
            await sweeps.end(sweep, NOW)
        assert [len(await sweeps.findings(sweep, 10)) for sweep in made] == [0, 0, *[1] * KEPT]

    in_archive(tmp_path, act)

"""What `status` sums up: fresh in a small archive, at most ten minutes old in a large one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clipledger.db import sums as sums_module
from clipledger.db.database import Database
from clipledger.db.meta import Meta
from clipledger.db.queue import Queue
from clipledger.db.sums import KEPT_S, sums
from contract.archives import NOW, in_archive, vid
from contract.test_refreshes import spend

pytestmark = pytest.mark.usefixtures("backend")


async def grow(db: Database, index: int) -> None:
    """Make one more call and one more id."""
    await spend(db, index, NOW)
    await Queue(db).add_by_hand([(vid(index), None)], "hand", 0, NOW)


def test_a_small_archive_is_summed_each_time(tmp_path: Path) -> None:
    """Whoever looks after a run sees what it did."""

    async def act(db: Database) -> None:
        for count in (1, 2, 3):
            await grow(db, count)
            told = await sums(db, NOW + count)
            assert (told.as_of, told.states, told.everything.seen) == (NOW + count, {"pending": count}, count)

    in_archive(tmp_path, act)


def test_a_large_archive_keeps_its_sums_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums that take seconds are kept with their moment, come back as they were, and are made anew on demand."""
    monkeypatch.setattr(sums_module, "LARGE", 0)

    async def act(db: Database) -> None:
        await grow(db, 1)
        first = await sums(db, NOW)
        await grow(db, 2)
        assert await sums(db, NOW + KEPT_S - 1) == first
        assert (await sums(db, NOW + 5, fresh=True)).everything.seen == 2
        assert (await sums(db, NOW + 6)).as_of == NOW + 5
        assert (await sums(db, NOW + 5 + KEPT_S)).as_of == NOW + 5 + KEPT_S
        assert (await sums(db, NOW - 50)).as_of == NOW - 50, "a clock that was set back does not keep them for ever"

    in_archive(tmp_path, act)


def test_a_large_archive_that_bought_nothing_keeps_them_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An archive that was rebuilt from its files has a million ids and no call; its sums take as long."""
    monkeypatch.setattr(sums_module, "LARGE", 1)

    async def act(db: Database) -> None:
        for index, kept in ((1, False), (2, True)):
            await Queue(db).add_by_hand([(vid(index), None)], "hand", 0, NOW)
            first = await sums(db, NOW + index)
            assert first.as_of == NOW + index
            assert (await sums(db, NOW + 5) == first) is kept

    in_archive(tmp_path, act)


@pytest.mark.parametrize("lost", ["seen", "as_of", "all"])
def test_sums_that_another_version_kept_are_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    """After an upgrade, or a step back, `status` answers: what it cannot read of the sums kept is no more than old."""
    monkeypatch.setattr(sums_module, "LARGE", 0)

    async def act(db: Database) -> None:
        await grow(db, 1)
        await sums(db, NOW)
        kept = json.loads(str(await Meta(db).get("sums")))
        (kept["everything"] if lost == "seen" else kept).pop(lost, None)
        await Meta(db).set("sums", "torn {" if lost == "all" else json.dumps(kept))
        assert (await sums(db, NOW + 1)).as_of == NOW + 1
        assert (await sums(db, NOW + 2)).as_of == NOW + 1

    in_archive(tmp_path, act)

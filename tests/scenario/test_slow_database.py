"""A database that takes its time: the books are late, and no call may be."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from clipledger.db.credits import CallIn, Credits
from clipledger.sim.play import Play

pytestmark = pytest.mark.slow


def test_no_minute_is_over_the_limit_when_the_books_are_slow(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that a database holds up for twelve seconds, all at once, push no call into a minute that is full."""
    plain, held = Credits.intend, list[float]()

    async def slow(self: Credits, intent: CallIn, now: float, day_cap: int | None) -> int:
        seq = await plain(self, intent, now, day_cap)
        if (into_s := (asyncio.get_running_loop().time() - 30.0) % 70.0) < 12.0:
            held.append(12.0 - into_s)
            await asyncio.sleep(held[-1])
        return seq

    monkeypatch.setattr(Credits, "intend", slow)
    play = Play(folder, seed=2, posts=700, settings={"api.concurrency": 32})
    play.add(*(name for name in play.world.sources() if name.startswith("@")))
    play.run_to_the_end(3)
    assert len(held) > 30 and max(held) > 11
    assert play.world.ledger.worst_minute <= 200
    assert play.audit().findings == []

"""Several processes on one archive: fair shares of one limit, and books that balance when they die together."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipledger.sim.play import Crash, Play

pytestmark = [pytest.mark.slow, pytest.mark.grounds("laptop", "servers")]


def staged(folder: Path, faults: str = "calm") -> Play:
    play = Play(folder, seed=4, posts=150, faults=faults)
    play.add(*(name for name in play.world.sources() if name.startswith(("@", "#"))))
    return play


def test_processes_share_the_work_fairly(folder: Path) -> None:
    """Four processes use the limit up between them, each with a share, and none takes a post from another."""
    play = staged(folder)
    run = play.run(workers=4)
    assert play.audit().findings == []
    assert set(play.world.ledger.calls_about("/post-detail/").values()) == {1}
    assert len(play.world.ledger.calls) / (run.ended_at - run.began_at) > 1.5
    shares = [tally.captured for tally in run.tallies]
    assert sum(shares) == play.states()["archived"] and min(shares) >= sum(shares) // 12
    assert sum(tally.lost for tally in run.tallies) == 0


def test_processes_that_die_together_leave_books_that_balance(folder: Path) -> None:
    """Two processes killed at once in a bad week, and two that take over, keep the limit and lose nothing."""
    play = staged(folder, "hostile")
    assert play.run(workers=2, crash=Crash(15.0, 23)).crashed
    play.run_to_the_end(4, workers=2)
    assert play.audit().findings == [] and play.world.ledger.worst_minute <= 200
    assert set(play.states()) <= {"archived", "dead"}

"""A run stops cleanly at the operator's caps, also in a bad week: nothing beyond them, nothing lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipledger.cli.exits import Exit, exit_of
from clipledger.core.errors import CapReached
from clipledger.sim.play import Play, Run
from clipledger.wiring import Limits

pytestmark = pytest.mark.slow


def staged(folder: Path, faults: str = "calm") -> Play:
    play = Play(folder, seed=8, posts=120, faults=faults)
    play.add(*(name for name in play.world.sources() if name.startswith("@")))
    return play


def stopped_at_the_cap(run: Run) -> None:
    halted = run.tallies[0].halted
    assert isinstance(halted, CapReached) and exit_of(halted) is Exit.CAP


def nothing_is_lost(play: Play) -> None:
    """No id is under way, and runs without a cap bring the rest in."""
    assert play.rows("SELECT count(*) FROM archive_queue WHERE state = 'running' OR worker IS NOT NULL") == [(0,)]
    assert play.audit(finished=False).findings == []
    play.run_to_the_end(4)
    assert play.audit().findings == [] and set(play.states()) <= {"archived", "dead"}


@pytest.mark.parametrize(("credits", "faults"), [(1, "calm"), (60, "hostile")])
def test_no_credit_is_spent_beyond_the_cap(credits: int, faults: str, folder: Path) -> None:
    """--max-credits is never exceeded, though eight calls may be open at a time; the rest waits for the next run."""
    play = staged(folder, faults)
    run = play.run(limits=Limits(credits=credits))
    stopped_at_the_cap(run)
    assert credits - 8 <= play.world.ledger.credits <= credits and run.spent[0] <= credits
    nothing_is_lost(play)


def test_no_more_bytes_are_kept_than_the_cap(folder: Path) -> None:
    """--max-bytes stops before the post that might exceed it, and not long before."""
    play = staged(folder)
    run = play.run(limits=Limits(bytes=1_500_000))
    stopped_at_the_cap(run)
    kept = play.rows("SELECT sum(bytes) FROM files WHERE kind <> 'sidecar'")[0][0]
    assert kept == run.tallies[0].bytes and 1_000_000 < kept <= 1_500_000
    nothing_is_lost(play)

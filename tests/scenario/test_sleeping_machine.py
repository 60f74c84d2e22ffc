"""A laptop that sleeps: the wall clock jumps by hours while work is under way."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipledger.sim.play import Play

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("workers", [1, 2])
def test_a_machine_that_slept_takes_nothing_from_itself(workers: int, folder: Path) -> None:
    """After hours of sleep the leases of posts under way are renewed, not called over: no crash is counted."""
    play = Play(folder, seed=3, posts=60, faults="slow_body=1:1500", settings={"janitor.every": "3s"})
    play.add(*(source for source in play.world.sources() if source.startswith("@")))
    play.run(
        follow=True,
        workers=workers,
        stop_after_s=400,
        during={20.0 + nth: lambda: play.jump(7200.0) for nth in (0, 31)},
    )
    assert play.rows("SELECT max(crashes) FROM archive_queue") == [(0,)]
    assert play.rows("SELECT count(*) FROM credits WHERE reason = 'crash_after_resolve'") == [(0,)]
    assert play.states().get("archived", 0) >= 30

"""A play is a function of its scenario: what was seen once can be looked at again."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from clipledger.sim.play import Crash
from clipledger.sim.scenarios import Scenario, play

WEEK = Scenario(seed=7, posts=60, faults="hostile", crashes=(Crash(12.0, 17),), workers=2)

_PLAY = """
import sys
from pathlib import Path
from clipledger.sim.scenarios import Scenario, play
from clipledger.sim.play import Crash
from clipledger.sim.timeloop import bury
from clipledger.wiring import Limits
print(play({scenario!r}, Path(sys.argv[1])).trace)
bury()
"""


@pytest.mark.slow
def test_the_same_scenario_leaves_the_same_trace(folder: Path) -> None:
    """Two plays of one scenario agree step by step, call by call and row by row; another seed goes another way."""
    first = play(WEEK, folder)
    assert first.trace == play(WEEK, folder.with_name("again")).trace
    assert first.trace != play(replace(WEEK, seed=8), folder.with_name("other")).trace
    assert [run.crashed for run in first.runs][:2] == [True, False]


@pytest.mark.slow
@pytest.mark.grounds("laptop")  # a process of its own makes none for servers
def test_another_process_plays_it_the_same(folder: Path) -> None:
    """What one machine saw another sees too: nothing hangs on the hash seed, the process or the order of a set."""
    traces = {_played_apart(folder.with_name(f"apart-{seed}"), hash_seed=seed) for seed in (1, 2)}
    assert traces == {play(WEEK, folder).trace}


def _played_apart(folder: Path, hash_seed: int) -> str:
    env = os.environ | {"PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", _PLAY.format(scenario=WEEK), str(folder)],
        env=env, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return done.stdout.strip()

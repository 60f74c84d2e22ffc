"""kill -9 at a drawn moment of a run: nothing is lost, nothing is bought twice but what was under way.

On SQLite and PostgreSQL, in a folder and in a bucket, in turns. CLIPLEDGER_KILLS=N kills oftener;
`benchmarks/crash.py` does it two thousand times and tells the figures.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from process.killing import IN_FLIGHT, place_of, trial

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("CLIPLEDGER_KILLS", "32"))
POSTS = 24


@pytest.mark.parametrize("number", range(KILLS))
def test_a_killed_run_costs_no_more_than_what_was_under_way(tmp_path: Path, number: int) -> None:
    """Killed without warning, the next run completes everything; only resolves that were under way are bought again."""
    database, store = place_of(number)
    outcome = trial(tmp_path, random.Random(f"test/{number}"), database=database, store=store, posts=POSTS)
    assert outcome.findings == () and outcome.extra <= IN_FLIGHT, outcome

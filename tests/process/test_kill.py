"""kill -9 at a drawn moment of a run: nothing is lost, nothing is bought twice but what was under way.

CLIPLEDGER_KILLS=N kills oftener; `benchmarks/crash.py` does it two hundred times and tells the figures.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from process.killing import IN_FLIGHT, trial

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("CLIPLEDGER_KILLS", "12"))


@pytest.mark.parametrize("number", range(KILLS))
def test_a_killed_run_costs_no_more_than_what_was_under_way(tmp_path: Path, number: int) -> None:
    """Killed without warning, the next run completes everything; only resolves that were under way are bought again."""
    outcome = trial(tmp_path, random.Random(f"test/{number}"))
    assert outcome.findings == () and outcome.extra <= IN_FLIGHT, outcome

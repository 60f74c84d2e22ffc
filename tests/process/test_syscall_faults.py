"""Every system call that changes a disk may fail or be the last: a fair sample of the points of a small run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from process.faulting import replay_of, sample, trial, why_not

pytestmark = pytest.mark.slow

EVERY = int(os.environ.get("CLIPLEDGER_SYSCALL_EVERY", "30"))
SHARES = 4
"""The sample is dealt to so many tests, which run side by side."""


@pytest.mark.parametrize("share", range(SHARES))
def test_a_failing_system_call_loses_nothing(tmp_path: Path, share: int) -> None:
    """Killed at a write, or refused it with EIO or ENOSPC: the next runs save everything, and the books balance."""
    if (why := why_not()) is not None:
        pytest.skip(why)
    (tmp_path / "reference").mkdir()
    missed, played = 0, list(sample(EVERY, "test", tmp_path / "reference"))[share::SHARES]
    for number, point in enumerate(played):
        (folder := tmp_path / str(number)).mkdir()
        outcome = trial(folder, point)
        assert outcome.findings == (), f"{point} at {outcome.hit}: {outcome.findings}; replay: {replay_of(point)}"
        missed += not outcome.hit
    assert missed <= len(played) / 5, f"{missed} of {len(played)} faults never came: the test proves too little"

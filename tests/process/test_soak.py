"""A minute at ten times 50,000 posts a day, a tenth going wrong. The whole hour: `benchmarks/soak.py`."""

from __future__ import annotations

from pathlib import Path

import pytest

from trials.soak import soaked

pytestmark = pytest.mark.slow

GROWTH_MAX = 12e6
"""What the resident memory may grow in the minute: caches still fill; the slope is judged over an hour."""


def test_a_minute_at_full_rate_leaks_no_descriptor(tmp_path: Path) -> None:
    """At 350 posts a minute with mixed faults open files stay as many, memory within bounds, books balance."""
    told = soaked(tmp_path / "archive", seconds=60.0, warm_up_s=20.0)
    first, last = told.descriptors
    assert last <= first + 3, "descriptors leak"
    assert told.warm[-1].rss_bytes - told.warm[0].rss_bytes <= GROWTH_MAX
    assert max(sample.rss_bytes for sample in told.samples) <= 250e6
    assert told.exit_code == 0 and told.archived >= 100
    assert told.failed_calls >= told.calls * 0.02, "the trouble was there"

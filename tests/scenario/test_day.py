"""A day at the plan's limit, small: the whole one is `benchmarks/simulated_day.py`."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipledger.sim.play import Play
from clipledger.sim.scenarios import ORDINARY, Outcome, outcome

SOURCES = 12


def _day(folder: Path, faults: str) -> Outcome:
    stage = Play(folder, seed=5, posts=700, faults=faults)
    handles = [author.first_handle for author in stage.world.population.authors][:SOURCES]
    stage.add(*(f"@{handle}" for handle in handles))
    stage.run(follow=True, stop_after_s=4 * 3600.0)
    return outcome(stage, finished=False)


@pytest.mark.slow
def test_at_the_limit_resolving_follows_listing_within_a_minute(folder: Path) -> None:
    """95 % of ids are resolved within 60 s of being listed, no minute is over the limit, each credit is owed."""
    told = _day(folder, "calm")
    assert told.report.findings == []
    assert len(told.latencies) > 400
    assert told.latency_s(0.95) <= 60.0
    assert told.worst_minute <= 200
    assert set(told.calls) <= ORDINARY
    assert told.calls["first"] == sum(told.states.values()) == len(told.latencies)
    assert sum(told.credits.values()) == told.report.credits_taken == len(told.stage.world.ledger.calls)


@pytest.mark.slow
def test_on_a_bad_day_every_further_call_has_its_reason(folder: Path) -> None:
    """With faults, calls are posts, pages, look-ups and recorded reasons: the world counts what the ledger tells."""
    told = _day(folder, "http_500=0.02,reset=0.01,expired_at_birth=0.02,deleted=0.03")
    assert told.report.findings == []
    assert told.latency_s(0.95) <= 60.0
    assert told.worst_minute <= 200
    assert sum(told.calls.values()) == len(told.stage.world.ledger.calls)
    assert told.calls["first"] == sum(told.states.values())
    assert {"url_expired", "retry"} <= set(told.calls)

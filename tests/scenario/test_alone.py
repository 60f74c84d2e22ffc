"""A post that is refused by itself, while everybody else is served: its own trouble, and nobody else's."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipledger.core.lifecycle import Policy
from clipledger.sim.play import Play

pytestmark = pytest.mark.slow

LOOKS_MAX = Policy().throttles_paid_max
"""So often a post is looked at whose files are refused every time, at most: fewer while others get through."""


def staged(folder: Path, faults: str) -> Play:
    """Lay an archive of every author of a small world down."""
    play = Play(folder, seed=4, posts=120, faults=faults)
    play.add(*(source for source in play.world.sources() if source.startswith("@")))
    return play


def the_refused(play: Play, outcome_or_reason: str) -> dict[str, int]:
    """Count the calls about each post that met a 429."""
    rows = play.rows(
        "SELECT aweme_id, count(*) FROM credits WHERE aweme_id IN "
        "(SELECT aweme_id FROM archive_queue WHERE throttles > 0) GROUP BY aweme_id"
    )
    return dict(rows)


@pytest.mark.parametrize("fault", ["one_post_429=0.02:300", "one_post_cdn_429=0.02"])
def test_a_post_that_is_always_throttled_holds_nobody_up(fault: str, folder: Path) -> None:
    """A 429 for one post again and again pauses all but once, holds no run open, and costs a dozen credits at most."""
    calm = staged(folder.with_name("calm"), "calm")
    calm_run = calm.run()
    play = staged(folder, fault)
    first = play.run()
    assert first.ending == "done"
    # One pause for everybody of at most five minutes for each post that is refused for the first time.
    refused = the_refused(play, fault)
    assert 1 <= len(refused) <= 6
    assert first.ended_at - first.began_at <= calm_run.ended_at - calm_run.began_at + 310.0 * len(refused) + 130.0
    assert play.states()["archived"] == calm.states()["archived"] - len(refused)
    later = play.run_to_the_end(60)
    assert all(run.ended_at - run.began_at <= 310.0 * len(refused) + 130.0 for run in later)
    cost = dict(play.rows("SELECT aweme_id, sum(credits) FROM credits GROUP BY aweme_id"))
    assert max(cost[aweme_id] for aweme_id in refused) <= (LOOKS_MAX if "cdn" in fault else 0)
    if "cdn" in fault:
        assert play.rows("SELECT DISTINCT reason FROM dead_letters") == [("throttled",)]
        assert play.rows("SELECT DISTINCT state FROM archive_queue WHERE throttles > 0") == [("dead",)]

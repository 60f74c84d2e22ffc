"""A month of looking again: growth curves, disappearances and what they cost, against the world's own truth."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipledger.core.history import DOUBT_S, read_steps
from clipledger.core.times import read_iso_time
from clipledger.sim.play import START, Play

pytestmark = pytest.mark.slow

DAY_S = 86_400.0
STEPS = "1h,6h,1d,3d,7d,30d"
LATE_S = 120.0
"""From the moment of the answer to the moment written down: a slow answer, a download."""

FATES = "deleted=0.25,private=0.05,renamed=0.2,recounted=0.2"


def month(folder: Path, *, days: int = 31, posts: int = 90, faults: str = FATES, **settings: object) -> Play:
    """Archive everything, and run whenever something falls due."""
    wanted = {"history.refresh": STEPS, "listing.every": "12h"} | {k.replace("__", "."): v for k, v in settings.items()}
    play = Play(folder, seed=11, posts=posts, faults=faults, settings=wanted, ahead_s=30 * DAY_S)
    play.add(*(f"@{author.first_handle}" for author in play.world.population.authors))
    go_on(play, START + days * DAY_S)
    return play


def go_on(play: Play, until: float) -> None:
    """Run at each moment that a step, a second asking or a list is due."""
    while play.now() < until:
        play.run()
        play.wait(min(max(due(play) - play.now(), 300.0), 6 * 3600.0) + 1.0)


def due(play: Play) -> float:
    """Tell when something falls due next."""
    [(*moments,)] = play.rows(
        "SELECT (SELECT min(next_at) FROM refreshes), (SELECT min(doubt_due_at) FROM refreshes), "
        "(SELECT min(next_at) FROM sources)"
    )
    return min(read_iso_time(each) for each in moments if each is not None)


def test_counters_and_disappearances_are_the_worlds_own(folder: Path) -> None:
    """Over 30 days growth curves are the world's, each disappearance is found at its step, and nothing else is gone."""
    play = month(folder)
    the_curves_are_the_worlds(play)
    found = the_disappearances_are_found(play)
    assert found >= 5
    assert play.audit(finished=False).findings == []
    assert all(credits <= 1000 for credits in play.paid_by_day("refresh").values())
    feeds = dict(play.rows("SELECT feed, count(*) FROM post_metrics_history GROUP BY feed"))
    assert set(feeds) == {"capture", "list", "refresh"} and min(feeds.values()) > 50
    renamed = play.rows("SELECT author_id FROM author_handles GROUP BY author_id HAVING count(*) > 1")
    assert (
        {a.id for a in play.world.population.authors if a.renamed} >= {author_id for (author_id,) in renamed} != set()
    )


def the_curves_are_the_worlds(play: Play) -> None:
    """Hold every count against what the world had at that moment; one that fell is kept as it fell."""
    fell = 0
    last: dict[str, int] = {}
    for aweme_id, at, plays, diggs in play.rows(
        "SELECT aweme_id, observed_at, play_count, digg_count FROM post_metrics_history ORDER BY observed_at"
    ):
        moment = read_iso_time(at)
        before, after = (play.world.counters(aweme_id, each) for each in (moment - LATE_S, moment))
        for name, told in (("play", plays), ("digg", diggs)):
            low, high = sorted((before[name], after[name]))
            assert low <= told <= high, f"{aweme_id} at {at}: {name} {told}, the world had {low}..{high}"
        fell += plays < last.get(aweme_id, 0)
        last[aweme_id] = plays
    assert fell > 3, "a counter that falls is kept"


def the_disappearances_are_found(play: Play) -> int:
    """Find each archived post that died before its last step gone since the first step after, and no living one."""
    gone = {
        aweme_id: (read_iso_time(first), read_iso_time(last))
        for aweme_id, first, last in play.rows(
            "SELECT aweme_id, first_at, last_at FROM availability WHERE state = 'gone' AND ended_at IS NULL"
        )
    }
    steps, owed = read_steps(STEPS), 0
    for aweme_id, archived in play.rows("SELECT aweme_id, archived_at FROM posts"):
        captured_at, dies_at = read_iso_time(archived), play.world.truth(aweme_id).dies_at
        step_at = min(
            (captured_at + s for s in steps if dies_at is not None and captured_at + s > dies_at), default=None
        )
        if aweme_id in gone:
            assert dies_at is not None and gone[aweme_id][0] >= dies_at, f"{aweme_id} is not gone"
        if step_at is not None and step_at < play.now() - 2 * DOUBT_S:
            owed += 1
            assert aweme_id in gone, f"{aweme_id} died and its step is past"
            assert gone[aweme_id][0] <= step_at + 600.0, f"{aweme_id} was found later than at its step"
            assert gone[aweme_id][0] + DOUBT_S <= gone[aweme_id][1], "it was asked twice"
    return owed


def test_a_small_budget_holds_and_goes_to_what_tells_most(folder: Path) -> None:
    """With 20 credits a day for 60 posts no day costs more, and the youngest and fastest growing are asked first."""
    play = month(folder, days=2, posts=60, faults="calm", budget__history_credits_per_day=20)
    assert max(play.paid_by_day("refresh").values()) == 20
    first = play.rows(
        "SELECT aweme_id FROM credits WHERE reason = 'refresh' AND at < ? LIMIT 20", "2026-05-29T06:00:00Z"
    )
    asked = {aweme_id for (aweme_id,) in first}
    growth = dict(play.rows("SELECT aweme_id, play_count FROM posts"))
    rest = [plays for aweme_id, plays in growth.items() if aweme_id not in asked]
    assert sum(growth[i] for i in asked) / len(asked) > sum(rest) / len(rest)


def test_an_outage_marks_nobody_as_gone(folder: Path) -> None:
    """While the API finds nothing, posts are doubted at most; afterwards each doubt is taken back."""
    play = month(folder, days=0, posts=60, faults="calm")
    play.run()
    play.wait(3600.0)
    play.turn(outage="not_found")
    for _ in range(8):
        play.run(roles=["history"])
        play.wait(1200.0)
    assert play.rows("SELECT count(*) FROM availability WHERE state = 'gone'") == [(0,)]
    assert play.rows("SELECT count(*) FROM refreshes WHERE doubted_at IS NOT NULL")[0][0] > 10
    play.turn(outage="off")
    for _ in range(8):
        play.run(roles=["history"])
        play.wait(1200.0)
    assert play.rows("SELECT count(*) FROM availability WHERE state = 'gone'") == [(0,)]
    assert play.rows("SELECT count(*) FROM refreshes WHERE doubted_at IS NOT NULL") == [(0,)]

"""Each post has its moment in the period: once a period, never twice, spread evenly."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from clipledger.core.model import AwemeId
from clipledger.core.rotation import first_due, following, rest_s, share

ids = st.integers(10**14, 10**19).map(lambda number: AwemeId(str(number)))
moments, periods = st.floats(1.5e9, 2e9), st.floats(60, 3e7)


@given(ids, moments, periods)
def test_the_first_look_is_within_one_period(aweme_id: AwemeId, now: float, period_s: float) -> None:
    """A post is read for the first time after now, and no later than one period from now."""
    assert now <= first_due(aweme_id, now, period_s) <= now + period_s * (1 + 1e-9)


@given(moments, st.floats(-1e4, 1e8), periods)
def test_the_next_look_is_one_period_on_and_not_past(due_at: float, late_s: float, period_s: float) -> None:
    """Read early, in time or late, the next moment lies ahead, within a period of now, at the post's own place."""
    now = due_at + late_s
    following_at = following(due_at, now, period_s)
    assert following_at >= due_at + period_s * (1 - 1e-9)
    assert late_s < 0 or (now < following_at + 1e-3 and following_at <= now + period_s * (1 + 1e-6) + 1e-3)


def test_posts_that_came_together_are_read_apart() -> None:
    """Ten thousand posts that came in one hour are spread evenly over the days of the period."""
    days = Counter(int(share(AwemeId(str(7_300_000_000_000_000_000 + n))) * 30) for n in range(10_000))
    assert len(days) == 30 and min(days.values()) > 250 and max(days.values()) < 420


def test_the_rest_keeps_the_speed() -> None:
    """What was read in less time than allowed is rested for; what took longer is not."""
    assert rest_s(1_000_000, 1.0, 100_000) == 9.0 and rest_s(1_000, 1.0, 100_000) == 0.0

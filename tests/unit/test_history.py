"""When a post is asked again, which first, and when it is believed to be gone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipledger.core.errors import UsageError
from clipledger.core.history import (
    DOUBT_S,
    DueRefresh,
    Round,
    believed,
    doubted_again_at,
    growth,
    most_valuable,
    next_due,
    read_steps,
)

HOUR_S = 3600.0
DAY_S = 86_400.0


def test_steps_are_read_in_order_and_once() -> None:
    """A schedule may be written in any order; none and nothing switch it off."""
    assert read_steps("6h, 1h,1d,24h") == (HOUR_S, 6 * HOUR_S, DAY_S)
    assert read_steps("") == read_steps(" none ") == ()


@pytest.mark.parametrize("text", ["1x", "1h,,2h", "0s", ",".join(f"{n}s" for n in range(1, 52))])
def test_a_wrong_schedule_is_refused(text: str) -> None:
    """What cannot be a schedule is refused when it is set, not when it is due."""
    with pytest.raises(UsageError):
        read_steps(text)


@given(st.lists(st.floats(1, 1e7), max_size=6), st.floats(0, 1e8))
def test_the_next_step_lies_ahead(steps: list[float], now: float) -> None:
    """Steps that were missed are not made up for: the next one is the first that is still to come."""
    due = next_due(0.0, steps, now)
    assert due == min((step for step in steps if step > now), default=None)


def test_the_young_and_growing_come_first() -> None:
    """A budget that is too small goes to the posts that tell most."""
    now = 100 * DAY_S
    old = DueRefresh("1", now - 90 * DAY_S, 10.0, now)
    fast = DueRefresh("2", now - 90 * DAY_S, 1e6, now)
    young = DueRefresh("3", now - HOUR_S, 500.0, now)
    unknown = DueRefresh("4", now - 30 * DAY_S, None, now)
    assert [due.aweme_id for due in most_valuable([old, fast, young, unknown], 3, now)] == ["3", "2", "4"]


def test_growth_is_measured_between_counts_that_are_apart() -> None:
    """Two looks within minutes tell nothing new, and a count that falls is a growth below nought."""
    assert growth((100, 0.0), 200, DAY_S, None) == 100.0
    assert growth((200, 0.0), 100, DAY_S, None) == -100.0
    assert growth((100, 0.0), 200, 60.0, 5.0) == 5.0
    assert growth(None, 200, 60.0, 5.0) == growth((None, 0.0), 3, DAY_S, 5.0) == 5.0


@pytest.mark.parametrize(
    ("before", "after", "alive", "gone", "believed_gone"),
    [
        (True, True, (), ("1", "2"), ("1", "2")),
        (False, True, (), ("1",), ()),
        (True, False, (), ("1",), ()),
        (True, True, ("1", "2"), ("3",), ()),
        (True, True, ("1",), ("2", "3", "4"), ("2", "3", "4")),
        (True, True, ("1",), ("2",), ()),
    ],
)
def test_only_what_stays_away_between_living_posts_is_gone(
    before: bool, after: bool, alive: tuple[str, ...], gone: tuple[str, ...], believed_gone: tuple[str, ...]
) -> None:
    """An outage, or answers that are false at random, mark nobody as gone."""
    assert believed(Round(before, after, frozenset(alive), frozenset(gone))) == set(believed_gone)


def test_a_doubt_that_stands_is_looked_at_ever_more_rarely() -> None:
    """What cannot be settled is asked again after as long as it has stood, a quarter of an hour to a day."""
    assert doubted_again_at(None, 100.0) == 100.0 + DOUBT_S
    assert doubted_again_at(0.0, 7200.0) == 14_400.0
    assert doubted_again_at(0.0, 10 * DAY_S) == 11 * DAY_S

"""The rate holds in every window of a minute, whoever calls and however late."""

from __future__ import annotations

import random
from bisect import bisect_right

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipledger.core import pace
from clipledger.core.pace import LATE_S, SLACK_S

NOW = 1_780_000_000.123_456


def _kept(at: float) -> float:
    """What the database gives back: whole milliseconds."""
    return round(at * 1000) / 1000


def _worst_window(arrivals: list[float]) -> int:
    ordered = sorted(arrivals)
    return max(bisect_right(ordered, begun + 60.0) - n for n, begun in enumerate(ordered))


@given(
    st.integers(1, 700) | st.sampled_from([60, 200, 400, 600]),
    st.lists(st.tuples(st.integers(0, 2), st.integers(1, 12), st.floats(0, 9)), min_size=1, max_size=150),
    st.lists(st.floats(0, 0.9999), min_size=1, max_size=97),
)
def test_no_minute_ever_holds_more_than_the_limit(
    per_minute: int, turns: list[tuple[int, int, float]], lateness: list[float]
) -> None:
    """However the turns of three processes and delays fall, the server never sees more calls in 60 s than allowed."""
    next_at, now, arrivals = 0.0, NOW, list[float]()
    ours: dict[int, float | None] = {}
    for process, permits, idle in turns:
        taken = pace.reserve(next_at, now, permits, per_minute, ours=ours.get(process))
        assert len(taken.moments) == permits and taken.moments[0] >= max(next_at, now - pace.JOIN_S) - 1e-6
        for scheduled in taken.moments:
            late = lateness[len(arrivals) % len(lateness)] * SLACK_S
            assert not pace.permit_is_late(scheduled, scheduled + min(late, LATE_S * 0.999))  # the rest is the way
            arrivals.append(scheduled + late)
        next_at = _kept(taken.next_at)
        assert next_at == taken.next_at
        ours[process] = taken.next_at if taken.spaced else None
        now += idle * pace.interval_s(per_minute) * permits
    assert _worst_window(arrivals) <= per_minute


def _played(per_minute: int, dice: random.Random) -> list[float]:
    """Play three minutes at full rate: up to three processes, groups and single calls, pauses of all lengths."""
    interval_s, size = pace.interval_s(per_minute), pace.group(per_minute)
    next_at, now, arrivals, ours = 0.0, NOW + dice.uniform(0, 1000), list[float](), dict[int, float | None]()
    processes, many, idle = dice.choice([1, 1, 2, 3]), dice.choice([0.02, 0.3, 0.9]), dice.choice([0, 0.01, 0.1, 0.5])
    late_s = dice.choice([lambda: 0.0, lambda: dice.uniform(0, 0.599), lambda: dice.choice([0, 0.599])])
    while len(arrivals) < 3 * per_minute:
        process = dice.randrange(processes)
        if dice.random() < idle:
            pauses = (size * interval_s, (size - 1) * interval_s, interval_s, dice.uniform(0, 3) * size * interval_s)
            now = max(now, next_at) + dice.choice(pauses)
        permits = size if dice.random() < many else dice.randint(1, max(size - 1, 1))
        taken = pace.reserve(next_at, now, permits, per_minute, ours=ours.get(process))
        arrivals.extend(at + late_s() for at in taken.moments)
        next_at, ours[process] = taken.next_at, taken.next_at if taken.spaced else None
        now = max(now, taken.moments[-1] - dice.choice([0, 0, 0.3, 1.0]))
    return arrivals


@pytest.mark.parametrize("per_minute", [48, 100, 200, 400])
def test_groups_and_single_calls_by_turns_hold_the_limit(per_minute: int) -> None:
    """However groups, single calls and pauses follow one another, the limit is reached and never passed."""
    worst = [_worst_window(_played(per_minute, random.Random(seed))) for seed in range(60)]
    assert max(worst) == per_minute


def test_the_worst_lateness_fills_the_window_exactly() -> None:
    """The spacing is as wide as it must be: the limit is reached, never passed, spaced or together."""
    for permits in (1, 1000):
        arrivals, next_at = list[float](), NOW - 100
        for _ in range(1000 // permits):
            taken = pace.reserve(next_at, NOW, permits, 200, ours=next_at)
            assert taken.spaced == (permits == 1)
            arrivals, next_at = [*arrivals, *taken.moments], taken.next_at
        for n in range(0, 1000, 200):
            for first in range(n, n + (1 if permits == 1 else 4)):
                arrivals[first] += SLACK_S * 0.999  # late, and the rest of the minute in time
        assert _worst_window(arrivals) == 200


@pytest.mark.parametrize(
    ("per_minute", "size"), [(1, 1), (60, 1), (100, 2), (197, 1), (200, 4), (210, 3), (400, 4), (600, 4), (700, 1)]
)
def test_calls_go_together_in_groups_that_divide_the_limit(per_minute: int, size: int) -> None:
    """At most a second and a quarter's worth wait for each other."""
    assert pace.group(per_minute) == size


def test_many_go_together_and_few_at_their_own_moments() -> None:
    """Four calls share a tick; one that comes alone does not wait, unless it might be one too many."""
    many = pace.reserve(0.0, NOW, 8, 200)
    assert len(set(many.moments)) in (2, 3) and max(many.moments.count(at) for at in many.moments) == 4
    after = pace.reserve(many.next_at, many.next_at, 1, 200)
    assert not after.spaced and after.moments[0] - many.next_at < 4 * pace.interval_s(200)
    alone = pace.reserve(0.0, NOW, 1, 200)
    assert alone.spaced and alone.moments[0] == pytest.approx(NOW, abs=0.0011)
    assert pace.reserve(alone.next_at, NOW, 1, 200, ours=alone.next_at).moments == (alone.next_at,)
    assert not pace.reserve(alone.next_at, NOW, 1, 200).spaced, "left by another process"
    assert pace.reserve(alone.next_at, alone.next_at + 1.3, 1, 200).spaced, "nobody called for long enough"


@pytest.mark.parametrize("per_minute", [1, 7, 200, 350, 1_000_000])
def test_the_rate_is_used(per_minute: int) -> None:
    """Spacing costs one per cent of the plan, not more, also over many small reservations."""
    next_at = first = pace.reserve(0.0, NOW, 1, per_minute).moments[0]
    permits = pace.permits_per_reservation(per_minute, 10**9)
    for _ in range(500):
        next_at = pace.reserve(next_at, NOW, permits, per_minute).next_at
    ideal = 500 * permits * 60.0 / per_minute
    assert ideal * 1.0099 < next_at - first < ideal * 1.0120


def test_unused_time_is_not_saved_up() -> None:
    """After a quiet hour there is no burst."""
    taken = pace.reserve(NOW - 3600, NOW, 3, 200)
    assert NOW <= taken.moments[0] < NOW + 0.0011
    assert taken.next_at >= taken.moments[0] + 3 * pace.interval_s(200) - 1e-6


def test_late_permits_are_thrown_away() -> None:
    """A process that slept does not call at a moment that was another one's."""
    assert not pace.permit_is_late(100.0, 100.0) and not pace.permit_is_late(100.0, 99.0)
    assert not pace.permit_is_late(100.0, 100.0 + LATE_S - 0.001)
    assert pace.permit_is_late(100.0, 100.0 + LATE_S + 0.001)


@given(st.integers(0, 10**6), st.none() | st.floats(allow_nan=True), st.floats(0, 1))
def test_pauses_are_bounded(throttles: int, retry_after_s: float | None, jitter: float) -> None:
    """No answer of the server stops the archive for more than five minutes, and none makes it hammer."""
    until = pace.pause(throttles, NOW, retry_after_s, jitter)
    assert NOW + pace.PAUSE_BASE_S <= until <= NOW + pace.PAUSE_CAP_S


def test_pauses_double_and_obey() -> None:
    """Each 429 in a row doubles the pause; a longer Retry-After is obeyed, a shorter one changes nothing."""
    waits = [pace.pause(n, 0.0, None, 0.0) for n in range(1, 9)]
    assert waits == [5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0]
    assert pace.pause(1, 0.0, None, 1.0) == 7.5
    assert pace.pause(1, 0.0, 42.0, 1.0) == 42.0
    assert pace.pause(1, 0.0, 1.0, 0.0) == 5.0
    assert pace.pause(1, 0.0, 1e9, 0.0) == 300.0


@pytest.mark.parametrize(
    ("per_minute", "waiting", "permits"),
    [(200, 100, 4), (200, 2, 2), (200, 0, 1), (1, 100, 1), (60_000, 5000, 990), (60_000, 0, 9)],
)
def test_one_process_takes_a_second_at_most(per_minute: int, waiting: int, permits: int) -> None:
    """Processes that share an archive get fair shares."""
    assert pace.permits_per_reservation(per_minute, waiting) == permits


def test_listing_runs_no_further_ahead_than_half_a_minute() -> None:
    """What a list shows is resolved within the minute: half of the rate is left for it."""
    assert pace.backlog_limit(200) == 99
    assert pace.backlog_limit(200, window_s=30.0) == 49
    assert pace.backlog_limit(200, share=1.0) == 198
    assert pace.backlog_limit(1) == 1

"""How large a fleet should be: within its bounds, up at once, down only after a while, and never to and fro."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from clipledger.core.scaling import HOLD_S, Bounds, Load, Size, needed, resize

loads = st.builds(
    Load,
    due=st.integers(0, 10**7),
    in_flight=st.integers(0, 10**4),
    videos_per_min=st.floats(0, 10**4, allow_nan=False),
    calls_per_min=st.integers(1, 10**6),
    slots=st.integers(1, 1000),
)
bounds = st.tuples(st.integers(0, 50), st.integers(1, 50)).map(lambda two: Bounds(min(two), max(two)))


@given(st.integers(0, 60), loads, bounds)
def test_a_fleet_keeps_within_its_bounds(workers: int, load: Load, within: Bounds) -> None:
    """Whatever the load and however many there are, the fleet has never more than --max nor, later, less than --min."""
    size = resize(Size(workers), load, within, 0.0)
    assert size.workers <= within.most
    later = resize(resize(size, load, within, 1.0), load, within, 1.0 + HOLD_S)
    assert within.least <= later.workers <= within.most


@given(loads, st.integers(0, 10**6))
def test_more_work_never_asks_for_fewer_workers(load: Load, more: int) -> None:
    """A longer queue never makes the fleet smaller."""
    assert needed(replace(load, due=load.due + more)) >= needed(load)


@given(loads, bounds, st.lists(st.floats(0.1, 200.0), min_size=1, max_size=20))
def test_a_steady_load_moves_the_fleet_once(load: Load, within: Bounds, steps: list[float]) -> None:
    """While the load stays the same, workers do not come and go."""
    size, now, seen = resize(Size(within.least), load, within, 0.0), 0.0, set()
    for step in steps:
        now += step
        size = resize(size, load, within, now)
        seen.add(size.workers)
    assert len(seen) == 1


@given(loads, bounds)
def test_a_short_lull_sends_nobody_away(load: Load, within: Bounds) -> None:
    """Workers stay through a lull that is shorter than the hold, and through one that work interrupts."""
    busy, idle = Size(within.most), replace(load, due=0, in_flight=0)
    size = resize(busy, idle, within, 100.0)
    assert size.workers == within.most
    assert resize(size, idle, within, 100.0 + HOLD_S * 0.9).workers == within.most
    crowd = replace(load, due=10**7, calls_per_min=10**6, slots=1, in_flight=0)
    assert resize(size, crowd, within, 130.0) == Size(within.most)


def test_the_rate_bounds_what_is_needed() -> None:
    """A million due posts at 200 calls a minute keep three processes of 24 slots busy; a measured pace counts."""
    load = Load(due=10**6, in_flight=0, videos_per_min=0.0, calls_per_min=200, slots=24)
    assert needed(load) == 3
    assert needed(replace(load, in_flight=48, videos_per_min=24.0)) == 21  # each takes two minutes: 500 / 24
    assert needed(replace(load, due=0, in_flight=0)) == 0
    assert needed(replace(load, due=1)) == 1

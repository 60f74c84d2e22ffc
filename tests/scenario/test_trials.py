"""The reliability harnesses in small: drawn hours, every kind of fault once, mass outages. Full size: `benchmarks/`."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from clipledger.sim.faults import KINDS
from trials import hours, matrix, outage
from trials.outage import OUTAGES, Outage
from trials.soak import slope

pytestmark = pytest.mark.slow
GROUND = None  # SQLite and a folder: what differs on servers is tested in tests/contract

SEEDS = 40
IDS = 1000


@pytest.fixture
def fresh(folder: Path) -> Callable[[], Path]:
    """Give folders for archives, one after another."""
    numbers = count()
    return lambda: folder.with_name(f"archive-{next(numbers)}")


@pytest.mark.parametrize("seed", range(1, SEEDS + 1))
def test_an_hour_of_drawn_trouble_is_recovered_from(seed: int, fresh: Callable[[], Path]) -> None:
    """Whatever an hour brings, the archive is whole afterwards without a person; every fourth is played twice."""
    verdict = hours.one(seed, fresh, twice=seed % 4 == 0)
    assert verdict.findings == (), verdict.replay


@pytest.mark.parametrize("seed", [61, 107, 202, 465, 743])
def test_an_hour_that_went_wrong_once_does_not_again(seed: int, fresh: Callable[[], Path]) -> None:
    """Links told apart by name alone; three deaths of a process within a minute; a CDN that fails a third of all; a
    short link to what was still to be made."""
    verdict = hours.one(seed, fresh, twice=False)
    assert verdict.findings == (), verdict.replay


@pytest.mark.parametrize("nth", range(len(KINDS)), ids=[kind.name for kind in KINDS])
def test_every_kind_of_fault_is_recovered_from(nth: int, fresh: Callable[[], Path]) -> None:
    """Half an hour of each fault that the simulator knows ends with books that balance and every living post saved."""
    share = matrix.INTENSITIES[nth % len(matrix.INTENSITIES)]
    verdict = matrix.tried(matrix.single(KINDS[nth].name, share, 1), fresh)
    assert verdict.findings == (), verdict.replay


@pytest.mark.parametrize("nth", [197, 273])
def test_a_pair_of_faults_that_went_wrong_once_does_not_again(nth: int, fresh: Callable[[], Path]) -> None:
    """Two deleted posts of twelve that were asked as canaries each time, the living never; a fifth attempt that met
    headers too fat, and passed for a post that is too large for good."""
    verdict = matrix.tried(matrix.pairs(1, nth + 1)[-1], fresh)
    assert verdict.findings == (), verdict.replay


@pytest.mark.parametrize("which", OUTAGES, ids=[which.name for which in OUTAGES])
def test_a_mass_outage_costs_no_id_and_hardly_a_credit(which: Outage, fresh: Callable[[], Path]) -> None:
    """A thousand ids meet four hours of an API that fails them all: none dies, none loses an attempt, all are saved.

    Of the drifted links photo posts are spared: each of them closed the breaker once, and the videos that came behind
    opened it again, at some twenty credits a time.
    """
    verdict = outage.met(which, 3, IDS, fresh)
    assert verdict.findings == (), verdict.replay


def test_a_timer_knows_what_the_run_before_it_saw(fresh: Callable[[], Path]) -> None:
    """The same outage met by a run every ten minutes: each asks one post, whatever photo posts were answered before."""
    outage_of_shapes = Outage("drifted_links", "links_as_objects", "outage", follows=False)
    verdict = outage.met(outage_of_shapes, 2, 600, fresh)
    assert verdict.findings == (), verdict.replay


def test_the_memory_line_is_a_straight_one() -> None:
    """The figure of the soak is the slope of the line of least squares."""
    assert slope([(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]) == pytest.approx(2.0)
    assert slope([(0.0, 5.0), (1.0, 5.0)]) == 0.0

"""A program that is broken on purpose is noticed by the test that guards what was broken."""

from __future__ import annotations

import random

import pytest

from broken.trial import DoesNotApply, changed, check_all_apply, copied, tried, unbroken
from broken.variants import VARIANTS, Variant
from turn import turn

EACH_TIME = 5


def test_every_broken_variant_can_still_be_made() -> None:
    """No variant has lost the lines that it breaks: there are at least twenty, and each applies once."""
    check_all_apply()
    assert len(VARIANTS) >= 20


def test_a_variant_that_lost_its_lines_is_told() -> None:
    """A change that no longer fits, or fits twice, is an error and not a variant that nobody notices."""
    for text in ("", "xx x"):
        with pytest.raises(DoesNotApply):
            changed(Variant("v", "f.py", "x", "y", "t"), text)


@pytest.mark.slow
def test_broken_variants_are_caught() -> None:
    """Five variants, others with each commit, are caught by their named tests, which pass on the unbroken program."""
    chosen = random.Random(turn()).sample(VARIANTS, EACH_TIME)
    print([variant.name for variant in chosen])
    with copied() as folder:
        whole = unbroken(folder, chosen)
        assert whole.outcome == "passed", whole.told
        found = {variant: tried(folder, variant) for variant in chosen}
    for variant, came_of in found.items():
        told = f"{variant.name} by {variant.test}: {came_of.outcome}\n{came_of.told}"
        assert came_of.outcome in ("caught", "not tried"), told
    if skipped := [variant.name for variant, came_of in found.items() if came_of.outcome == "not tried"]:
        pytest.skip(f"NOT TESTED, since the tests that should notice are skipped here: {skipped}")

"""What an archive will cost, before a credit is spent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipledger.core.cost import GIGABYTE, MONTH_DAYS, Prices, Share, Sizes, Tier, Wish, day_of, months_of

FLAT = Prices("flat", "USD", (Tier("flat", 0, 0.02),), thousand_puts=0.005, egress_gigabyte=0.09)
AGED = Prices("aged", "USD", (Tier("hot", 0, 0.02), Tier("cool", 30, 0.01), Tier("cold", 90, 0.004)))


def test_the_guides_budget_comes_out_to_the_credit() -> None:
    """10,000 posts a day are 10,000 detail calls and 400 listing calls: 10,400 credits, 52 minutes at the limit."""
    day = day_of(Wish(10_000), 200)
    assert (day.details, day.pages, day.further, day.credits) == (10_000, 400, 0, 10_400)
    assert day.hours == pytest.approx(52 / 60)


def test_a_mix_of_sources_asks_for_the_pages_of_each() -> None:
    """Sources whose pages show fewer new posts cost more pages; shares that are no whole are refused."""
    mix = (Share("user", 0.7, 28.0), Share("tag", 0.3, 15.0))
    assert day_of(Wish(10_000, mix=mix), 200).pages == 250 + 200
    with pytest.raises(ValueError, match="add up to 1"):
        day_of(Wish(10_000, mix=mix[:1]), 200)


def test_waste_is_planned_with() -> None:
    """What an archive had to resolve a second time so far is added to the plan."""
    assert day_of(Wish(10_000, waste=0.15), 200).credits == 11_900


def test_files_that_are_kept_for_ever_pile_up_and_those_that_are_not_level_off() -> None:
    """Storage grows by a month's files each month, and stays where retention holds it."""
    for keep, months in ((None, [30, 60, 90, 120]), (45, [30, 45, 45, 45])):
        wish = Wish(1000, keep_days=keep)
        told = list(months_of(wish, day_of(wish, 200), FLAT, 4))
        assert [month.bytes for month in told] == [pytest.approx(days * 1000 * Sizes().post) for days in months]


@given(
    st.integers(1, 100_000),
    st.none() | st.integers(1, 400),
    st.integers(1, 14),
    st.sampled_from([FLAT, AGED]),
    st.integers(1, 3),
)
def test_storage_is_what_counting_file_by_file_gives(
    videos: int, keep: int | None, months: int, prices: Prices, copies: int
) -> None:
    """Each month's storage is the sum over its days and files of the price of the class that file lies in that day."""
    wish = Wish(videos, keep_days=keep, copies=copies)
    day = day_of(wish, 200)
    *_, last = months_of(wish, day, prices, months)
    counted = 0.0
    for today in range((months - 1) * MONTH_DAYS + 1, months * MONTH_DAYS + 1):
        for age in range(min(today, keep) if keep is not None else today):
            tier = max((tier for tier in prices.tiers if tier.from_day <= age), key=lambda tier: tier.from_day)
            counted += day.bytes / GIGABYTE * tier.gigabyte_month / MONTH_DAYS
    assert last.storage == pytest.approx(counted)


def test_what_has_no_price_is_not_summed_as_if_it_were_free() -> None:
    """Credits without a price are told as unknown; with one they are part of the sum."""
    wish = Wish(1000, read_share=0.1)
    day = day_of(wish, 200)
    (unknown,) = months_of(wish, day, FLAT, 1)
    assert unknown.credits is None and unknown.total == unknown.storage + unknown.puts + unknown.egress
    assert unknown.puts == pytest.approx(1000 * 30 * 3 / 1000 * 0.005)
    assert unknown.egress == pytest.approx(30 * day.bytes * 0.1 / GIGABYTE * 0.09)
    priced = Prices("p", "EUR", FLAT.tiers, thousand_credits=0.5)
    (known,) = months_of(wish, day, priced, 1)
    assert known.credits == pytest.approx(day.credits * 30 / 1000 * 0.5) and known.total > known.storage

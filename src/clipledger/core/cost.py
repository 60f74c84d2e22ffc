"""What an archive will cost: calls, credits, hours, bytes and money, from a handful of numbers.

Arithmetic only: the numbers are the operator's, the archive's own, or the founding guide's. A gigabyte
is 10^9 bytes, as stores bill it, and a month is 30 days. Must not: read a price list or a database.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

MONTH_DAYS = 30
GIGABYTE = 1e9

GUIDE_NEW_PER_PAGE = 25.0
"""New ids in a page of 30 of which some are known: the guide's 400 pages for 10,000 posts."""


@dataclass(frozen=True, slots=True)
class Share:
    """A kind of source, its part of the posts (0..1), and how many new posts one of its pages shows."""

    kind: str
    share: float
    new_per_page: float = GUIDE_NEW_PER_PAGE


@dataclass(frozen=True, slots=True)
class Sizes:
    """Mean bytes of one post: its media, its cover, its sidecar."""

    media: float = 8e6
    cover: float = 60e3
    sidecar: float = 4e3

    @property
    def post(self) -> float:
        """Sum one post up."""
        return self.media + self.cover + self.sidecar


@dataclass(frozen=True, slots=True)
class Tier:
    """A storage class: from which age on files lie in it, and what a gigabyte costs in it each month."""

    name: str
    from_day: int
    gigabyte_month: float


@dataclass(frozen=True, slots=True)
class Prices:
    """One price table; None for what it does not tell. Money is in `currency`, without tax."""

    name: str
    currency: str
    tiers: tuple[Tier, ...]
    thousand_puts: float = 0.0
    egress_gigabyte: float = 0.0
    thousand_credits: float | None = None
    as_of: str = ""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be archived. `keep_days` None keeps for ever; `waste` is further credits per post."""

    videos_per_day: int
    mix: tuple[Share, ...] = (Share("user", 1.0),)
    keep_days: int | None = None
    copies: int = 1
    sizes: Sizes = Sizes()
    waste: float = 0.0
    objects_per_post: float = 3.0
    read_share: float = 0.0


@dataclass(frozen=True, slots=True)
class Day:
    """One day's calls and bytes. `hours` is how long its calls take at the limit."""

    details: int
    pages: int
    further: int
    hours: float
    bytes: float

    @property
    def credits(self) -> int:
        """Sum the day's credits up."""
        return self.details + self.pages + self.further


@dataclass(frozen=True, slots=True)
class Month:
    """How much lies there at the end of a month, and what that month costs; None: no price is known."""

    number: int
    bytes: float
    storage: float
    puts: float
    egress: float
    credits: float | None

    @property
    def total(self) -> float:
        """Sum what has a price."""
        return self.storage + self.puts + self.egress + (self.credits or 0.0)


def day_of(wish: Wish, requests_per_minute: int) -> Day:
    """Plan one day. ValueError when the shares do not make a whole."""
    if not math.isclose(sum(part.share for part in wish.mix), 1.0, abs_tol=1e-6):
        raise ValueError("the shares of the source mix must add up to 1")
    # Rounded first: 0.1 + 0.2 of a page is no reason to plan another.
    pages = sum(math.ceil(round(wish.videos_per_day * part.share / part.new_per_page, 6)) for part in wish.mix)
    further = round(wish.videos_per_day * wish.waste)
    calls = wish.videos_per_day + pages + further
    size = wish.videos_per_day * wish.sizes.post * wish.copies
    return Day(wish.videos_per_day, pages, further, calls / requests_per_minute / 60, size)


def months_of(wish: Wish, day: Day, prices: Prices, months: int) -> Iterator[Month]:
    """Plan month by month: storage by age of the files, requests, reading back, credits."""
    for number in range(1, months + 1):
        days = number * MONTH_DAYS
        kept = days if wish.keep_days is None else min(days, wish.keep_days)
        puts = wish.videos_per_day * MONTH_DAYS * wish.objects_per_post * wish.copies / 1000 * prices.thousand_puts
        egress = kept * day.bytes / wish.copies * wish.read_share / GIGABYTE * prices.egress_gigabyte
        credit = prices.thousand_credits
        money = None if credit is None else day.credits * MONTH_DAYS / 1000 * credit
        yield Month(number, kept * day.bytes, _storage(day.bytes, days, kept, prices.tiers), puts, egress, money)


def _storage(day_bytes: float, days: int, kept: int, tiers: Sequence[Tier]) -> float:
    """Price the month that ends with day `days`: each file by its mean age in each of the month's days."""
    total = 0.0
    ordered = sorted(tiers, key=lambda tier: tier.from_day)
    ends = [tier.from_day for tier in ordered[1:]] + [days + 1]
    for tier, end in zip(ordered, ends, strict=True):
        # File-days: on day d the files of ages from_day..min(end, d, kept) lie in this tier.
        file_days = sum(
            max(0, min(end, today, kept) - tier.from_day) for today in range(days - MONTH_DAYS + 1, days + 1)
        )
        total += file_days * day_bytes / GIGABYTE * tier.gigabyte_month / MONTH_DAYS
    return total

"""Which archived posts are asked whether the API tells the truth."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, cast

from clipledger.core.breaker import FEW_CANARIES, LOST_S, Answer, Outcome
from clipledger.core.errors import Gone
from clipledger.core.model import AwemeId
from clipledger.stages.canaries import POOL, Canaries
from clipledger.stages.paid import Purpose

HOUR_S = 3600.0


class Books:
    """Stands for catalog, ledger, API and clock at once: `posts` archived last first, those in `gone` deleted."""

    def __init__(self, posts: Sequence[str], gone: Sequence[str]) -> None:
        self.posts, self.gone = [AwemeId(post) for post in posts], set(gone)
        self.told: list[Outcome] = []
        self.time = 0.0

    def now(self) -> float:
        return self.time

    async def canaries(self, first: int | list[AwemeId], before: float = 0.0) -> list[AwemeId] | list[Outcome]:
        if isinstance(first, int):
            return self.posts[:first]
        return [each for each in self.told if each.aweme_id in first]

    async def buy(self, _call: object, purpose: Purpose, _read: Callable[[bytes], object]) -> None:
        aweme_id = cast(AwemeId, purpose.aweme_id)
        is_gone = aweme_id in self.gone
        self.told.append(Outcome(self.time, Answer.GONE if is_gone else Answer.ALIVE, aweme_id))
        if is_gone:
            raise Gone("Not found post")


def asked(books: Books, *, looks: int, every_s: float, open_since: float | None = 0.0) -> tuple[Canaries, list[int]]:
    """Ask two canaries at each look; give how many were alive at each."""
    anything = cast(Any, books)
    canaries = Canaries(anything, "/post-detail/", anything, anything, anything)

    async def play() -> list[int]:
        alive = []
        for _ in range(looks):
            found = await canaries.ask(2, enough=1, before=books.time, open_since=open_since)
            alive.append(found[0])
            books.time += every_s
        return alive

    return canaries, asyncio.run(play())


def test_a_timer_does_not_ask_the_same_two_deleted_posts_for_ever() -> None:
    """Of twelve posts two are deleted: a timer by the hour met them each time, as the minute chose who was asked."""
    books = Books([f"{n}" for n in range(12)], ["0", "1"])
    _, alive = asked(books, looks=4, every_s=HOUR_S)
    assert alive == [0, 1, 1, 1]


def test_an_author_who_deleted_everything_does_not_stand_for_the_api() -> None:
    """Behind three hundred posts of one that are all gone, those of others are found, and asked from then on."""
    books = Books([f"a{n}" for n in range(300)] + [f"b{n}" for n in range(POOL)], [f"a{n}" for n in range(300)])
    _, alive = asked(books, looks=200, every_s=HOUR_S / 2)
    found = alive.index(1)
    assert found <= 150, "each look asks two that were not asked yet"
    assert alive[found:] == [1] * (200 - found)


def test_canaries_are_given_up_after_a_week_without_a_living_one() -> None:
    """Not before, and not where one of them is alive."""
    posts = [f"{n}" for n in range(FEW_CANARIES + 4)]
    assert not asked(Books(posts, posts), looks=7, every_s=LOST_S / 7)[0].mute
    assert asked(Books(posts, posts), looks=9, every_s=LOST_S / 7)[0].lost
    assert not asked(Books(posts, posts), looks=9, every_s=LOST_S / 7, open_since=None)[0].mute
    assert not asked(Books(posts, posts[1:]), looks=9, every_s=LOST_S / 7)[0].mute

"""Pages of posts: whose they are, in which order, how a cursor walks them, and how a page goes wrong.

Time lists page by milliseconds as text, ranked lists by offset. Lists are walked, never built
whole, so a page of an author with thousands of posts costs no more than a page.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from clipledger.sim.bodies import Bodies, Body
from clipledger.sim.dice import number, roll
from clipledger.sim.faults import Door
from clipledger.sim.population import DAY_S, Author, Post
from clipledger.sim.reply import Shown
from clipledger.sim.scene import Scene

COUNT_DEFAULT = 10
COUNT_MOST = 35
_EXTRAS = ("ads", "strangers")


def _any(_post: Post) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Listing:
    """One list. `order`: indices of posts; `stamp` gives the time (s) by which it descends, None = ranked.

    `wanted` filters, `offset_type` is the type of a ranked list's cursor, `pinned` comes first.
    """

    source: str
    order: Sequence[int]
    stamp: Callable[[int], float] | None = None
    wanted: Callable[[Post], bool] = _any
    offset_type: type[int] | type[str] = int
    pinned: tuple[int, ...] = ()

    def position(self, cursor: str, now: float) -> int:
        """Return where in `order` a cursor points; raises ValueError for one that this list never gave."""
        if not (cursor.isascii() and cursor.isdigit()):
            raise ValueError(cursor)
        if self.stamp is None:
            return min(int(cursor), len(self.order))
        before_ms = int(cursor) or (int(now) + 1) * 1000
        return bisect_right(self.order, -before_ms, key=lambda i: -self.time_ms(i))

    def cursor(self, position: int, now: float) -> str | int:
        """Return the cursor that continues at `position`."""
        if self.stamp is None:
            return self.offset_type(position)
        return str(self.time_ms(self.order[position - 1]) if position else int(now * 1000))

    def time_ms(self, index: int) -> int:
        """Return the time by which a time list is ordered."""
        return int(self.stamp(index)) * 1000 if self.stamp else 0

    def tied(self, position: int) -> bool:
        """True when a cursor at `position` would skip an item of the same second."""
        return (
            self.stamp is not None
            and 0 < position < len(self.order)
            and self.time_ms(self.order[position - 1]) == self.time_ms(self.order[position])
        )


@dataclass(slots=True)
class _Walk:
    """What one page shows of a list: the posts, where it ends, whether more follow."""

    posts: list[Post] = field(default_factory=list)
    end: int = 0
    more: bool = False


class Lists:
    """Opens the lists of one scene and writes their pages."""

    def __init__(self, scene: Scene, bodies: Bodies) -> None:
        self._scene, self._people, self._bodies = scene, scene.population, bodies
        self._ranked = lru_cache(maxsize=256)(self._rank)

    def of_author(self, author: Author) -> Listing:
        """Open a user's posts, newest first, pinned ones before them."""
        order = self._people.of_author(author.index)
        return Listing(f"@{author.first_handle}", order, self._people.create_time, pinned=self._pins(author, order))

    def stories(self, author: Author) -> Listing:
        """Open a user's stories: some of the posts of the last day."""
        fresh = self._scene.now() - DAY_S
        recent = (i for i in self._people.of_author(author.index) if self._people.create_time(i) > fresh)
        order = [i for i in recent if roll(self._scene.seed, "story", i) < 0.5]
        return Listing(f"stories:@{author.first_handle}", order, self._people.create_time)

    def liked(self, author: Author) -> Listing:
        """Open a user's likes, latest first."""
        seed, size = self._scene.seed, self._people.size
        chosen = {number(seed, "like", author.index, k) % size for k in range(min(size, 5 + author.index % 60))}
        when = {i: self._people.create_time(i) + roll(seed, "liked", author.index, i) * 3 * DAY_S for i in chosen}
        order = sorted(chosen, key=lambda i: -int(when[i]))
        return Listing(f"liked:@{author.first_handle}", order, when.__getitem__)

    def with_tag(self, tag: str, region: str) -> Listing:
        """Open a tag; a region puts its own posts first."""
        name = f"#{tag}"
        order = self._ranked(name, region, self._period())
        return Listing(name, order)

    def with_sound(self, sound_id: str) -> Listing:
        """Open a sound's posts."""
        name = f"music:{sound_id}"
        return Listing(name, self._ranked(name, "", self._period()), offset_type=str)

    def found(self, words: str, *, region: str, days: int, sort: int) -> Listing:
        """Open a search. `days` 0 = whenever; `sort` 0 relevance, 1 likes, 2 date."""
        name = f"search:{words}"
        after = self._scene.now() - days * DAY_S if days else 0.0
        order: Sequence[int] = self._ranked(name, "", self._period())
        if sort == 1:
            order = sorted(order, key=lambda i: (-self._people.post(i).fame, i))
        elif sort == 2:
            order = sorted(order, key=lambda i: (-self._people.create_time(i), i))
        return Listing(name, order, wanted=lambda p: p.create_time >= after and region in ("", p.region))

    def albums(self, author: Author, kind: str) -> list[tuple[str, Listing]]:
        """Open a user's playlists (own posts) or collections (anybody's), each with its id."""
        return [(album_id, self.album(kind, album_id)) for album_id in self._album_ids(author, kind)]

    def album(self, kind: str, album_id: str) -> Listing:
        """Open a playlist or collection; raises LookupError when there is none with that id."""
        if not (album_id.isascii() and album_id.isdigit() and len(album_id) <= 20):
            raise LookupError(album_id)
        owner = int(album_id) % 2**32 >> 3
        if owner >= len(self._people.authors):
            raise LookupError(album_id)
        author, seed = self._people.authors[owner], self._scene.seed
        if album_id not in self._album_ids(author, kind):
            raise LookupError(album_id)
        if kind == "playlist":
            order = [i for i in self._people.of_author(owner) if roll(seed, album_id, i) < 0.5]
        else:
            order = list(dict.fromkeys(number(seed, album_id, k) % self._people.size for k in range(40)))
        return Listing(f"{kind}:{album_id}", order, offset_type=str)

    def page(self, listing: Listing, count: int, cursor: str) -> tuple[Body, Shown | None]:
        """Write one page and say which ids it shows. Raises ValueError for a cursor that cannot be."""
        scene, now = self._scene, self._scene.now()
        call = f"{listing.source}/{cursor}/{scene.nth('page', listing.source, cursor)}"
        faults = scene.struck(Door.LIST, listing.source, call) - {"endless_more"}
        faults |= scene.struck(Door.LIST, listing.source) & {"endless_more"}  # once and for all pages
        start = listing.position(cursor, now)
        if "short_page" in faults:
            count = max(1, count // 3)
        walk = self._walk(listing, start, count)
        pins = [self._people.post(i) for i in listing.pinned] if start == listing.position("0", now) else []
        pins = [post for post in pins if post.listed(now)]
        items = [self._bodies.item(post, call, pinned=True) for post in pins]
        items += [self._bodies.item(post, call) for post in walk.posts if post not in pins]
        strangers = self._mix_in(items, listing, start, call, faults)
        body: Body = {"videos": items, "cursor": listing.cursor(walk.end, now), "hasMore": walk.more}
        if roll(0, "hasMore", listing.source) < 0.2:
            body["hasMore"] = int(walk.more)
        shown = Shown(listing.source, tuple(dict.fromkeys(p.id for p in (*pins, *walk.posts, *strangers))))
        if "endless_more" in faults and not walk.more:
            body |= {"cursor": _beyond(body["cursor"], count if listing.stamp is None else -1000), "hasMore": True}
        _spoil(body, faults, cursor)
        return body, shown if body.get("videos") else None

    def _walk(self, listing: Listing, start: int, count: int) -> _Walk:
        walk, now = _Walk(end=start), self._scene.now()
        while walk.end < len(listing.order) and (len(walk.posts) < count or listing.tied(walk.end)):
            post = self._people.post(listing.order[walk.end])
            walk.end += 1
            if post.listed(now) and listing.wanted(post):
                walk.posts.append(post)
        rest = (self._people.post(listing.order[k]) for k in range(walk.end, len(listing.order)))
        walk.more = any(post.listed(now) and listing.wanted(post) for post in rest)
        return walk

    def _mix_in(self, items: list[Any], listing: Listing, start: int, call: str, faults: frozenset[str]) -> list[Post]:
        """Put what does not belong among the items; return the posts that came in."""
        seed, guests = self._scene.seed, []
        for which in (name for name in _EXTRAS if name in faults):
            guest = self._people.post(number(seed, which, call) % self._people.size)
            if guest.listed(self._scene.now()):
                guests.append(guest)
                items.insert(len(items) // 2, self._bodies.item(guest, f"{call}/{which}", is_ad=which == "ads"))
        if "repeats" in faults:
            again = [self._people.post(i) for i in listing.order[max(0, start - 2) : start]]
            guests += [post for post in again if post.listed(self._scene.now()) and listing.wanted(post)]
            items[:0] = [self._bodies.item(post, f"{call}/again") for post in guests if post in again]
        if "bad_item" in faults:
            items.insert(len(items) // 3, _BAD_ITEMS[number(seed, "bad", call) % len(_BAD_ITEMS)])
        return guests

    def _pins(self, author: Author, order: Sequence[int]) -> tuple[int, ...]:
        if len(order) < 6 or roll(self._scene.seed, "pins", author.index) > 0.4:
            return ()
        older = order[len(order) // 2 :]
        return tuple(older[k] for k in (0, len(older) // 2)[: 1 + author.index % 2])

    def _album_ids(self, author: Author, kind: str) -> list[str]:
        seed = self._scene.seed
        mark = 0 if kind == "playlist" else 4
        many = int(3 * roll(seed, kind, author.index))
        moment = [1_650_000_000 + number(seed, kind, author.index, k) % 10**8 for k in range(many)]
        return [str(second << 32 | author.index << 3 | mark + k) for k, second in enumerate(moment)]

    def _period(self) -> int:
        every_s = self._scene.plan.amount("rerank")
        elapsed = self._scene.now() - self._scene.start
        return int(elapsed // every_s) if self._scene.plan.share("rerank", elapsed) > 0 else 0

    def _rank(self, name: str, region: str, period: int) -> tuple[int, ...]:
        """Order by a weight of the seed, a little of which is dealt anew in each period."""
        kind, _, word = name.partition(":")
        people, seed = self._people, self._scene.seed
        match kind:
            case "music":
                members = people.with_sound(word)
            case "search":
                members = people.with_words(word)
            case _:
                members = people.with_tag(name[1:])

        def weight(index: int) -> float:
            home = 1.0 if region and people.post(index).region == region else 0.0
            return roll(seed, name, index) + 0.2 * roll(seed, name, period, index) + home

        return tuple(sorted(members, key=weight, reverse=True))


_BAD_ITEMS: tuple[Any, ...] = (
    None,
    "oops",
    {},
    [],
    {"video_id": 7.387261234567891e18, "title": "a float"},
    {"video_id": "", "aweme_id": "v15044gf0000d6lb2cvog65nvo6jctt0", "title": "only a media uri"},
    {"video_id": "9999999999999999999", "title": "made in the next century"},
    {"error": "item unavailable"},
)


def _beyond(cursor: str | int, step: int) -> str | int:
    return type(cursor)(int(cursor) + step)


def _spoil(body: Body, faults: frozenset[str], asked: str) -> None:
    if "missing_videos" in faults:
        del body["videos"]
    elif "empty_page" in faults:
        body |= {"videos": [], "hasMore": True}
    if "stuck_cursor" in faults:
        body |= {"cursor": type(body["cursor"])(asked), "hasMore": True}
    elif "circle" in faults:
        body |= {"cursor": type(body["cursor"])("0"), "hasMore": True}
    elif "missing_cursor" in faults:
        del body["cursor"]
        body["hasMore"] = True

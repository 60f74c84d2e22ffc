"""What each path of the API answers, for an account in good standing on a good day.

`ENDPOINTS` is the documented table: paths, required and optional parameters. Must not: know keys,
limits, or what goes wrong between the API and its client; that is `api`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from clipledger.sim import names
from clipledger.sim.bodies import Bodies, Body
from clipledger.sim.dice import number, pick, roll
from clipledger.sim.faults import Door
from clipledger.sim.lists import COUNT_DEFAULT, COUNT_MOST, Listing, Lists
from clipledger.sim.population import Author, Post
from clipledger.sim.reply import Shown
from clipledger.sim.scene import Scene

NOT_FOUND = "Not found post"
_DAYS = ("0", "1", "7", "30", "90", "180")
_SORTS = ("0", "1", "2")

# "Other entity errors: wording unknown". A post that is gone may also say the plain text.
_PRIVATE = (NOT_FOUND, "This video is private", "Video is private or not found")
_REGION = ("This video is not available in your region", NOT_FOUND)
_MEANWHILE = {"private_meanwhile": _PRIVATE[1], "region_meanwhile": _REGION[0]}


class Denied(Exception):
    """The error object: `{"status": "error", "message": ...}`."""

    def __init__(self, message: str, status: int = 200) -> None:
        super().__init__(message)
        self.message, self.status = message, status


@dataclass(frozen=True, slots=True)
class Query:
    """One call's parameters; `nth` tells equal calls apart."""

    values: Mapping[str, str]
    nth: int = 0

    def __getitem__(self, name: str) -> str:
        return self.values[name]

    def get(self, name: str, default: str = "") -> str:
        """Return a parameter that may be absent."""
        return self.values.get(name, default)


Answer = tuple[Body, Shown | None]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A path's parameters and what answers it. The first required one is what the call is about."""

    act: Callable[[Desk, Query], Answer]
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = field(default=())

    def read(self, params: tuple[tuple[str, str], ...], nth: int) -> Query:
        """Check the parameters; raises Denied for a missing, empty or unknown one."""
        values = dict(params)
        for name in self.required:
            if not values.get(name, "").strip():
                raise Denied(f"The {name} field is required.")
        for name in values:
            if name not in self.required and name not in self.optional:
                raise Denied(f"Unknown parameter {name}.")
        return Query(values, nth)

    def subject(self, params: tuple[tuple[str, str], ...]) -> str:
        """Return what a call is about, '' when it does not say."""
        return dict(params).get(self.required[0], "") if self.required else ""


class Desk:
    """Answers every endpoint over one scene."""

    def __init__(self, scene: Scene) -> None:
        self._scene, self._people = scene, scene.population
        self._bodies = Bodies(scene)
        self.lists = Lists(scene, self._bodies)

    def post_id(self, url: str) -> str:
        """Read the post id from what was asked; '' when there is none. The handle in it does not matter."""
        if found := _POST_URL.search(url):
            return found[1] or found[2]
        if found := _SHORT_URL.search(url):
            post = self._people.find_short(found[1], self._scene.now())
            return post.id if post else ""
        return ""

    def detail(self, query: Query) -> Answer:
        """Answer /post-detail/."""
        post = self._sought(query)
        odd = self._scene.struck(Door.DETAIL, post.id, query.nth)
        if "wrong_id" in odd and not self._scene.patient(post.id):
            self._scene.failed(post.id)
            return self._bodies.detail(self._another(post), query.nth, straight=True), None
        return self._bodies.detail(post, query.nth), None

    def downloads(self, query: Query) -> Answer:
        """Answer /download-video/."""
        return self._bodies.downloads(self._sought(query), query.nth), None

    def user_posts(self, query: Query) -> Answer:
        """Answer /user-posts/."""
        return self._page(self.lists.of_author(self._user(query["userid"])), query)

    def liked(self, query: Query) -> Answer:
        """Answer /user-liked/: every third user keeps it private."""
        author = self._user(query["userid"])
        if author.likes_hidden:
            raise Denied("This user's liked list is private")
        return self._page(self.lists.liked(author), query)

    def stories(self, query: Query) -> Answer:
        """Answer /user-stories/."""
        return self._page(self.lists.stories(self._user(query["userid"])), query)

    def challenge_posts(self, query: Query) -> Answer:
        """Answer /challenge-posts/."""
        tag = self._tag_of_id(query["challenge_id"])
        return self._page(self.lists.with_tag(tag, query.get("region")), query)

    def music_posts(self, query: Query) -> Answer:
        """Answer /music-posts/."""
        if not self._people.sound_of_id(query["music_id"]):
            raise Denied("Music not found")
        return self._page(self.lists.with_sound(query["music_id"]), query)

    def search(self, query: Query) -> Answer:
        """Answer /search-video/."""
        days, sort = query.get("publish_time", "0"), query.get("sort_by", "0")
        if days not in _DAYS or sort not in _SORTS:
            raise Denied("The selected filter is invalid.")
        found = self.lists.found(query["keyword"], region=query.get("region"), days=int(days), sort=int(sort))
        return self._page(found, query)

    def playlist(self, query: Query) -> Answer:
        """Answer /playlist-posts/."""
        return self._album("playlist", query["playlist_id"], query)

    def collection(self, query: Query) -> Answer:
        """Answer /collection-posts/."""
        return self._album("collection", query["collection_id"], query)

    def playlists(self, query: Query) -> Answer:
        """Answer /user-playlists/."""
        return self._albums("playlist", query), None

    def collections(self, query: Query) -> Answer:
        """Answer /user-collections/."""
        return self._albums("collection", query), None

    def user_of_name(self, query: Query) -> Answer:
        """Answer /userid/ and /userinfo-by-username/: the handle of today, no `@`."""
        author = self._people.author_called(query["username"], self._scene.now())
        if not author:
            raise Denied("User not found")
        return self._bodies.user(author), None

    def user_of_id(self, query: Query) -> Answer:
        """Answer /userinfo-by-id/."""
        return self._bodies.user(self._user(query["userid"])), None

    def tag_of_name(self, query: Query) -> Answer:
        """Answer /challenge-info-name/."""
        if query["name"] not in self._people.tags:
            raise Denied("Challenge not found")
        return self._bodies.tag(query["name"]), None

    def tag_of_id(self, query: Query) -> Answer:
        """Answer /challenge-info-id/."""
        return self._bodies.tag(self._tag_of_id(query["id"])), None

    def tags_like(self, query: Query) -> Answer:
        """Answer /search-challenge/."""
        found = [self._bodies.tag(tag) for tag in self._people.tags if query["keyword"].lower() in tag]
        return _slice("challenge_list", found, query), None

    def users_like(self, query: Query) -> Answer:
        """Answer /search-user/."""
        sought = query["keyword"].lower()
        found = [a for a in self._people.authors if sought in a.handle(self._scene.now())]
        return _slice("user_list", [self._bodies.user(a) for a in found[:100]], query), None

    def music(self, query: Query) -> Answer:
        """Answer /music-info/."""
        sound = self._people.sound_of_id(query["music_id"])
        if not sound:
            raise Denied("Music not found")
        return self._bodies.sound(sound), None

    def comments(self, query: Query) -> Answer:
        """Answer /post-comments/."""
        post = self._sought(query)
        remarks = [self._remark(post, "comment", k) for k in range(number(0, "comments", post.id) % 40)]
        return _slice("comments", remarks, query) | {"total": len(remarks)}, None

    def replies(self, query: Query) -> Answer:
        """Answer /post-comment-replies/."""
        post = self._living(query["video_id"], query)
        remarks = [self._remark(post, query["comment_id"], k) for k in range(number(0, query["comment_id"]) % 5)]
        return _slice("comments", remarks, query) | {"total": len(remarks)}, None

    def regions(self, _query: Query) -> Answer:
        """Answer /region-list/."""
        return dict(names.REGIONS), None

    def _sought(self, query: Query) -> Post:
        post_id = self.post_id(query["url"])
        if not post_id:
            raise Denied("Url parsing is failed! Please check url.")
        return self._living(post_id, query)

    def _living(self, post_id: str, query: Query) -> Post:
        odd = self._scene.struck(Door.DETAIL, post_id, query.nth)
        if "not_found_outage" in odd or "partial_block" in self._scene.struck(Door.POST, post_id):
            raise Denied(NOT_FOUND)
        for fault, message in _MEANWHILE.items():
            if fault in self._scene.struck(Door.POST, post_id):
                raise Denied(message)
        post = self._people.find(post_id)
        fate = post.fate(self._scene.now()) if post else "unborn"
        if post and fate == "alive":
            return post
        wordings = {"private": _PRIVATE, "region_locked": _REGION}.get(fate, (NOT_FOUND,))
        raise Denied(pick(wordings, roll(0, "gone", post_id)), 404 if "not_found_404" in odd else 200)

    def _another(self, post: Post) -> Post:
        """Find the next post that exists by now: nobody can be sent one that is still to be made."""
        people, now = self._people, self._scene.now()
        following = (people.post((post.index + step) % people.size) for step in range(1, people.size))
        return next((other for other in following if other.fate(now) != "unborn"), post)

    def _user(self, author_id: str) -> Author:
        author = self._people.author_of_id(author_id)
        if not author:
            raise Denied("User not found")
        return author

    def _tag_of_id(self, tag_id: str) -> str:
        for tag, known in self._people.tags.items():
            if known == tag_id:
                return tag
        raise Denied("Challenge not found")

    def _page(self, listing: Listing, query: Query) -> Answer:
        try:
            return self.lists.page(listing, _count(query), query.get("cursor") or "0")
        except ValueError:
            raise Denied("The cursor is invalid.") from None

    def _album(self, kind: str, album_id: str, query: Query) -> Answer:
        try:
            return self._page(self.lists.album(kind, album_id), query)
        except LookupError:
            raise Denied(f"{kind.title()} not found") from None

    def _albums(self, kind: str, query: Query) -> Body:
        rows = [
            {"id": album_id, "name": f"{pick(names.WORDS, roll(0, album_id))} {kind}", "video_count": len(found.order)}
            for album_id, found in self.lists.albums(self._user(query["userid"]), kind)
        ]
        return _slice(f"{kind}s", rows, query)

    def _remark(self, post: Post, kind: str, k: int) -> Body:
        writer = self._people.authors[number(0, kind, post.id, k) % len(self._people.authors)]
        return {
            "id": str(post.born + 100 + k << 32 | number(0, "remark", kind, post.id, k) % 2**32),
            "text": pick(names.GLUE, roll(0, kind, post.id, k)).format("nice", "wow"),
            "create_time": post.create_time + 60 * k,
            "digg_count": k,
            "reply_total": 0,
            "user": {"id": writer.id, "unique_id": writer.handle(self._scene.now()), "nickname": writer.nickname},
            "status": 1,
        }


def _count(query: Query) -> int:
    text = query.get("count") or str(COUNT_DEFAULT)
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise Denied("The count must be a positive number.")
    return min(int(text), COUNT_MOST)


def _slice(key: str, rows: list[Any], query: Query) -> Body:
    cursor = query.get("cursor") or "0"
    if not (cursor.isascii() and cursor.isdigit()):
        raise Denied("The cursor is invalid.")
    start, end = int(cursor), int(cursor) + _count(query)
    return {key: rows[start:end], "cursor": min(end, len(rows)), "hasMore": end < len(rows)}


_POST_URL = re.compile(
    r"tiktokv?\.com/(?:@[^/]*/(?:video|photo)/|v/|video/|embed/(?:v2/)?|share/video/|foryou\?item_id=)(\d{15,20})(?!\d)"
    r"|^\s*(\d{15,20})\s*$"
)
_SHORT_URL = re.compile(r"(?:v[mt]\.tiktok\.com|/t)/(ZM[0-9a-f]{8})(?![0-9A-Za-z])")

_PAGED = ("count", "cursor")

ENDPOINTS: Mapping[str, Endpoint] = {
    "/post-detail/": Endpoint(Desk.detail, ("url",)),
    "/download-video/": Endpoint(Desk.downloads, ("url",)),
    "/user-posts/": Endpoint(Desk.user_posts, ("userid",), _PAGED),
    "/challenge-posts/": Endpoint(Desk.challenge_posts, ("challenge_id",), (*_PAGED, "region")),
    "/search-video/": Endpoint(Desk.search, ("keyword",), (*_PAGED, "publish_time", "sort_by", "region")),
    "/music-posts/": Endpoint(Desk.music_posts, ("music_id",), _PAGED),
    "/playlist-posts/": Endpoint(Desk.playlist, ("playlist_id",), _PAGED),
    "/collection-posts/": Endpoint(Desk.collection, ("collection_id",), _PAGED),
    "/user-liked/": Endpoint(Desk.liked, ("userid",), _PAGED),
    "/user-stories/": Endpoint(Desk.stories, ("userid",)),
    "/user-playlists/": Endpoint(Desk.playlists, ("userid",), _PAGED),
    "/user-collections/": Endpoint(Desk.collections, ("userid",), _PAGED),
    "/userid/": Endpoint(Desk.user_of_name, ("username",)),
    "/userinfo-by-username/": Endpoint(Desk.user_of_name, ("username",)),
    "/userinfo-by-id/": Endpoint(Desk.user_of_id, ("userid",)),
    "/challenge-info-name/": Endpoint(Desk.tag_of_name, ("name",)),
    "/challenge-info-id/": Endpoint(Desk.tag_of_id, ("id",)),
    "/search-challenge/": Endpoint(Desk.tags_like, ("keyword",), _PAGED),
    "/search-user/": Endpoint(Desk.users_like, ("keyword",), _PAGED),
    "/music-info/": Endpoint(Desk.music, ("music_id",)),
    "/post-comments/": Endpoint(Desk.comments, ("url",), _PAGED),
    "/post-comment-replies/": Endpoint(Desk.replies, ("video_id", "comment_id"), _PAGED),
    "/region-list/": Endpoint(Desk.regions),
}

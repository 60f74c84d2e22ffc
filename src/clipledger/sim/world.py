"""A small world that stands in for TikLiveAPI and the CDN, made from a seed.

`World.answer` gives the reply to any request; `server` puts it behind a port, `wire` into the
process. It is written from the documentation alone and shares no code with the client that it is
there to try: what one misreads, the other must not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from clipledger.sim import truth
from clipledger.sim.api import Api
from clipledger.sim.cdn import Cdn
from clipledger.sim.control import Control
from clipledger.sim.faults import FaultPlan
from clipledger.sim.ledger import Ledger
from clipledger.sim.links import HOSTS, Signer
from clipledger.sim.names import WORDS
from clipledger.sim.population import AHEAD_S, Population, Post
from clipledger.sim.reply import Ask, Headers, Reply
from clipledger.sim.scene import Scene
from clipledger.sim.truth import TrueFile, Truth

DEFAULT_BASE_URL = "http://127.0.0.1:9"
_SHORT_HOSTS = ("vm.tiktok.com", "vt.tiktok.com")
_PAGE_HOSTS = ("www.tiktok.com", "m.tiktok.com", "tiktok.com")
_MORTAL = ("deleted", "private", "region_locked", "renamed", "recounted", "reposted")


class World:
    """Posts, authors, lists, links and books, the same for the same seed, posts, start and plan.

    `start` is unix seconds: most posts lie in the two years before it, some appear, die or change
    hands in the week after (`ahead_s` seconds). `now` gives the present in unix seconds; the server passes the wall
    clock, a simulation its own. With `real_hosts` media links look as in the wild (`https://
    v16m-default.akamaized.net/...`): only for `SimWire`, which reaches them all.
    """

    def __init__(
        self,
        seed: int,
        posts: int,
        *,
        start: float,
        now: Callable[[], float] = time.time,
        faults: FaultPlan | None = None,
        api_key: str = "sim-key",
        balance: int | None = None,
        base_url: str = DEFAULT_BASE_URL,
        real_hosts: bool = False,
        photo_share: float = 0.1,
        ahead_s: float = AHEAD_S,
    ) -> None:
        if posts < 1:
            raise ValueError("a world holds at least one post")
        plan = faults or FaultPlan()
        shares = {kind: plan.share(kind, 0.0) for kind in _MORTAL}
        self.population = Population(seed, posts, start, shares, photo_share=photo_share, ahead_s=ahead_s)
        signer = Signer(seed, base_url, real_hosts=real_hosts)
        self.scene = Scene(seed, start, now, plan, self.population, signer, api_key, balance)
        self.control = Control(self.scene)
        self._api, self._cdn = Api(self.scene), Cdn(self.scene)

    @property
    def ledger(self) -> Ledger:
        """Return the world's books."""
        return self.scene.ledger

    @property
    def base_url(self) -> str:
        """Return where the API, and under /cdn/ the CDN, are."""
        return self.scene.signer.base_url

    @base_url.setter
    def base_url(self, url: str) -> None:
        self.scene.signer.base_url = url.rstrip("/")

    def now(self) -> float:
        """Return the world's present, unix seconds."""
        return self.scene.now()

    def answer(self, ask: Ask) -> Reply:
        """Answer one request, whatever it is for. Waiting and breaking off is left to the renderer."""
        if ask.path.startswith("/_sim/"):
            return self.control.answer(ask)
        if self._cdn.concerns(ask):
            return self._cdn.answer(ask)
        if ask.host in _SHORT_HOSTS or ask.path.startswith("/t/"):
            return self._short(ask)
        if ask.host in _PAGE_HOSTS:
            return Reply(200, (("Content-Type", "text/html"),), b"<!DOCTYPE html><title>TikTok</title>", door="sim")
        return self._api.answer(ask)

    def knows_host(self, host: str) -> bool:
        """True for the hosts behind which this world answers."""
        own = Ask.of("GET", self.base_url, {}).host
        return host == own or host in HOSTS or host in _SHORT_HOSTS or host in _PAGE_HOSTS

    def delivered(self, reply: Reply) -> None:
        """Book a reply that was handed over to the last byte."""
        self.ledger.delivered(reply.receipt, self.now(), reply.sent_bytes)

    def ids(self) -> Iterator[str]:
        """Yield the ids of all posts, also unborn and dead ones."""
        return (self.population.post(index).id for index in range(self.population.size))

    def sources(self) -> Iterator[str]:
        """Yield the lists of this world by name: `@handle` (the first one), `#tag`, `music:ID`, `playlist:ID` ..."""
        lists, people = self._api.desk.lists, self.population
        for author in people.authors:
            yield f"@{author.first_handle}"
            if not author.likes_hidden:
                yield f"liked:@{author.first_handle}"
            for kind in ("playlist", "collection"):
                yield from (f"{kind}:{album_id}" for album_id, _ in lists.albums(author, kind))
        yield from (f"#{tag}" for tag in people.tags)
        yield from (f"music:{sound.id}" for sound in people.sounds)
        yield from (f"search:{word}" for word in WORDS)

    def truth(self, post_id: str, at: float | None = None) -> Truth:
        """Tell what is true of an id at a moment (unix seconds; None = now)."""
        return truth.of(self.scene, post_id, self.now() if at is None else at)

    def true_files(self, post_id: str) -> tuple[TrueFile, ...]:
        """Tell a post's files: kind, rendition, position, sha256, size, type."""
        return truth.true_files(self.scene, post_id)

    def counters(self, post_id: str, at: float) -> dict[str, int]:
        """Tell a post's counters at a moment: play, digg, comment, share, download, collect. KeyError: no such id."""
        return self._post(post_id).counters(at)

    def post_url(self, post_id: str) -> str:
        """Write the page address of a post under its author's handle of now. KeyError: no such id."""
        post = self._post(post_id)
        kind = "photo" if post.is_photo else "video"
        return f"https://www.tiktok.com/@{post.author.handle(self.now())}/{kind}/{post.id}"

    def short_url(self, post_id: str) -> str:
        """Write a short link on this world's own host that redirects to the post. KeyError: no such id."""
        return f"{self.base_url}/t/{self.population.short_code(self._post(post_id))}"

    def _post(self, post_id: str) -> Post:
        post = self.population.find(post_id)
        if post is None:
            raise KeyError(post_id)
        return post

    def _short(self, ask: Ask) -> Reply:
        code = ask.path.removeprefix("/t").strip("/")
        post = self.population.find_short(code, self.now())
        target = f"{self.post_url(post.id)}?_r=1&_t={code}" if post else "https://www.tiktok.com/?_r=1"
        headers: Headers = (("Location", target),)
        return Reply(302 if ask.path.startswith("/t/") else 301, headers, b"", door="sim", draw=ask.path)

"""How the tests of the simulator talk to a world: in process, without any wire."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from clipledger.sim.faults import FaultPlan
from clipledger.sim.reply import Ask, Reply
from clipledger.sim.world import World

START = 1_780_000_000.0
KEY = {"x-api-key": "sim-key"}
BROWSER = {"user-agent": "Mozilla/5.0 (X11)", "referer": "https://www.tiktok.com/"}


class Now:
    """A present that a test moves by hand."""

    def __init__(self, at: float = START) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


def make(posts: int = 400, faults: str = "calm", seed: int = 7, now: Now | None = None, **more: Any) -> World:
    """Make a world whose present stands still."""
    return World(seed, posts, start=START, now=now or Now(), faults=FaultPlan.parse(faults), **more)


def call(world: World, path: str, headers: dict[str, str] = KEY, **params: str) -> Reply:
    """Call an endpoint."""
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in params.items())
    return world.answer(Ask.of("GET", f"{world.base_url}{path}?{query}", headers))


def body(world: World, path: str, **params: str) -> Any:
    """Call an endpoint and decode its body."""
    return json.loads(call(world, path, **params).body)


def detail(world: World, post_id: str) -> Any:
    """Resolve a post."""
    return body(world, "/post-detail/", url=f"https://www.tiktok.com/@_/video/{post_id}")


def fetch(world: World, url: str, headers: dict[str, str] = BROWSER) -> Reply:
    """Fetch a link."""
    return world.answer(Ask.of("GET", url if "://" in url else world.base_url + url, headers))


def living(world: World, kind: str) -> list[str]:
    """List the ids of a kind that are alive now."""
    return [i for i in world.ids() if (t := world.truth(i)).alive and t.kind == kind]


def pages(world: World, path: str, **params: str) -> list[Any]:
    """Walk a list to its end as a client would; give the pages."""
    found, cursor = [], "0"
    for _ in range(500):
        page = body(world, path, cursor=cursor, **params)
        found.append(page)
        if not page["hasMore"]:
            return found
        cursor = str(page["cursor"])
    raise AssertionError("the list has no end")


def shown(found: list[Any]) -> list[str]:
    """List the ids that pages show."""
    return [item["video_id"] for page in found for item in page["videos"]]

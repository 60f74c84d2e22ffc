"""An archive that the simulator made, and visitors of its web app: without a port, on the app itself.

Shared by the tests of the web. Must not: stand in for any code of ours.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import shutil
import sqlite3
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from clipledger.archive import Archive, open_archive
from clipledger.core.access import Role
from clipledger.db.access import PASSWORD, Grant
from clipledger.sim.play import Play
from clipledger.web.access import csrf_of, digest, token_grant
from clipledger.web.app import build
from clipledger.web.desk import Desk
from clipledger.web.guard import House

PORT = 8765
HOUSE = House("127.0.0.1", PORT)
MEMORY = Path("/dev/shm") if Path("/dev/shm").is_dir() else None
"""Where archives are kept that no test takes the power from."""

BASE = f"http://127.0.0.1:{PORT}"


@functools.cache
def _template() -> Path:
    """Play a calm world and an unhappy one into one archive: videos, photo posts, dead ids, three kinds of sources."""
    folder = Path(tempfile.mkdtemp(prefix="clipledger-web-", dir=MEMORY))
    atexit.register(shutil.rmtree, folder)
    play = Play(folder / "archive", seed=5, posts=80, photo_share=0.3)
    ids = [post_id for post_id in play.world.ids() if play.world.truth(post_id).alive]
    play.add("#cats", "#dance", *ids[:20])
    play.run_to_the_end(3)
    play.world.scene.plan = play.world.scene.plan.having("private_meanwhile", 0.5)
    play.add(*ids[20:32])
    play.run_to_the_end(3)
    return folder / "archive"


def archived(folder: Path) -> Path:
    """Give a copy of the archive, to be changed at will."""
    shutil.copytree(_template(), folder, dirs_exist_ok=True)
    return folder


def rows(folder: Path, sql: str, *values: object) -> list[tuple[Any, ...]]:
    """Ask the archive's database."""
    with closing(sqlite3.connect(folder / "clipledger.db")) as connection:
        return connection.execute(sql, values).fetchall()


@dataclass(frozen=True, slots=True)
class Visit:
    """The app of one open archive, and ways to ask it."""

    app: FastAPI
    archive: Archive

    @property
    def desk(self) -> Desk:
        """Give what the routes are given."""
        found: Desk = self.app.state.desk
        return found

    def client(self, **headers: str) -> httpx.AsyncClient:
        """Ask as whoever these headers say."""
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=True)
        return httpx.AsyncClient(transport=transport, base_url=BASE, headers=headers)

    async def member(self, role: Role) -> httpx.AsyncClient:
        """Ask as somebody who logged in with this role, and whose forms hold the right token."""
        cookie, now = f"cookie-of-{role}", self.archive.clock.now()
        await self.desk.doorman.access.grant(Grant(role.value, PASSWORD, role, (), "no hash", now, None))
        await self.desk.doorman.access.enter(digest(cookie), role.value, now, "here")
        headers = {"x-csrf-token": csrf_of(cookie), "origin": BASE}
        client = self.client(**headers)
        client.cookies.set(HOUSE.cookie, cookie)
        return client

    async def token(self, role: Role, *scopes: Any, lasts_s: float = 60.0) -> httpx.AsyncClient:
        """Ask as a program with a token."""
        grant, token = token_grant(f"token-{role}", role, scopes, self.archive.clock.now(), lasts_s)
        await self.desk.doorman.access.grant(grant)
        return self.client(authorization=f"Bearer {token}")


def visit(folder: Path, scenario: Callable[[Visit], Awaitable[None]], house: House = HOUSE) -> None:
    """Open the archive, and have its app visited."""

    async def main() -> None:
        async with open_archive(folder) as archive:
            await scenario(Visit(build(archive, house), archive))

    asyncio.run(main())


def routes(app: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """List every route of the app as (method, path), whatever it was put together from."""
    for route in app.routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from routes(inner, prefix + route.include_context.prefix)
        elif getattr(route, "methods", None):
            yield from ((method, prefix + route.path) for method in sorted(route.methods))

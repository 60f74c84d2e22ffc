"""`serve`: the web app on one port, with the workers beside it if asked for."""

from __future__ import annotations

import asyncio
import json
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from socket import socket

from clipledger import presence
from clipledger.archive import open_archive
from clipledger.cli.aside import aside
from clipledger.cli.exits import Exit
from clipledger.cli.logs import speller
from clipledger.cli.output import Context
from clipledger.cli.progress import plain
from clipledger.cli.stopping import caught
from clipledger.core.chain import Act
from clipledger.core.errors import Misconfigured
from clipledger.interpreter import keep_memory_together
from clipledger.web.app import build
from clipledger.web.desk import Desk
from clipledger.web.guard import House
from clipledger.web.server import Server, listen, server_of


@dataclass(frozen=True, slots=True)
class Wanted:
    """What `serve` was asked for, as typed."""

    host: str
    port: int
    open: bool
    run: bool


def serve(context: Context, wanted: Wanted) -> None:
    """Serve the archive until told to stop."""
    keep_memory_together()
    asyncio.run(_serve(context, wanted))
    context.exit = Exit.OK


async def _serve(context: Context, wanted: Wanted) -> None:
    async with open_archive(context.archive) as archive:
        with (
            presence.hold_archive(archive.folder),
            listen(wanted.host, wanted.port) as door,
            aside(partial(_unread, context)) as write,
        ):
            port = door.getsockname()[1]
            house = House(wanted.host, port, archive.settings.web.hosts)
            app = build(archive, house, [plain(replace(context, write=write), speller(archive.uuid, "serve"))])
            desk = app.state.desk
            assert isinstance(desk, Desk)
            await _check_access(desk)
            if wanted.run:
                await desk.workers.begin(archive)
            link = _link(wanted.host, port)
            _tell(context, link)
            await _run(server_of(app, house), desk, [door], link if wanted.open else None)


async def _run(server: Server, desk: Desk, doors: list[socket], shown: str | None) -> None:
    """Serve until a signal; then let the workers and the answers under way come to their end."""
    with _two_steps(server, desk):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(desk.pulse.run())
            tasks.create_task(desk.workers.run())
            if shown is not None:
                tasks.create_task(asyncio.to_thread(webbrowser.open, shown))  # some wait until they are closed
            await server.serve(sockets=doors)
            was_idle = desk.workers.standing.state == "idle"
            desk.pulse.end()
            desk.workers.end()
    if not was_idle:
        await desk.archive.audit.append(desk.archive.clock.now(), Act.REST, detail="with the serving process")


async def _check_access(desk: Desk) -> None:
    if desk.house.is_private or not await desk.doorman.is_open():
        return
    why = "web.hosts names a proxy" if desk.house.is_loopback else f"--host {desk.house.host}"
    raise Misconfigured(
        f"{why}: others could enter, and nobody has a password yet: "
        "run `clipledger access password NAME --role admin` first, or serve on 127.0.0.1 alone"
    )


def _tell(context: Context, link: str) -> None:
    if context.json:
        context.line({"event": "serving", "url": link})
    else:
        context.tell(f"{link} (Ctrl-C ends it)")


def _unread(context: Context, count: int) -> str:
    if context.json:
        return json.dumps({"event": "unread", "lines": count})
    return f"({count} lines are left out: nobody read them)"


def _link(host: str, port: int) -> str:
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{name}:{port}/"


@contextmanager
def _two_steps(server: Server, desk: Desk) -> Iterator[None]:
    """Let the first signal end everything in good order, the second at once."""

    def asked(_: str) -> None:
        server.force_exit = server.should_exit
        server.should_exit = True
        desk.pulse.end()
        desk.workers.end()

    with caught(asked):
        yield

"""`serve`: the web app on one port, with the workers beside it if asked for."""

from __future__ import annotations

import asyncio
import signal
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from clipledger import presence
from clipledger.archive import open_archive
from clipledger.cli.exits import Exit
from clipledger.cli.output import Context
from clipledger.core.errors import Misconfigured
from clipledger.web.app import build
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
    asyncio.run(_serve(context, wanted))
    context.exit = Exit.OK


async def _serve(context: Context, wanted: Wanted) -> None:
    async with open_archive(context.archive) as archive:
        with presence.hold_archive(archive.folder), listen(wanted.host, wanted.port) as door:
            port = door.getsockname()[1]
            house = House(wanted.host, port)
            if not house.is_loopback:
                raise Misconfigured("only this machine may look so far: serve on 127.0.0.1")
            server = server_of(build(archive, house))
            link = _link(wanted.host, port)
            _tell(context, link)
            if wanted.open:
                webbrowser.open(link)
            with _two_steps(server):
                await server.serve(sockets=[door])


def _tell(context: Context, link: str) -> None:
    if context.json:
        context.line({"event": "serving", "url": link})
    else:
        context.tell(f"{link} (Ctrl-C ends it)")


def _link(host: str, port: int) -> str:
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{name}:{port}/"


@contextmanager
def _two_steps(server: Server) -> Iterator[None]:
    """Let the first signal end the server in good order, the second at once."""
    loop = asyncio.get_running_loop()

    def asked() -> None:
        server.force_exit = server.should_exit
        server.should_exit = True

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

"""The server itself, on a port: whose address it believes, and whom it hangs up on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from clipledger.core.access import Role
from clipledger.web import server
from clipledger.web.access import csrf_of, password_grant
from clipledger.web.guard import House
from clipledger.web.pulse import LISTENERS_MAX
from clipledger.web.server import listen, server_of
from clipledger.web.turnstile import TRIES
from web.visiting import HOUSE, Visit, rows, visit

PROXIED = House("127.0.0.1", HOUSE.port, ["archive.example.org"])


@asynccontextmanager
async def served(here: Visit, house: House = HOUSE) -> AsyncIterator[int]:
    """Serve the app on a free port, which is given, for as long as the context lasts."""
    with listen("127.0.0.1", 0) as door:
        running = server_of(here.app, house)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(running.serve(sockets=[door]))
            try:
                yield door.getsockname()[1]
            finally:
                running.should_exit = True


async def guesses(port: int) -> list[int]:
    """Guess a password, each time from another address, or so it is said."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers={"accept": "text/html"}) as client:
        await client.get("/login")
        form = {"name": "ada", "password": "guess", "csrf": csrf_of(client.cookies[HOUSE.cookie])}
        tries = [{"x-forwarded-for": f"203.0.113.{nth}"} for nth in range(TRIES + 1)]
        return [(await client.post("/login", data=form, headers=each)).status_code for each in tries]


@pytest.mark.parametrize(("house", "last"), [(HOUSE, 429), (PROXIED, 403)])
def test_an_address_that_is_made_up_is_not_believed(folder: Path, house: House, last: int) -> None:
    """With no proxy named, X-Forwarded-For is anybody's word and evades no limit; a named proxy tells who it is."""

    async def scenario(here: Visit) -> None:
        await here.desk.doorman.access.grant(password_grant("ada", Role.VIEWER, "correct horse", 0.0))
        async with served(here, house) as port:
            assert await guesses(port) == [403] * TRIES + [last]

    visit(folder, scenario, house)


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9999999\r\n\r\nhalf",
    ],
)
def test_who_says_nothing_holds_no_place(folder: Path, monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    """A line on which no whole request comes is closed, before the first one, after one, and behind a refused one."""
    monkeypatch.setattr(server, "SILENCE_S", 0.05)

    async def scenario(here: Visit) -> None:
        async with served(here) as port, asyncio.timeout(5.0):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(said)
            await reader.read()
            writer.close()

    visit(folder, scenario)


def test_an_answer_takes_as_long_as_it_takes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Live figures go on however long nothing is asked on their line."""
    monkeypatch.setattr(server, "SILENCE_S", 0.01)

    async def scenario(here: Visit) -> None:
        async with (
            served(here) as port,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
            client.stream("GET", "/live") as live,
        ):
            lines = live.aiter_lines()
            assert "retry" in await anext(lines)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    async for _ in lines:
                        pass

    visit(folder, scenario)


def test_a_proxy_that_says_nothing_of_itself_is_refused(folder: Path) -> None:
    """While nobody has a password, what came by HTTP/1.0, as from a proxy, is told to name it; health stays open."""

    async def scenario(here: Visit) -> None:
        async with served(here) as port:
            for path, status in (("/api/v1/posts", b"403"), ("/healthz", b"200")):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(f"GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n".encode())
                told = await reader.read()
                writer.close()
                assert told.split()[1] == status
                assert (b"web.hosts" in told) == (status == b"403")

    visit(folder, scenario)


async def asked_for_live(port: int) -> tuple[asyncio.StreamWriter, bytes]:
    """Ask for live figures; give the line, which stays open, and what came first."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    return writer, await reader.readuntil(b"\r\n\r\n")


def test_too_many_who_listen_at_once_are_told_so(folder: Path) -> None:
    """Eighty pages at the same moment: fifty get figures, thirty a whole answer that says why; places come back."""

    async def scenario(here: Visit) -> None:
        async with served(here) as port, asyncio.timeout(20.0):
            async with asyncio.TaskGroup() as tasks:
                lines = [tasks.create_task(asked_for_live(port)) for _ in range(LISTENERS_MAX + 30)]
            told = [line.result()[1].split()[1] for line in lines]
            assert (told.count(b"200"), told.count(b"503")) == (LISTENERS_MAX, 30)
            assert here.desk.pulse.listeners == LISTENERS_MAX
            for line in lines:
                line.result()[0].close()
        assert here.desk.pulse.listeners == 0

    visit(folder, scenario)


def test_half_a_request_does_nothing(folder: Path) -> None:
    """When the line breaks in the middle of a body, what came of it is not acted on."""
    told = ("POST /api/v1/pause HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json", "Content-Length: 9")
    half = "\r\n".join((*told, "", "{}")).encode()

    async def scenario(here: Visit) -> None:
        async with served(here) as port:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(half)
            await writer.drain()
            writer.close()
            await writer.wait_closed()
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
                assert (await client.get("/healthz")).status_code == 200

    visit(folder, scenario)
    assert not rows(folder, "SELECT 1 FROM switches WHERE name = 'pause' AND state = 'paused'")

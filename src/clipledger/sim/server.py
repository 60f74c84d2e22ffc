"""The world behind one loopback port: plain HTTP/1.1 over asyncio, without any library.

It renders a `Reply` onto a socket: framing, waits, cuts, resets, silence. Bad requests get status
400 and the connection is closed. Must not: decide what is answered; that is the world's.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from http import HTTPStatus
from types import TracebackType
from urllib.parse import parse_qsl

from clipledger.sim.faults import FaultPlan
from clipledger.sim.latency import INSTANT, Latency
from clipledger.sim.population import DAY_S
from clipledger.sim.reply import Ask, Ending, Framing, Reply
from clipledger.sim.world import World

_HEAD_MAX = 64 * 2**10
_FORM_MAX = 64 * 2**10
_PIECE = 64 * 2**10
_ACCEPTED_S = 0.01  # what was accepted before the stop reaches its handler within this
_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_BAD = Reply(400, (("Content-Type", "text/plain"),), b"Bad Request", door="sim")


class BadRequest(Exception):
    """The bytes that came in are no HTTP request that we read."""


class SimServer:
    """Serves a world on a loopback port while entered; `base_url` holds once it is.

    `latency` adds the world's ordinary delays; the default adds none.
    """

    def __init__(self, world: World, port: int = 0, *, host: str = "127.0.0.1", latency: Latency = INSTANT) -> None:
        self.world = world
        self._address = (host, port)
        self._latency = latency
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    @property
    def base_url(self) -> str:
        """Return `http://HOST:PORT`."""
        return self.world.base_url

    async def __aenter__(self) -> SimServer:
        host, port = self._address
        self._server = await asyncio.start_server(self._serve, host, port, limit=_HEAD_MAX, backlog=1024)
        port = self._server.sockets[0].getsockname()[1]
        self.world.base_url = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._server is None:
            return
        self._server.close()
        await asyncio.sleep(_ACCEPTED_S)
        while self._open:  # each handler leaves the set once its connection is gone
            for writer in self._open:
                writer.transport.abort()
            await asyncio.sleep(0.001)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        writer.transport.set_write_buffer_limits(0)  # so that what was drained is on its way
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, _Left):
            pass  # the client went away, which is its right
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            self._open.discard(writer)

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Read one request and answer it; False when the connection is not to be used again."""
        try:
            ask, keep = await _request(reader)
        except BadRequest:
            writer.write(_head(_BAD, b"", keep=False) + _BAD.body)
            await writer.drain()
            return False
        if ask is None:
            return False
        reply = self.world.answer(ask)
        self.world.ledger.opened(reply.door)
        try:
            return await self._render(reply, reader, writer, keep=keep)
        finally:
            self.world.ledger.closed(reply.door)

    async def _render(
        self, reply: Reply, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, keep: bool
    ) -> bool:
        wait_s = reply.wait_s + self._latency.before(self.world.scene.seed, reply)
        if wait_s > 0:
            await _idle(reader, wait_s)
        if reply.mute:
            return _broken_off(writer, reply.ending)
        keep = keep and reply.whole and reply.framing is not Framing.CLOSE
        if reply.compress:
            reply = reply.but(body=gzip.compress(reply.body, 1))
        await self._body(reply, reader, writer, keep=keep)
        if reply.ending is Ending.STALL:
            await _idle(reader, reply.hold_s)
        return keep if reply.whole else _broken_off(writer, reply.ending)

    async def _body(
        self, reply: Reply, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, keep: bool
    ) -> None:
        speed = self._latency.speed(self.world.scene.seed, reply)
        size = _PIECE if speed is None else max(1, min(_PIECE, int(speed / 4)))
        writer.write(_head(reply, b"Content-Encoding: gzip\r\n" if reply.compress else b"", keep=keep))
        for piece in reply.pieces(size):
            await writer.drain()
            if speed is not None:
                await _idle(reader, len(piece) / speed)
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if reply.framing is Framing.CHUNKED else piece)
        if reply.framing is Framing.CHUNKED and reply.whole:
            writer.write(b"0\r\n\r\n")
        if reply.whole:  # booked before anybody can ask: nothing is awaited in between
            self.world.delivered(reply)
        await writer.drain()


async def serve(
    *,
    seed: int,
    posts: int,
    faults: str = "calm",
    rpm: int | None = None,
    port: int = 0,
    start: float | None = None,
    api_key: str = "sim-key",
    balance: int | None = None,
    announce: Callable[[str], object] = sys.stdout.write,
) -> None:
    """Serve a world until SIGTERM or SIGINT; announce one JSON line with base_url and api_key when ready.

    `start` (unix seconds) defaults to the last UTC midnight, so that a seed gives the same ids all
    day. Raises ValueError for a plan that cannot be read, OSError for a port that is taken.
    """
    plan = FaultPlan.parse(faults if rpm is None else f"{faults},rpm={rpm}")
    begun = time.time() // DAY_S * DAY_S if start is None else start
    world = World(seed, posts, start=begun, faults=plan, api_key=api_key, balance=balance)
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        async with SimServer(world, port) as server:
            told = {"base_url": server.base_url, "api_key": api_key, "seed": seed, "posts": posts}
            announce(json.dumps({**told, "faults": str(plan), "start": begun}) + "\n")
            sys.stdout.flush()
            await stop.wait()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


class _Left(Exception):
    """The client closed the connection while we made it wait."""


async def _idle(reader: asyncio.StreamReader, seconds: float) -> None:
    """Wait, but no longer than the client stays; one that talks while it should listen is dropped."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await reader.read(1)
            raise _Left


async def _request(reader: asyncio.StreamReader) -> tuple[Ask | None, bool]:
    """Read one request head, and the form behind it; (None, False) at a clean end."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as cut:
        if cut.partial:
            raise BadRequest from None
        return None, False
    except asyncio.LimitOverrunError:
        raise BadRequest from None
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1.") or not words[1] or not words[1].isprintable():
        raise BadRequest
    headers = dict(_header(line) for line in lines[1:-2])
    keep = words[2] != "HTTP/1.0" and headers.get("connection", "").lower() != "close"
    try:
        ask = Ask.of(words[0], words[1], headers)
    except ValueError:
        raise BadRequest from None
    form = await _form(reader, headers)
    if form:
        ask = Ask(ask.method, ask.host, ask.path, ask.params + form, headers)
    return ask, keep


def _header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon or not name or name != name.strip():
        raise BadRequest
    return name.lower(), value.strip()


async def _form(reader: asyncio.StreamReader, headers: dict[str, str]) -> tuple[tuple[str, str], ...]:
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()) or int(length) > _FORM_MAX or "transfer-encoding" in headers:
        raise BadRequest
    body = await reader.readexactly(int(length)) if int(length) else b""
    return tuple(parse_qsl(body.decode("latin-1"), keep_blank_values=True))


def _head(reply: Reply, extra: bytes, *, keep: bool) -> bytes:
    lines = [f"HTTP/1.1 {reply.status} {_PHRASES.get(reply.status, 'Unknown')}\r\nServer: nginx\r\n"]
    lines += [f"{name}: {value}\r\n" for name, value in reply.headers]
    match reply.framing:
        case Framing.LENGTH:
            lines.append(f"Content-Length: {reply.declared_bytes}\r\n")
        case Framing.CHUNKED:
            lines.append("Transfer-Encoding: chunked\r\n")
        case Framing.CLOSE:
            pass
    lines.append("\r\n" if keep else "Connection: close\r\n\r\n")
    return "".join(lines[:-1]).encode("latin-1") + extra + lines[-1].encode()


def _broken_off(writer: asyncio.StreamWriter, ending: Ending) -> bool:
    """End the connection as the reply wants it; a reset is a real RST."""
    if ending is Ending.RESET:
        sock = writer.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    return False

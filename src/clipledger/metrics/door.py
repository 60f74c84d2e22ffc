"""Answer scrapes: a very small HTTP server on the run's own event loop.

`/metrics` is the text, `/healthz` says that the loop still turns. Everything is bounded: connections, the
request's size, the time it may take. Nothing is ever written here, and nothing but these two paths is known.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from clipledger.archive import Archive
from clipledger.core.errors import Misconfigured, UsageError
from clipledger.events import Listener
from clipledger.metrics.hearing import listener
from clipledger.metrics.meter import CONTENT_TYPE, Meter
from clipledger.metrics.sampling import Sampling

CONNECTIONS = 16
REQUEST_MAX = 8 * 2**10
DEADLINE_S = 10.0

_PHRASES = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


@dataclass(frozen=True, slots=True)
class Served:
    """The meter that is served, what feeds it, and where it is served."""

    meter: Meter
    listener: Listener
    url: str


@asynccontextmanager
async def serve_metrics(archive: Archive, meter: Meter, host: str, port: int) -> AsyncIterator[Served]:
    """Serve a meter for as long as the context lasts; port 0 picks a free one.

    UsageError for a host that is none of this machine's, Misconfigured for a port that is taken.
    """
    door = _Door(meter, Sampling(archive, meter))
    server = await _listening(door, host, port)
    try:
        where = server.sockets[0].getsockname()
        yield Served(
            meter, listener(meter), f"http://{f'[{where[0]}]' if ':' in where[0] else where[0]}:{where[1]}/metrics"
        )
    finally:
        server.close()
        await door.close()
        await server.wait_closed()


async def _listening(door: _Door, host: str, port: int) -> asyncio.Server:
    try:
        return await asyncio.start_server(door.answer, host, port, limit=REQUEST_MAX)
    except socket.gaierror:
        raise UsageError(f"--metrics-host {host!r}: no such host; 127.0.0.1 or 0.0.0.0 will do") from None
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            raise UsageError(f"--metrics-host {host!r} is no address of this machine") from None
        why = {
            errno.EADDRINUSE: "another process has it; choose another",
            errno.EACCES: "not allowed; choose one above 1023",
        }
        told = why.get(error.errno or 0, error.strerror or "it cannot be opened")
        raise Misconfigured(f"--metrics-port {port}: {told}") from None
    except UnicodeError:
        raise UsageError(f"--metrics-host {host[:60]!r} is not a host") from None


class _Door:
    """Answers connections, a bounded number at once."""

    def __init__(self, meter: Meter, sampling: Sampling) -> None:
        self._meter, self._sampling = meter, sampling
        self._open: set[asyncio.StreamWriter] = set()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request and close."""
        if len(self._open) >= CONNECTIONS:
            writer.transport.abort()
            return
        self._open.add(writer)
        try:
            with suppress(ConnectionError, TimeoutError, asyncio.IncompleteReadError):
                async with asyncio.timeout(DEADLINE_S):
                    writer.write(await self._reply(reader))
                    await writer.drain()
                    writer.close()
                    await writer.wait_closed()
            if not self._sampling.is_quick:
                await self._sampling.refresh()
        finally:
            writer.transport.abort()
            self._open.discard(writer)

    async def close(self) -> None:
        """End what is open, and wait until it has ended."""
        while self._open:
            for writer in self._open:
                writer.transport.abort()
            await asyncio.sleep(0.01)

    async def _reply(self, reader: asyncio.StreamReader) -> bytes:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return _written(400, b"the request is too long\n")
        words = head.split(b"\r\n", 1)[0].split(b" ")
        if len(words) != 3:
            return _written(400, b"not an HTTP request\n")
        if words[0] != b"GET":
            return _written(405, b"only GET\n")
        match words[1].split(b"?", 1)[0]:
            case b"/metrics":
                if self._sampling.is_quick:
                    await self._sampling.refresh()
                return _written(200, self._meter.text(), CONTENT_TYPE)
            case b"/healthz":
                return _written(200, b"ok\n")
        return _written(404, b"try /metrics or /healthz\n")


def _written(status: int, body: bytes, kind: str = "text/plain; charset=utf-8") -> bytes:
    head = f"HTTP/1.1 {status} {_PHRASES[status]}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\nX-Content-Type-Options: nosniff\r\n\r\n".encode() + body

"""Serve the app on one port until told to stop. Must not: know a route."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from clipledger.core.errors import Misconfigured, UsageError
from clipledger.web.guard import House

GRACE_S = 5
"""How long a stop waits for answers that are under way, seconds."""

BACKLOG = 128
CONNECTIONS = 200
"""Connections at once; who comes later is answered 503."""

SILENCE_S = 10.0
"""How long a connection may be open without a whole request: each holds one of the places that others wait for."""


def listen(host: str, port: int) -> socket.socket:
    """Take a port, 0 for a free one; UsageError for a host that is not ours, Misconfigured for a port that is taken."""
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError):
        raise UsageError(f"--host {host[:60]!r}: no such host; 127.0.0.1 or 0.0.0.0 will do") from None
    door = socket.socket(family, kind, protocol)  # named, or asyncio would not switch Nagle's algorithm off: 40 ms
    try:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind(where)
        door.listen(BACKLOG)
    except OSError as error:
        door.close()
        raise _refused(error, host, port) from None
    return door


def _refused(error: OSError, host: str, port: int) -> UsageError | Misconfigured:
    if error.errno == errno.EADDRNOTAVAIL:
        return UsageError(f"--host {host!r} is no address of this machine")
    why = {
        errno.EADDRINUSE: "another process has it; choose another, or 0 for a free one",
        errno.EACCES: "not allowed; choose one above 1023",
    }
    return Misconfigured(f"--port {port}: {why.get(error.errno or 0, error.strerror or 'it cannot be opened')}")


class Line(H11Protocol):
    """uvicorn's connection, which hangs up on whoever says nothing, or says it drop by drop."""

    _hang_up: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._watch()

    def handle_events(self) -> None:
        """Take what came; stop waiting when it was a request."""
        super().handle_events()
        self._watch()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        super().connection_lost(exc)
        self._unwatch()

    def _watch(self) -> None:
        """Wait `SILENCE_S` and no longer while nothing is to be answered; uvicorn's own limit ends with any byte."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._unwatch()
        elif self._hang_up is None:
            self._hang_up = self.loop.call_later(SILENCE_S, self.timeout_keep_alive_handler)

    def _unwatch(self) -> None:
        if self._hang_up is not None:
            self._hang_up.cancel()
            self._hang_up = None


class Server(uvicorn.Server):
    """uvicorn that leaves the signals to whoever runs it. `should_exit` asks it to end, `force_exit` at once."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


def server_of(app: FastAPI, house: House) -> Server:
    """Make the server of an app; `await server.serve(sockets=[door])` runs it.

    Where no proxy was named, whoever sends X-Forwarded-For made it up: tries of a login would come from anywhere.
    """
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(house.names),
        lifespan="off",
        ws="none",
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=GRACE_S,
        timeout_keep_alive=15,
        h11_max_incomplete_event_size=32 * 2**10,
        http=Line,
        loop="asyncio",
    )
    return Server(config)

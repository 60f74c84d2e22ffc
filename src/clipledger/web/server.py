"""Serve the app on one port until told to stop. Must not: know a route."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from clipledger.core.errors import Misconfigured, UsageError

GRACE_S = 5
"""How long a stop waits for answers that are under way, seconds."""

BACKLOG = 128
CONNECTIONS = 200
"""Requests under way at once; more are answered 503."""


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


class Server(uvicorn.Server):
    """uvicorn that leaves the signals to whoever runs it. `should_exit` asks it to end, `force_exit` at once."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


def server_of(app: FastAPI) -> Server:
    """Make the server of an app; `await server.serve(sockets=[door])` runs it."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        ws="none",
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=GRACE_S,
        timeout_keep_alive=15,
        h11_max_incomplete_event_size=32 * 2**10,
        http="h11",
        loop="asyncio",
    )
    return Server(config)

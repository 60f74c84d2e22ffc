"""A way to PostgreSQL that loses the answer to a COMMIT, or the COMMIT itself, when it is told to."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum, auto

_COMMIT = b"COMMIT\0"


class Cut(Enum):
    """Where the next COMMIT is met by the cut."""

    BEFORE = auto()
    """It never reaches the server: the transaction is rolled back."""
    AFTER = auto()
    """The server commits; its answer is dropped."""
    LATE = auto()
    """The client is cut off at once; the server gets the COMMIT when `late` is called."""


class CuttingProxy:
    """Forwards the loopback port `port` to the server's. `cut_next` arms one cut; `cuts` counts those made."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._armed: Cut | None = None
        self._held: list[Callable[[], None]] = []
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.cuts = 0

    def cut_next(self, how: Cut) -> None:
        """Meet the next COMMIT."""
        self._armed = how

    def late(self) -> None:
        """Let the server have the COMMIT that was held."""
        self._held.pop()()

    def accept(self) -> None:
        """Forward until the listener is closed."""
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._server_port))
            self._open += [client, server]
            self._start(self._up, client, server)
            self._start(self._down, server, client)

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        while piece := _read(client):
            if _COMMIT in piece and self._armed is not None:
                how, self._armed, self.cuts = self._armed, None, self.cuts + 1
                self._meet(how, piece, client, server)
                return
            _send(server, piece)
        _close(server)

    def _meet(self, how: Cut, piece: bytes, client: socket.socket, server: socket.socket) -> None:
        _close(client)
        if how is Cut.LATE:
            self._held.append(lambda: _send(server, piece))
            return
        if how is Cut.AFTER:
            _send(server, piece)  # the answer finds its reader gone
        server.shutdown(socket.SHUT_WR)  # the server reads what was sent, then the end

    def _down(self, server: socket.socket, client: socket.socket) -> None:
        while piece := _read(server):
            _send(client, piece)
        _close(client)

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def close(self) -> None:
        """Cut everything."""
        _close(self._listener)
        for each in self._open:
            _close(each)
        for thread in self._threads:
            thread.join(10)


@contextmanager
def cutting_proxy(server_port: int) -> Iterator[CuttingProxy]:
    """Run a proxy in threads of its own."""
    proxy = CuttingProxy(server_port)
    accepting = threading.Thread(target=proxy.accept, daemon=True)
    accepting.start()
    try:
        yield proxy
    finally:
        proxy.close()
        accepting.join(10)


def _read(source: socket.socket) -> bytes:
    try:
        return source.recv(65536)
    except OSError:
        return b""


def _send(target: socket.socket, piece: bytes) -> None:
    try:
        target.sendall(piece)
    except OSError:
        return


def _close(each: socket.socket) -> None:
    with suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()

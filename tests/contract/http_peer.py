"""A tiny hostile HTTP/1.1 server on a loopback port: it answers exactly as it is told. And a tinier HTTP/2 one.

What it plays is plain values (`Answer`), so that a wire without sockets can be given the same.
Must not: know anything of clipledger.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

REASONS = {100: "Continue", 103: "Early Hints"}


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, honest or not.

    `declared` is the Content-Length told: its default is the truth, None tells none and ends with
    the connection. `ending` is what happens after the body: `whole` keeps the connection, `close`
    ends it, `reset` breaks it, `hang` keeps silent for ever. `drip_s` waits between pieces.
    """

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | Iterable[bytes] = b""
    declared: int | None = -1
    chunked: bool = False
    trailers: tuple[tuple[str, str], ...] = ()
    interim: tuple[int, ...] = ()
    ending: str = "whole"
    drip_s: float = 0.0
    raw: bytes | None = None

    def pieces(self) -> Iterator[bytes]:
        """The body, piece by piece."""
        return iter((self.body,) if isinstance(self.body, bytes) else self.body)

    def framing(self) -> list[tuple[str, str]]:
        """The headers that say where the body ends."""
        if self.chunked:
            return [("Transfer-Encoding", "chunked")]
        if self.declared is None:
            return [("Connection", "close")]
        honest = len(self.body) if isinstance(self.body, bytes) else 0
        return [("Content-Length", str(honest if self.declared == -1 else self.declared))]


@dataclass
class Peer:
    """The running server. `asked` holds every request head as it came, `dialled` counts connections."""

    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[bytes] = field(default_factory=list)
    dialled: int = 0
    host: str = "127.0.0.1"
    port: int = 0
    scheme: str = "http"
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    _paths: Iterator[int] = field(default_factory=itertools.count)

    @property
    def origin(self) -> str:
        """`http://127.0.0.1:PORT`."""
        return f"{self.scheme}://{self.host}:{self.port}"

    def serve(self, answer: Answer, path: str = "") -> str:
        """Have `answer` given at a path of its own, or at `path`; return the URL."""
        path = path or f"/{next(self._paths)}"
        self.answers[path] = answer
        return self.origin + path

    def heads(self) -> list[tuple[str, Mapping[str, str]]]:
        """Every request so far: its target, and its headers with lower-case names."""
        read = []
        for head in self.asked:
            first, *lines = head.decode("latin-1").split("\r\n")
            pairs = (line.partition(":") for line in lines)
            read.append((first.split(" ")[1], {name.lower(): value.strip() for name, _, value in pairs}))
        return read

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.dialled += 1
        # The client may leave at any moment: that is what most of these tests are about.
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            while await self._exchange(reader, writer):
                pass
        self.left.set()
        writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n"))[:-4]
        self.asked.append(head)
        path = head.split(b" ")[1].decode("latin-1").partition("?")[0]
        answer = self.answers.get(path, Answer(status=404))
        self.arrived.set()
        await _play(answer, writer)
        if answer.ending == "hang":
            await reader.read()
        if answer.ending == "reset":
            _reset(writer)
        return answer.ending == "whole" and answer.declared is not None and answer.raw is None


async def _play(answer: Answer, writer: asyncio.StreamWriter) -> None:
    if answer.raw is not None:
        writer.write(answer.raw)
        await writer.drain()
        return
    for status in answer.interim:
        writer.write(f"HTTP/1.1 {status} {REASONS.get(status, 'Interim')}\r\nX-Interim: yes\r\n\r\n".encode())
    lines = [f"{name}: {value}\r\n" for name, value in (*answer.framing(), *answer.headers)]
    writer.write(f"HTTP/1.1 {answer.status} Told\r\n{''.join(lines)}\r\n".encode("latin-1"))
    for piece in answer.pieces():
        writer.write(b"%x\r\n%s\r\n" % (len(piece), piece) if answer.chunked else piece)
        await writer.drain()
        await asyncio.sleep(answer.drip_s)
    if answer.chunked and answer.ending == "whole":
        trailers = "".join(f"{name}: {value}\r\n" for name, value in answer.trailers)
        writer.write(f"0\r\n{trailers}\r\n".encode())
    await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    # Linger 0: the kernel sends RST in place of FIN.
    peer: socket.socket = writer.get_extra_info("socket")
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class SealedPeer(Peer):
    """An HTTP/2 server of one answer: a body of `DATA`, then `ending` (`whole`, `reset` or `hang`)."""

    DATA = b"z" * 5000
    ending = "whole"
    resets = 0

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Speak just enough of RFC 9113: settings, one answer a stream, and count what is reset."""
        self.dialled += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            await reader.readexactly(len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
            writer.write(_frame(4, 0, 0, b""))
            while True:
                length, kind, flags, stream = struct.unpack(">IBBI", b"\0" + await reader.readexactly(9))
                await reader.readexactly(length)
                self._answer(writer, kind, flags, stream)
        self.left.set()

    def _answer(self, writer: asyncio.StreamWriter, kind: int, flags: int, stream: int) -> None:
        if kind == 4 and not flags & 1:
            writer.write(_frame(4, 1, 0, b""))  # settings: acknowledged
        if kind == 3:
            self.resets += 1
            self.left.set()
        if kind == 1:
            self.arrived.set()
            whole = self.ending == "whole"
            writer.write(_frame(1, 4, stream, b"\x88") + _frame(0, int(whole), stream, self.DATA))
            if self.ending == "reset":
                writer.write(_frame(3, 0, stream, struct.pack(">I", 2)))  # INTERNAL_ERROR


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">IBBI", len(payload), kind, flags, stream)[1:] + payload


@contextlib.asynccontextmanager
async def http_peer(tls: ssl.SSLContext | None = None, peer: Peer | None = None) -> AsyncIterator[Peer]:
    """Run a peer on 127.0.0.1; on leaving, every connection is broken off."""
    peer = peer or Peer()
    peer.scheme = "https" if tls else "http"
    talks: set[asyncio.Task[None]] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        talks.add(task)
        with contextlib.suppress(asyncio.CancelledError):
            await peer.talk(reader, writer)
        talks.discard(task)
        writer.transport.abort()

    server = await asyncio.start_server(talk, peer.host, 0, ssl=tls)
    peer.port = server.sockets[0].getsockname()[1]
    try:
        yield peer
    finally:
        server.close()
        for task in list(talks):
            task.cancel()
        while talks:
            await asyncio.wait(talks)
        await server.wait_closed()

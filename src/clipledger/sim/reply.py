"""What is asked of the world and what it answers: the one form that the socket and the wire render.

A `Reply` says what to send and how it goes wrong on the way; `pieces` cuts it up. Both renderers
follow the same `Reply`, so a fault found in simulation is the same fault on a socket.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from urllib.parse import parse_qsl, urlsplit

Headers = tuple[tuple[str, str], ...]


class Framing(StrEnum):
    """How the receiver is told where the body ends."""

    LENGTH = "length"
    CHUNKED = "chunked"
    CLOSE = "close"


class Ending(StrEnum):
    """What happens after the last byte that is sent."""

    WHOLE = "whole"
    CLOSE = "close"
    RESET = "reset"
    STALL = "stall"


@dataclass(frozen=True, slots=True)
class Ask:
    """One request as it arrived. `host` in lower case without port, `path` as sent, header names in lower case."""

    method: str
    host: str
    path: str
    params: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]

    @classmethod
    def of(cls, method: str, url: str, headers: Mapping[str, str]) -> Ask:
        """Read a full URL, or a path with the host in the headers. Raises ValueError for what is neither."""
        parts = urlsplit(url)
        host = (parts.hostname or headers.get("host", "").rpartition(":")[0] or headers.get("host", "")).lower()
        params = tuple(parse_qsl(parts.query, keep_blank_values=True))
        return cls(method, host, parts.path or "/", params, headers)

    def param(self, name: str) -> str | None:
        """Return the first value of a parameter, None when it is absent."""
        return next((value for key, value in self.params if key == name), None)


@dataclass(frozen=True, slots=True)
class FileRef:
    """One file of one post. `kind`: video, image, live, audio, cover, avatar; `position` counts slides from 1."""

    id: str
    kind: str
    rendition: str = ""
    position: int = 0


@dataclass(frozen=True, slots=True)
class Shown:
    """Which ids a page showed, and for whom: `source` is the list's own name."""

    source: str
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer. The body is `body` x `repeat`; `cut` sends only so many bytes of it.

    `wait_s` passes before the first byte, `hold_s` is how long a stall lasts, `bytes_per_s` caps
    the speed; `mute` sends nothing at all, not even a status. `door` is api, cdn or sim, `draw`
    names the exchange for latency. `receipt` goes to the ledger once everything was handed over.
    """

    status: int = 200
    headers: Headers = ()
    body: bytes = b""
    repeat: int = 1
    framing: Framing = Framing.LENGTH
    wait_s: float = 0.0
    cut: int | None = None
    ending: Ending = Ending.WHOLE
    hold_s: float = 0.0
    bytes_per_s: float | None = None
    mute: bool = False
    compress: bool = False
    door: str = "api"
    draw: str = ""
    receipt: FileRef | Shown | None = None

    @property
    def declared_bytes(self) -> int:
        """Return what Content-Length would say."""
        return len(self.body) * self.repeat

    @property
    def sent_bytes(self) -> int:
        """Return how many body bytes are really sent."""
        return self.declared_bytes if self.cut is None else min(self.cut, self.declared_bytes)

    @property
    def whole(self) -> bool:
        """True when the receiver gets all that was meant."""
        return self.ending is Ending.WHOLE and self.sent_bytes == self.declared_bytes

    def but(self, **changes: object) -> Reply:
        """Return the reply with some fields changed."""
        return replace(self, **changes)  # type: ignore[arg-type]

    def pieces(self, size: int) -> Iterator[bytes]:
        """Yield the sent bytes in pieces of at most `size`."""
        left = self.sent_bytes
        for _ in range(self.repeat):
            for at in range(0, len(self.body), size):
                if left <= 0:
                    return
                piece = self.body[at : at + min(size, left)]
                left -= len(piece)
                yield piece

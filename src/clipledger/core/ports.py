"""The three doors to the outside: `Wire` (HTTP), `ObjectStore` (bytes that stay), `Clock`.

Each is small, each has at least two real implementations, and each contract below is run as one
suite against all of them. Nothing above the ports knows libcurl, a file system or a wall clock.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from clipledger.core.model import MediaType, ObjectKey, Secret


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on one HTTP exchange; all are enforced by the wire itself.

    `deadline_s` bounds the whole exchange, `connect_s` its connection. A body slower than
    `floor_bytes_per_s` over `floor_window_s` is a stall. `max_bytes` bounds the body as received
    (after decoding), `max_header_bytes` the headers.
    """

    deadline_s: float
    connect_s: float = 10.0
    floor_bytes_per_s: int = 0
    floor_window_s: float = 20.0
    max_bytes: int = 8 * 2**20
    max_header_bytes: int = 64 * 2**10


@dataclass(frozen=True, slots=True)
class Request:
    """One GET. `url` and every header value are secrets. Redirects are never followed.

    `once`: sent at most once. Without it a request that met a dead kept connection may be sent again.

    `public_only`: refuse to connect to loopback, private, link-local or otherwise non-global
    addresses; the check is made on the address that is really connected to.
    """

    url: Secret
    headers: tuple[tuple[str, Secret], ...] = ()
    limits: Limits = Limits(deadline_s=30.0)
    public_only: bool = True
    once: bool = False


@dataclass(frozen=True, slots=True)
class Response:
    """What came back: header names in lower case, the last of a repeated name wins.

    `first_byte_at` is when the body began to come, where whoever asked took note of it.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    received: int = 0
    first_byte_at: float | None = None


class Sink(Protocol):
    """Where a body goes, chunk by chunk, as it arrives.

    `open` is called once, before the first chunk (and also for an empty body), with status and
    headers. An exception raised by either method aborts the exchange and leaves `Wire.get` as it
    is. Neither may block for longer than a write to the page cache.
    """

    def open(self, response: Response) -> None: ...
    def write(self, chunk: bytes) -> None: ...


class WireError(Exception):
    """An exchange that gave no complete answer. `kind` is one of the words below; no secrets.

    `too_large` is said of a body alone, declared or received; `headers` of headers over their own cap.
    """

    KINDS = (
        "dns",
        "connect",
        "tls",
        "timeout",
        "stall",
        "reset",
        "short",
        "too_large",
        "headers",
        "refused_address",
        "protocol",
        "descriptors",
    )

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind = kind
        self.detail = detail


class Wire(Protocol):
    """HTTP GET into a sink.

    `get` returns once the whole body has been handed over; raises `WireError` when the exchange
    broke (`short`: fewer bytes than Content-Length declared), and whatever the sink raised.
    Cancelling it ends the exchange at once and leaves no descriptor behind.
    """

    async def get(self, request: Request, sink: Sink) -> Response: ...
    async def close(self) -> None: ...


class Clock(Protocol):
    """Time. `now` is unix seconds (UTC); `sleep` may be simulated."""

    def now(self) -> float: ...
    async def sleep(self, seconds: float) -> None: ...


class Sealed(Protocol):
    """A whole file: size in bytes and sha256 (hex) are final."""

    @property
    def path(self) -> Path: ...
    @property
    def size_bytes(self) -> int: ...
    @property
    def sha256(self) -> str: ...


class Part(Sealed, Protocol):
    """A file being received: bytes go in, size and sha256 come out; invisible until it is put.

    `write` appends and hashes. `seal` flushes to stable storage (fsync) and ends writing; after
    it `size_bytes` and `sha256` are final. `head` gives the first bytes, for signatures.
    """

    def write(self, chunk: bytes) -> None: ...
    async def seal(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Stat:
    """What a store knows of a key without reading it. `sha256` is None where it keeps none."""

    key: ObjectKey
    size_bytes: int
    modified_at: float
    sha256: str | None = None


class KeyTaken(Exception):
    """The key holds other bytes than the ones to be put. Nothing was changed."""

    def __init__(self, key: ObjectKey) -> None:
        super().__init__(str(key))
        self.key = key


class Bucket(Protocol):
    """What a bucket can do beyond an `ObjectStore`, and a folder cannot.

    - `erase` removes an object for good: every version that the bucket keeps of it, and their markers.
    - `cool` moves an object to another storage class, as it is; KeyError for an absent key. Idempotent.
    """

    async def erase(self, key: ObjectKey) -> None: ...
    async def cool(self, key: ObjectKey, storage_class: str) -> None: ...


class ObjectStore(Protocol):
    """Bytes under keys, written once.

    - `put_part` and `put_bytes` publish atomically and durably: when they return, the whole
      object stands after a power cut; before, nothing stands under the key. They never replace:
      the same bytes already there are adopted (returns False; True when newly created), other
      bytes raise `KeyTaken`.
    - `put_part` leaves the part's file in place; who opened it removes it.
    - `stat` gives None for an absent key; `read` raises KeyError for it, and `TooLarge` above
      `max_bytes`. `piece` gives `length` bytes (1 or more) from `start` (0 or more, before the end) on, fewer at
      the end. `digest` reads the object and gives (size in bytes, sha256 hex).
    - `walk` yields every object below a prefix, in key order, in bounded memory; `after` leaves out
      the keys up to and including that one, so that a walk can be taken up where it stopped.
    - `delete` is idempotent.
    - `check` proves that objects can be written now, and leaves nothing.
    - `sweep` removes what writers that died left unfinished more than `older_than_s` before `now`, at
      most `limit` pieces; gives how many. What is being written is never touched.
    - Failures: `StorageFull` (no space, inodes, quota, read-only), `Misconfigured` (refused for a
      reason that the operator must mend), `StorageThrottled` (asked to slow down), else
      `StorageUnavailable`.
    """

    url: str

    async def put_part(self, key: ObjectKey, part: Part, media_type: MediaType) -> bool: ...
    async def put_bytes(self, key: ObjectKey, body: bytes, media_type: MediaType) -> bool: ...
    async def stat(self, key: ObjectKey) -> Stat | None: ...
    async def read(self, key: ObjectKey, max_bytes: int) -> bytes: ...
    async def piece(self, key: ObjectKey, start: int, length: int) -> bytes: ...
    async def digest(self, key: ObjectKey) -> tuple[int, str]: ...
    def walk(self, prefix: str, after: str = "") -> AsyncIterator[Stat]: ...
    async def delete(self, key: ObjectKey) -> None: ...
    async def check(self) -> None: ...
    async def sweep(self, older_than_s: float, now: float, limit: int) -> int: ...
    async def close(self) -> None: ...


class ReplacingStore(ObjectStore, Protocol):
    """A store that can also publish a file in the place of another: for exports, never for what is archived.

    A reader sees the old object or the new one, whole. The file stays where it is.
    """

    async def replace(self, key: ObjectKey, part: Sealed, media_type: MediaType) -> None: ...

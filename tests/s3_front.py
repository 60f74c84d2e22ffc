"""A front before a real S3 server that misbehaves on request: the faults that no server can be asked for.

It passes requests on, one connection each, and knows of S3 only what it must to spoil an answer. Must not:
store anything, or know the program.
"""

from __future__ import annotations

import http.client
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

SLOW_DOWN = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your rate.</Message></Error>"
INTERNAL = b"<?xml version='1.0'?><Error><Code>InternalError</Code><Message>Try again.</Message></Error>"

_HOP = {"connection", "transfer-encoding", "content-length", "keep-alive", "date", "server"}


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, by what it does: put, part, begin, complete, abort, get, head, list, delete, uploads."""

    act: str
    path: str


@dataclass(slots=True)
class Front:
    """What the front does, and what it saw. A rule takes an `Asked` and says how to spoil it, or nothing.

    Spoils: `slow_down`, `no_room`, `denied`, `elsewhere` (another region, told once the body was read), `error`,
    `conflict` (answered without asking the server), `cut` (the connection is dropped half-way through the body), `lost`
    (done, but the answer is lost), `false_ok` (an error under status 200), `unconditional` (If-None-Match is not
    passed on), `hang` (no answer at all).
    """

    endpoint_url: str = ""
    seen: Counter[str] = field(default_factory=Counter)
    rule: Callable[[Asked], str | None] = lambda _: None
    spoilt: Counter[str] = field(default_factory=Counter)
    stopping: threading.Event = field(default_factory=threading.Event)

    def always(self, spoil: str | None, *acts: str) -> None:
        """Spoil every request of these acts from now on; None: behave. HTTP libraries resend once by themselves."""
        self.rule = lambda asked: spoil if asked.act in acts else None

    def times(self, count: int, spoil: str, *acts: str) -> None:
        """Spoil the next `count` requests of these acts, then none."""
        left = threading.Semaphore(count)
        self.rule = lambda asked: spoil if asked.act in acts and left.acquire(blocking=False) else None


@contextmanager
def s3_front(target_url: str) -> Iterator[Front]:
    """Put a front before a server, on a loopback port of its own."""
    target, front = urlsplit(target_url), Front()

    class Passing(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            with suppress(ConnectionError, TimeoutError):
                super().handle_one_request()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def _pass(self) -> None:
            asked = Asked(_act(self.command, self.path), urlsplit(self.path).path)
            front.seen[asked.act] += 1
            spoil = front.rule(asked)
            if spoil:
                front.spoilt[spoil] += 1
            _answer(self, asked, spoil, front, (target.hostname or "", target.port or 80))

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Passing)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    front.endpoint_url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield front
    finally:
        front.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _answer(
    here: BaseHTTPRequestHandler, asked: Asked, spoil: str | None, front: Front, target: tuple[str, int]
) -> None:
    size = int(here.headers.get("content-length") or 0)
    if spoil == "cut":
        here.rfile.read(size // 2)
        here.close_connection = True
        return
    body = here.rfile.read(size)
    refusals = {
        "slow_down": (503, SLOW_DOWN),
        "error": (500, INTERNAL),
        "no_room": (507, INTERNAL.replace(b"InternalError", b"InsufficientStorage")),
        "denied": (403, INTERNAL.replace(b"InternalError", b"AccessDenied")),
        "elsewhere": (301, INTERNAL.replace(b"InternalError", b"PermanentRedirect")),
        "conflict": (409, INTERNAL.replace(b"InternalError", b"ConditionalRequestConflict")),
    }
    if spoil in refusals:
        _send(here, *refusals[spoil], {"content-type": "application/xml"})
        return
    if spoil == "hang":
        front.stopping.wait(60)
        here.close_connection = True
        return
    skipped = {"if-none-match"} if spoil == "unconditional" else set()
    headers = {name: value for name, value in here.headers.items() if name.lower() not in {"expect", *skipped}}
    onward = http.client.HTTPConnection(*target, timeout=60)
    try:
        onward.request(here.command, here.path, body=body, headers=headers)
        answer = onward.getresponse()
        told = answer.read()
        kept = {name: value for name, value in answer.getheaders() if name.lower() not in _HOP}
        if answer.getheader("content-length") and here.command == "HEAD":
            kept["content-length"] = answer.getheader("content-length") or "0"
    finally:
        onward.close()
    if spoil == "lost":
        here.close_connection = True
    elif spoil == "false_ok":
        _send(here, 200, INTERNAL, {"content-type": "application/xml"})
    else:
        _send(here, answer.status, told, kept)


def _send(here: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str]) -> None:
    here.send_response(status)
    for name, value in headers.items():
        here.send_header(name, value)
    if "content-length" not in headers:
        here.send_header("content-length", str(len(body)))
    here.end_headers()
    if here.command != "HEAD":
        here.wfile.write(body)


def _act(method: str, url: str) -> str:
    asked = parse_qs(urlsplit(url).query, keep_blank_values=True)
    if "uploads" in asked:
        return "begin" if method == "POST" else "uploads"
    if "uploadId" in asked:
        return {"PUT": "part", "POST": "complete", "DELETE": "abort"}.get(method, "parts")
    if method == "GET" and ("list-type" in asked or "prefix" in asked):
        return "list"
    return method.lower()

"""The door of the web app: every request passes here first, and every answer leaves with its headers.

In this order: the Host it was sent to, the size of its body, who sends it, whether that may see this path, and
for what changes something where it was sent from (Origin) and whether our own page sent it (the CSRF token).
Must not: know a route beyond the few that are open to all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clipledger.core.access import Role, Visitor
from clipledger.web.problems import Problem, problem_response

BODY_MAX = 2**20
"""The largest body of a request, bytes: a pasted list of some ten thousand ids."""

CSRF_FIELD = "csrf"
CSRF_HEADER = "x-csrf-token"

CSP = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "media-src 'self'",
        "connect-src 'self'",
        "font-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "report-uri /csp",
    )
)
_HEADERS = {
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class House:
    """Where the app is reached. `host` is the address that it listens on, `names` other names that lead to it."""

    host: str = "127.0.0.1"
    port: int = 0
    names: Sequence[str] = ()

    @property
    def is_loopback(self) -> bool:
        """Say whether only this machine can reach it."""
        return is_loopback(self.host)

    def knows(self, host: str) -> bool:
        """Say whether a Host header names us. An address is believed, a name only if it is known: DNS can be turned."""
        name = _name_of(host)
        if name is None:
            return False
        if name == "localhost" or name in self.names or name == self.host.lower():
            return True
        return _is_address(name) and (is_loopback(name) or not self.is_loopback)


class Guard:
    """ASGI middleware around the whole app."""

    def __init__(self, app: ASGIApp, house: House) -> None:
        self._app, self._house = app, house

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or answer with the refusal."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = _Request(scope, receive)
        answered = _signed(send)
        try:
            await self._let_in(request)
        except Problem as refused:
            await _refusal(request, refused)(scope, receive, answered)
            return
        await self._app(scope, request.replay, answered)

    async def _let_in(self, request: _Request) -> None:
        if not self._house.knows(request.headers.get("host", "")):
            raise Problem(
                421, "not this server", "the Host header names another server", "use the link that was printed"
            )
        await request.read_body()
        visitor = Visitor("local", Role.ADMIN)
        request.scope.setdefault("state", {})["visitor"] = visitor
        if request.scope["method"] not in _SAFE:
            _check_origin(request)


class _Request:
    """One request whose body, small as it is, was read before anybody acts on it."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.scope, self._receive = scope, receive
        self.headers = Headers(scope=scope)
        self.body = b""
        self._given = False

    async def read_body(self) -> None:
        """Read the whole body; Problem 413 when it is larger than `BODY_MAX`."""
        declared = self.headers.get("content-length", "0")
        if not declared.isascii() or not declared.isdigit() or int(declared[:12]) > BODY_MAX:
            raise _too_large()
        chunks, size, more = [], 0, True
        while more:
            message = await self._receive()
            if message["type"] != "http.request":
                break
            chunks.append(message.get("body", b""))
            size, more = size + len(chunks[-1]), message.get("more_body", False)
            if size > BODY_MAX:
                raise _too_large()
        self.body = b"".join(chunks)

    async def replay(self) -> Message:
        """Give the body again, then whatever comes next."""
        if self._given:
            return await self._receive()
        self._given = True
        return {"type": "http.request", "body": self.body, "more_body": False}


def _check_origin(request: _Request) -> None:
    """Refuse what another site's page sends: it names its own origin, or says that it is cross-site."""
    origin, host = request.headers.get("origin"), request.headers.get("host", "")
    if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
        raise Problem(
            403, "another site's request", "the Origin header names another site", "use this site's own pages"
        )
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Problem(403, "another site's request", "the browser says it is cross-site", "use this site's own pages")


def _refusal(request: _Request, refused: Problem) -> Response:
    return problem_response(refused)


def _too_large() -> Problem:
    return Problem(413, "too large", f"a request's body may be {BODY_MAX} bytes", "send it in pieces")


def _signed(send: Send) -> Send:
    """Put the headers on every answer that does not set them itself."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sent


def is_loopback(host: str) -> bool:
    """Say whether a host is this machine's own address, or its name."""
    return host.lower() == "localhost" or (_is_address(host) and ip_address(host.strip("[]")).is_loopback)


def _is_address(name: str) -> bool:
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _name_of(host: str) -> str | None:
    """Take the port off a Host header; None for what is no host."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port
    except ValueError:
        return None
    if parts.username is not None or parts.path or parts.query or parts.fragment:
        return None
    return parts.hostname

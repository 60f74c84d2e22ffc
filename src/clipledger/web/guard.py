"""The door of the web app: every request passes here first, and every answer leaves with its headers.

In this order: the Host it was sent to, the size of its body, who sends it, whether that may see this path, and
for what changes something where it was sent from (Origin) and whether our own page sent it (the CSRF token).
Must not: know a route beyond the few that are open to all.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from urllib.parse import parse_qs, quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request, cookie_parser
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as Asked

from clipledger.core.access import SESSION_S, Role, Scope, Visitor
from clipledger.core.errors import ClipledgerError
from clipledger.web.access import OPEN, Doorman, csrf_of, new_secret, token_in
from clipledger.web.problems import Problem, is_for_people, problem_response

BODY_MAX = 2**20
"""The largest body of a request, bytes: a pasted list of some ten thousand ids."""

FIELDS_MAX = 2000
HEALTH, LOGIN, LOGOUT, REPORTS, API = "/healthz", "/login", "/logout", "/csp", "/api/"
BODY_S = 30.0
"""How long a body may take to come: who sends it drop by drop holds a place that others wait for."""

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
_OPEN = frozenset({HEALTH, LOGIN})
_STATIC = "/static/"
_SCOPES = (("/api/", Scope.API), ("/live", Scope.API), ("/feeds/", Scope.FEEDS), ("/media/", Scope.MEDIA))
_FORWARDED = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")
"""What proxies add: whoever sends one of these came from elsewhere, whatever the address says."""

_OLD = "this came by HTTP/1.0, which proxies speak and no browser does, and nobody has a password yet"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class House:
    """Where the app is reached. `host` is the address that it listens on, `names` other names that lead to it."""

    host: str = "127.0.0.1"
    port: int = 0
    names: Sequence[str] = ()

    @property
    def cookie(self) -> str:
        """Name the cookie: two archives on two ports of a machine share a cookie jar."""
        return f"clipledger-{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Say whether it listens to this machine alone."""
        return is_loopback(self.host)

    @property
    def is_private(self) -> bool:
        """Say whether only this machine can reach it: no proxy in front either, which would have a name."""
        return self.is_loopback and not self.names

    def knows(self, host: str) -> bool:
        """Say whether a Host header names us. An address is believed, a name only if it is known: DNS can be turned."""
        name = _name_of(host)
        if name is None:
            return False
        if name == "localhost" or name in self.names or name == self.host.lower():
            return True
        return _is_address(name) and (is_loopback(name) or not self.is_loopback)


Answer = Callable[[Request, Exception], Awaitable[Response]]
"""How a refusal is told: on a page to people, as problem+json to programs."""


class Guard:
    """ASGI middleware around the whole app."""

    def __init__(self, app: ASGIApp, house: House, doorman: Doorman, answer: Answer) -> None:
        self._app, self._house, self._doorman, self._answer = app, house, doorman, answer

    async def __call__(self, scope: Asked, receive: Receive, send: Send) -> None:
        """Let a request in, or answer with the refusal."""
        if scope["type"] != "http":
            return  # no web sockets here, and nothing to start or end with the server
        request = _Request(scope, receive)
        answered = _signed(send, request)
        try:
            await self._let_in(request)
        except (Problem, ClipledgerError) as refused:
            await (await self._refusal(request, refused))(scope, receive, answered)
            return
        await self._app(scope, request.replay, answered)

    async def _refusal(self, request: _Request, refused: Problem | ClipledgerError) -> Response:
        if not isinstance(refused, Problem) or refused.status != 401:
            return await self._answer(Request(request.scope), refused)
        if request.is_for_people:
            return RedirectResponse(f"{LOGIN}?next={quote(request.path, safe='/')}" if request.is_page else LOGIN, 303)
        response = problem_response(refused)
        is_api = request.path.startswith(API)
        response.headers["www-authenticate"] = "Bearer" if is_api else 'Basic realm="clipledger"'
        return response

    async def _let_in(self, request: _Request) -> None:
        if not self._house.knows(request.headers.get("host", "")):
            raise Problem(421, "not this server", "the Host header names another one", "use the link that was printed")
        try:
            async with asyncio.timeout(BODY_S):
                await request.read_body()
        except TimeoutError:
            raise Problem(408, "too slow", f"the body took longer than {BODY_S:.0f} s", "send it in pieces") from None
        cookies = cookie_parser(request.headers.get("cookie", ""))
        cookie = cookies.get(self._house.cookie, "")
        visitor = await self._who(request, cookie)
        is_writing = request.method not in _SAFE
        if visitor is None:
            if not request.is_for_all:
                raise Problem(401, "not logged in", "this archive asks who you are", "log in, or send a token")
            visitor = Visitor("", Role.VIEWER)
        if not request.is_token and request.path != HEALTH:
            visitor = self._known_by_cookie(request, visitor, cookie)
        state = request.scope.setdefault("state", {})
        state["visitor"], state["cookie"], state["house"] = visitor, cookie, self._house
        if is_writing:
            self._check_write(request, visitor, cookie)

    async def _who(self, request: _Request, cookie: str) -> Visitor | None:
        """Tell who sends a request: a token's owner, a session's, or, while nobody set a password, this machine."""
        if (authorization := request.headers.get("authorization")) is not None:
            request.is_token = True
            token = token_in(authorization)
            return await self._doorman.of_token(token, _scope_of(request.path)) if token else None
        if cookie and (visitor := await self._doorman.of_session(cookie)) is not None:
            return visitor
        is_here = self._house.is_private and not any(name in request.headers for name in _FORWARDED)
        if not is_here or request.is_for_all or not await self._doorman.is_open():
            return None
        if request.scope.get("http_version") == "1.0":
            raise Problem(403, "a proxy in front?", _OLD, "name it in web.hosts and set a password, or ask by HTTP/1.1")
        return OPEN

    def _known_by_cookie(self, request: _Request, visitor: Visitor, cookie: str) -> Visitor:
        """See to it that whoever has no cookie gets one: the forms of their pages are bound to it."""
        if not cookie and request.is_page:
            cookie = request.new_cookie = new_secret()
        request.cookie_name = self._house.cookie
        return replace(visitor, csrf=csrf_of(cookie)) if cookie else visitor

    def _check_write(self, request: _Request, visitor: Visitor, cookie: str) -> None:
        _check_origin(request)
        if request.path == REPORTS:
            return
        if not request.is_token and not request.is_program(cookie):
            _check_csrf(request, cookie)
        if request.path not in (LOGIN, LOGOUT) and not visitor.role.covers(Role.OPERATOR):
            raise Problem(403, "not allowed", "this needs the role operator", "log in with an account that has it")


class _Request:
    """One request whose body, small as it is, was read before anybody acts on it."""

    def __init__(self, scope: Asked, receive: Receive) -> None:
        self.scope, self._receive = scope, receive
        self.headers = Headers(scope=scope)
        self.method, self.path = str(scope["method"]), str(scope["path"])
        self.body = b""
        self.is_token = False
        self.new_cookie = self.cookie_name = ""
        self._given = False

    def is_program(self, cookie: str) -> bool:
        """Tell a program on this machine from a page in a browser, which names its origin and cannot leave that out."""
        plain = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        told = ("origin" in self.headers, "sec-fetch-site" in self.headers, "referer" in self.headers)
        return self.path.startswith(API) and not cookie and not any(told) and plain == "application/json"

    @property
    def is_for_all(self) -> bool:
        """Say whether it is answered whoever asks."""
        return self.path in _OPEN or self.path.startswith(_STATIC)

    @property
    def is_secure(self) -> bool:
        """Say whether the visitor came by https."""
        return self.scope.get("scheme") == "https"

    @property
    def is_for_people(self) -> bool:
        """Say whether a person waits for the answer."""
        return is_for_people(self.path, self.headers.get("accept", ""))

    @property
    def is_page(self) -> bool:
        """Say whether a person waits for a page."""
        return self.method == "GET" and self.is_for_people

    async def read_body(self) -> None:
        """Read the whole body; Problem 413 when it is larger than `BODY_MAX`, 400 when the line broke."""
        declared = self.headers.get("content-length", "0")
        if not declared.isascii() or not declared.isdigit() or int(declared[:12]) > BODY_MAX:
            raise _too_large()
        chunks, size, more = [], 0, True
        while more:
            message = await self._receive()
            if message["type"] != "http.request":  # whoever sent it is gone: half of it means something else
                raise Problem(400, "cut off", "the body ended before its end", "send it again")
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
    if origin is not None and _site_of(origin) != host.lower():
        raise Problem(
            403, "another site's request", "the Origin header names another site", "use this site's own pages"
        )
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Problem(403, "another site's request", "the browser says it is cross-site", "use this site's own pages")


def _check_csrf(request: _Request, cookie: str) -> None:
    """Refuse what none of our own pages sent: they hold a token that belongs to the visitor's cookie."""
    given = request.headers.get(CSRF_HEADER) or _form_field(request, CSRF_FIELD)
    if not cookie or not hmac.compare_digest(given.encode(), csrf_of(cookie).encode()):
        raise Problem(403, "the form is out of date", "it holds no token of this session", "load the page again")


def _form_field(request: _Request, name: str) -> str:
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return ""
    try:
        fields = parse_qs(request.body.decode("utf-8", "replace"), max_num_fields=FIELDS_MAX)
    except ValueError:
        return ""
    return fields.get(name, [""])[0]


def _scope_of(path: str) -> Scope | None:
    return next((scope for start, scope in _SCOPES if path.startswith(start)), None)


def _too_large() -> Problem:
    return Problem(413, "too large", f"a request's body may be {BODY_MAX} bytes", "send it in pieces")


def _signed(send: Send, request: _Request) -> Send:
    """Put the headers on every answer that does not set them itself."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            if request.path.startswith(_STATIC):
                headers.setdefault("cache-control", "no-cache")  # kept, and asked for again: a new release has others
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            if request.new_cookie and "set-cookie" not in headers:
                headers.append("set-cookie", cookie_header(request.cookie_name, request.new_cookie, request.is_secure))
        await send(message)

    return sent


def cookie_header(name: str, value: str, is_secure: bool) -> str:
    """Write a cookie that no script can read and no other site's page can send."""
    return f"{name}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={round(SESSION_S)}" + "; Secure" * is_secure


def is_loopback(host: str) -> bool:
    """Say whether a host is this machine's own address, or its name."""
    return host.lower() == "localhost" or (_is_address(host) and ip_address(host.strip("[]")).is_loopback)


def _is_address(name: str) -> bool:
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _site_of(origin: str) -> str | None:
    """Take the scheme off an Origin header; None for what is no origin."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


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

"""One signed link over a `Wire`, into a part: the only file that knows the CDN's ways.

Every URL is taken apart, checked and put together again before it is opened, and so is every
redirect. Must not: send the API key, retry, judge what the bytes are, or name more of a link than
its host.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import SplitResult, quote, urljoin, urlsplit, urlunsplit

from clipledger.core.errors import (
    CdnUnavailable,
    ClipledgerError,
    NotMedia,
    RefusedUrl,
    Throttled,
    TooLarge,
    TooManyOpenFiles,
    TruncatedBody,
    UrlExpired,
)
from clipledger.core.model import Secret, SignedUrl
from clipledger.core.ports import Clock, Limits, Part, Request, Response, Wire, WireError
from clipledger.net.hosts import is_loopback
from clipledger.net.retry_after import retry_after_s

URL_MAX_CHARS = 8 * 2**10
REDIRECTS_MAX = 3
EXPIRY_MARGIN_S = 2.0
"""A link that dies while the connection is being made is dead already."""

ERROR_BODY_MAX_BYTES = 64 * 2**10
"""How much of an error page is read to keep its connection; captured ones have about 370 bytes."""

SHORT_LINK_HOSTS = ("tiktok.com",)
SHORT_LINK_LIMITS = Limits(deadline_s=30.0)

_HEADERS = (
    (
        "User-Agent",
        Secret("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"),
    ),
    ("Referer", Secret("https://www.tiktok.com/")),
    ("Accept", Secret("*/*")),
    ("Accept-Encoding", Secret("identity")),
)
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_EXPIRED = frozenset({401, 403, 404, 410})
_BROKEN: dict[str, type[ClipledgerError]] = {
    "short": TruncatedBody,
    "too_large": TooLarge,
    "refused_address": RefusedUrl,
    "descriptors": TooManyOpenFiles,
}
"""What a broken exchange means, by the kind of WireError; any other kind is CdnUnavailable. So are headers that are
too fat: they tell of the server that sent them, nothing of the size of the post."""

_DEFAULT_PORTS = {"https": 443, "http": 80}
_AMBIGUOUS = re.compile(r"[\\\x00-\x1f\x7f]")
_HOST = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*", re.ASCII)


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """Bounds on one download. Slower than the floor over its window is a stall."""

    max_bytes: int = 2 * 2**30
    deadline_s: float = 600.0
    floor_bytes_per_s: int = 2 * 2**10
    floor_window_s: float = 30.0
    connect_s: float = 10.0

    def on_wire(self) -> Limits:
        """Put the bounds as the wire takes them."""
        return Limits(self.deadline_s, self.connect_s, self.floor_bytes_per_s, self.floor_window_s, self.max_bytes)


class Cdn:
    """Downloads from the hosts of an allow-list.

    `allowed_hosts` are suffixes (`tiktokcdn.com` allows itself and everything below it).
    `base_url` is the API's: relative links are joined to it, and its own origin is allowed.
    `allow_insecure` permits http, loopback and other ports: for simulators.
    """

    def __init__(
        self,
        wire: Wire,
        *,
        allowed_hosts: Sequence[str],
        allow_insecure: bool,
        base_url: str,
        clock: Clock,
        limits: FetchLimits | None = None,
    ) -> None:
        self._wire, self._clock, self._base_url = wire, clock, base_url
        self._limits = (limits or FetchLimits()).on_wire()
        self._media = _Gatekeeper(allowed_hosts, allow_insecure, own_origin=base_url)
        self._short = _Gatekeeper(SHORT_LINK_HOSTS, allow_insecure)
        self._public_only = not allow_insecure

    async def fetch(self, link: SignedUrl, part: Part) -> Response:
        """Download one link into `part`, which receives bytes of a 200 only.

        Raises RefusedUrl before anything is opened; UrlExpired for a link that is past or that the
        CDN no longer honours; TruncatedBody, TooLarge, NotMedia (0 bytes), Throttled, CdnUnavailable;
        and what `part.write` raises. After any of them the part is not to be used.
        """
        if link.expires_at is not None and link.expires_at <= self._clock.now() + EXPIRY_MARGIN_S:
            raise UrlExpired("the link's own date has passed")
        url = self._media.checked(link.reveal(), self._base_url)
        for _ in range(REDIRECTS_MAX + 1):
            gate = _Gate(part, self._clock)
            response = await self._get(url, gate, self._limits)
            if response.status not in _REDIRECTS:
                return replace(self._judged(url, response), first_byte_at=gate.first_byte_at)
            url = self._media.redirected(url, response)
        raise CdnUnavailable(f"{_host(url)}: more than {REDIRECTS_MAX} redirects")

    async def redirect_target(self, url: str) -> str | None:
        """Ask a short link (`vm.tiktok.com/CODE`) where it leads; None when it leads nowhere.

        The target is not opened and not checked. Raises RefusedUrl outside tiktok.com, Throttled,
        CdnUnavailable.
        """
        url = self._short.checked(url)
        response = await self._get(url, _Gate(None, self._clock), SHORT_LINK_LIMITS)
        if response.status == 429 or response.status >= 500:
            raise self._refusal(url, response)
        return _target(url, response) if response.status in _REDIRECTS else None

    async def _get(self, url: str, gate: _Gate, limits: Limits) -> Response:
        request = Request(Secret(url), _HEADERS, limits, self._public_only)
        try:
            return await self._wire.get(request, gate)
        except (WireError, _EnoughError) as broken:
            if gate.refused is not None:
                return gate.refused  # the status tells more than a broken error page
            raise _broken(url, broken) from broken

    def _judged(self, url: str, response: Response) -> Response:
        if response.status != 200:
            raise self._refusal(url, response)
        if not response.received:
            raise NotMedia("0 bytes")
        return response

    def _refusal(self, url: str, response: Response) -> ClipledgerError:
        told = f"{_host(url)}: HTTP {response.status}"
        if response.status in _EXPIRED:
            return UrlExpired(told)
        if response.status == 429:
            return Throttled(told, retry_after_s=retry_after_s(response.headers, self._clock.now()), costly=True)
        return CdnUnavailable(told)


def _broken(url: str, error: Exception) -> ClipledgerError:
    kind = error.kind if isinstance(error, WireError) else ""
    return _BROKEN.get(kind, CdnUnavailable)(f"{_host(url)}: {error}")


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""


def _target(url: str, response: Response) -> str | None:
    try:
        target = urljoin(url, _sendable(response.headers.get("location", "")))
        return target if urlsplit(target).scheme in _DEFAULT_PORTS else None
    except ValueError:
        return None


class _EnoughError(Exception):
    """An error page that does not end."""


class _Gate:
    """Let the body of a 200 through into the part; drop any other, up to a bound."""

    __slots__ = ("_clock", "_dropped", "_part", "first_byte_at", "refused")

    def __init__(self, part: Part | None, clock: Clock) -> None:
        self._part, self._clock = part, clock
        self._dropped = 0
        self.first_byte_at: float | None = None
        self.refused: Response | None = None

    def open(self, response: Response) -> None:
        """Learn the status: it decides where the body goes."""
        if self._part is None or response.status != 200:
            self.refused = response

    def write(self, chunk: bytes) -> None:
        """Pass a chunk on, or drop it."""
        if self._part is not None and self.refused is None:
            if self.first_byte_at is None:
                self.first_byte_at = self._clock.now()
            self._part.write(chunk)
            return
        self._dropped += len(chunk)
        if self._dropped > ERROR_BODY_MAX_BYTES:
            raise _EnoughError


class _Gatekeeper:
    """Decides which URLs may be opened, and writes them anew so that nothing else is."""

    def __init__(self, allowed_hosts: Sequence[str], allow_insecure: bool, *, own_origin: str = "") -> None:
        plain = (host.strip().lower().removeprefix("*").strip(".") for host in allowed_hosts)
        self._suffixes = tuple(host for host in plain if host)
        self._insecure = allow_insecure
        self._own = _origin(urlsplit(own_origin)) if own_origin else None

    def checked(self, text: str, base: str = "") -> str:
        """Return the URL to open, or raise RefusedUrl. A relative one is joined to `base`."""
        try:
            parts = urlsplit(urljoin(base, _sendable(text)))
            scheme, host, port = _origin(parts)
        except ValueError:
            raise RefusedUrl("not a URL") from None
        self._check_origin(parts, scheme, host, port)
        netloc = f"[{host}]" if ":" in host else host
        if port != _DEFAULT_PORTS[scheme]:
            netloc += f":{port}"
        return urlunsplit((scheme, netloc, parts.path or "/", parts.query, ""))

    def redirected(self, url: str, response: Response) -> str:
        """Return where a redirect leads, checked like any link and never to a weaker scheme."""
        if "location" not in response.headers:
            raise CdnUnavailable(f"{_host(url)}: HTTP {response.status} without a target")
        target = self.checked(response.headers["location"], url)
        if url.startswith("https:") and not target.startswith("https:"):
            raise RefusedUrl(f"{_host(url)}: a redirect from https to http")
        return target

    def _check_origin(self, parts: SplitResult, scheme: str, host: str, port: int) -> None:
        if "@" in parts.netloc or ("[" in parts.netloc) != (":" in host) or not host:
            raise RefusedUrl("a URL without a plain host")
        if scheme != "https" and not (self._insecure and scheme == "http"):
            raise RefusedUrl(f"{host}: only https is opened")
        if (scheme, host, port) == self._own:
            return
        if port != _DEFAULT_PORTS[scheme] and not self._insecure:
            raise RefusedUrl(f"{host}: port {port} is not opened")
        if not self._knows(host):
            raise RefusedUrl(f"{host} is not in cdn.allowed_hosts")

    def _knows(self, host: str) -> bool:
        if self._insecure and is_loopback(host):
            return True
        return bool(_HOST.fullmatch(host)) and any(f".{host}".endswith(f".{suffix}") for suffix in self._suffixes)


def _sendable(text: str) -> str:
    """Return a URL in printable ASCII; raise ValueError for one that could be read in two ways."""
    text = text.strip()
    if not text or _AMBIGUOUS.search(text):
        raise ValueError
    if not text.isascii() or " " in text:
        text = quote(text, safe=string.punctuation, errors="replace")
    if len(text) > URL_MAX_CHARS:
        raise ValueError
    return text


def _origin(parts: SplitResult) -> tuple[str, str, int]:
    """Read scheme, host (lower case, no trailing dot) and port; raise ValueError for an odd port."""
    port = parts.port
    if port is None:
        port = _DEFAULT_PORTS.get(parts.scheme, 0)
    return parts.scheme, (parts.hostname or "").removesuffix("."), port

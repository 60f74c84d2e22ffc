"""TikLiveAPI over a `Wire`: the only file that knows the API host's ways.

One call in, one flat object or one of our errors out. What every kind of answer means is decided
in `judge`, and nowhere else. Must not: retry, wait, count credits, read posts out of a reply, or
let the key into an error, a repr or a log.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec

from clipledger.core.errors import (
    ApiUnavailable,
    ApiUnreachable,
    ClipledgerError,
    CreditsExhausted,
    Gone,
    MalformedReply,
    Misconfigured,
    Reason,
    Throttled,
    TooManyOpenFiles,
)
from clipledger.core.model import ApiCall, ApiKey, Reply, Secret
from clipledger.core.parse import unwrap
from clipledger.core.ports import Clock, Limits, Request, Response, Wire, WireError
from clipledger.core.scrub import scrub_text
from clipledger.net.retry_after import retry_after_s

LIMITS = Limits(deadline_s=30.0, connect_s=10.0, max_bytes=16 * 2**20, max_header_bytes=64 * 2**10)
"""Clients of the API wait 10-30 s; the largest captured page is under 1 MiB."""

_UNANSWERED: dict[str, type[ClipledgerError]] = {
    **dict.fromkeys(("dns", "connect", "tls", "refused_address"), ApiUnreachable),
    "descriptors": TooManyOpenFiles,
}
"""What is wrong when nothing was sent at all; any other broken exchange may have cost a credit."""

DEPTH_MAX = 64
DIGITS_MAX = 64
SAMPLE_CHARS = 2_000
DETAIL_CHARS = 200
KEY_CHARS_MIN = 8
"""Anything shorter is no secret, and is found by chance in every reply."""

_ABOUT_POST = frozenset({"/post-detail/", "/download-video/", "/post-comments/", "/post-comment-replies/"})
_NO_KEY = "no API key: set TIKLIVEAPI_KEY or TIKLIVEAPI_KEY_FILE"
_NOT_FOUND_TEXT = b"not found post"
_UNREADABLE = object()


class TikLive:
    """The API behind one base URL and key. `key` None: every call says how to set one."""

    def __init__(
        self, wire: Wire, key: ApiKey | None, base_url: str, clock: Clock, *, allow_insecure: bool = False
    ) -> None:
        self._wire, self._key, self._clock = wire, key, clock
        self._base_url = _checked_base(base_url, allow_insecure)
        self._public_only = not allow_insecure

    async def call(self, call: ApiCall) -> Reply:
        """Make one paid call and return the flat object; raise what `judge` says otherwise.

        Misconfigured without a key, before anything is sent; ApiUnavailable when the exchange broke.
        """
        key = _checked_key(self._key)
        body = _Body()
        try:
            response = await self._wire.get(self._request(call, key), body)
        except WireError as broken:
            raise _UNANSWERED.get(broken.kind, ApiUnavailable)(f"{call.path}: {broken}") from broken
        return judge(
            response.status,
            response.headers,
            _without(key, bytes(body.received)),
            about_post=call.path in _ABOUT_POST,
            now=self._clock.now(),
        )

    def _request(self, call: ApiCall, key: ApiKey) -> Request:
        query = f"?{urlencode(call.params)}" if call.params else ""
        headers = (("X-Api-Key", key), ("Accept", Secret("application/json")), ("Accept-Encoding", Secret("gzip")))
        return Request(Secret(self._base_url + call.path + query), headers, LIMITS, self._public_only, once=True)


def judge(status: int, headers: Mapping[str, str], body: bytes, *, about_post: bool, now: float) -> Reply:
    """Say what an answer means: return the flat object, or raise one of our errors.

    `headers` have lower-case names; `about_post`: the call named one post, so a 404 can mean that
    post; `now` is unix seconds, for a Retry-After that is a date. Most errors come with status 200.
    """
    _raise_by_status(status, headers, now)
    decoded = _decode(body)
    if status // 100 != 2:
        raise _refusal(status, decoded, body, about_post)
    if decoded is _UNREADABLE:
        raise ApiUnavailable(f"HTTP {status} with {len(body)} bytes that are not JSON")
    reply = unwrap(decoded)
    complaint = _complaint(decoded, believed=False) or _complaint(reply, believed=False)
    if complaint is not None:
        raise complaint
    return reply


def _raise_by_status(status: int, headers: Mapping[str, str], now: float) -> None:
    if status == 429:
        raise Throttled("HTTP 429", retry_after_s=retry_after_s(headers, now))
    if status in (401, 403):
        raise Misconfigured(f"key refused with HTTP {status}: check TIKLIVEAPI_KEY or TIKLIVEAPI_KEY_FILE")
    if status == 402:
        raise CreditsExhausted("HTTP 402: the account has no credits left")
    if status // 100 in (3, 5):
        # A redirect is never followed: the key would go along.
        raise ApiUnavailable(f"HTTP {status}")


def _refusal(status: int, decoded: object, body: bytes, about_post: bool) -> ClipledgerError:
    missing_post = status == 404 and about_post
    complaint = _complaint(decoded, believed=missing_post)
    if complaint is not None:
        return complaint
    if missing_post and (isinstance(decoded, Mapping) or _NOT_FOUND_TEXT in body.lower()):
        return Gone("HTTP 404")
    return ApiUnavailable(f"HTTP {status}")


def _complaint(reply: object, *, believed: bool) -> ClipledgerError | None:
    """Read an error out of a body; None when the body is not one.

    `believed`: what it says of the post counts, though nothing in the body marks it as an error.
    """
    if not isinstance(reply, Mapping):
        return None
    marked = reply.get("status") == "error" or ("msg" in reply and reply.get("code", 0) not in (0, "0"))
    if not marked and ("message" not in reply or _has_payload(reply)):
        return None
    told = next((reply[key] for key in ("message", "msg", "error") if isinstance(reply.get(key), str)), "")
    return _meaning(told, about_entity=marked or believed)


def _has_payload(reply: Mapping[str, Any]) -> bool:
    return any(value for key, value in reply.items() if isinstance(value, Mapping | list) or key in _PAYLOAD_KEYS)


_PAYLOAD_KEYS = frozenset({"id", "play", "video", "video_hd"})
"""Plain values that only a success holds; everything else it holds is an object or a list."""

_KEY_REFUSED = "key refused, check TIKLIVEAPI_KEY or TIKLIVEAPI_KEY_FILE"

_ACCOUNT = (
    (r"sign up to tikliveapi|api-key is not available", Misconfigured),
    (r"too many requests|requests? ?(?:/|per) ?(?:second|minute)", Throttled),
    (r"\b(?:balance|credits?|quotas?|exhausted|purchased?)\b", CreditsExhausted),
    (r"\A(?!.*\b(?:age|adults?|mature|audience|viewers?|restricted)\b).*\blimits?\b|too many", Throttled),
    (r"\bapi[-_ ]?key", Misconfigured),
)
"""What a message says of the account, first match wins. Two texts are known; the rest is guarded by words."""

_ENTITY = (
    (r"\bprivate\b", Reason.PRIVATE),
    (r"\A(?!.*\b(?:required|invalid)\b).*\b(?:region|country)\b", Reason.REGION),
    (r"\bnot[-_ ]?found\b", Reason.NOT_FOUND),
)
"""What a message says of the post, user or list that was asked for, first match wins."""


def _meaning(message: str, *, about_entity: bool) -> ClipledgerError:
    detail = _told(message)
    for pattern, kind in _ACCOUNT:
        if re.search(pattern, message, re.IGNORECASE):
            return kind(f"{_KEY_REFUSED}: {detail}" if kind is Misconfigured else detail)
    for pattern, reason in _ENTITY:
        if about_entity and re.search(pattern, message, re.IGNORECASE | re.DOTALL):
            return Gone(detail, reason=reason)
    return ApiUnavailable(detail, reason=Reason.API_MESSAGE)


def _told(message: str) -> str:
    """Make a message of theirs fit for ours: one line, bounded, without signatures, writable anywhere."""
    text = scrub_text(message[:SAMPLE_CHARS])
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())[:DETAIL_CHARS]


def _decode(body: bytes) -> object:
    """Decode JSON; `_UNREADABLE` when it is none, MalformedReply when it is built to do harm."""
    try:
        decoded = _lenient(body)
    except RecursionError:
        decoded = _TOO_DEEP
    if decoded is _TOO_DEEP or not _is_shallow(decoded):
        raise MalformedReply(f"nested deeper than {DEPTH_MAX}", sample=_sample(body))
    if decoded is _TOO_LONG:
        raise MalformedReply(f"a number of more than {DIGITS_MAX} digits", sample=_sample(body))
    return decoded


_TOO_DEEP, _TOO_LONG = object(), object()


class _LongNumber(Exception):
    """A number that no field of the API can hold."""


def _lenient(body: bytes) -> object:
    # msgspec refuses lone surrogates, NaN, huge numbers and broken UTF-8; all four have been seen in titles
    # and counters somewhere, and the standard library takes them.
    try:
        return msgspec.json.decode(body)
    except ValueError:
        pass
    try:
        return json.loads(body.decode("utf-8-sig", "replace"), parse_int=_bounded_int)
    except _LongNumber:
        return _TOO_LONG
    except ValueError:
        return _UNREADABLE


def _bounded_int(digits: str) -> int:
    if len(digits) > DIGITS_MAX:
        raise _LongNumber
    return int(digits)


def _is_shallow(value: object) -> bool:
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(DEPTH_MAX):
        level = [inner for node in level for inner in _inside(node) if isinstance(inner, dict | list)]
        if not level:
            return True
    return False


def _inside(node: dict[Any, Any] | list[Any]) -> Iterable[Any]:
    return node.values() if isinstance(node, dict) else node


def _sample(body: bytes) -> str:
    return scrub_text(body[:SAMPLE_CHARS].decode("utf-8", "replace"))


class _Body:
    """Collect a body in memory; the wire bounds it."""

    __slots__ = ("received",)

    def __init__(self) -> None:
        self.received = bytearray()

    def open(self, response: Response) -> None:
        """Nothing to prepare: status and headers come back with the answer."""

    def write(self, chunk: bytes) -> None:
        """Append a chunk."""
        self.received += chunk


def _without(key: ApiKey, body: bytes) -> bytes:
    """Take the key out of a reply that echoes it, plain or as JSON writes it."""
    text = key.reveal()
    if len(text) < KEY_CHARS_MIN:
        return body
    for form in (text, text.replace("/", "\\/")):
        body = body.replace(form.encode(), b"-")
    return body


def _checked_key(key: ApiKey | None) -> ApiKey:
    if key is None or not key.reveal():
        raise Misconfigured(_NO_KEY)
    if not re.fullmatch(r"[!-~]+", key.reveal()):
        raise Misconfigured("the API key holds spaces or unusual characters: copy it again")
    return key


def _checked_base(base_url: str, allow_insecure: bool) -> str:
    schemes = ("https", "http") if allow_insecure else ("https",)
    try:
        parts = urlsplit(base_url)
        plain = parts.scheme in schemes and parts.hostname and parts.port != 0 and not parts.query + parts.fragment
    except ValueError:
        plain = False
    if not plain or "@" in base_url or not re.fullmatch("[!-~]+", base_url):
        raise Misconfigured(
            "api.base_url must be a plain https:// address, like https://api.example.org; "
            "http:// is for simulators: set cdn.allow_insecure = true"
        )
    return base_url.rstrip("/")

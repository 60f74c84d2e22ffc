"""Take signatures and keys out of what is kept: whole replies, captions, messages, log lines.

Must not: know what a reply means (`parse`), or decode anything. What a link says of its own end is read
here too, since both look for the same signs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from clipledger.core.model import EARLIEST_S

TEXT_MAX = 10_000
"""The longest text kept, in characters; captions end at 4,000."""

DEPTH_MAX = 32
"""How deep a reply is kept; the deepest captured one has 7 levels."""

URL_MAX = 8_192
"""The longest link, in characters."""

_LATEST_EXPIRY_S = 4_102_444_800.0  # 2100

_SLASH = r"\\{0,4}/"  # JSON inside JSON writes \/ or \\/
_SIGNING_PATH = re.compile(rf"({_SLASH})[0-9a-f]{{32}}({_SLASH})([0-9a-f]{{8}})(?![0-9a-z])", re.I)
_WEB_LINK = re.compile(rf"(https?:(?:{_SLASH}){{2}})((?:[^\s\"'<>\\]+|\\{{1,4}}(?=/|u00[0-9a-f]))*)", re.I)
_RELATIVE_LINK = re.compile(r"\s*(/[^\s?#]*)[?#]\S*\s*")
_USERINFO = re.compile(r"\A[^\\/?#]*@")
_QUERY = re.compile(r"[?#].*|%3f.*|\\{1,4}u003f.*", re.I | re.S)
_KEY_LOOKING = re.compile(
    r"((?:[?&;]|%3f|%26|%3b|\\{1,4}u0026|&amp;)(?:[a-z]+-)*[a-z]*(?:signature|expires?|expiration|token|policy|api-?key|key-pair-id)"
    r"(?:=|%3d))[^\s&\"'<>]*",
    re.I,
)
# Names that nobody writes but a signer, wherever they stand.
_BARE_SIGNATURE = re.compile(
    r"((?<![a-z0-9-])(?:x-(?:[a-z]+-)*|v)(?:signature|expires?|expiration|token|credential)(?:=|%3d))[^\s&\"'<>]*", re.I
)
_API_KEY = re.compile(r"(x-api-key[\\\"']*\s*[:=]\s*[\\\"']*)[^\s\\\"',;&}]+", re.I)
_EXPIRY_QUERY = re.compile(r"[?&;](?:x-)?(?:v?expir(?:e|es|ation))=([0-9]{9,13})(?![0-9])", re.I)
_LONE_SURROGATE_OR_NUL = re.compile("[\x00\ud800-\udfff]")
_SUSPICIOUS = re.compile(r"[:=/%\\]")  # each of the patterns above needs one of these: most texts have none
_SECRET_NAMES = frozenset({"x-api-key", "api-key", "api_key", "apikey", "authorization"})


def expiry(url: str) -> float | None:
    """Read when a signed link dies (unix s); the earliest when it tells several, None when none."""
    told = [float(int(found[3], 16)) for found in _SIGNING_PATH.finditer(url[:URL_MAX])]
    told += [float(digits) for digits in _EXPIRY_QUERY.findall(url[:URL_MAX])]
    seconds = [at / 1000 if at > 1e11 else at for at in told]
    return min((at for at in seconds if EARLIEST_S <= at < _LATEST_EXPIRY_S), default=None)


def scrub(value: Any) -> Any:
    """Copy a decoded value without signatures and keys: safe to keep, to store and to encode again.

    Also: nothing below 32 levels, no text above 10,000 characters, no NaN, no lone surrogates,
    no NUL (PostgreSQL takes none), no whole number beyond 64 bits.
    """
    return _scrubbed(value, DEPTH_MAX)


def scrub_text(text: str) -> str:
    """Take signatures, userinfo and keys out of any text: a raw body, a message, a log line."""
    if not _SUSPICIOUS.search(text):
        return text
    text = _WEB_LINK.sub(lambda found: found[1] + _bare_link(found[2]), text)
    text = _SIGNING_PATH.sub(r"\1-\2-", text)
    if "=" in text or "%" in text:  # a name and its value; most links have lost theirs by now
        text = _BARE_SIGNATURE.sub(r"\1-", _KEY_LOOKING.sub(r"\1-", text))
    return _API_KEY.sub(r"\1-", text) if "-key" in text.lower() else text


_LINK_NAMES = frozenset(
    {"play", "wmplay", "hdplay", "video", "video_hd", "cover", "origin_cover", "ai_dynamic_cover", "avatar"}
    | {"images", "live_images", "music"}
)


def _bare_link(rest: str) -> str:
    return _USERINFO.sub("", _QUERY.sub("", rest))


def _scrubbed(value: Any, depth: int) -> Any:
    if isinstance(value, str):  # before `match`, which asks of each value whether it is a mapping: most are texts
        return _scrubbed_text(value)
    match value:
        case bool() | None:
            return value
        case int():
            return value if -(2**63) <= value < 2**64 else None
        case float():
            return value if math.isfinite(value) else None
        case Mapping() if depth:
            return {_scrubbed_text(str(key)): _kept(key, inner, depth - 1) for key, inner in value.items()}
        case list() | tuple() if depth:
            return [_scrubbed(inner, depth - 1) for inner in value]
    return None


def _kept(key: object, value: Any, depth: int) -> Any:
    name = str(key).lower()
    if name in _SECRET_NAMES:
        return "-"
    return _scrubbed(_unsigned(value) if name in _LINK_NAMES else value, depth)


def _unsigned(value: Any) -> Any:
    """Cut the query of what is a link by its name, however it is written."""
    if isinstance(value, str):
        return re.split("[?#]|%3[fF]", value, maxsplit=1)[0]
    return [_unsigned(entry) for entry in value] if isinstance(value, list) else value


def _scrubbed_text(text: str) -> str:
    short = plain(text)
    if not _SUSPICIOUS.search(short):
        return short
    relative = _RELATIVE_LINK.fullmatch(short)
    return scrub_text(relative[1] if relative else short)


def plain(text: str) -> str:
    """Bound a text, and take out what databases and encodings refuse."""
    short = text[:TEXT_MAX]
    if short.isascii() and "\0" not in short:
        return short
    return _LONE_SURROGATE_OR_NUL.sub("\ufffd", short)

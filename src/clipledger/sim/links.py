"""Media links that die: signing them in the forms of the CDN, and judging them when they come back.

The path's last long word is a token that holds (post id, which file), so the CDN needs no table.
Must not: know what is behind a link, or roll dice.
"""

from __future__ import annotations

import base64
import calendar
import re
import struct
import time
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from urllib.parse import quote

from clipledger.sim.reply import Ask, FileRef

VIDEO_HOSTS = (
    "v16m-default.akamaized.net", "v16.tiktokcdn.com", "v19.tiktokcdn-us.com", "v45.tiktokcdn-eu.com",
    "v16-webapp-prime.us.tiktok.com",
)  # fmt: skip
IMAGE_HOSTS = ("p16-sign-sg.tiktokcdn.com", "p19-common-sign.tiktokcdn-us.com", "p16-common-sign.ibyteimg.com")
SOUND_HOSTS = ("sf16-ies-music-va.tiktokcdn.com", "v16-ies-music.tiktokcdn-us.com")
FOREIGN_HOST = "media.mirror-of-everything.example"
HOSTS = frozenset((*VIDEO_HOSTS, *IMAGE_HOSTS, *SOUND_HOSTS))

_CODES = (
    ("video", "hd"), ("video", "standard"), ("video", "watermarked"), ("image", ""), ("live", ""), ("audio", ""),
    ("cover", "cover"), ("cover", "origin"), ("cover", "dynamic"), ("avatar", ""),
)  # fmt: skip
_DETOUR = "/detour"
_EARLY_UNIT_S = 2


class Form(StrEnum):
    """How a link carries its expiry."""

    PATH = "A"  # /<32 hex signature>/<8 hex expiry>/video/tos/...
    EXPIRE = "B"  # ?expire=&signature=
    VEXPIRATION = "C"  # ?VExpiration=&VSignature=
    IMAGE = "image"  # ?x-expires=&x-signature=
    PLAIN = "plain"  # neither date nor signature: /obj/.../<token>.mp3


@dataclass(frozen=True, slots=True)
class Presented:
    """A link that came back: which file, whether the signature holds, and from when it is refused."""

    ref: FileRef
    genuine: bool
    dead_from: float | None
    detour: bool


class Signer:
    """Signs and judges. `base_url` is the simulator's own; with `real_hosts` links look as in the wild."""

    def __init__(self, seed: int, base_url: str, *, real_hosts: bool = False) -> None:
        self.base_url = base_url
        self.real_hosts = real_hosts
        self._key = str(seed).encode()
        self._mask = blake2b(self._key, digest_size=16).digest()

    def sign(
        self,
        ref: FileRef,
        host: str,
        form: Form,
        *,
        now: float,
        life_s: float,
        mime: str = "video_mp4",
        early_s: float = 0.0,
    ) -> str:
        """Return a link to `ref`. `early_s` > 0: the CDN refuses it so long after `now`, whatever its date says."""
        token = self._token(ref, early_s)
        expires = int(now + life_s)
        signature = self._signature(token, expires)
        log = time.strftime("%Y%m%d%H%M%S", time.gmtime(now)) + signature[:18].upper()
        path = f"/video/tos/useast5/tos-useast5-ve-0068c004-tx/{token}/"
        query = f"a=1233&br=1628&bt=814&cd=0%7C0%7C0&cs=0&ds=3&ft=xo0Z~44pgumI&l={log}&lr=all&mime_type={mime}&qs=0"
        match form:
            case Form.PATH:
                return self._at(host, f"/{signature}/{expires:08x}{path}?{query}&vl=&vr=")
            case Form.EXPIRE:
                return self._at(host, f"{path}?{query}&expire={expires}&signature={signature}")
            case Form.VEXPIRATION:
                return self._at(host, f"{path}?{query}&VExpiration={expires}&VSignature={signature}")
            case Form.IMAGE:
                short = quote(base64.b64encode(bytes.fromhex(signature)), safe="")
                image = f"/tos-useast5-p-0068-tx/{token}~tplv-tiktokx-360p.jpeg"
                return self._at(host, f"{image}?x-expires={expires}&x-signature={short}")
            case Form.PLAIN:
                return self._at(host, f"/obj/ies-music-va/{token}.mp3")

    def detour(self, ask: Ask) -> str:
        """Return another address of the same file, for a redirect."""
        host, path = self.split(ask) or (VIDEO_HOSTS[0], ask.path)
        query = "&".join(f"{quote(key)}={quote(value, safe='')}" for key, value in ask.params)
        return self._at(host, f"{_DETOUR}{path}" + (f"?{query}" if query else ""))

    def split(self, ask: Ask) -> tuple[str, str] | None:
        """Return (CDN host, path there) when a request is for the CDN at all."""
        if ask.path.startswith("/cdn/"):
            host, slash, path = ask.path[5:].partition("/")
            return host, slash + path
        return (ask.host, ask.path) if ask.host in HOSTS else None

    def judge(self, ask: Ask, path: str) -> Presented | None:
        """Read a CDN request back; None when it names no file."""
        detour = path.startswith(_DETOUR + "/")
        found = _TOKEN.search(path)
        opened = self._opened(found[1]) if found else None
        if not found or opened is None:
            return None
        ref, early_s = opened
        if path.removeprefix(_DETOUR).startswith("/obj/"):
            return Presented(ref, ref.kind == "audio", None, detour)
        told, signature = _told(ask, path)
        genuine = told is not None and signature == self._signature(found[1], told)
        dead_from = float(told or 0)
        born = _written_at(ask.param("l") or "")
        if early_s and born is not None:
            dead_from = min(dead_from, born + early_s)
        return Presented(ref, genuine, dead_from, detour)

    def _at(self, host: str, path: str) -> str:
        return f"https://{host}{path}" if self.real_hosts else f"{self.base_url}/cdn/{host}{path}"

    def _token(self, ref: FileRef, early_s: float) -> str:
        early = min(int(early_s / _EARLY_UNIT_S), 0xFFFF)
        code = _CODES.index((ref.kind, ref.rendition))
        plain = struct.pack(">QBBH", int(ref.id), code, ref.position, early)
        plain += blake2b(plain, digest_size=4, key=self._key).digest()
        return self._masked(plain).hex()

    def _opened(self, token: str) -> tuple[FileRef, int] | None:
        plain = self._masked(bytes.fromhex(token))
        if plain[12:] != blake2b(plain[:12], digest_size=4, key=self._key).digest():
            return None
        post_id, code, position, early = struct.unpack(">QBBH", plain[:12])
        kind, rendition = _CODES[code]
        return FileRef(str(post_id), kind, rendition, position), early * _EARLY_UNIT_S

    def _masked(self, plain: bytes) -> bytes:
        return bytes(a ^ b for a, b in zip(plain, self._mask, strict=True))

    def _signature(self, token: str, expires: int) -> str:
        return blake2b(f"{token}{expires}".encode(), digest_size=16, key=self._key).hexdigest()


_TOKEN = re.compile(r"/([0-9a-f]{32})(?:/|~[^/]*|\.mp3)$")
_FORM_A = re.compile(r"/([0-9a-f]{32})/([0-9a-f]{8})/video/tos/")


def _told(ask: Ask, path: str) -> tuple[int | None, str]:
    """Return (expiry, signature in hex) as a link tells them, whichever form it has."""
    if found := _FORM_A.search(path):
        return int(found[2], 16), found[1]
    for date, sign in (("expire", "signature"), ("VExpiration", "VSignature"), ("x-expires", "x-signature")):
        told, signature = ask.param(date), ask.param(sign) or ""
        if told is not None and told.isascii() and told.isdigit():
            return int(told), signature if date != "x-expires" else _unpacked(signature)
    return None, ""


def _unpacked(signature: str) -> str:
    try:
        return base64.b64decode(signature, validate=True).hex()
    except ValueError:
        return ""


def _written_at(log: str) -> float | None:
    try:
        return float(calendar.timegm(time.strptime(log[:14], "%Y%m%d%H%M%S")))
    except ValueError:
        return None

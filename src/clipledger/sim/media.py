"""The bytes of the simulated CDN: a few real clips, stamped so that no two files are equal.

Every body is a function of (clip name, stamp): nothing is kept per post, and a world of 100,000
posts costs no more memory than one of ten. A stamped file stays valid and playable.
Must not: know posts, links or faults.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import PurePosixPath

MP4, M4A, MP3 = "video/mp4", "audio/mp4", "audio/mpeg"
JPEG, WEBP, PNG = "image/jpeg", "image/webp", "image/png"

_TYPES = {".mp4": MP4, ".m4a": M4A, ".mp3": MP3, ".jpg": JPEG, ".webp": WEBP, ".png": PNG}

# Durations as ffprobe tells them at the end of media/make.sh.
CLIPS: dict[str, float] = {
    "amber": 4.0,
    "birch": 5.5,
    "coral": 6.0,
    "dune": 7.0,
    "ember": 8.4,
    "fjord": 9.0,
    "grove": 10.0,
    "haze": 12.0,
}
SOUNDS: dict[str, float] = {"tune.mp3": 5.0, "hum.mp3": 7.0, "tune.m4a": 5.0}
PICTURES = ("one.jpg", "two.jpg", "three.jpg", "four.jpg", "five.webp", "six.webp", "seven.png")


@dataclass(frozen=True, slots=True)
class Sample:
    """One file as it is served: `name` of the committed file, `stamp` what makes it unique (ASCII)."""

    name: str
    stamp: str

    @property
    def media_type(self) -> str:
        """What the bytes are, whatever a Content-Type may say."""
        return _TYPES[PurePosixPath(self.name).suffix]

    def body(self) -> bytes:
        """Return the stamped file."""
        head, base, tail = self._pieces()
        return head + base + tail

    @property
    def size_bytes(self) -> int:
        """Return the length of `body()` without building it."""
        return sum(len(piece) for piece in self._pieces())

    def sha256(self) -> str:
        """Return the hex digest of `body()`; for MP4 and M4A at the cost of the stamp alone."""
        head, base, tail = self._pieces()
        plain = not head and base is _file(self.name)
        digest = _digest(self.name).copy() if plain else hashlib.sha256(head + base)
        digest.update(tail)
        return digest.hexdigest()

    def _pieces(self) -> tuple[bytes, bytes, bytes]:
        return _STAMPS[self.media_type](_file(self.name), self.stamp)


def vital_cut(body: bytes) -> int:
    """Return where an MP4 loses its last needed box when cut at a box border.

    What stands before that offset is a row of whole boxes without `mdat`, or without `moov`.
    """
    at, vital = 0, 0
    while at + 8 <= len(body):
        size, kind = struct.unpack_from(">I4s", body, at)
        if kind in (b"moov", b"mdat"):
            vital = at
        at += max(size, 8)
    return vital


def _stamp_boxes(base: bytes, stamp: str) -> tuple[bytes, bytes, bytes]:
    # A box after the last one moves no chunk offset.
    text = b"clipledger-sim " + stamp.encode("ascii")
    return b"", base, struct.pack(">I4s", len(text) + 8, b"free") + text


def _stamp_mp3(base: bytes, stamp: str) -> tuple[bytes, bytes, bytes]:
    """Give half of the copies an ID3v2 tag in front, the other half an ID3v1 tag behind (so that they begin FFFB)."""
    if zlib.crc32(stamp.encode("ascii")) & 1:
        return b"", base, b"TAG" + stamp.encode("ascii")[:125].ljust(125, b"\0")
    text = b"\0" + stamp.encode("ascii")
    frame = b"TIT2" + struct.pack(">I", len(text)) + b"\0\0" + text
    size = len(frame)
    synchsafe = bytes((size >> shift) & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x03\0\0" + synchsafe + frame, base, b""


def _stamp_jpeg(base: bytes, stamp: str) -> tuple[bytes, bytes, bytes]:
    text = stamp.encode("ascii")
    return base[:2] + b"\xff\xfe" + struct.pack(">H", len(text) + 2) + text, base[2:], b""


def _stamp_webp(base: bytes, stamp: str) -> tuple[bytes, bytes, bytes]:
    text = stamp.encode("ascii")
    chunk = b"CLIP" + struct.pack("<I", len(text)) + text + b"\0" * (len(text) & 1)
    size = len(base) - 8 + len(chunk)
    return b"RIFF" + struct.pack("<I", size), base[8:], chunk


def _stamp_png(base: bytes, stamp: str) -> tuple[bytes, bytes, bytes]:
    kept, end = base[:-12], base[-12:]
    text = b"tEXt" + b"Comment\0" + stamp.encode("ascii")
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    return b"", kept, chunk + end


_Pieces = tuple[bytes, bytes, bytes]
_STAMPS: dict[str, Callable[[bytes, str], _Pieces]] = {
    MP4: _stamp_boxes,
    M4A: _stamp_boxes,
    MP3: _stamp_mp3,
    JPEG: _stamp_jpeg,
    WEBP: _stamp_webp,
    PNG: _stamp_png,
}


@cache
def _file(name: str) -> bytes:
    return resources.files("clipledger.sim").joinpath("media", name).read_bytes()


@cache
def _digest(name: str) -> hashlib._Hash:
    return hashlib.sha256(_file(name))

"""What bytes really are, and whether they are all there: signatures, and a walk of the boxes of MP4.

Must not: do I/O (bytes come through `read_at`), decode a picture, or trust a Content-Type or a name.
Every offset and count comes from a stranger: each is checked before use, each loop has a bound.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from clipledger.core import boxes
from clipledger.core.boxes import ReadAt
from clipledger.core.errors import NotMedia, TruncatedBody
from clipledger.core.model import FileKind, MediaType

HEAD_BYTES = 512
"""How many first bytes `sniff` wants; it takes fewer."""

_PICTURES = frozenset({MediaType.JPEG, MediaType.WEBP, MediaType.PNG, MediaType.HEIC})
_ALLOWED = {
    FileKind.VIDEO: frozenset({MediaType.MP4}),
    FileKind.IMAGE: _PICTURES | {MediaType.MP4},  # a slide can be a video
    FileKind.AUDIO: frozenset({MediaType.MP3, MediaType.M4A}),
    FileKind.COVER: _PICTURES,
}

_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_SOUND_BRANDS = frozenset({b"M4A ", b"M4B "})
_PNG_HEAD, _PNG_END = b"\x89PNG\r\n\x1a\n", b"\0\0\0\0IEND\xaeB\x60\x82"
_TRAILING_MAX = 64 * 2**10  # some cameras and CDNs append notes after a JPEG, players tags after an MP3
_SEGMENTS_MAX = 1_000
_CHUNKS_MAX = 100_000  # of a PNG: 8 KiB each in what cameras and editors write
_STEP = 64 * 2**10
_JPEG_MARKER = re.compile(rb"\xff([\xc0-\xcf\xd8-\xfe])")

_BITRATES = {  # kbit/s of Layer III by its four bits; ISO 11172-3 and 13818-3
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_SAMPLE_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}


_PADDING_MAX = 64 * 2**10
_FRAMES_MAX = 1_000_000  # seven hours


@dataclass(frozen=True, slots=True)
class Whole:
    """A file that is whole: what it is, how long it plays (None when it does not say), whether it shows."""

    media_type: MediaType
    duration_s: float | None = None
    has_video: bool = False


def sniff(head: bytes) -> MediaType:
    """Say what bytes are by how they begin. An MP4 may still turn out to be sound alone: see `check`."""
    if not head:
        return MediaType.EMPTY
    if head[4:8] == b"ftyp":
        return _brand(head)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return MediaType.WEBP
    if head[:3] == b"ID3" or _frame_bytes(head[:4]):
        return MediaType.MP3
    if head[:3] == b"\xff\xd8\xff":
        return MediaType.JPEG
    if head[:8] == _PNG_HEAD:
        return MediaType.PNG
    first = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    return {b"<": MediaType.HTML, b"{": MediaType.JSON, b"[": MediaType.JSON}.get(first, MediaType.UNKNOWN)


def check(kind: FileKind, read_at: ReadAt, size: int, *, duration_s: float | None) -> Whole:
    """Say that a received file is whole and fit to be a `kind`; `size` in bytes.

    `read_at(offset, length)` gives that many bytes, fewer only at the end. `duration_s` is what the
    metadata says of a video, None when it says nothing.

    Raises NotMedia for other bytes than promised (an error page, sound for video, a placeholder of
    another length) and TruncatedBody for a file that ends inside itself or plays too short.
    """
    media_type = sniff(read_at(0, min(size, HEAD_BYTES)))
    match media_type:
        case MediaType.MP4 | MediaType.M4A:
            whole = _film(read_at, size)
        case MediaType.JPEG:
            whole = _jpeg(read_at, size)
        case MediaType.WEBP:
            whole = _webp(read_at, size)
        case MediaType.PNG:
            whole = _png(read_at, size)
        case MediaType.HEIC:
            whole = _heic(read_at, size)
        case MediaType.MP3:
            whole = _mp3(read_at, size)
        case _:
            raise NotMedia(f"{_word(media_type)} ({size} bytes) where {kind.value} was promised")
    if whole.media_type not in _ALLOWED[kind]:
        raise NotMedia(f"{_word(whole.media_type)} where {kind.value} was promised")
    if kind is FileKind.VIDEO:
        _compare_durations(whole.duration_s, duration_s)
    return whole


def _word(media_type: MediaType) -> str:
    return {MediaType.EMPTY: "an empty body", MediaType.UNKNOWN: "unknown bytes"}.get(media_type, media_type.value)


def _brand(head: bytes) -> MediaType:
    major = head[8:12]
    if major in _HEIC_BRANDS:
        return MediaType.HEIC
    if major in (b"avif", b"avis"):
        return MediaType.UNKNOWN
    return MediaType.M4A if major in _SOUND_BRANDS else MediaType.MP4


def _compare_durations(found_s: float | None, told_s: float | None) -> None:
    """Refuse a video that plays too short or too long: off by more than 2 s and more than a tenth."""
    if not found_s or not told_s:
        return
    slack_s = max(2.0, told_s / 10)
    if found_s < told_s - slack_s:
        raise TruncatedBody(f"plays {found_s:.1f} s of {told_s:.1f} s")
    if found_s > told_s + slack_s:
        raise NotMedia(f"plays {found_s:.1f} s, the post has {told_s:.1f} s: another video")


def _film(read_at: ReadAt, size: int) -> Whole:
    film = boxes.read_film(read_at, size)
    if not film.has_video and not film.has_sound:
        raise NotMedia("an MP4 with neither picture nor sound")
    return Whole(MediaType.MP4 if film.has_video else MediaType.M4A, film.duration_s, film.has_video)


def _heic(read_at: ReadAt, size: int) -> Whole:
    kinds = {box.kind for box in boxes.walk(read_at, size)}
    if b"meta" not in kinds and b"moov" not in kinds:
        raise TruncatedBody("a HEIC without its index")
    if b"mdat" not in kinds and b"idat" not in kinds:
        raise TruncatedBody("a HEIC without its picture")
    return Whole(MediaType.HEIC)


def _jpeg(read_at: ReadAt, size: int) -> Whole:
    """Walk the markers from SOI to EOI: an EOI inside an embedded thumbnail is not the end."""
    at = 2
    for _ in range(_SEGMENTS_MAX):
        marker, at = _next_marker(read_at, at, size)
        if marker == 0xD9:
            if size - at > _TRAILING_MAX:
                raise NotMedia(f"{size - at} bytes after the end of a JPEG")
            return Whole(MediaType.JPEG)
        if marker == 0xD8:
            raise NotMedia("a JPEG that begins twice")
        length = int.from_bytes(read_at(at, 2), "big")
        if length < 2 or at + length > size:
            raise TruncatedBody("a JPEG that ends inside a segment")
        at += length
    raise NotMedia("a JPEG of too many segments")


def _next_marker(read_at: ReadAt, at: int, size: int) -> tuple[int, int]:
    """Find the next marker from `at`, past entropy-coded bytes; return it and the offset behind it."""
    while at < size:
        piece = read_at(at, min(_STEP, size - at))
        if not piece:
            break
        if (found := _JPEG_MARKER.search(piece)) is not None:
            return found[1][0], at + found.end()
        at += max(len(piece) - 1, 1)  # a marker may lie across the border
    raise TruncatedBody("a JPEG without its end")


def _webp(read_at: ReadAt, size: int) -> Whole:
    head = read_at(0, 20)
    declared = int.from_bytes(head[4:8], "little") + 8
    if size < declared:
        raise TruncatedBody(f"a WebP with {size} of {declared} bytes")
    if size > declared + (declared & 1) or declared < 20 or head[12:15] != b"VP8":
        raise NotMedia("not the inside of a WebP")
    return Whole(MediaType.WEBP)


def _png(read_at: ReadAt, size: int) -> Whole:
    if size < len(_PNG_HEAD) + 25 + len(_PNG_END) or read_at(size - len(_PNG_END), len(_PNG_END)) != _PNG_END:
        raise TruncatedBody("a PNG without its end")
    if read_at(12, 4) != b"IHDR":
        raise NotMedia("not the inside of a PNG")
    at = len(_PNG_HEAD)
    for _ in range(_CHUNKS_MAX):
        head = read_at(at, 8)
        at += int.from_bytes(head[:4], "big") + 12  # length, type, what it holds, checksum
        if at > size or len(head) < 8:
            raise TruncatedBody("a PNG that ends inside a chunk")
        if head[4:] == b"IEND":
            break
    if at != size:
        raise NotMedia(f"{size - at} bytes after the end of a PNG")
    return Whole(MediaType.PNG)


def _mp3(read_at: ReadAt, size: int) -> Whole:
    """Walk the frames to the end of the sound; what may follow it (ID3v1, APE, padding) is let be."""
    start = _id3_bytes(read_at(0, 10))
    if start + 4 > size:
        raise TruncatedBody("an MP3 that ends inside its tag")
    sound = _Window(read_at, size)
    start = sound.skip_zeros(start, _PADDING_MAX)
    declared = _declared_bytes(read_at(start, 192))
    if declared > size:
        raise TruncatedBody(f"an MP3 with {size} of {declared} bytes")
    at, frames = start, 0
    while frames < _FRAMES_MAX and (length := _frame_bytes(sound.take(at, 4))):
        at, frames = at + length, frames + 1
    if at > size or (at > size - 4 and sound.take(at, 1) == b"\xff"):
        raise TruncatedBody("an MP3 that ends inside a frame")
    if frames < 2 and at != size:
        raise NotMedia("no MP3 frames where they should begin")
    behind = at + _id3_bytes(sound.take(at, 10))
    if behind > at and _frame_bytes(sound.take(behind, 4)):
        raise NotMedia("more than one MP3 in a row")
    if size - at > _TRAILING_MAX:
        raise NotMedia(f"{size - at} bytes after the end of an MP3")
    return Whole(MediaType.MP3)


def _id3_bytes(head: bytes) -> int:
    """Return the length of an ID3v2 tag in front of the sound, 0 without one; sizes have 7 bits a byte."""
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    size = 0
    for byte in head[6:10]:
        size = size << 7 | byte & 0x7F
    return size + (20 if head[5] & 0x10 else 10)


def _frame_bytes(header: bytes) -> int:
    """Return the length of the Layer III frame that begins here, 0 when none does."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2:
        return 0
    version, bits, rate = header[1] >> 3 & 3, header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or bits in (0, 15) or rate == 3:
        return 0
    per_second = _BITRATES[version == 3][bits] * 1000
    return (144 if version == 3 else 72) * per_second // _SAMPLE_RATES[version][rate] + (header[2] >> 1 & 1)


class _Window:
    """A file read in steps, for walks that take a few bytes at a time."""

    def __init__(self, read_at: ReadAt, size: int) -> None:
        self._read_at, self._size = read_at, size
        self._start, self._bytes = 0, b""

    def take(self, at: int, length: int) -> bytes:
        """Return `length` bytes from `at`, fewer at the end; `length` is at most a step."""
        if not self._start <= at <= at + length <= self._start + len(self._bytes):
            self._start, self._bytes = at, self._read_at(at, min(_STEP, max(self._size - at, 0)))
        return self._bytes[at - self._start : at - self._start + length]

    def skip_zeros(self, at: int, most: int) -> int:
        """Return where the first byte that is not zero lies; `at` itself when it is further than `most`."""
        padding = len(area := self.take(at, most)) - len(area.lstrip(b"\0"))
        return at + padding if padding < len(area) else at


def _declared_bytes(frame: bytes) -> int:
    """Return how many bytes of sound a Xing/Info frame promises, 0 when it promises none."""
    at = max(frame.find(b"Xing", 0, 64), frame.find(b"Info", 0, 64))
    if at < 0 or len(frame) < at + 16:
        return 0
    flags = int.from_bytes(frame[at + 4 : at + 8], "big")
    field = at + 8 + (4 if flags & 1 else 0)
    return struct.unpack_from(">I", frame, field)[0] if flags & 2 else 0

"""The boxes of an MP4 (ISO 14496-12): is every byte there, which tracks, how long.

Must not: do I/O, decode a frame, or believe a number in the file: each offset, count and size is
checked against the bytes that are there, each loop has a bound, so hostile input ends quickly.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from clipledger.core.errors import NotMedia, TruncatedBody

ReadAt = Callable[[int, int], bytes]
"""`read_at(offset, length)`: that many bytes of the file, fewer only at its end."""

MOOV_MAX = 64 * 2**20
"""The largest index looked at, in bytes: ten hours of video have about 20 MiB."""

_TOP_BOXES_MAX = 20_000  # ten hours in fragments of 4 s
_INNER_BOXES_MAX = 4_096
_RUNS_MAX = 1_000_000
_UNKNOWN = (0, 0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF)  # durations that mean: not told


@dataclass(frozen=True, slots=True)
class Box:
    """One box: its four-letter kind, where its content begins, where it ends."""

    kind: bytes
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Film:
    """What a whole MP4 holds. `duration_s` is None where it does not say (fragmented files)."""

    has_video: bool
    has_sound: bool
    duration_s: float | None


def walk(read_at: ReadAt, size: int) -> list[Box]:
    """List the top-level boxes; together they are exactly the file, or TruncatedBody or NotMedia is raised."""
    found: list[Box] = []
    at = 0
    while at < size:
        if len(found) == _TOP_BOXES_MAX:
            raise NotMedia(f"more than {_TOP_BOXES_MAX} boxes")
        box = _box(read_at(at, 16), at, size)
        if not all(0x20 <= byte < 0x7F or byte == 0xA9 for byte in box.kind):
            raise NotMedia(f"no box where one should begin, at byte {at}")
        if box.end > size:
            raise TruncatedBody(f"the box {_name(box)} ends at byte {box.end}, the file at {size}")
        found.append(box)
        at = box.end
    return found


def read_film(read_at: ReadAt, size: int) -> Film:
    """Read an MP4 and say what it holds.

    Raises TruncatedBody when a needed box is missing or samples lie behind the file's end,
    NotMedia when it is no MP4 inside.
    """
    top = walk(read_at, size)
    if not top or top[0].kind != b"ftyp":
        raise NotMedia("an MP4 begins with ftyp")
    if sum(box.kind == b"ftyp" for box in top) > 1:
        raise NotMedia("more than one MP4 in a row")
    moov = _needed(top, b"moov")
    _needed(top, b"mdat")
    if moov.end - moov.start > MOOV_MAX:
        raise NotMedia(f"an index of {moov.end - moov.start} bytes")
    fragments = [box.kind for box in top if box.kind in (b"moof", b"mdat")]
    if fragments[-1] == b"moof":
        raise TruncatedBody("the last fragment has no samples")
    content = memoryview(read_at(moov.start, moov.end - moov.start))
    if len(content) < moov.end - moov.start:
        raise TruncatedBody("the file ended while its index was read")
    return _film(content, size, fragmented=b"moof" in fragments)


def _needed(top: list[Box], kind: bytes) -> Box:
    for box in top:
        if box.kind == kind:
            return box
    raise TruncatedBody(f"an MP4 without its {kind.decode()}")


def _film(moov: memoryview, size: int, *, fragmented: bool) -> Film:
    parts = _children(moov)
    if b"mvhd" not in parts:
        raise NotMedia("an MP4 without its header")
    handlers = {
        handler for track in parts.get(b"trak", ()) if (handler := _playing(track, size, fragmented)) is not None
    }
    return Film(b"vide" in handlers, b"soun" in handlers, _duration_s(parts, fragmented))


def _playing(track: memoryview, size: int, fragmented: bool) -> bytes | None:
    """Return what a track plays (`vide`, `soun`), None when it has no samples; check that they are there."""
    media = _children(_only(_children(track), b"mdia"))
    handler = bytes(_only(media, b"hdlr")[8:12])
    if handler not in (b"vide", b"soun"):
        return None
    table = _children(_only(_children(_only(media, b"minf")), b"stbl"))
    offsets = _chunk_offsets(table)
    if not offsets:
        return handler if fragmented else None
    _check_last(offsets, table, size)
    return handler


def _check_last(offsets: array[int], table: Mapping[bytes, list[memoryview]], size: int) -> None:
    """Check the chunk that lies furthest behind, and with it every other offset."""
    furthest = max(offsets)
    first, count = _samples_of(_only(table, b"stsc"), offsets.index(furthest))
    end = furthest + max(_sample_bytes(table, first, count), 1)
    if end > size:
        raise TruncatedBody(f"samples end at byte {end}, the file at {size}")


def _chunk_offsets(table: Mapping[bytes, list[memoryview]]) -> array[int]:
    if b"co64" in table:
        return _numbers(_only(table, b"co64"), 4, "Q")
    return _numbers(_only(table, b"stco"), 4, "I")


def _samples_of(stsc: memoryview, chunk: int) -> tuple[int, int]:
    """Return the first sample of a chunk (both count from 0) and how many it holds."""
    rows = _numbers(stsc, 4, "I", columns=3)
    if not rows or rows[0] != 1 or len(rows) > 3 * _RUNS_MAX:
        raise NotMedia("a broken sample table")
    sample = 0
    for at in range(0, len(rows), 3):
        begins, each = rows[at] - 1, rows[at + 1]
        ends = rows[at + 3] - 1 if at + 3 < len(rows) else chunk + 1
        if begins <= chunk < ends:
            return sample + (chunk - begins) * each, each
        if ends <= begins:
            break
        sample += (ends - begins) * each
    raise NotMedia("a broken sample table")


def _sample_bytes(table: Mapping[bytes, list[memoryview]], first: int, count: int) -> int:
    if b"stsz" not in table:
        return 0  # the compact form, stz2: old, and only its chunk offsets are checked
    stsz = _only(table, b"stsz")
    if (each := _unsigned(stsz, 4, 4)) != 0:
        return each * count
    return sum(_numbers(stsz, 8, "I")[first : first + count])


def _duration_s(moov: Mapping[bytes, list[memoryview]], fragmented: bool) -> float | None:
    header = _only(moov, b"mvhd")
    long = _unsigned(header, 0, 1) == 1
    scale = _unsigned(header, 20 if long else 12, 4)
    ticks = _whole_ticks(moov) if fragmented else _unsigned(header, 24 if long else 16, 8 if long else 4)
    return None if ticks in _UNKNOWN or not scale else ticks / scale


def _whole_ticks(moov: Mapping[bytes, list[memoryview]]) -> int:
    """Read how long all fragments play; the movie's own header may count the first one alone."""
    extends = _children(_only(moov, b"mvex")) if b"mvex" in moov else {}
    if b"mehd" not in extends:
        return 0
    mehd = _only(extends, b"mehd")
    return _unsigned(mehd, 4, 8 if _unsigned(mehd, 0, 1) == 1 else 4)


def _numbers(box: memoryview, count_at: int, form: str, *, columns: int = 1) -> array[int]:
    """Read a table of big-endian numbers whose row count stands at `count_at`, the rows behind it."""
    numbers = array(form)
    length = _unsigned(box, count_at, 4) * columns * numbers.itemsize
    content = box[count_at + 4 : count_at + 4 + length]
    if len(content) < length:
        raise NotMedia("a table longer than its box")
    numbers.frombytes(content)
    if sys.byteorder == "little":
        numbers.byteswap()
    return numbers


def _unsigned(box: memoryview, at: int, width: int) -> int:
    if len(box) < at + width:
        raise NotMedia("a box shorter than its fields")
    return int.from_bytes(box[at : at + width], "big")


def _only(parts: Mapping[bytes, list[memoryview]], kind: bytes) -> memoryview:
    if kind not in parts:
        raise NotMedia(f"an MP4 index without {kind.decode()}")
    return parts[kind][0]


def _children(content: memoryview) -> dict[bytes, list[memoryview]]:
    """Split the content of a box into its boxes, by kind."""
    parts: dict[bytes, list[memoryview]] = {}
    for box in _inner(content):
        parts.setdefault(box.kind, []).append(content[box.start : box.end])
    return parts


def _inner(content: memoryview) -> Iterator[Box]:
    at = 0
    for _ in range(_INNER_BOXES_MAX):
        if len(content) - at < 8:  # QuickTime ends some lists with four zero bytes
            return
        box = _box(bytes(content[at : at + 16]), at, len(content))
        if box.end > len(content):
            raise NotMedia("a box larger than the one around it")
        yield box
        at = box.end
    raise NotMedia(f"more than {_INNER_BOXES_MAX} boxes in one")


def _box(head: bytes, at: int, end: int) -> Box:
    """Read a box header of 8 or 16 bytes; a size of 0 means: to the end."""
    if len(head) < 8:
        raise TruncatedBody("the file ends inside a box header")
    size, kind = struct.unpack_from(">I4s", head)
    header = 8
    if size == 1:
        if len(head) < 16:
            raise TruncatedBody("the file ends inside a box header")
        size, header = struct.unpack_from(">Q", head, 8)[0], 16
    elif size == 0:
        return Box(kind, at + header, end)
    if size < header:
        raise NotMedia(f"a box of {size} bytes at byte {at}")
    return Box(kind, at + header, at + size)


def _name(box: Box) -> str:
    return box.kind.decode("latin-1")

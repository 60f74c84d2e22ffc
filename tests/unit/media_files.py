"""Small media files built by hand, byte by byte, so that every border is known."""

from __future__ import annotations

import struct
import zlib


def box(kind: str, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I4s", len(body) + 8, kind.encode()) + body


def long_box(kind: str, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I4sQ", 1, kind.encode(), len(body) + 16) + body


def table(kind: str, rows: int, *numbers: int, width: str = "I", before: bytes = b"") -> bytes:
    return box(kind, b"\0\0\0\0", before, struct.pack(f">I{len(numbers)}{width}", rows, *numbers))


FTYP = box("ftyp", b"isom\0\0\2\0isommp41")
CHUNK = 100  # bytes of each chunk of two samples of 50


def track(handler: str, offsets: list[int], *, wide: bool = False, each: int = 0) -> bytes:
    sizes = () if each else (50,) * 2 * len(offsets)
    stbl = box(
        "stbl",
        table("stsz", 2 * len(offsets), *sizes, before=struct.pack(">I", each)),
        table("stsc", 1, 1, 2, 1) if offsets else table("stsc", 0),
        table("co64" if wide else "stco", len(offsets), *offsets, width="Q" if wide else "I"),
    )
    return box("trak", box("mdia", box("hdlr", b"\0" * 8, handler.encode(), b"\0" * 12), box("minf", stbl)))


def mvhd(seconds: float, *, version: int = 0) -> bytes:
    ticks = round(seconds * 1000)
    times = struct.pack(">QQIQ", 0, 0, 1000, ticks) if version else struct.pack(">IIII", 0, 0, 1000, ticks)
    return box("mvhd", bytes([version, 0, 0, 0]), times, b"\0" * 80)


def mp4(
    *handlers: str, seconds: float = 10.0, chunks: int = 3, moov_first: bool = True, wide: bool = False, each: int = 0
) -> bytes:
    """Build an MP4 whose tracks share one mdat, laid out as streaming files (index first) or as recorded."""

    def index(start: int) -> bytes:
        places = [start + CHUNK * n for n in range(chunks * len(handlers))]
        tracks = [track(h, places[n :: len(handlers)], wide=wide, each=each) for n, h in enumerate(handlers)]
        return box("moov", mvhd(seconds, version=int(wide)), *tracks)

    samples = bytes(range(256))[:CHUNK] * chunks * len(handlers)
    mdat = long_box("mdat", samples) if wide else box("mdat", samples)
    header = len(mdat) - len(samples)
    if not moov_first:
        return FTYP + mdat + index(len(FTYP) + header)
    start = len(FTYP) + len(index(0)) + header
    return FTYP + index(start) + mdat


def fragmented(*, told: float | None = None) -> bytes:
    extends = box("mvex", *([box("mehd", struct.pack(">II", 0, round(told * 1000)))] if told else []), box("trex"))
    piece = box("moof", b"\0" * 40) + box("mdat", b"x" * 200)
    return FTYP + box("moov", mvhd(1.0 if told is None else 0), track("vide", []), extends) + piece * 3


def jpeg() -> bytes:
    thumbnail = b"\xff\xd8\xff\xdb" + b"tiny" + b"\xff\xd9"
    scan = b"\x12\xff\x00\x34\xff\xd0\x56" * 20
    parts = ((0xE1, b"Exif\0\0" + thumbnail), (0xDB, b"\0" * 65), (0xC0, b"\0" * 15), (0xC4, b"\0" * 20))
    segments = b"".join(b"\xff" + bytes([kind]) + struct.pack(">H", len(body) + 2) + body for kind, body in parts)
    return b"\xff\xd8" + segments + b"\xff\xda\x00\x08" + b"\0" * 6 + scan + b"\xff\xd9"


def webp(content: bytes = b"x" * 101) -> bytes:
    chunk = b"VP8 " + struct.pack("<I", len(content)) + content + b"\0" * (len(content) & 1)
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def png() -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", b"\0" * 13) + chunk(b"IDAT", b"x" * 60) + chunk(b"IEND", b"")


FRAME = b"\xff\xfb\x90\xc4" + b"\x55" * 413  # 128 kbit/s at 44.1 kHz: 417 bytes


def mp3(*, tag: bytes = b"", tail: bytes = b"", xing: bool = False) -> bytes:
    frames = 6
    head = FRAME
    if xing:
        head = FRAME[:36] + b"Xing" + struct.pack(">III", 3, frames, frames * len(FRAME)) + FRAME[52:]
    front = b"ID3\x03\0\0" + bytes((0, 0, len(tag) >> 7, len(tag) & 0x7F)) + tag if tag else b""
    return front + head + FRAME * (frames - 1) + tail


def heic() -> bytes:
    return box("ftyp", b"heic\0\0\0\0mif1heic") + box("meta", b"\0" * 50) + box("mdat", b"x" * 90)

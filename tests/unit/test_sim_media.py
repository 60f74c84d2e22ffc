"""The stamped clips: each copy differs, each copy is still a whole file of its kind."""

from __future__ import annotations

import hashlib
import struct
import zlib

import pytest

from clipledger.sim.media import CLIPS, PICTURES, SOUNDS, Sample, vital_cut


@pytest.mark.parametrize("name", [*(f"{c}{hd}.mp4" for c in CLIPS for hd in ("", "-hd")), *SOUNDS, *PICTURES])
def test_stamped_files_stay_whole(name: str) -> None:
    """A stamped file still ends where its own format says, and lasts as long as the metadata tells."""
    sample = Sample(name, "7387261234567890123:video:hd:0")
    raw = sample.body()
    assert (len(raw), hashlib.sha256(raw).hexdigest()) == (sample.size_bytes, sample.sha256())
    assert raw != Sample(name, "7387261234567890124:video:hd:0").body()
    _WHOLE[sample.media_type](raw, name)


def _whole_mp4(raw: bytes, name: str) -> None:
    at, boxes = 0, {}
    while at < len(raw):
        size, kind = struct.unpack_from(">I4s", raw, at)
        boxes[kind] = raw[at : at + size]
        at += size
    assert at == len(raw) and {b"ftyp", b"moov", b"mdat", b"free"} <= boxes.keys()
    scale, duration = struct.unpack_from(">II", boxes[b"moov"], boxes[b"moov"].index(b"mvhd") + 16)
    told = SOUNDS[name] if name in SOUNDS else CLIPS[name.removesuffix(".mp4").removesuffix("-hd")]
    assert abs(duration / scale - told) < 0.1


def _whole_png(raw: bytes, _name: str) -> None:
    at = 8
    while at < len(raw):
        (size,) = struct.unpack_from(">I", raw, at)
        assert struct.unpack_from(">I", raw, at + 8 + size)[0] == zlib.crc32(raw[at + 4 : at + 8 + size])
        at += size + 12
    assert at == len(raw) and raw.endswith(b"IEND\xaeB`\x82") and b"7387261234567890123" in raw


def _whole_jpeg(raw: bytes, _name: str) -> None:
    assert raw.startswith(b"\xff\xd8\xff\xfe") and raw.endswith(b"\xff\xd9")
    assert raw[4 + struct.unpack_from(">H", raw, 4)[0]] == 0xFF


def _whole_webp(raw: bytes, _name: str) -> None:
    assert raw[:4] == b"RIFF" and raw[8:12] == b"WEBP" and struct.unpack_from("<I", raw, 4)[0] + 8 == len(raw)


def _whole_mp3(raw: bytes, _name: str) -> None:
    if raw.startswith(b"ID3"):
        size = sum(byte << shift for byte, shift in zip(raw[6:10], (21, 14, 7, 0), strict=True))
        assert raw[10 + size : 12 + size] == b"\xff\xfb"
    else:
        assert raw.startswith(b"\xff\xfb") and raw[-128:-125] == b"TAG"


_WHOLE = {
    "video/mp4": _whole_mp4, "audio/mp4": _whole_mp4, "image/png": _whole_png, "image/jpeg": _whole_jpeg,
    "image/webp": _whole_webp, "audio/mpeg": _whole_mp3,
}  # fmt: skip


@pytest.mark.parametrize("clip", CLIPS)
def test_a_cut_at_a_box_border_loses_a_needed_box(clip: str) -> None:
    """What is left of a clip cut at a border is a row of whole boxes that lacks the pictures or their index."""
    raw = Sample(f"{clip}.mp4", "x").body()
    cut, at, kinds = raw[: vital_cut(raw)], 0, set()
    while at < len(cut):
        size, kind = struct.unpack_from(">I4s", cut, at)
        kinds.add(kind)
        at += size
    assert at == len(cut) and len(kinds & {b"moov", b"mdat"}) == 1

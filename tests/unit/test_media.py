"""Bytes are what they are: whole files are told from cut ones, and media from error pages."""

from __future__ import annotations

import random
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipledger.core import boxes, media
from clipledger.core.errors import NotMedia, TruncatedBody
from clipledger.core.media import Whole
from clipledger.core.model import FileKind, MediaType
from unit.media_files import CHUNK, FRAME, FTYP, box, fragmented, heic, jpeg, mp3, mp4, mvhd, png, table, track, webp

REFUSED = (NotMedia, TruncatedBody)


HANG_S = 60.0
# No measure of speed: what takes a minute for 2 MiB would take for ever for 2 GiB.


def check(kind: FileKind, body: bytes, duration_s: float | None = None) -> Whole:
    return media.check(kind, lambda at, length: body[at : at + length], len(body), duration_s=duration_s)


FILES: dict[str, tuple[FileKind, Callable[[], bytes], Whole]] = {
    "index first": (FileKind.VIDEO, lambda: mp4("vide", "soun"), Whole(MediaType.MP4, 10.0, True)),
    "index last": (FileKind.VIDEO, lambda: mp4("soun", "vide", moov_first=False), Whole(MediaType.MP4, 10.0, True)),
    "64 bit": (FileKind.VIDEO, lambda: mp4("vide", wide=True), Whole(MediaType.MP4, 10.0, True)),
    "equal samples": (FileKind.VIDEO, lambda: mp4("vide", each=50), Whole(MediaType.MP4, 10.0, True)),
    "with text": (FileKind.VIDEO, lambda: mp4("vide", "text"), Whole(MediaType.MP4, 10.0, True)),
    "slide": (FileKind.IMAGE, lambda: mp4("vide"), Whole(MediaType.MP4, 10.0, True)),
    "sound": (FileKind.AUDIO, lambda: mp4("soun"), Whole(MediaType.M4A, 10.0, False)),
    "jpeg": (FileKind.IMAGE, jpeg, Whole(MediaType.JPEG)),
    "webp": (FileKind.COVER, webp, Whole(MediaType.WEBP)),
    "png": (FileKind.IMAGE, png, Whole(MediaType.PNG)),
    "heic": (FileKind.COVER, heic, Whole(MediaType.HEIC)),
}


@pytest.mark.parametrize("name", FILES)
def test_whole_files_are_known_for_what_they_are(name: str) -> None:
    """A complete file is accepted and named by its bytes."""
    kind, build, whole = FILES[name]
    assert check(kind, build()) == whole


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_anywhere_is_refused(name: str) -> None:
    """However many bytes are missing at the end, the rest is never archived as the whole."""
    kind, build, _ = FILES[name]
    body = build()
    for length in range(len(body)):
        with pytest.raises(REFUSED):
            check(kind, body[:length])
        if length >= 12:
            with pytest.raises(TruncatedBody):
                check(kind, body[:length])


def test_fragmented_files_are_whole_without_a_sample_table() -> None:
    """A file made of fragments is accepted; it tells its length only where it has one for all of them."""
    assert check(FileKind.VIDEO, fragmented(), 60.0) == Whole(MediaType.MP4, None, True)
    assert check(FileKind.VIDEO, fragmented(told=30.0), 30.0) == Whole(MediaType.MP4, 30.0, True)
    with pytest.raises(TruncatedBody):
        check(FileKind.VIDEO, fragmented()[:-208])  # the last fragment has no mdat


def test_the_last_box_may_run_to_the_end() -> None:
    """A size of 0 means: to the end of the file."""
    body = mp4("vide")
    at = body.index(b"mdat") - 4
    assert check(FileKind.VIDEO, body[:at] + b"\0\0\0\0" + body[at + 4 :]).has_video
    # Cut inside such a box, only the sample table shows it.
    with pytest.raises(TruncatedBody, match="samples"):
        check(FileKind.VIDEO, body[:at] + b"\0\0\0\0" + body[at + 4 : -1])


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"", MediaType.EMPTY),
        (b"<!DOCTYPE html><title>403", MediaType.HTML),
        (b"\xef\xbb\xbf \n<html>", MediaType.HTML),
        (b'{"message": "expired"}', MediaType.JSON),
        (b"[]", MediaType.JSON),
        (b"\0" * 385, MediaType.UNKNOWN),
        (b"\xff\xf1\x50\x80", MediaType.UNKNOWN),  # AAC in ADTS
        (b"\xff\xfb\xf0\xc4", MediaType.UNKNOWN),  # no such bit rate
        (b"RIFF\0\0\0\0WAVE", MediaType.UNKNOWN),
        (box("ftyp", b"avif\0\0\0\0"), MediaType.UNKNOWN),
        (box("ftyp", b"M4A \0\0\0\0"), MediaType.M4A),
        (FRAME, MediaType.MP3),
        (b"ID3\x04", MediaType.MP3),
    ],
)
def test_signatures(body: bytes, what: MediaType) -> None:
    """What a body is, is read from its first bytes, not from what the server calls it."""
    assert media.sniff(body) is what
    if what not in (MediaType.MP3, MediaType.M4A):
        for kind in FileKind:
            with pytest.raises(NotMedia):
                check(kind, body)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (FileKind.VIDEO, mp4("soun")),
        (FileKind.VIDEO, mp3()),
        (FileKind.VIDEO, jpeg()),
        (FileKind.VIDEO, mp4("text")),
        (FileKind.VIDEO, mp4("vide", chunks=0)),
        (FileKind.AUDIO, mp4("vide", "soun")),
        (FileKind.AUDIO, jpeg()),
        (FileKind.COVER, mp4("vide")),
        (FileKind.COVER, mp3()),
        (FileKind.IMAGE, mp4("soun")),
    ],
)
def test_another_medium_than_promised_is_refused(kind: FileKind, body: bytes) -> None:
    """No sound is filed as a video, and no film as a cover."""
    with pytest.raises(NotMedia):
        check(kind, body)


@pytest.mark.parametrize(
    ("found", "told", "verdict"),
    [
        (10.0, 10.0, None),
        (10.0, None, None),
        (8.1, 10.0, None),
        (11.9, 10.0, None),
        (92.0, 100.0, None),
        (7.9, 10.0, TruncatedBody),
        (89.0, 100.0, TruncatedBody),
        (12.1, 10.0, NotMedia),
        (111.0, 100.0, NotMedia),
    ],
)
def test_a_video_of_another_length_is_refused(
    found: float, told: float | None, verdict: type[Exception] | None
) -> None:
    """A clip that is too short is cut, one that is too long is a placeholder; two seconds or a tenth are let pass."""
    body = mp4("vide", seconds=found)
    if verdict is None:
        assert check(FileKind.VIDEO, body, told).duration_s == found
        return
    with pytest.raises(verdict):
        check(FileKind.VIDEO, body, told)


def test_mp3_is_walked_to_its_end() -> None:
    """A song with tags, padding or neither is whole; one cut inside a frame is not."""
    for tag, tail in (
        (b"", b""),
        (b"T" * 300, b""),
        (b"", b"TAG" + b"\0" * 125),
        (b"T", b"APETAGEX"),
        (b"", b"\0" * 9),
    ):
        assert check(FileKind.AUDIO, mp3(tag=tag, tail=tail)) == Whole(MediaType.MP3)
    body = mp3(tag=b"T" * 300)
    borders = {310 + len(FRAME) * n for n in range(1, 6)}
    for length in range(len(body)):
        if length not in borders:
            with pytest.raises(REFUSED):
                check(FileKind.AUDIO, body[:length])


@pytest.mark.parametrize(("kind", "body"), [(FileKind.IMAGE, png()), (FileKind.AUDIO, mp3(tag=b"T" * 300))])
def test_the_same_file_again_and_again_is_not_whole(kind: FileKind, body: bytes) -> None:
    """A body that serves a picture or a song over and over is neither."""
    check(kind, body)
    for times in (2, 40):
        with pytest.raises(NotMedia):
            check(kind, body * times)


def test_mp3_that_says_its_length_is_believed() -> None:
    """A song cut between two frames is found out where its first frame counts the bytes."""
    assert check(FileKind.AUDIO, mp3(xing=True)) == Whole(MediaType.MP3)
    with pytest.raises(TruncatedBody):
        check(FileKind.AUDIO, mp3(xing=True)[: len(FRAME) * 4])


def test_trailing_bytes_of_pictures() -> None:
    """A note behind a JPEG is let pass, a second file is not; a WebP ends where it says."""
    assert check(FileKind.IMAGE, jpeg() + b"\0" * 65_536).media_type is MediaType.JPEG
    assert check(FileKind.IMAGE, webp(b"x" * 100)).media_type is MediaType.WEBP
    for body in (jpeg() + b"\0" * 65_537, webp() + b"\0\0", b"\xff\xd8" + jpeg()):
        with pytest.raises(REFUSED):
            check(FileKind.IMAGE, body)


def test_a_jpeg_larger_than_a_step_is_read_on() -> None:
    """A marker that lies across two reads is found."""
    for extra in range(65_385, 65_405):
        body = jpeg()[:-2] + b"\x11" * extra + b"\xff\xd9"
        assert check(FileKind.IMAGE, body).media_type is MediaType.JPEG


@pytest.mark.parametrize(
    "body",
    [
        FTYP + struct.pack(">I4s", 4, b"moov"),
        FTYP + struct.pack(">I4sQ", 1, b"moov", 8),
        FTYP + struct.pack(">I4sQ", 1, b"moov", 2**63),
        FTYP + struct.pack(">I4s", 2**32 - 1, b"moov"),
        FTYP + box("moov") + box("mdat"),
        FTYP + box("moov", mvhd(1), box("trak")) + box("mdat"),
        FTYP + box("moov", box("mvhd", b"\0")) + box("mdat"),
        FTYP + box("moov", struct.pack(">I4s", 100, b"mvhd")) + box("mdat"),
        FTYP + box("moov", mvhd(1), box("free") * 5000) + box("mdat"),
        FTYP + box("free") * 20_001,
        FTYP + mp4("vide")[len(FTYP) :].replace(b"stco\0\0\0\0\0\0\0\3", b"stco\0\0\0\0\xff\xff\xff\xff"),
        FTYP + mp4("vide")[len(FTYP) :].replace(b"stsc\0\0\0\0\0\0\0\1\0\0\0\1", b"stsc\0\0\0\0\0\0\0\1\0\0\0\0"),
        FTYP + mp4("vide")[len(FTYP) :].replace(b"stsc\0\0\0\0\0\0\0\1", b"stsc\0\0\0\0\0\0\0\0"),
        box("free") + FTYP + box("moov") + box("mdat"),
    ],
)
def test_broken_boxes_are_refused(body: bytes) -> None:
    """A file that lies about its own structure is refused, not followed."""
    with pytest.raises(REFUSED):
        check(FileKind.VIDEO, body)


def test_chunks_that_lie_behind_the_end_are_found() -> None:
    """An index that speaks of samples which are not there shows a cut file, whatever the boxes say."""
    body = mp4("vide")
    last = struct.pack(">I", body.index(b"mdat") + 4 + 2 * CHUNK)
    assert last in body
    for behind in (len(body), 2**32 - 1, len(body) - CHUNK + 1):
        with pytest.raises(TruncatedBody, match="samples"):
            check(FileKind.VIDEO, body.replace(last, struct.pack(">I", behind)))


def test_runs_of_chunks_are_counted() -> None:
    """Where chunks hold different numbers of samples, the last one still ends where it ends."""
    runs = table("stsc", 3, 1, 1, 1, 2, 2, 1, 4, 3, 1)
    assert boxes._samples_of(memoryview(runs[8:]), 0) == (0, 1)
    assert boxes._samples_of(memoryview(runs[8:]), 2) == (3, 2)
    assert boxes._samples_of(memoryview(runs[8:]), 3) == (5, 3)
    assert boxes._samples_of(memoryview(runs[8:]), 9) == (23, 3)


@given(st.sampled_from([*FILES, "mp3"]), st.binary(max_size=40), st.floats(0, 1), st.integers(0, 40))
def test_any_damage_gets_a_verdict(name: str, patch: bytes, where: float, drop: int) -> None:
    """A body damaged in any way is accepted or refused; nothing else happens."""
    kind, body = (FileKind.AUDIO, mp3(tag=b"TT")) if name == "mp3" else (FILES[name][0], FILES[name][1]())
    at = int(where * len(body))
    for wanted in {kind, FileKind.VIDEO}:
        try:
            check(wanted, body[:at] + patch + body[at + drop :], 10.0)
        except REFUSED as refused:
            assert refused.detail.isprintable()


def _damaged(body: bytes, dice: random.Random) -> bytes:
    changed = bytearray(body)
    for _ in range(dice.randint(1, 12)):
        at, number = dice.randrange(len(changed)), dice.choice((0, 1, 8, 2**31 - 1, 2**32 - 1, dice.randrange(2**32)))
        changed[at : at + 4] = struct.pack(">I", number)
    return bytes(changed[: dice.randint(1, len(changed))] if dice.random() < 0.2 else changed)


@pytest.mark.slow
def test_ten_thousand_damaged_files_each_get_a_quick_verdict() -> None:
    """No file made to hurt can hold up the downloads."""
    dice = random.Random(7)
    bodies = [build() for _, build, _ in FILES.values()] + [mp3(xing=True), fragmented()]
    slowest = 0.0
    for n in range(10_000):
        body = _damaged(bodies[n % len(bodies)], dice)
        begun = time.perf_counter()
        with suppress(*REFUSED):
            check(dice.choice(list(FileKind)), body, 10.0)
        slowest = max(slowest, time.perf_counter() - begun)
    assert slowest < HANG_S


@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xd8" + b"\xff" * 2**21,
        b"\xff\xd8" + b"\xff\xc0\x00\x02" * 2**19,
        b"\xff\xd8\xff\xda\x00\x02" + b"\xff\x00" * 2**20,
        FTYP + b"\0\0\0\x08free" * 2**17,
        FTYP + box("moov", mvhd(1), track("vide", list(range(2**18)))) + box("mdat"),
        FRAME * 2**13,
        b"\xff\xfb\x10\xc4" * 2**19,
    ],
)
@pytest.mark.slow
def test_large_hostile_files_get_a_verdict(body: bytes) -> None:
    """Two megabytes made to hurt are judged like any other two megabytes."""
    begun = time.perf_counter()
    for kind in FileKind:
        with suppress(*REFUSED):
            check(kind, body, 10.0)
    assert time.perf_counter() - begun < HANG_S


def test_an_index_beyond_all_measure_is_not_read() -> None:
    """A file that claims a huge index costs no memory."""
    size, asked = 2**40, []

    def read_at(at: int, length: int) -> bytes:
        asked.append(length)
        moov = struct.pack(">I4s", boxes.MOOV_MAX + 9, b"moov")
        rest = struct.pack(">I4s", 0, b"mdat")
        return {0: FTYP, len(FTYP): moov, len(FTYP) + boxes.MOOV_MAX + 9: rest}[at][:length]

    with pytest.raises(NotMedia, match="an index of"):
        media.check(FileKind.VIDEO, read_at, size, duration_s=None)
    assert max(asked) <= media.HEAD_BYTES


def test_the_clips_of_the_simulator_are_whole() -> None:
    """The real files that ship with the demo pass the checks that real downloads pass."""
    kinds = {"mp4": FileKind.VIDEO, "m4a": FileKind.AUDIO, "mp3": FileKind.AUDIO}
    folder = resources.files("clipledger.sim").joinpath("media")
    names = [file for file in folder.iterdir() if file.name.endswith((".mp4", ".m4a", ".mp3", ".jpg", ".webp", ".png"))]
    assert names
    for file in names:
        ending = file.name.rsplit(".", 1)[1]
        whole = check(kinds.get(ending, FileKind.COVER), file.read_bytes())
        assert whole.media_type.value.endswith({"jpg": "jpeg", "mp3": "mpeg", "m4a": "mp4"}.get(ending, ending))

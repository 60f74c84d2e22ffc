"""Every file has one key, made of values that never change, and the key says what it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipledger.core import layout, times
from clipledger.core.layout import SIDECAR, KeyParts, parse_key
from clipledger.core.model import AwemeId, FileKind, MediaType, ObjectKey

ID = AwemeId("7387261234567890123")
DAY = "2026-05-29"
BASE = f"dt={DAY}/author=alice123"
STORED = (MediaType.MP4, MediaType.JPEG, MediaType.WEBP, MediaType.PNG, MediaType.HEIC, MediaType.MP3, MediaType.M4A)
PICTURES = (MediaType.JPEG, MediaType.WEBP, MediaType.PNG, MediaType.HEIC)

_ids = st.integers(10**18, 10**19 - 1).map(lambda number: AwemeId(str(number)))
_days = st.dates().map(lambda day: day.isoformat())
_authors = st.builds(layout.author_part, st.text(max_size=60), st.text("0123456789", max_size=20))


def test_keys_are_the_ones_of_the_contract() -> None:
    """Scripts that read the archive's folders find the files where the documentation says."""
    assert layout.video_key(DAY, "alice123", ID) == f"videos/{BASE}/{ID}.mp4"
    assert layout.sidecar_key(DAY, "alice123", ID, False) == f"videos/{BASE}/{ID}.json"
    assert layout.sidecar_key(DAY, "alice123", ID, True) == f"photos/{BASE}/{ID}.json"
    assert layout.cover_key(DAY, ID, MediaType.JPEG) == f"covers/dt={DAY}/{ID}.jpg"
    assert layout.photo_key(DAY, "alice123", ID, 1, MediaType.WEBP) == f"photos/{BASE}/{ID}/01.webp"
    assert layout.photo_key(DAY, "alice123", ID, 2, MediaType.MP4) == f"photos/{BASE}/{ID}/02.mp4"
    assert layout.photo_key(DAY, "alice123", ID, 100, MediaType.HEIC) == f"photos/{BASE}/{ID}/100.heic"
    assert layout.audio_key(DAY, "alice123", ID, True, MediaType.MP3) == f"photos/{BASE}/{ID}/audio.mp3"
    assert layout.audio_key(DAY, "alice123", ID, True, MediaType.M4A) == f"photos/{BASE}/{ID}/audio.m4a"
    assert layout.audio_key(DAY, "alice123", ID, False, MediaType.MP3) == f"videos/{BASE}/{ID}.audio.mp3"


def test_other_bytes_get_a_key_beside_the_first() -> None:
    """When a key is taken by other bytes both are kept, and the token says whose they are."""
    video = layout.video_key(DAY, "a.b", ID)
    assert layout.second_key(video, 12) == f"videos/dt={DAY}/author=a.b/{ID}.t12.mp4"
    assert layout.second_key(layout.second_key(video, 12), 13) == layout.second_key(video, 13)
    assert layout.second_key(layout.photo_key(DAY, "a", ID, 1, MediaType.JPEG), 3).endswith("/01.t3.jpg")
    assert layout.second_key(layout.audio_key(DAY, "a", ID, True, MediaType.MP3), 3).endswith("/audio.t3.mp3")
    assert layout.second_key(layout.audio_key(DAY, "a", ID, False, MediaType.MP3), 3).endswith(f"/{ID}.audio.t3.mp3")


@pytest.mark.parametrize(
    ("handle", "author_id", "part"),
    [
        ("alice123", "1", "alice123"),
        ("a_b.c-d", "1", "a_b.c-d"),
        (".alice", "1", "%2Ealice"),
        ("..", "1", "%2E."),
        ("", "107955", "_107955"),
        ("", "", "_"),
        ("a/b", "1", "a%2Fb"),
        ("a~b c", "1", "a%7Eb%20c"),
        ("ü", "1", "%C3%BC"),
        ("a\x00\n", "1", "a%00%0A"),
        ("a\ud800", "1", "a%3F"),
        ("a" * 80, "1", "a" * 80),
        ("a" * 81, "42", "_42"),
        ("あ" * 9, "42", "_42"),
        ("", "x/../y", "_x%2F..%2Fy"),
        ("", "9" * 90, "_"),
    ],
)
def test_author_parts_are_safe_names(handle: str, author_id: str, part: str) -> None:
    """Any handle gives a folder name that every file system and bucket takes, and the same one each time."""
    assert layout.author_part(handle, author_id) == part


@given(st.text(st.characters(exclude_categories=()), max_size=120), st.text(max_size=120))
def test_no_handle_gets_out_of_the_archive(handle: str, author_id: str) -> None:
    """Whatever an author calls himself, the key stays inside and every name is short and plain."""
    key = layout.photo_key(DAY, layout.author_part(handle, author_id), ID, 1, MediaType.JPEG)
    names = key.split("/")
    assert len(names) == 5 and key.isascii() and key.isprintable()
    assert all(0 < len(name) <= 255 and not name.startswith(".") for name in names)


@given(_days, _authors, _ids, st.integers(1, 9999), st.sampled_from(PICTURES), st.none() | st.integers(0, 2**62))
def test_every_key_is_read_back(
    day: str, author: str, aweme_id: AwemeId, position: int, picture: MediaType, token: int | None
) -> None:
    """The bucket alone tells what every file is: the database can be rebuilt from it."""
    keys: dict[ObjectKey, KeyParts] = {
        layout.video_key(day, author, aweme_id): KeyParts(
            FileKind.VIDEO, day, author, aweme_id, False, 0, MediaType.MP4
        ),
        layout.cover_key(day, aweme_id, picture): KeyParts(FileKind.COVER, day, None, aweme_id, False, 0, picture),
        layout.photo_key(day, author, aweme_id, position, picture): KeyParts(
            FileKind.IMAGE, day, author, aweme_id, True, position, picture
        ),
    }
    for is_photo in (True, False):
        keys[layout.sidecar_key(day, author, aweme_id, is_photo)] = KeyParts(SIDECAR, day, author, aweme_id, is_photo)
        sound = layout.audio_key(day, author, aweme_id, is_photo, MediaType.M4A)
        keys[sound] = KeyParts(FileKind.AUDIO, day, author, aweme_id, is_photo, 0, MediaType.M4A)
    assert len(keys) == 7
    for key, parts in keys.items():
        assert parse_key(key) == parts
        if token is not None:
            found = parse_key(layout.second_key(key, token))
            assert (
                found is not None and found.token == token and found.aweme_id == aweme_id and found.kind == parts.kind
            )


@given(_days, _authors, _ids, st.booleans())
def test_any_file_of_a_post_leads_to_its_sidecar(day: str, author: str, aweme_id: AwemeId, is_photo: bool) -> None:
    """From the key in the queue the proof of completeness is found, also when the first key was taken."""
    wanted = layout.sidecar_key(day, author, aweme_id, is_photo)
    sound = layout.audio_key(day, author, aweme_id, is_photo, MediaType.MP3)
    assert layout.sidecar_of(sound) == layout.sidecar_of(layout.second_key(sound, 7)) == wanted
    assert layout.sidecar_of(wanted) == wanted
    if not is_photo:
        assert layout.sidecar_of(layout.video_key(day, author, aweme_id)) == wanted


@pytest.mark.parametrize(
    "key",
    [
        "",
        f"videos/{BASE}/{ID}.mp4\n",
        f"/videos/{BASE}/{ID}.mp4",
        f"videos/{BASE}/../{ID}.mp4",
        f"videos/dt={DAY}/author=/{ID}.mp4",
        f"videos/dt={DAY}/author=.a/{ID}.mp4",
        f"videos/dt={DAY}/author=a\x00/{ID}.mp4",
        f"videos/dt={DAY}/author={'a' * 81}/{ID}.mp4",
        f"videos/dt=2026-5-29/author=a/{ID}.mp4",
        f"videos/{BASE}/{ID}.jpg",
        f"videos/{BASE}/{ID}.mp4.part",
        f"photos/{BASE}/{ID}/1.jpg",
        f"photos/{BASE}/{ID}/00.jpg",
        f"photos/{BASE}/{ID}/001.jpg",
        f"covers/{BASE}/{ID}.jpg",
        "clipledger.db",
    ],
)
def test_foreign_names_are_not_keys(key: str) -> None:
    """Files that the archive did not write are not taken for its own."""
    assert parse_key(key) is None


def test_parts_that_would_leave_the_archive_are_refused() -> None:
    """A damaged row cannot make it write outside its folders."""
    for day, author, aweme_id in ((DAY, "../x", ID), ("../..", "a", ID), (DAY, "a", AwemeId("../1")), (DAY, "", ID)):
        with pytest.raises(ValueError, match="not a key"):
            layout.video_key(day, author, aweme_id)
    with pytest.raises(ValueError, match="no sidecar"):
        layout.sidecar_of(layout.cover_key(DAY, ID, MediaType.JPEG))
    with pytest.raises(ValueError, match="not a key"):
        layout.photo_key(DAY, "a", ID, 0, MediaType.JPEG)


def test_only_media_has_an_ending() -> None:
    """An error page is never filed as a video: it has no file name."""
    assert [layout.extension(kind) for kind in STORED] == ["mp4", "jpg", "webp", "png", "heic", "mp3", "m4a"]
    for kind in set(MediaType) - set(STORED):
        with pytest.raises(ValueError, match="not stored"):
            layout.extension(kind)


def test_days_are_utc() -> None:
    """A file lies under the UTC day, wherever the machine stands."""
    assert times.utc_day(0.0) == "1970-01-01"
    assert times.utc_day(1_780_012_799.999) == "2026-05-28"
    assert times.utc_day(1_780_012_800.0) == "2026-05-29"

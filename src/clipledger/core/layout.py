"""Object keys, and back again: where every file of a post lies, on disk and in a bucket alike.

Must not: look at a store or a clock. A key is built once from values fixed in the database, so a
retry, another day or a renamed handle meets the same key. No key leaves the archive: building one
from parts that could raises ValueError.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from clipledger.core.model import AwemeId, FileKind, MediaType, ObjectKey

SIDECAR: Final = "sidecar"
"""The kind of a sidecar's key, beside the kinds of `FileKind`."""

FOLDERS: Final = ("videos", "photos", "covers")
"""The topmost folders of every key."""

PART_BYTES_MAX = 80
"""The longest author part, in bytes (contract.md, Files)."""

_EXTENSIONS = {
    MediaType.MP4: "mp4",
    MediaType.JPEG: "jpg",
    MediaType.WEBP: "webp",
    MediaType.PNG: "png",
    MediaType.HEIC: "heic",
    MediaType.MP3: "mp3",
    MediaType.M4A: "m4a",
}
_MEDIA_TYPES = {ending: media_type for media_type, ending in _EXTENSIONS.items()}

_DAY = r"dt=(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})"
_AUTHOR = r"author=(?P<author>(?!\.)[A-Za-z0-9_.%-]{1,80})"
_ID = r"(?P<id>[0-9]{15,20})"
_TOKEN = r"(?:\.t(?P<token>[0-9]{1,19}))?"  # noqa: S105 - a fencing token, not a password
_IMAGE = "jpg|webp|png|heic"
_SOUND = "mp3|m4a"
_FORMS: tuple[tuple[str, bool, re.Pattern[str]], ...] = tuple(
    (kind, is_photo, re.compile(form))
    for kind, is_photo, form in (
        (FileKind.VIDEO, False, rf"videos/{_DAY}/{_AUTHOR}/{_ID}{_TOKEN}\.(?P<ending>mp4)"),
        (FileKind.AUDIO, False, rf"videos/{_DAY}/{_AUTHOR}/{_ID}\.audio{_TOKEN}\.(?P<ending>{_SOUND})"),
        (SIDECAR, False, rf"videos/{_DAY}/{_AUTHOR}/{_ID}{_TOKEN}\.(?P<ending>json)"),
        (FileKind.COVER, False, rf"covers/{_DAY}/{_ID}{_TOKEN}\.(?P<ending>{_IMAGE})"),
        (
            FileKind.IMAGE,
            True,
            rf"photos/{_DAY}/{_AUTHOR}/{_ID}/(?P<position>0[1-9]|[1-9][0-9]{{1,3}}){_TOKEN}\.(?P<ending>{_IMAGE}|mp4)",
        ),
        (FileKind.AUDIO, True, rf"photos/{_DAY}/{_AUTHOR}/{_ID}/audio{_TOKEN}\.(?P<ending>{_SOUND})"),
        (SIDECAR, True, rf"photos/{_DAY}/{_AUTHOR}/{_ID}{_TOKEN}\.(?P<ending>json)"),
    )
)


@dataclass(frozen=True, slots=True)
class KeyParts:
    """What a key says. `kind` is a `FileKind` or `SIDECAR`; `media_type` is None for a sidecar.

    `author_part` is None for a cover, which lies under its day alone. `position` numbers slides
    from 1, else 0. `token` is set where other bytes had taken the first key.
    """

    kind: str
    day: str
    author_part: str | None
    aweme_id: AwemeId
    is_photo: bool = False
    position: int = 0
    media_type: MediaType | None = None
    token: int | None = None


def author_part(handle: str, author_id: str) -> str:
    """Write an author for a key: the handle at first capture, else `_` and the author's id, else `_`."""
    return next(
        (part for part in (_encoded(handle), f"_{_encoded(author_id)}") if 0 < len(part) <= PART_BYTES_MAX), "_"
    )


def video_key(day: str, author: str, aweme_id: AwemeId) -> ObjectKey:
    """Say where a video's bytes lie."""
    return _checked(f"videos/dt={day}/author={author}/{aweme_id}.mp4")


def sidecar_key(day: str, author: str, aweme_id: AwemeId, is_photo: bool) -> ObjectKey:
    """Say where the sidecar lies: beside the video, or beside the folder of the slides."""
    return _checked(f"{_folder(is_photo)}/dt={day}/author={author}/{aweme_id}.json")


def photo_key(day: str, author: str, aweme_id: AwemeId, position: int, media_type: MediaType) -> ObjectKey:
    """Say where a slide lies; `position` counts from 1."""
    return _checked(f"photos/dt={day}/author={author}/{aweme_id}/{position:02d}.{extension(media_type)}")


def audio_key(day: str, author: str, aweme_id: AwemeId, is_photo: bool, media_type: MediaType) -> ObjectKey:
    """Say where the sound lies: in the folder of the slides, or beside the video."""
    name = f"{aweme_id}/audio" if is_photo else f"{aweme_id}.audio"
    return _checked(f"{_folder(is_photo)}/dt={day}/author={author}/{name}.{extension(media_type)}")


def cover_key(day: str, aweme_id: AwemeId, media_type: MediaType) -> ObjectKey:
    """Say where the cover lies."""
    return _checked(f"covers/dt={day}/{aweme_id}.{extension(media_type)}")


def second_key(key: ObjectKey, token: int) -> ObjectKey:
    """Name the key for bytes whose first key is taken by different bytes; both are kept."""
    stem, ending = key.rsplit(".", 1)
    return _checked(f"{re.sub(r'[.]t[0-9]+$', '', stem)}.t{token}.{ending}")


def first_key(key: ObjectKey) -> ObjectKey:
    """Name the key that a second key stands in for; a first key is its own."""
    stem, ending = key.rsplit(".", 1)
    return _checked(f"{re.sub(r'[.]t[0-9]+$', '', stem)}.{ending}")


def key_as(key: ObjectKey, media_type: MediaType) -> ObjectKey:
    """Name the key of the same file in another format."""
    return _checked(f"{key.rsplit('.', 1)[0]}.{extension(media_type)}")


def sidecar_of(key: str) -> ObjectKey:
    """Name the sidecar of the post whose video, slide, sound or sidecar lies under `key`; ValueError for others."""
    parts = parse_key(key)
    if parts is None or parts.author_part is None:
        raise ValueError(f"no sidecar belongs to {key!r}")
    return sidecar_key(parts.day, parts.author_part, parts.aweme_id, parts.is_photo)


def extension(media_type: MediaType) -> str:
    """Return the file name ending, without the dot; ValueError for what is never stored."""
    if media_type not in _EXTENSIONS:
        raise ValueError(f"{media_type} is not stored")
    return _EXTENSIONS[media_type]


def parse_key(key: str) -> KeyParts | None:
    """Read a key back; None for one that this module would not have written."""
    for kind, is_photo, form in _FORMS:
        if (found := form.fullmatch(key)) is not None:
            said = found.groupdict()
            return KeyParts(
                kind=kind,
                day=said["day"],
                author_part=said.get("author"),
                aweme_id=AwemeId(said["id"]),
                is_photo=is_photo,
                position=int(said.get("position") or 0),
                media_type=_MEDIA_TYPES.get(said["ending"]),
                token=None if said["token"] is None else int(said["token"]),
            )
    return None


def _folder(is_photo: bool) -> str:
    return "photos" if is_photo else "videos"


def _encoded(text: str) -> str:
    """Percent-encode outside A-Za-z0-9_.- and a leading dot; a lone surrogate becomes `?` first."""
    part = quote(text, safe="", errors="replace").replace("~", "%7E")
    return f"%2E{part[1:]}" if part.startswith(".") else part


def _checked(key: str) -> ObjectKey:
    if parse_key(key) is None:
        raise ValueError(f"not a key of the archive: {key!r}")
    return ObjectKey(key)

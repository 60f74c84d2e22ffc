"""The sidecar: the post's own record beside its bytes, from which the index can be rebuilt.

Written last; where it stands, the post is complete. Holds attribution, the scrubbed reply and, for
each file, its key, size, sha256, media type and rendition. Never a signed URL.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from clipledger.core.links import post_url
from clipledger.core.model import (
    Author,
    AwemeId,
    Counters,
    FileKind,
    MediaType,
    ObjectKey,
    Post,
    Quality,
    StoredFile,
)
from clipledger.core.times import iso_time, read_iso_time

FORMAT = 1
MAX_BYTES = 4 * 2**20
"""A reply is at most 16 MiB on the wire; with its links cut, 4 MiB is a thousand times the usual."""

_TEXT, _WHOLE = (str,), (int, type(None))
_SHAPE: Mapping[str, tuple[type, ...]] = {
    "aweme_id": _TEXT,
    "type": _TEXT,
    "author": (dict,),
    "captured_at": _TEXT,
    "title": _TEXT,
    "region": _TEXT,
    "duration": (int, float, type(None)),
    "create_time": _WHOLE,
    "counters": (dict,),
    "music_id": _TEXT,
    "is_ad": (bool,),
    "thin": (bool,),
    "missing": (list,),
    "files": (list,),
    "reply": (dict,),
}
_AUTHOR_SHAPE = dict.fromkeys(Author.__slots__, _TEXT)
_COUNTERS_SHAPE = dict.fromkeys(Counters.__slots__, _WHOLE)
_FILE_SHAPE: Mapping[str, tuple[type, ...]] = {"key": _TEXT, "bytes": (int,), "sha256": _TEXT, "position": (int,)}


class BadSidecar(ValueError):
    """The bytes are not a sidecar we can read; the text says why."""


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What a sidecar says. `post.reply` holds the scrubbed reply; its links are gone."""

    post: Post
    files: tuple[StoredFile, ...]
    captured_at: float
    is_photo: bool
    missing: tuple[str, ...] = ()


def write(
    post: Post, files: Sequence[StoredFile], *, captured_at: float, version: str, missing: Sequence[str]
) -> bytes:
    """Encode a complete post as UTF-8 JSON, indented for people, ids as text; at most `MAX_BYTES`."""
    body = {
        "format": FORMAT,
        "tool": f"clipledger {version}",
        "aweme_id": post.aweme_id,
        "type": "photo" if post.is_photo else "video",
        "url": post_url(post.aweme_id, post.author.handle or "_", is_photo=post.is_photo),
        "author": asdict(post.author),
        "captured_at": iso_time(captured_at),
        "title": post.title,
        "region": post.region,
        "duration": post.duration_s,
        "create_time": post.created_at,
        "counters": asdict(post.counters),
        "music_id": post.music_id,
        "is_ad": post.is_ad,
        "thin": post.thin,
        "missing": list(missing),
        "files": [_file_out(file) for file in files],
        "reply": post.reply,
    }
    # A sidecar too large to be read again would keep its post incomplete for ever; the reply is what can be spared.
    whole = _encoded(body)
    return whole if len(whole) <= MAX_BYTES else _encoded(body | {"reply": {}})


def read(body: bytes) -> Sidecar:
    """Decode a sidecar; BadSidecar when it is not one."""
    try:
        return _sidecar(json.loads(body))
    except BadSidecar:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadSidecar(f"not a readable sidecar: {type(error).__name__}") from None


def _encoded(body: Mapping[str, Any]) -> bytes:
    return (json.dumps(body, ensure_ascii=False, indent=1) + "\n").encode("utf-8", "replace")


def read_of(body: bytes, aweme_id: AwemeId) -> Sidecar:
    """Decode the sidecar of one post; BadSidecar also when it is another's."""
    found = read(body)
    if found.post.aweme_id != aweme_id:
        raise BadSidecar(f"the sidecar of {found.post.aweme_id}")
    return found


def _sidecar(told: Mapping[str, Any]) -> Sidecar:
    if told["format"] != FORMAT:
        raise BadSidecar("made by another format")
    _check(told, _SHAPE)
    _check(told["author"], _AUTHOR_SHAPE)
    _check(told["counters"], _COUNTERS_SHAPE)
    post = Post(
        aweme_id=AwemeId(told["aweme_id"]),
        author=Author(**told["author"]),
        title=told["title"],
        region=told["region"],
        duration_s=told["duration"],
        created_at=told["create_time"],
        counters=Counters(**told["counters"]),
        music_id=told["music_id"],
        is_ad=told["is_ad"],
        thin=told["thin"],
        reply=told["reply"],
    )
    files = tuple(_file_in(entry) for entry in told["files"])
    is_photo = {"photo": True, "video": False}[told["type"]]
    return Sidecar(post, files, read_iso_time(told["captured_at"]), is_photo, tuple(told["missing"]))


def _file_out(file: StoredFile) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "key": file.key,
        "kind": file.kind,
        "bytes": file.bytes,
        "sha256": file.sha256,
        "media_type": file.media_type,
    }
    if file.position:
        entry["position"] = file.position
    if file.rendition is not None:
        entry["rendition"] = file.rendition
    return entry


def _file_in(entry: Mapping[str, Any]) -> StoredFile:
    entry = {"position": 0, **entry}
    _check(entry, _FILE_SHAPE)
    return StoredFile(
        kind=FileKind(entry["kind"]),
        key=ObjectKey(entry["key"]),
        bytes=entry["bytes"],
        sha256=entry["sha256"],
        media_type=MediaType(entry["media_type"]),
        rendition=Quality(entry["rendition"]) if "rendition" in entry else None,
        position=entry["position"],
    )


def _check(told: Mapping[str, Any], shape: Mapping[str, tuple[type, ...]]) -> None:
    for name, kinds in shape.items():
        if type(told[name]) not in kinds:
            raise BadSidecar(f"`{name}` is not what it should be")

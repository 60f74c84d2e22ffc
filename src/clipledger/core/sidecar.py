"""The sidecar: the post's own record beside its bytes, from which the index can be rebuilt.

Written last; where it stands, the post is complete. Holds attribution, the scrubbed reply, how the id came into the
queue and, for each file, its key, size, sha256, media type and rendition; of a file that a repair replaced by other
bytes also what stood there before. Never a signed URL. What an older sidecar lacks is read as unknown. People edit such
files: what is read from one fits the index and names no place but the post's own, or the whole is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from clipledger.core.layout import parse_key
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
from clipledger.core.scrub import plain
from clipledger.core.times import iso_time, read_iso_time

FORMAT = 1
MAX_BYTES = 4 * 2**20
"""A reply is at most 16 MiB on the wire; with its links cut, 4 MiB is a thousand times the usual."""

NUMBER_MAX = 2**63 - 1
"""The largest number of a sidecar: what every database holds."""

_ENCODE = json.JSONEncoder(ensure_ascii=False).encode
_LINED_DEPTH = 2
_POSITION_MAX = 9_999  # as `layout` writes it
_SECONDS_MAX = 253_402_300_799  # the last second that `iso_time` can write
_SHA256 = re.compile(r"[0-9a-f]{64}")

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
_ORIGIN_SHAPE: Mapping[str, tuple[type, ...]] = {"source": _TEXT, "added_at": _TEXT, "asked_url": (str, type(None))}
_REPLACED_SHAPE: Mapping[str, tuple[type, ...]] = {
    "at": _TEXT,
    "kind": _TEXT,
    "key": _TEXT,
    "bytes": (int,),
    "sha256": _TEXT,
    "new_key": _TEXT,
    "new_bytes": (int,),
    "new_sha256": _TEXT,
}


class BadSidecar(ValueError):
    """The bytes are not a sidecar we can read; the text says why."""


@dataclass(frozen=True, slots=True)
class Origin:
    """How an id came into the queue: the source that showed it first, when, and how the operator wrote it by hand."""

    source: str
    added_at: float
    asked_url: str | None = None


@dataclass(frozen=True, slots=True)
class Replaced:
    """A file that a repair replaced by other bytes: what stood before, and what stands since `at`."""

    at: float
    kind: FileKind
    key: ObjectKey
    bytes: int
    sha256: str
    new_key: ObjectKey
    new_bytes: int
    new_sha256: str


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What a sidecar says. `post.reply` holds the scrubbed reply; its links are gone."""

    post: Post
    files: tuple[StoredFile, ...]
    captured_at: float
    is_photo: bool
    missing: tuple[str, ...] = ()
    origin: Origin | None = None
    replaced: tuple[Replaced, ...] = ()


def write(
    post: Post,
    files: Sequence[StoredFile],
    *,
    captured_at: float,
    version: str,
    missing: Sequence[str],
    origin: Origin | None = None,
    replaced: Sequence[Replaced] = (),
    is_photo: bool | None = None,
) -> bytes:
    """Encode a complete post as UTF-8 JSON, indented for people, ids as text; at most `MAX_BYTES`.

    `is_photo` None: as the post's slides say; a post that was read back from an index has none.
    """
    is_photo = post.is_photo if is_photo is None else is_photo
    body = {
        "format": FORMAT,
        "tool": f"clipledger {version}",
        "aweme_id": post.aweme_id,
        "type": "photo" if is_photo else "video",
        "url": post_url(post.aweme_id, post.author.handle or "_", is_photo=is_photo),
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
        **_came_from(origin),
        **_history(replaced),
        "files": [_file_out(file) for file in files],
        "reply": post.reply,
    }
    return _bounded(body)


def with_files(body: bytes, files: Sequence[StoredFile], replaced: Sequence[Replaced]) -> bytes:
    """Encode a readable sidecar anew with other files and a longer history; all else in it stays as it is."""
    return _bounded(json.loads(body) | _history(replaced) | {"files": [_file_out(file) for file in files]})


def read(body: bytes) -> Sidecar:
    """Decode a sidecar; BadSidecar when it is not one."""
    try:
        return _sidecar(json.loads(body))
    except BadSidecar:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadSidecar(f"not a readable sidecar: {type(error).__name__}") from None


def _bounded(body: Mapping[str, Any]) -> bytes:
    # A sidecar too large to be read again would keep its post incomplete for ever; the reply is what can be spared.
    whole = _encoded(body)
    return whole if len(whole) <= MAX_BYTES else _encoded({**body, "reply": {}})


def _encoded(body: Mapping[str, Any]) -> bytes:
    return (_lined(body) + "\n").encode("utf-8", "replace")


def _lined(value: Any, depth: int = 1) -> str:
    """Encode with a line for each field of the body and of what it holds, and what lies deeper within those lines.

    For people, but by hand: the standard library indents in Python alone, ten times as slowly as it encodes.
    """
    margin = "\n" + " " * depth
    if isinstance(value, Mapping) and value and depth <= _LINED_DEPTH:
        fields = (f"{_ENCODE(str(name))}: {_lined(inner, depth + 1)}" for name, inner in value.items())
        return "{" + margin + f",{margin}".join(fields) + margin[:-1] + "}"
    if isinstance(value, list) and value and depth <= _LINED_DEPTH:
        return "[" + margin + f",{margin}".join(map(_ENCODE, value)) + margin[:-1] + "]"
    return _ENCODE(value)


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
    _check(told["author"], _AUTHOR_SHAPE, whole=True)
    _check(told["counters"], _COUNTERS_SHAPE, whole=True)
    post = Post(
        aweme_id=AwemeId(told["aweme_id"]),
        author=Author(**{name: plain(text) for name, text in told["author"].items()}),
        title=plain(told["title"]),
        region=plain(told["region"]),
        duration_s=_number(told, "duration", _SECONDS_MAX),
        created_at=_number(told, "create_time"),
        counters=Counters(**{name: _number(told["counters"], name) for name in told["counters"]}),
        music_id=plain(told["music_id"]),
        is_ad=told["is_ad"],
        thin=told["thin"],
        reply=told["reply"],
    )
    files = tuple(_file_in(entry, post.aweme_id) for entry in told["files"])
    is_photo = {"photo": True, "video": False}[told["type"]]
    captured_at, missing = _moment(told, "captured_at"), _texts(told, "missing")
    history = tuple(_replaced_in(entry, post.aweme_id) for entry in told.get("replaced", ()))
    return Sidecar(post, files, captured_at, is_photo, missing, _origin_in(told), history)


def _came_from(origin: Origin | None) -> dict[str, Any]:
    if origin is None:
        return {}
    told = {"source": origin.source, "added_at": iso_time(origin.added_at)}
    return told | ({"asked_url": origin.asked_url} if origin.asked_url is not None else {})


def _origin_in(told: Mapping[str, Any]) -> Origin | None:
    if "source" not in told:
        return None
    _check({"asked_url": "", **told}, _ORIGIN_SHAPE)
    asked_url = told.get("asked_url")
    return Origin(plain(told["source"]), _moment(told, "added_at"), plain(asked_url) if asked_url is not None else None)


def _history(replaced: Sequence[Replaced]) -> dict[str, Any]:
    return {"replaced": [asdict(each) | {"at": iso_time(each.at)} for each in replaced]} if replaced else {}


def _replaced_in(entry: Mapping[str, Any], aweme_id: AwemeId) -> Replaced:
    _check(entry, _REPLACED_SHAPE)
    return Replaced(
        at=_moment(entry, "at"),
        kind=FileKind(entry["kind"]),
        key=_place(entry, "key", aweme_id),
        bytes=_number(entry, "bytes"),
        sha256=_digest(entry, "sha256"),
        new_key=_place(entry, "new_key", aweme_id),
        new_bytes=_number(entry, "new_bytes"),
        new_sha256=_digest(entry, "new_sha256"),
    )


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


def _file_in(entry: Mapping[str, Any], aweme_id: AwemeId) -> StoredFile:
    entry = {"position": 0, **entry}
    _check(entry, _FILE_SHAPE)
    return StoredFile(
        kind=FileKind(entry["kind"]),
        key=_place(entry, "key", aweme_id),
        bytes=_number(entry, "bytes"),
        sha256=_digest(entry, "sha256"),
        media_type=MediaType(entry["media_type"]),
        rendition=Quality(entry["rendition"]) if "rendition" in entry else None,
        position=_number(entry, "position", _POSITION_MAX),
    )


def _place(told: Mapping[str, Any], name: str, aweme_id: AwemeId) -> ObjectKey:
    place = parse_key(told[name])
    if place is None or place.aweme_id != aweme_id:
        raise BadSidecar(f"`{name}` is none of this post's")
    return ObjectKey(told[name])


def _digest(told: Mapping[str, Any], name: str) -> str:
    if not _SHA256.fullmatch(told[name]):
        raise BadSidecar(f"`{name}` is not what it should be")
    return str(told[name])


def _moment(told: Mapping[str, Any], name: str) -> float:
    return float(_number({name: read_iso_time(told[name])}, name, _SECONDS_MAX))


def _number(told: Mapping[str, Any], name: str, most: int = NUMBER_MAX) -> Any:
    """Give a number, or None where none is told; BadSidecar beyond what the index holds. NaN is beyond."""
    if told[name] is not None and not 0 <= told[name] <= most:
        raise BadSidecar(f"`{name}` is not what it should be")
    return told[name]


def _texts(told: Mapping[str, Any], name: str) -> tuple[str, ...]:
    if not all(type(text) is str for text in told[name]):
        raise BadSidecar(f"`{name}` is not what it should be")
    return tuple(told[name])


def _check(told: Mapping[str, Any], shape: Mapping[str, tuple[type, ...]], *, whole: bool = False) -> None:
    """Raise BadSidecar when a field is of another type than its shape says; when `whole`, also for another field."""
    if whole and told.keys() != shape.keys():
        raise BadSidecar(f"fields {', '.join(shape)} are wanted, and no others")
    for name, kinds in shape.items():
        if type(told[name]) not in kinds:
            raise BadSidecar(f"`{name}` is not what it should be")

"""The values that move through the archive.

Frozen, and free of behaviour beyond what their own fields say. A value that holds a secret
(`SignedUrl`, `ApiKey`) never shows it: not in a repr, a log line, a traceback or a pickle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NewType

EARLIEST_S = 1_451_606_400
"""2016-01-01 UTC: no post is older (tiklive-api.md, Identity)."""

AwemeId = NewType("AwemeId", str)
"""A post's id: 15-20 decimal digits. Always text: ids exceed 2^53."""

ObjectKey = NewType("ObjectKey", str)
"""Where bytes lie in the store: `/`-separated, relative, the same on disk and in a bucket."""

BY_HAND = "by-hand"
"""The source of ids that the operator gave: nothing had shown them."""

Reply = Mapping[str, Any]
"""A decoded JSON object of the API, as it came or scrubbed of signatures."""


class Secret:
    """Hold a text that must never be shown; only `reveal()` gives it back."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the secret. Call it only where the text leaves the process on purpose."""
        return self._text

    def __repr__(self) -> str:
        return f"{type(self).__name__}(***)"

    __str__ = __repr__

    def __format__(self, _spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> str:
        raise TypeError("a secret is not to be pickled")


class ApiKey(Secret):
    """The TikLiveAPI key."""

    __slots__ = ()


class SignedUrl(Secret):
    """A media link that dies. `expires_at` is unix seconds read from the link, None if it tells none."""

    __slots__ = ("expires_at",)

    def __init__(self, text: str, expires_at: float | None = None) -> None:
        super().__init__(text)
        self.expires_at = expires_at


class Quality(StrEnum):
    """Which rendition of a video's bytes."""

    HD = "hd"
    STANDARD = "standard"
    WATERMARKED = "watermarked"


class FileKind(StrEnum):
    """What part of a post a stored file is."""

    VIDEO = "video"
    IMAGE = "image"
    AUDIO = "audio"
    COVER = "cover"


class State(StrEnum):
    """Where an id stands. Every id ever seen is in exactly one."""

    PENDING = "pending"
    RUNNING = "running"
    STORED = "stored"
    ARCHIVED = "archived"
    DEAD = "dead"
    WITHHELD = "withheld"


class MediaType(StrEnum):
    """What bytes are, by their own signature. `core.layout` knows their file name endings."""

    MP4 = "video/mp4"
    JPEG = "image/jpeg"
    WEBP = "image/webp"
    PNG = "image/png"
    HEIC = "image/heic"
    MP3 = "audio/mpeg"
    M4A = "audio/mp4"
    HTML = "text/html"
    JSON = "application/json"
    EMPTY = "application/x-empty"
    UNKNOWN = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Author:
    """Who posted. `id` is decimal text and stays; `handle` (no `@`) may change; either may be ''."""

    id: str = ""
    handle: str = ""
    nickname: str = ""


@dataclass(frozen=True, slots=True)
class Counters:
    """Public counters as the API told them; None where it told nothing. May exceed 2^31."""

    play: int | None = None
    digg: int | None = None
    comment: int | None = None
    share: int | None = None
    download: int | None = None
    collect: int | None = None


@dataclass(frozen=True, slots=True)
class Rendition:
    """One link to a video's bytes. `size_hint` in bytes is a hint, never a proof; None = unknown."""

    quality: Quality
    link: SignedUrl
    size_hint: int | None = None


@dataclass(frozen=True, slots=True)
class Slide:
    """One slide of a photo post: an image, and a video when the slide is live."""

    image: SignedUrl | None = None
    video: SignedUrl | None = None


@dataclass(frozen=True, slots=True)
class Post:
    """What one reply says of one post: a detail body, or an item of a list.

    `renditions` are in the order hd, standard, watermarked, without empty links; list items have
    no hd. A photo post has `slides` and no renditions; `audio` is its sound track. `duration_s`
    is None when unknown or 0. `created_at` is unix seconds, from the reply, else from the id.
    `thin` is true when the metadata came from the smaller endpoint. `reply` is the scrubbed body.
    """

    aweme_id: AwemeId
    author: Author = Author()
    title: str = ""
    region: str = ""
    duration_s: float | None = None
    created_at: int | None = None
    counters: Counters = Counters()
    music_id: str = ""
    renditions: tuple[Rendition, ...] = ()
    slides: tuple[Slide, ...] = ()
    audio: tuple[SignedUrl, ...] = ()
    covers: tuple[SignedUrl, ...] = ()
    is_ad: bool = False
    pinned: bool = False
    thin: bool = False
    reply: Reply = field(default_factory=dict)

    @property
    def is_photo(self) -> bool:
        """True for a photo post: its `play` links are sound, not video."""
        return bool(self.slides)


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list. `bad_items` counts entries without a usable id: told, never hidden."""

    posts: tuple[Post, ...]
    cursor: str | None
    has_more: bool
    bad_items: int = 0


@dataclass(frozen=True, slots=True)
class ApiCall:
    """One GET of TikLiveAPI: the path (`/user-posts/`) and its query, in order."""

    path: str
    params: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """One claimed attempt at one video. `token` fences every write that settles it.

    `attempts` counts this one. `storage_key` and `author_part` are None until the first resolve fixed
    them; `rendition` is that of the video which may stand under the key already. `call_reason` is why
    the next paid resolve is made. `hint` is the scrubbed list item, kept only for `capture.lean`.
    `video_sha256`: what an earlier attempt was served as its video. `due_at`: its place in the line, latest first.
    """

    aweme_id: AwemeId
    token: int
    source: str
    attempts: int
    added_at: float
    first_seen_day: str
    call_reason: str
    author_part: str | None = None
    storage_key: ObjectKey | None = None
    rendition: Quality | None = None
    asked_url: str | None = None
    not_founds: int = 0
    first_not_found_at: float | None = None
    throttles: int = 0
    hint: Reply | None = None
    video_sha256: str | None = None
    due_at: float | None = None


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file of a complete post, as the sidecar and the `files` table hold it."""

    kind: FileKind
    key: ObjectKey
    bytes: int
    sha256: str
    media_type: MediaType
    rendition: Quality | None = None
    position: int = 0

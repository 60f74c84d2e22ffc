"""Decoded JSON -> model. Tolerant of the known oddities, `MalformedReply` for a shape we do not know.

Must not: decode bytes, say what an error body is (net/tiklive does both), or let a signed link out
by another way than `SignedUrl`: what is kept of a reply, and what people wrote in it, has been through `scrub`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

from clipledger.core.errors import MalformedReply, Reason
from clipledger.core.links import created_second, plausible_id
from clipledger.core.model import (
    EARLIEST_S,
    Author,
    AwemeId,
    Counters,
    Page,
    Post,
    Quality,
    Rendition,
    Reply,
    SignedUrl,
    Slide,
)
from clipledger.core.scrub import URL_MAX, expiry, plain, scrub, scrub_text

SAMPLE_MAX = 4_096
"""How much of an unknown body is kept for people, in characters."""

SLIDES_MAX = 9_999
"""The most slides of one post: their names have four digits at most (`layout`). TikTok itself takes 35."""

_COUNT_MAX = 10**15  # nothing on the platform comes near; also far inside BIGINT
_DURATION_MAX_S = 7 * 86_400.0

_ENVELOPE = frozenset({"code", "msg", "message", "status"})
_PLAYS = ("play", "hdplay", "wmplay")
_LINK_KEYS = (*_PLAYS, "images")


@dataclass(frozen=True, slots=True)
class Entity:
    """Who or what stands behind a handle or a tag. `declared`: how many posts it says it has."""

    id: str
    name: str = ""
    declared: int | None = None


def unwrap(body: object) -> Reply:
    """Return the object of a reply, flat or inside `{code, msg, data}`."""
    if not isinstance(body, Mapping):
        raise _malformed("the body is not an object", body)
    inner = body.get("data")
    if isinstance(inner, Mapping) and (len(body) == 1 or not _ENVELOPE.isdisjoint(body)):
        return inner
    return body


def detail(body: object, *, asked: AwemeId, now: float) -> Post:
    """Read a `/post-detail/` body. MalformedReply: unknown shape, or (WRONG_ID) another post than asked."""
    reply = unwrap(body)
    if not any(key in reply for key in _LINK_KEYS):
        raise _malformed("a detail body without any media key", body)
    if (odd := _odd_images(reply)) is not None:
        raise _malformed(odd, body)
    post = item(reply, asked=asked, now=now, detail=True)
    if not post.is_photo and not post.renditions and any(isinstance(reply.get(key), Mapping | list) for key in _PLAYS):
        # Links that are no text any more: what we would store is not missing, we cannot read it.
        raise _malformed("a detail body whose links are not text", body)
    return post


def _odd_images(reply: Reply) -> str | None:
    """Say what is wrong with `images`: a shape we do not know must never pass for a post without slides."""
    images = reply.get("images")
    if not images:
        return None
    if not isinstance(images, list):
        return "a detail body whose `images` is not a list"
    if len(images) > SLIDES_MAX or len(_list(reply.get("live_images"))) > SLIDES_MAX:
        return f"a photo post of more than {SLIDES_MAX} slides"
    if not _slides(reply):
        return "a detail body whose `images` holds no link"
    if not all(entry is None or isinstance(entry, str) for entry in (*images, *_list(reply.get("live_images")))):
        return "a photo post whose slides are neither links nor empty"
    return None


def page(body: object, *, now: float, keep: bool = True) -> Page:
    """Read a page of a list. An item without a usable id is counted, never hidden. `keep` its items' own objects."""
    reply = unwrap(body)
    entries = reply.get("videos")
    if not isinstance(entries, list):
        raise _malformed("a list body without `videos`", body)
    posts = tuple(post for post in (_listed(entry, now, keep) for entry in entries) if post is not None)
    cursor = _cursor(reply.get("cursor"))
    told = reply.get("hasMore", reply.get("has_more"))
    # Told nothing: a cursor behind items is followed; stopping would lose the rest in silence.
    more = bool(entries) and cursor is not None if told is None else _flag(told)
    return Page(posts, cursor, more, bad_items=len(entries) - len(posts))


def item(obj: object, *, asked: AwemeId | None, now: float, detail: bool, keep: bool = True) -> Post:
    """Read one post object. `asked` stands in for a missing id; `now` (unix s) bounds dates; `keep` the object.

    Raises MalformedReply without a usable id, and with reason WRONG_ID when the object names
    another post than `asked`.
    """
    if not isinstance(obj, Mapping):
        raise _malformed("a post that is not an object", obj)
    aweme_id = _identity(obj, asked, now)
    is_photo = bool(obj.get("images")) and isinstance(obj["images"], list)
    music = _mapping(obj.get("music_info"))
    sound = _links(obj.get("music"), music.get("play"))
    return Post(
        aweme_id=aweme_id,
        author=_author(obj.get("author")),
        title=_text(obj.get("title")),
        region=_text(obj.get("region"))[:8],
        duration_s=_duration(obj.get("duration")),
        created_at=_created(obj.get("create_time"), aweme_id, now),
        counters=_counters(obj),
        music_id=_text(music.get("id")).strip()[:64],
        renditions=() if is_photo else _renditions(obj, detail),
        slides=_slides(obj) if is_photo else (),
        audio=_distinct((*_links(*(obj.get(key) for key in _PLAYS)), *sound)) if is_photo else sound,
        covers=_links(obj.get("origin_cover"), obj.get("cover")),
        is_ad=_flag(obj.get("is_ad")),
        pinned=_flag(obj.get("is_top")),
        reply=scrub(obj) if keep else {},
    )


def links_reply(body: object, *, asked: AwemeId, hint: Reply | None, now: float) -> Post:
    """Read a `/download-video/` body: two links and nothing else. Metadata comes from the `hint`.

    The hint is a scrubbed list item, so its own links are dead and dropped; one that names another
    post is not believed. Not for photo posts (`is_photo_hint`): their links here are sound.
    """
    reply = unwrap(body)
    if "video" not in reply and "video_hd" not in reply:
        raise _malformed("a download body without `video` and `video_hd`", body)
    _identity(reply, asked, now)
    known = hint if hint is not None and _identity(hint, None, now, default=asked) == asked else {}
    told = item(known, asked=asked, now=now, detail=False)
    links = ((Quality.HD, reply.get("video_hd")), (Quality.STANDARD, reply.get("video")))
    found = tuple(Rendition(quality, link) for quality, raw in links for link in _links(raw))
    kept = scrub({**known, **reply})
    return replace(told, renditions=found, slides=(), audio=(), covers=(), thin=True, reply=kept)


def is_photo_hint(hint: Reply | None) -> bool:
    """Say whether a list item is a photo post, whose files only the full endpoint names."""
    return bool(hint and hint.get("images"))


def user(body: object) -> Entity:
    """Read who a handle is; `stats` stands beside `user` or inside it."""
    reply = unwrap(body)
    who = _mapping(reply.get("user")) or reply
    stats = {**_mapping(who.get("stats")), **_mapping(reply.get("stats"))}
    name = _text(who.get("uniqueId")) or _text(who.get("unique_id"))
    return _entity(who.get("id"), name, (stats.get("videoCount"), who.get("videoCount")), body)


def tag(body: object) -> Entity:
    """Read what a tag is. Its `user_count` is the number of posts that carry it."""
    reply = unwrap(body)
    what = _mapping(reply.get("challenge")) or _mapping(reply.get("challenge_info")) or reply
    return _entity(what.get("id"), _text(what.get("cha_name")), (what.get("video_count"), what.get("user_count")), body)


def regions(body: object) -> dict[str, str]:
    """Read the region list: two-letter code -> name."""
    told = {str(code): _text(name) for code, name in unwrap(body).items()}
    found = {code: name for code, name in told.items() if name and re.fullmatch(r"[A-Z]{2}", code)}
    if not found:
        raise _malformed("a region list without regions", body)
    return found


def _malformed(what: str, body: object, reason: Reason | None = None) -> MalformedReply:
    sample = json.dumps(scrub(body), ensure_ascii=False)[:SAMPLE_MAX]
    return MalformedReply(what, sample=sample, reason=reason)


def _identity(obj: Reply, asked: AwemeId | None, now: float, *, default: AwemeId | None = None) -> AwemeId:
    told = (_digits(obj.get(key)) for key in ("id", "video_id", "aweme_id"))
    named = next((AwemeId(text) for text in told if plausible_id(text, now)), asked or default)
    if named is None:
        raise _malformed("a post without a usable id", obj)
    if asked is not None and named != asked:
        raise _malformed(f"asked for {asked}, got {named}", obj, Reason.WRONG_ID)
    return named


def _listed(entry: object, now: float, keep: bool) -> Post | None:
    try:
        return item(entry, asked=None, now=now, detail=False, keep=keep)
    except MalformedReply:
        return None


def _entity(raw_id: object, name: str, counts: Iterable[object], body: object) -> Entity:
    if not (found := _digits(raw_id)) or not name:
        raise _malformed("an answer without a numeric id and a name", body)
    return Entity(found, name, next((n for n in map(_count, counts) if n is not None), None))


def _author(raw: object) -> Author:
    if isinstance(raw, str):
        plain = _text(raw).strip().removeprefix("@")
        is_handle = re.fullmatch(r"[A-Za-z0-9_.]{1,64}", plain) is not None
        return Author(handle=plain) if is_handle else Author(nickname=plain)
    told = _mapping(raw)
    handle = _text(told.get("unique_id")) or _text(told.get("uniqueId"))
    return Author(_digits(told.get("id")), handle.strip().removeprefix("@"), _text(told.get("nickname")))


def _counters(obj: Reply) -> Counters:
    names = ("play", "digg", "comment", "share", "download", "collect")
    return Counters(*(_count(obj.get(f"{name}_count")) for name in names))


def _renditions(obj: Reply, detail: bool) -> tuple[Rendition, ...]:
    # A watermarked link that equals the plain one is the plain one.
    watermarked = None if obj.get("wmplay") == obj.get("play") else obj.get("wmplay")
    told = (
        (Quality.HD, obj.get("hdplay") if detail else None, "hd_size"),
        (Quality.STANDARD, obj.get("play"), "size"),
        (Quality.WATERMARKED, watermarked, "wm_size"),
    )
    return tuple(
        Rendition(quality, link, _count(obj.get(size)) or None) for quality, raw, size in told for link in _links(raw)
    )


def _slides(obj: Reply) -> tuple[Slide, ...]:
    pairs = zip_longest(obj["images"], _list(obj.get("live_images")))
    # An entry that is no link keeps its place: the others must not move up into it.
    slides = tuple(Slide(_link(image), _link(video)) for image, video in pairs)
    return slides if any(slide.image or slide.video for slide in slides) else ()


def _link(raw: object) -> SignedUrl | None:
    """Keep the raw text of a link, relative ones too; None for anything that is no link at all."""
    if not isinstance(raw, str) or not raw.strip() or len(raw) > URL_MAX:
        return None
    text = plain(raw.strip())
    return SignedUrl(text, expiry(text))


def _links(*raw: object) -> tuple[SignedUrl, ...]:
    return _distinct(link for link in map(_link, raw) if link is not None)


def _distinct(links: Iterable[SignedUrl]) -> tuple[SignedUrl, ...]:
    return tuple(dict.fromkeys(links))


def _mapping(raw: object) -> Reply:
    return raw if isinstance(raw, Mapping) else {}


def _list(raw: object) -> list[Any]:
    return raw if isinstance(raw, list) else []


def _text(raw: object) -> str:
    """Read what somebody wrote, without signatures: a caption or a name may hold a signed link as well."""
    if isinstance(raw, int) and not isinstance(raw, bool):
        return _digits(raw)
    return scrub_text(plain(raw)) if isinstance(raw, str) else ""


def _digits(raw: object) -> str:
    """Return an id as text: from digits or a JSON integer. A float has lost its last digits: ''."""
    if isinstance(raw, int) and not isinstance(raw, bool):
        return str(raw) if 0 <= raw < 10**20 else ""
    return raw.strip() if isinstance(raw, str) and re.fullmatch(r"\s*[0-9]{1,20}\s*", raw) else ""


def _number(raw: object) -> float | None:
    if isinstance(raw, str) and re.fullmatch(r"\s*[0-9]{1,20}(\.[0-9]{1,20})?\s*", raw):
        return float(raw)
    known = isinstance(raw, (int, float)) and not isinstance(raw, bool) and 0 <= raw <= _COUNT_MAX
    return float(raw) if known else None  # type: ignore[arg-type]


def _count(raw: object) -> int | None:
    number = _number(raw)
    return None if number is None or number > _COUNT_MAX else int(number)


def _duration(raw: object) -> float | None:
    number = _number(raw)
    return number if number is not None and 0 < number <= _DURATION_MAX_S else None


def _created(raw: object, aweme_id: AwemeId, now: float) -> int:
    told = _count(raw)
    return told if told is not None and EARLIEST_S <= told <= now + 86_400 else created_second(aweme_id)


def _flag(raw: object) -> bool:
    return raw.strip().lower() in ("1", "true") if isinstance(raw, str) else bool(raw)


def _cursor(raw: object) -> str | None:
    if isinstance(raw, float) and raw.is_integer() and abs(raw) < 2**53:
        raw = int(raw)
    text = str(raw) if isinstance(raw, (int, str)) and not isinstance(raw, bool) else ""
    return plain(text) if 0 < len(text) <= 512 else None

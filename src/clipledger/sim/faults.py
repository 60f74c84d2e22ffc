"""What can go wrong, by name: a plan says how often, when and how much of each.

Whether a fault strikes is rolled from (seed, fault, id, n-th call), so a run replays exactly and
adding one kind moves no other. `KINDS` is the table of all of them.
Must not: know how a fault looks on the wire; that is written where the answer is made.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from clipledger.sim.dice import roll


class Door(StrEnum):
    """Where a kind of fault is decided, and how often."""

    WORLD = "world"  # once per post or author: part of the population
    API = "api"  # once per API call
    DETAIL = "detail"  # once per call that asks for one post
    LIST = "list"  # once per page of a list
    SHAPE = "shape"  # once per post object that is written
    LINK = "link"  # once per reply that holds links
    POST = "post"  # once per post, for ever
    HD = "hd"  # once per post, for ever
    CDN = "cdn"  # once per fetch of a file


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fault. `amount` is its default size and `unit` says of what; None: it has none."""

    name: str
    door: Door
    about: str
    amount: float | None = None
    unit: str = ""


def _kinds(door: Door, *rows: tuple[str, str] | tuple[str, str, float, str]) -> tuple[Kind, ...]:
    return tuple(Kind(row[0], door, row[1], *row[2:]) for row in rows)


KINDS: tuple[Kind, ...] = (
    *_kinds(
        Door.WORLD,
        ("deleted", "the post is deleted, before the start or some day after it"),
        ("private", "the post turns private"),
        ("region_locked", "the post is not available in the API's region"),
        ("renamed", "the author takes another handle in the week after the start; the id stays"),
        ("recounted", "all counters of the post fall by a tenth to a half, once, in the week after the start"),
        ("reposted", "the video is the very file that many other accounts posted too"),
    ),
    *_kinds(
        Door.API,
        ("http_500", "status 500 with a JSON body"),
        ("http_502_html", "status 502 with a gateway's HTML page"),
        ("empty_body", "status 200 without a body"),
        ("html_200", "status 200 with an HTML page"),
        ("broken_json", "the right reply, cut in the middle of the JSON"),
        ("reset", "the connection is reset; every other time the credit is spent all the same"),
        ("slow", "the right reply, late", 8.0, "s"),
        ("timeout", "no reply at all; every other time the credit is spent", 90.0, "s"),
        ("throttle_429", "status 429; Retry-After absent, in seconds or as a date", 3.0, "s told"),
        ("unknown_message", "status 200 with a message nobody has documented"),
        ("key_refused", "the key is refused; amount 200 is the documented message, else the status", 200.0, "status"),
        ("balance_gone", "the account has no credits left"),
        ("enveloped", "the body wrapped in {code, msg, data}"),
        ("gzip", "the body compressed, if the client accepts that"),
        ("unsized", "the reply without Content-Length: chunked, or ended by closing"),
    ),
    *_kinds(
        Door.DETAIL,
        ("not_found_outage", "every post answers 'Not found post', alive or not"),
        ("not_found_404", "a post that is gone answers with status 404"),
        ("wrong_id", "the body of another post"),
    ),
    *_kinds(
        Door.LIST,
        ("missing_videos", "a body without `videos`"),
        ("bad_item", "an extra entry that is no post: null, text, no id, a float id, an impossible id"),
        ("ads", "another author's advertisement among the items"),
        ("strangers", "another author's post among the items"),
        ("repeats", "items of the page before come again"),
        ("short_page", "fewer items than asked"),
        ("empty_page", "no items and `hasMore` true"),
        ("stuck_cursor", "the cursor that was asked comes back, `hasMore` true"),
        ("circle", "the cursor leads back to the first page"),
        ("endless_more", "`hasMore` stays true behind the end"),
        ("missing_cursor", "no `cursor` key, `hasMore` true"),
        ("rerank", "offset lists are shuffled anew every so often", 1800.0, "s"),
    ),
    *_kinds(
        Door.SHAPE,
        ("string_numbers", "counters, create_time and durations as text"),
        ("float_numbers", "the duration as a float"),
        ("null_counters", "some counters are null"),
        ("lone_surrogate", "half an emoji in the title"),
        ("nul_in_title", "a NUL character in the title"),
        ("null_title", "title null"),
        ("missing_keys", "optional keys are absent"),
        ("plain_author", "author is the handle, a plain string"),
        ("author_without_id", "author lacks id"),
        ("old_shape", "the 2021 shape: no detail id, no sizes, no duration, no music_info, no author id"),
        ("id_as_number", "the id as a JSON integer"),
        ("aweme_id_is_id", "the numeric id under aweme_id alone, as the guide has it"),
        ("size_lies", "size, hd_size and wm_size are 0, null, absent or wrong"),
        ("relative_link", "play links such as /video/media/play/ID.mp4"),
        ("signed_caption", "somebody pasted a signed link into the title and the nickname"),
        ("images_as_objects", "the images of a photo post as objects, a shape nobody has documented"),
        ("links_renamed", "the links under names nobody has documented"),
        ("links_as_objects", "the links of a video as objects, a shape nobody has documented"),
        ("images_gone", "a photo post without its images: its sound looks like video"),
    ),
    *_kinds(
        Door.LINK,
        ("expired_at_birth", "the links of this reply are past their date"),
        ("short_lived", "the links of this reply live so long", 90.0, "s"),
        ("dies_early", "links say hours, and die after", 120.0, "s"),
        ("foreign_host", "hdplay leads outside the known hosts"),
    ),
    *_kinds(
        Door.POST,
        ("partial_block", "the post answers 'Not found post' as long as this lasts, alive or not"),
        ("private_meanwhile", "the post is private as long as this lasts"),
        ("region_meanwhile", "the post is not available in the API's region as long as this lasts"),
        ("one_post_429", "every call about this post is answered 429, while others get through", 3.0, "s told"),
        ("one_post_cdn_429", "every file of this post is answered 429"),
    ),
    *_kinds(
        Door.HD,
        ("hd_403", "the HD file of this post is always refused"),
        ("hd_429", "the HD file is throttled for the first so many fetches", 2.0, "fetches"),
        ("hd_empty", "the HD file of this post is empty"),
        ("hd_truncated", "the HD file of this post ends inside itself, length and all"),
        ("hd_is_html", "the HD link of this post gives an HTML page"),
        ("hd_smaller", "the HD file is smaller than the standard one"),
    ),
    *_kinds(
        Door.CDN,
        ("cdn_403", "status 403 with a body of 370 bytes"),
        ("cdn_404", "status 404, at the first fetch only"),
        ("cdn_410", "status 410"),
        ("cdn_429", "status 429"),
        ("cdn_500", "status 500 or 503"),
        ("cdn_empty", "status 200 and 0 bytes"),
        ("cdn_html", "status 200 and an HTML page"),
        ("error_385_as_mp4", "status 200, video/mp4, and an error text of 385 bytes"),
        ("placeholder", "one well-formed MP4 of six seconds, whichever video was asked for"),
        ("placeholder_fits", "one well-formed MP4 for all videos of the same length"),
        ("mp3_as_mp4", "sound where a video or picture should be, under its Content-Type"),
        ("truncated", "fewer bytes than Content-Length, then the connection closes"),
        ("truncated_unsaid", "no Content-Length, and the connection closes early"),
        ("cut_at_box", "no Content-Length, an MP4 that ends tidily before moov or mdat"),
        ("cdn_reset", "a reset in the middle of the body"),
        ("stall", "half the body, then silence", 60.0, "s"),
        ("slow_body", "the body trickles", 2000.0, "bytes/s"),
        ("chunked", "the right file, chunked"),
        ("no_length", "the right file, ended by closing"),
        ("wrong_type", "the right file under a wrong Content-Type"),
        ("redirect", "302 to another path, which has the file"),
        ("redirect_private", "302 to a private address"),
        ("expired_lies", "a dead link gives 0 bytes, a page, or an error as video/mp4, all with status 200"),
        ("fat_headers", "more header bytes than anyone should read", 100_000.0, "bytes"),
        ("endless", "a body that goes on", 300.0, "MiB"),
    ),
)  # fmt: skip

_BY_NAME: Mapping[str, Kind] = {kind.name: kind for kind in KINDS}
_AMOUNTS = ("rpm", "burst", "patience")


@dataclass(frozen=True, slots=True)
class Setting:
    """How often one kind strikes (`share`, 0..1) from `since` to `until`, seconds after the world's start."""

    share: float
    amount: float | None = None
    since: float = 0.0
    until: float = math.inf

    def holds(self, at: float) -> bool:
        """True when `at` (seconds after the start) lies in the window; the default window holds always."""
        return (self.since <= 0 or at >= self.since) and at < self.until


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """Which faults strike, and the API's limits.

    `rpm`: calls a minute before 429, `burst`: calls a second; None = never. `patience`: after so
    many failed answers about one post, API and CDN together, it is answered truthfully, so that
    everything alive can be archived in `patience` + 1 attempts; None = the faults never tire.
    """

    settings: Mapping[str, tuple[Setting, ...]] = field(default_factory=dict)
    rpm: int | None = None
    burst: int | None = None
    patience: int | None = None
    _at_door: Mapping[Door, tuple[str, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        sorted_out = {door: tuple(n for n in self.settings if _known(n).door is door) for door in Door}
        object.__setattr__(self, "_at_door", sorted_out)

    @classmethod
    def parse(cls, text: str) -> FaultPlan:
        """Read `hostile,throttle_429=0.05,slow=0.1:20,not_found_outage@3600-7200,rpm=200`.

        A comma list of presets, `NAME[=SHARE][:AMOUNT][@FROM-TO]` (share 1 when unsaid; seconds
        after the start) and `rpm=`, `burst=`, `patience=` (a number or `none`). Later wins; raises
        ValueError that names the word and what would be right.
        """
        plan = cls()
        for word in filter(None, (part.strip() for part in text.split(","))):
            plan = plan.joined(PRESETS[word]) if word in PRESETS else plan._worded(word)
        return plan

    def __str__(self) -> str:
        """Write the plan so that `parse` reads it back."""
        words = [_spelled(name, setting) for name, row in sorted(self.settings.items()) for setting in row]
        limits = [f"{name}={getattr(self, name)}" for name in _AMOUNTS if getattr(self, name) is not None]
        return ",".join(words + limits) or "calm"

    def having(self, name: str, share: float, amount: float | None = None) -> FaultPlan:
        """Return the plan with one kind set anew, without a window; share 0 takes it out."""
        kept = {key: row for key, row in self.settings.items() if key != _known(name).name}
        if share > 0:
            kept[name] = (Setting(share, amount),)
        return replace(self, settings=kept)

    def share(self, name: str, at: float) -> float:
        """Return how often a kind strikes at `at` seconds after the start."""
        row = self.settings.get(name)
        return max((s.share for s in row if s.holds(at)), default=0.0) if row else 0.0

    def amount(self, name: str) -> float:
        """Return how much of it: what the plan says, else the kind's default."""
        told = [s.amount for s in self.settings.get(name, ()) if s.amount is not None]
        return told[-1] if told else _known(name).amount or 0.0

    def struck(self, door: Door, at: float, seed: int, *what: object) -> frozenset[str]:
        """Return the kinds behind `door` that strike `what` at `at`."""
        return frozenset(name for name in self._at_door[door] if roll(seed, name, *what) < self.share(name, at))

    def joined(self, other: FaultPlan, taken: frozenset[str] = frozenset()) -> FaultPlan:
        """Return this plan with another on top; limits in `taken` come from `other` even when they are None."""

        def limit(name: str) -> int | None:
            theirs: int | None = getattr(other, name)
            mine: int | None = getattr(self, name)
            return theirs if theirs is not None or name in taken else mine

        return FaultPlan({**self.settings, **other.settings}, limit("rpm"), limit("burst"), limit("patience"))

    def _worded(self, word: str) -> FaultPlan:
        name, _, value = word.partition("=")
        if name in _AMOUNTS:
            return self.joined(FaultPlan(**_limit(word, name, value)), frozenset({name}))
        name, setting = _read(word)
        row = self.settings.get(name, ())
        earlier = tuple(s for s in row if s.until < math.inf) if setting.until < math.inf else ()
        return replace(self, settings={**self.settings, name: (*earlier, setting)})


_WORD = re.compile(
    r"(?P<name>[a-z0-9_]+)(=(?P<share>[0-9.]+))?(:(?P<amount>[0-9.]+))?(@(?P<since>[0-9.]+)-(?P<until>[0-9.]+))?"
)


def _read(word: str) -> tuple[str, Setting]:
    found = _WORD.fullmatch(word)
    if not found:
        raise ValueError(f"fault {word!r}: write NAME[=SHARE][:AMOUNT][@FROM-TO], for example slow=0.05:20@0-600")
    kind = _known(found["name"])
    try:
        share = float(found["share"] or 1)
        amount = float(found["amount"]) if found["amount"] else None
        since, until = float(found["since"] or 0), float(found["until"] or math.inf)
    except ValueError:
        raise ValueError(f"fault {word!r}: not a number") from None
    if not 0 <= share <= 1:
        raise ValueError(f"fault {word!r}: a share lies between 0 and 1")
    return kind.name, Setting(share, amount, since, until)


def _known(name: str) -> Kind:
    if name in _BY_NAME:
        return _BY_NAME[name]
    near = difflib.get_close_matches(name, [*_BY_NAME, *PRESETS, *_AMOUNTS], 1)
    raise ValueError(f"unknown fault {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))


def _limit(word: str, name: str, value: str) -> dict[str, Any]:
    if value != "none" and not (value.isascii() and value.isdigit()):
        raise ValueError(f"{word!r}: write a whole number or none")
    return {name: None if value == "none" else int(value)}


def _spelled(name: str, setting: Setting) -> str:
    text = f"{name}={setting.share:g}"
    if setting.amount is not None:
        text += f":{setting.amount:.12g}"
    return text if setting.until == math.inf else f"{text}@{setting.since:.12g}-{setting.until:.12g}"


def _preset(shares: Mapping[str, float], **limits: int) -> FaultPlan:
    return FaultPlan({name: (Setting(share),) for name, share in shares.items()}, **limits)


def _each(share: float, names: Iterable[str]) -> dict[str, float]:
    return dict.fromkeys(names, share)


_UNTOLD = ("placeholder", "placeholder_fits")  # nothing tells the first few of them from the real files

_NEW_SHAPES = (
    "images_as_objects",
    "images_gone",
    "links_renamed",
    "links_as_objects",
)  # what they hide is not there to be saved: no bad week, a changed API

PRESETS: Mapping[str, FaultPlan] = {
    "calm": FaultPlan(),
    # A bad week: every kind at a few per cent or less, but for those that stop an operator cold.
    "hostile": _preset(
        {
            "deleted": 0.06, "private": 0.02, "region_locked": 0.01, "renamed": 0.05,
            **_each(0.01, ("http_500", "http_502_html", "empty_body", "html_200", "broken_json", "reset", "slow")),
            **_each(0.01, ("throttle_429", "unknown_message", "not_found_404")),
            # wrong_id stays rare: each costs a credit, and no bad week has many
            "timeout": 0.004, "wrong_id": 0.0005,
            **_each(0.1, ("enveloped", "gzip", "unsized")),
            **_each(0.02, ("missing_videos", "bad_item", "ads", "strangers", "repeats", "short_page")),
            **_each(0.01, ("empty_page", "stuck_cursor", "circle", "endless_more", "missing_cursor")),
            "rerank": 1.0,
            **_each(0.02, (kind.name for kind in KINDS if kind.door is Door.SHAPE and kind.name not in _NEW_SHAPES)),
            **_each(0.02, ("expired_at_birth", "short_lived", "dies_early", "foreign_host")),
            **_each(0.01, ("hd_403", "hd_429", "hd_empty", "hd_truncated", "hd_is_html", "hd_smaller")),
            **_each(0.005, (kind.name for kind in KINDS if kind.door is Door.CDN and kind.name not in _UNTOLD)),
            **_each(0.05, ("chunked", "no_length", "wrong_type")), "expired_lies": 0.3, "endless": 0.002,
        },
        rpm=200, burst=50, patience=3,
    ),
    # A healthy first hour, then two hours in which no post is found.
    "outage": FaultPlan({"not_found_outage": (Setting(1.0, None, 3600.0, 10800.0),)}),
}  # fmt: skip

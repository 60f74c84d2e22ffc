"""The record in the store that a post, or all of an author's, was taken out: it says so to a database made anew.

One small object each, written once and never changed, with nothing in it that the post held. Must not: tell what
became of the removal since; the files that stand, or do not, tell that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from clipledger.core.model import ObjectKey
from clipledger.core.times import iso_time, read_iso_time

RECALLED_S = 7 * 86_400.0
"""What only the store remembers as withdrawn can be brought back for so long before it is erased, or longer."""

FOLDER = "removals/"
MAX_BYTES = 64 * 1024
_FORMAT = "clipledger-removal/1"
_AUTHOR = "author="
_TEXTS = ("aweme_id", "author_id", "reason", "request", "rule", "who")
_TIMES = ("asked_at", "purge_at")
_ID = re.compile(r"[0-9]{1,20}")
_LATEST = 4e9  # in 2096
_BYTES_MAX = 2**63
_FILES_MAX = 1000


class BadTombstone(ValueError):
    """Bytes that are no tombstone; the message says why."""


@dataclass(frozen=True, slots=True)
class RemovedFile:
    """One file that was removed, or is to be."""

    sha256: str
    kind: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What was taken out, by whom, when (UTC seconds) and why; one of `aweme_id` and `author_id` is empty."""

    aweme_id: str
    author_id: str
    reason: str
    request: str
    rule: str
    who: str
    asked_at: float
    purge_at: float
    files: tuple[RemovedFile, ...] = ()


def key_of(stone: Tombstone) -> ObjectKey:
    """Name the object: by the id of the post or of the author."""
    return ObjectKey(f"{FOLDER}{stone.aweme_id or _AUTHOR + stone.author_id}.json")


def key_of_post(aweme_id: str) -> ObjectKey:
    """Name the object of a post."""
    return ObjectKey(f"{FOLDER}{aweme_id}.json")


def key_of_author(author_id: str) -> ObjectKey:
    """Name the object of an author."""
    return ObjectKey(f"{FOLDER}{_AUTHOR}{author_id}.json")


def encode(stone: Tombstone) -> bytes:
    """Write a tombstone: the same one gives the same bytes."""
    body = {"format": _FORMAT} | asdict(stone) | {name: iso_time(getattr(stone, name)) for name in _TIMES}
    return (json.dumps(body, ensure_ascii=False, indent=1, sort_keys=True) + "\n").encode("utf-8", "replace")


def decode(key: ObjectKey, body: bytes) -> Tombstone:
    """Read a tombstone that stands under `key`; BadTombstone when it is none, or another's.

    Whoever may write to the store may write one: nothing in it may harm more than a withdrawal can.
    """
    try:
        told = json.loads(body)
        stone, written = _stone(told), told["format"]
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise BadTombstone(f"cannot be read: {type(error).__name__}") from error
    if written != _FORMAT or bool(stone.aweme_id) is bool(stone.author_id) or key_of(stone) != key:
        raise BadTombstone("is of another format, or another's")
    return stone


def _stone(told: dict[str, Any]) -> Tombstone:
    aweme_id, author_id, reason, request, rule, who = (_text(told[name]) for name in _TEXTS)
    asked_at, purge_at = (read_iso_time(_text(told[name])) for name in _TIMES)
    if not (0 < asked_at <= purge_at < _LATEST) or not all(
        _ID.fullmatch(each) for each in (aweme_id, author_id) if each
    ):
        raise ValueError("an id or a moment that cannot be")
    return Tombstone(aweme_id, author_id, reason, request, rule, who, asked_at, purge_at, _files(told["files"]))


def _files(told: Sequence[dict[str, Any]]) -> tuple[RemovedFile, ...]:
    if not isinstance(told, list) or len(told) > _FILES_MAX:
        raise TypeError("not a list of files")
    return tuple(RemovedFile(_text(each["sha256"]), _text(each["kind"]), _count(each["bytes"])) for each in told)


def _count(value: object) -> int:
    if not isinstance(value, int) or not 0 <= value < _BYTES_MAX:
        raise ValueError("not a number of bytes")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise TypeError("not text")
    value.encode()  # a lone surrogate is none
    return value

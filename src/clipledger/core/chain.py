"""The log of what people did to the archive: what a row says, and the hash that ties it to the row before.

A row's hash covers all its words and the hash of its predecessor, so that nothing can be changed, left out
or put in between without every later hash being wrong. What is cut off at the end only shows against a head
that was noted elsewhere. Must not: read a clock, or know where the rows are kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from enum import StrEnum
from hashlib import sha256

FIRST = "0" * 64
"""What stands for the hash before the first row."""


class Act(StrEnum):
    """What was done."""

    INIT = "init"
    MIGRATE = "migrate"
    SETTINGS = "settings"
    ADD = "add"
    DROP_SOURCE = "drop_source"
    PAUSE = "pause"
    RESUME = "resume"
    RETRY = "retry"
    ACKNOWLEDGE = "acknowledge"
    EXPORT = "export"
    HOLD = "hold"
    RELEASE = "release"
    WITHDRAW = "withdraw"
    RESTORE = "restore"
    PURGE = "purge"
    RETIRE = "retire"
    COOL = "cool"
    GRANT = "grant"
    REVOKE = "revoke"
    LOGIN = "login"
    LOGOUT = "logout"
    VERIFY = "verify"
    WORK = "work"
    REST = "rest"


@dataclass(frozen=True, slots=True)
class Who:
    """Who acts: a person's or a service's name, on which machine, with which version of the program."""

    operator: str
    host: str
    version: str


@dataclass(frozen=True, slots=True)
class Entry:
    """What is to be told. `subject`: an id, `author:ID`, a source, or ''. `detail`: plain facts, never content.

    Nobody can take a row out again: a title, a handle or a link has no place here.
    """

    act: Act
    subject: str = ""
    why: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One row as it is kept. `at` is UTC text to the millisecond, which both databases give back as it was."""

    seq: int
    at: str
    operator: str
    host: str
    version: str
    act: str
    subject: str
    why: str
    detail: str
    before: str
    hash: str


def next_row(seq: int, before: str, at: str, who: Who, entry: Entry) -> Row:
    """Write the row that follows the one with the hash `before`."""
    told = (seq, at, who.operator, who.host, who.version, entry.act.value, entry.subject, entry.why, entry.detail)
    return Row(*told, before, _hash((*told, before)))


def broken_at(rows: Iterable[Row], seq: int, before: str) -> tuple[int, str] | None:
    """Find the first row that does not follow: rows in order, behind row `seq` with the hash `before`.

    Gives its number and what is wrong with it; None when all of them hold.
    """
    for row in rows:
        if row.seq != seq + 1:
            return row.seq, f"row {seq + 1} is missing before it"
        if row.before != before:
            return row.seq, "it does not follow the row before it"
        if row.hash != _hash(astuple(row)[:-1]):
            return row.seq, "its words were changed after it was written"
        seq, before = row.seq, row.hash
    return None


def _hash(words: tuple[object, ...]) -> str:
    return sha256(json.dumps(words, ensure_ascii=True, separators=(",", ":")).encode("ascii")).hexdigest()

"""What a check found: a colour, and three sentences.

Must not: print, or know an exit code; the error behind a red finding stands for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from clipledger.core.errors import ClipledgerError, Misconfigured


class Colour(StrEnum):
    """Green: right. Yellow: works, but look at it. Red: something that is asked for will not work."""

    GREEN = "green"
    YELLOW = "yellow"
    RED = "red"


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding: what was looked at, what is there, what that means and what to do next.

    `cause` is the error that a run would meet, for red ones only.
    """

    check: str
    colour: Colour
    found: str
    means: str = ""
    next: str = ""
    cause: ClipledgerError | None = None


def green(check: str, found: str, means: str = "") -> Finding:
    """Say that something is right."""
    return Finding(check, Colour.GREEN, found, means)


def yellow(check: str, found: str, means: str, next_: str) -> Finding:
    """Say that something works and should be looked at."""
    return Finding(check, Colour.YELLOW, found, means, next_)


def red(check: str, found: str, means: str, next_: str, cause: ClipledgerError | None = None) -> Finding:
    """Say that something will not work. Without a cause it is a matter of configuration."""
    return Finding(check, Colour.RED, found, means, next_, cause or Misconfigured(found))

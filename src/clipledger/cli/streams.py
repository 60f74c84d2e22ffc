"""The standard streams: open, written to at once, and never a reason to stop working.

Imports next to nothing: `--version` is answered with this alone. Must not: know what is said.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO


def write_line(out: TextIO | None, line: str) -> None:
    """Write a line at once; what the stream cannot spell is escaped, and a stream that fails is given up.

    A reader that went away (`| head`), or none at all, is no reason to stop working: the rest goes nowhere. A
    device that is full is told once, and makes a success a failure (`lost_output`).
    """
    if out is None:
        return  # the stream was closed before we began
    try:
        out.write(_spelt(out, line) + "\n")
        out.flush()
    except BrokenPipeError:
        _give_up(out)
    except OSError as error:
        _give_up(out)
        _lost.append(f"cannot write {getattr(out, 'name', 'its output').strip('<>')}: {error.strerror}")
        if out is not sys.stderr:
            write_line(sys.stderr, f"clipledger: {_lost[-1]}")


def lost_output() -> bool:
    """Say whether something that was to be printed could not be, other than for a reader that went away."""
    return bool(_lost)


def keep_streams_open() -> None:
    """Put nothing where a standard stream was closed: else the next file opened, a database, would take its number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one


_lost: list[str] = []


def _spelt(out: TextIO, line: str) -> str:
    encoding = getattr(out, "encoding", None) or "utf-8"
    try:
        line.encode(encoding, getattr(out, "errors", None) or "strict")
    except UnicodeEncodeError:
        return line.encode(encoding, "backslashreplace").decode(encoding)
    return line


def _give_up(out: TextIO) -> None:
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, out.fileno())
        os.close(nowhere)


def printable(text: str) -> str:
    """Escape what would move a terminal's cursor or hide text: titles and handles come from strangers."""
    return "".join(c if c == "\n" or c.isprintable() or c == "\u200d" else f"\\x{ord(c):02x}" for c in text)

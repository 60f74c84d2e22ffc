"""What a command says: one JSON document on stdout, or words for people.

With `--json` stdout holds the document and nothing else; everything meant for people goes to stderr.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from clipledger.cli.exits import Exit
from clipledger.cli.streams import printable, write_line

NAMED = 5
"""Ids that are named in words; the rest is counted."""

_PROPOSED = re.compile(r"`clipledger (?=(?!init|demo|sim|[^`]*--help`)[a-z])")


@dataclass(slots=True)
class Context:
    """The global options of one call."""

    archive: Path = Path()
    json: bool = False
    loudness: int = 0  # -1 quiet, 0, 1 verbose
    exit: Exit = Exit.OK
    write: Callable[[TextIO | None, str], None] = write_line
    named: bool = False  # the command line says which archive: what we propose to type must say so too

    def spelt(self, text: str) -> str:
        """Name the archive in the commands that a text proposes, where whoever asked had to name it."""
        if not self.named:
            return text
        which = f"`clipledger --archive {shlex.quote(str(self.archive))} "
        return _PROPOSED.sub(lambda _: which, text)

    def tell(self, text: str) -> None:
        """Say something to people: stdout, or stderr with --json; nothing with -q."""
        if self.loudness >= 0:
            self.write(sys.stderr if self.json else sys.stdout, printable(self.spelt(text)))

    def marked(self, mark: str, text: str) -> None:
        """Say something to people behind a mark of our own, which may be coloured; nothing with -q."""
        if self.loudness >= 0:
            self.write(sys.stdout, f"{mark} {printable(self.spelt(text))}")

    def warn(self, text: str) -> None:
        """Say what people must see even with -q."""
        self.write(sys.stderr, printable(self.spelt(text)))

    def document(self, body: Mapping[str, Any] | Sequence[Any]) -> None:
        """Print the one JSON document, in ASCII: a folder's name may be bytes that no encoding can print.

        An object names how the command ends; rows of a list speak for themselves.
        """
        if isinstance(body, Mapping):
            body = dict(body)
            body.setdefault("exit", self.exit.word)
        self.write(sys.stdout, json.dumps(body, default=_spelt_bytes))

    def line(self, body: Mapping[str, Any]) -> None:
        """Print one line of a JSON stream, at once."""
        self.write(sys.stdout, json.dumps(body, default=_spelt_bytes))

    def log(self, body: Mapping[str, Any]) -> None:
        """Print one JSON line for whoever collects logs: stderr, where a service's journal reads it."""
        self.write(sys.stderr, json.dumps(body, default=_spelt_bytes))


def _spelt_bytes(value: object) -> str:
    """Spell what JSON has no form for: bytes that somebody put where the database keeps text."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    raise TypeError(f"{type(value).__name__} in a document")


def one_line(value: object) -> str:
    """Write a value on one line, so that no title can forge a line of ours."""
    return " ".join(str(value).split())


def table(rows: Sequence[Sequence[object]], head: Sequence[str]) -> str:
    """Lay rows out in columns: text to the left, numbers to the right."""
    cells = [[_cell(cell) for cell in row] for row in rows]
    widths = [max(len(line[i]) for line in [list(head), *cells]) for i in range(len(head))]
    numeric = [all(isinstance(row[i], int | float) or row[i] is None for row in rows) for i in range(len(head))]

    def lay(line: Sequence[str]) -> str:
        return "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()

    return "\n".join(lay(line) for line in [list(head), *cells])


def _cell(value: object) -> str:
    # A line break inside a cell would let a stranger's title forge a row.
    return "-" if value is None else printable(str(value)).replace("\n", "\\n")


def some(ids: Sequence[str]) -> str:
    """Name the first ids, and count the rest."""
    return ", ".join(ids[:NAMED]) + (f" and {len(ids) - NAMED} more" if len(ids) > NAMED else "")


def tell_withheld(context: Context, ids: Sequence[str]) -> None:
    """Say that ids are kept out, and what tells why."""
    if ids:
        context.tell(
            f"withheld: {len(ids)} (taken out, and kept out: {some(ids)}); `clipledger show ID` says why, "
            "`clipledger withdraw ID --undo` brings back what is not erased"
        )


def size(count: float) -> str:
    """Write bytes for people: 1.4 GB."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if round(count, 1) < 1000 or unit == "TB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError

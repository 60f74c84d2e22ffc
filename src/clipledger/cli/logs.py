"""Structured logs: one JSON line an event, in one form wherever it goes, and a file that rotates by size.

The same line goes to stdout with `--json`, to stderr with `--log-format json` and into `--log-file`. Its
fields are those of `core.told`; secrets are gone before an event comes here. Must not: decide what is told.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Any

from clipledger.core.errors import Misconfigured
from clipledger.core.times import iso_time
from clipledger.core.told import level_of
from clipledger.events import Event

Speller = Callable[[Event], dict[str, Any]]

MAX_BYTES = 64 * 2**20
"""Size at which a log file is moved aside: some 300,000 lines."""

KEPT = 4
"""Files moved aside that are kept: with the one in use at most 320 MiB, whatever happens."""

_MODE = 0o640


class LogFormat(StrEnum):
    """How a run tells what happens to stderr."""

    TEXT = "text"
    JSON = "json"


def speller(archive: str, worker: str) -> Speller:
    """Give the function that writes an event as a line's fields: time, level, name and origin first."""

    def spell(event: Event) -> dict[str, Any]:
        return {
            "at": iso_time(event.at),
            "level": level_of(event.name).value,
            "event": event.name,
            "archive": archive,
            "worker": worker,
            **event.fields,
        }

    return spell


class LogFile:
    """JSON lines in a file: `FILE` in use, `FILE.1` before it, up to `FILE.<kept>`.

    Several processes may write one file: each line is one append, and whoever finds the file full moves it
    aside under a lock; the others notice and open the new one, as they do when `logrotate` moved it. A disk
    that is full costs lines, never the run; `dropped` counts them.
    """

    def __init__(self, path: Path, *, max_bytes: int = MAX_BYTES, kept: int = KEPT) -> None:
        self._path, self._max_bytes, self._kept = path, max_bytes, kept
        self.dropped = 0
        self._torn = False
        try:
            self._fd = self._open()
        except OSError as error:
            raise Misconfigured(f"--log-file {path}: cannot be written: {error.strerror}") from None

    def write(self, fields: Mapping[str, Any]) -> None:
        """Append one line."""
        line = json.dumps(fields).encode() + b"\n"
        try:
            self._make_room(len(line))
            self._append(line)
        except OSError:
            self.dropped += 1

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def _append(self, line: bytes) -> None:
        if self._torn:
            line = b"\n" + line  # the line before was cut short by a full disk: begin on one of its own
        written = os.write(self._fd, line)
        self._torn = written < len(line)
        self.dropped += self._torn

    def _make_room(self, more: int) -> None:
        if not self._is_current():
            self._reopen()
        if (size := os.fstat(self._fd).st_size) and size + more > self._max_bytes:
            self._rotate()

    def _rotate(self) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_EX)  # freed when it is closed
        if self._is_current():
            for nth in range(self._kept - 1, 0, -1):
                with suppress(FileNotFoundError):
                    self._aside(nth).rename(self._aside(nth + 1))
            self._path.rename(self._aside(1))
        self._reopen()

    def _is_current(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._fd), self._path.stat())
        except FileNotFoundError:
            return False

    def _reopen(self) -> None:
        fresh = self._open()
        os.close(self._fd)
        self._fd = fresh

    def _aside(self, nth: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{nth}")

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _MODE)

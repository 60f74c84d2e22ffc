"""Lines written beside the work: whoever reads them slowly, or not at all, holds nobody up.

A pipe that nobody reads fills up, and whoever writes to it waits for ever: a server would answer no more. So a
thread waits in its place. Must not: know what a line says.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

KEPT = 10_000
"""Lines that wait for a reader, some 3 MB; the oldest go."""

PATIENCE_S = 1.0
"""How long an end waits for the reader of the last lines."""

Write = Callable[[TextIO | None, str], None]


@contextmanager
def aside(told: Callable[[int], str]) -> Iterator[Write]:
    """Give a way to write lines that never waits; `told` words how many were left out, as soon as somebody reads."""
    lines = _Lines(told)
    # A daemon, and no buffer of the interpreter's in between: the program may end while it waits for a reader.
    threading.Thread(target=lines.run, name="lines", daemon=True).start()
    try:
        yield lines.put
    finally:
        lines.end()


class _Lines:
    """What is still to be written, by file descriptor."""

    def __init__(self, told: Callable[[int], str]) -> None:
        self._told = told
        self._waiting: deque[tuple[int, str]] = deque()
        self._left_out, self._ended, self._writing = 0, False, False
        self._changed = threading.Condition()

    def put(self, out: TextIO | None, line: str) -> None:
        """Take a line to be written to a stream."""
        if out is None:
            return
        with self._changed:
            if len(self._waiting) >= KEPT:
                self._waiting.popleft()
                self._left_out += 1
            self._waiting.append((out.fileno(), line))
            self._changed.notify_all()

    def end(self) -> None:
        """Wait a moment for what is left."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._waiting and not self._writing, PATIENCE_S)

    def run(self) -> None:
        """Write line after line, until the end."""
        while (taken := self._next()) is not None:
            number, text = taken
            _write(number, text.encode("utf-8", "backslashreplace"))
            with self._changed:
                self._writing = False
                self._changed.notify_all()

    def _next(self) -> tuple[int, str] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ended)
            if not self._waiting:
                return None
            self._writing = True
            number, line = self._waiting.popleft()
            before = f"{self._told(self._left_out)}\n" if self._left_out else ""
            self._left_out = 0
            return number, f"{before}{line}\n"


def _write(number: int, text: bytes) -> None:
    while text:
        try:
            text = text[os.write(number, text) :]
        except OSError:
            return  # the reader went away, or the device is full: no reason to stop serving

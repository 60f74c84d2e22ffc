"""What happened, as it happens: one line an event, one counter a name, no secrets.

Every part of the program that has something to tell emits here; who listens (the JSON lines of
`--json`, the plain lines and the live display of a terminal, the tests) is chosen at the top.
Must not: decide anything, or keep what only the database should keep.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from clipledger.core.model import Secret
from clipledger.core.parse import scrub_text

Plain = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened at `at` (unix seconds). Fields are plain values, already clean."""

    at: float
    name: str
    fields: Mapping[str, Plain]


Listener = Callable[[Event], None]


class _Now(Protocol):
    def now(self) -> float: ...


class Events:
    """Count every event by name and hand it to the listeners, in order."""

    def __init__(self, clock: _Now, *listeners: Listener) -> None:
        self._clock = clock
        self._listeners = listeners
        self.counts: Counter[str] = Counter()

    def emit(self, name: str, **fields: object) -> None:
        """Tell that `name` happened. Secrets are hidden by type, links in texts are cut."""
        self.counts[name] += 1
        if self._listeners:
            event = Event(self._clock.now(), name, {key: _plain(value) for key, value in fields.items()})
            for listener in self._listeners:
                listener(event)


def _plain(value: object) -> Plain:
    if isinstance(value, Secret):
        return "***"
    if value is None or isinstance(value, bool | int | float):
        return value
    return scrub_text(str(value))

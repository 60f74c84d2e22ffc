"""What happened, as it happens: one line an event, one counter a name, no secrets.

Every part of the program that has something to tell emits here; who listens (the JSON lines of
`--json` and of logs, the lines and the live display of a terminal, the metrics, the tests) is chosen at
the top. What may be told stands in `core.told`.
Must not: decide anything, or keep what only the database should keep.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from clipledger.core.model import Secret
from clipledger.core.scrub import scrub_text
from clipledger.core.told import EVENTS

Plain = str | int | float | bool | None

RARE = frozenset(name for name, told in EVENTS.items() if told.rare)
"""What an operator asks about later: these are kept in the database too."""

_RARE_HELD = 1000


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
        self._rare: deque[Event] = deque(maxlen=_RARE_HELD)

    def emit(self, name: str, **fields: object) -> None:
        """Tell that `name` happened. Secrets are hidden by type, links in texts are cut."""
        self.counts[name] += 1
        if not self._listeners and name not in RARE:
            return
        event = Event(self._clock.now(), name, {key: _plain(value) for key, value in fields.items()})
        if name in RARE:
            self._rare.append(event)
        for listener in self._listeners:
            listener(event)

    def take_rare(self) -> list[Event]:
        """Hand over the rare events since the last time, to be kept."""
        taken = list(self._rare)
        self._rare.clear()
        return taken


def _plain(value: object) -> Plain:
    if isinstance(value, Secret):
        return "***"
    if value is None or isinstance(value, bool | int | float):
        return value
    return scrub_text(str(value))

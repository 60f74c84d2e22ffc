"""What a run shows while it works: JSON lines, a live display on a terminal, plain lines elsewhere.

Must not: know the form of a JSON line (`cli.logs`), or keep anything but counts.
"""

from __future__ import annotations

import sys
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager

from clipledger.archive import Archive
from clipledger.cli.logs import LogFormat, Speller
from clipledger.cli.output import Context, size
from clipledger.cli.streams import printable
from clipledger.core.times import iso_time
from clipledger.core.told import EVENTS
from clipledger.events import Event, Listener

_QUIET = frozenset(name for name, told in EVENTS.items() if told.each) | {"started"}
"""Told on plain lines only with -v: one a video would drown the rest."""

_EVERY_S = 10.0


@contextmanager
def watch(context: Context, archive: Archive, spell: Speller, log_format: LogFormat) -> Iterator[Listener]:
    """Give the listener that fits: what was asked for and where the output goes decide."""
    if context.json:
        yield lambda event: context.line(spell(event))
    elif context.loudness < 0:
        yield lambda _event: None
    elif log_format is LogFormat.JSON:
        yield lambda event: context.log(spell(event))
    elif sys.stderr.isatty():
        yield from _live(archive)
    else:
        yield _Plain(context)


def plain(context: Context, spell: Speller) -> Listener:
    """Give a listener that writes lines, for a program whose terminal is not all its own."""
    if context.json:
        return lambda event: context.line(spell(event))
    return _Plain(context)


class _Plain:
    """One line for what matters, and a line of totals every ten seconds while videos come in."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._totals = _Totals()
        self._told_at = 0.0

    def __call__(self, event: Event) -> None:
        self._totals.take(event)
        if event.name not in _QUIET or self._context.loudness > 0:
            self._context.warn(f"{iso_time(event.at)[11:19]} {_words(event)}")
        elif event.at - self._told_at >= _EVERY_S:
            self._told_at = event.at
            self._context.warn(f"{iso_time(event.at)[11:19]} {self._totals.words()}")


class _Totals:
    """Counts of this run."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.bytes = 0
        self.new = 0
        self.dead = 0
        self.recent: deque[float] = deque(maxlen=2000)

    def take(self, event: Event) -> None:
        """Count one event."""
        self.counts[event.name] += 1
        if event.name == "stored":
            self.bytes += int(event.fields.get("bytes") or 0)
            self.recent.append(event.at)
        elif event.name == "page":
            self.new += int(event.fields.get("new") or 0)
        elif event.name in ("dead", "confirmed_gone"):
            self.dead += int(event.fields.get("ids") or 1)

    def per_minute(self) -> float:
        """Give the rate of stored posts over the last minute."""
        if len(self.recent) < 2:
            return 0.0
        last = self.recent[-1]
        window = [at for at in self.recent if at >= last - 60]
        return 60.0 * len(window) / max(last - window[0], 1.0)

    def words(self) -> str:
        """Put the totals in one line."""
        c = self.counts
        return (
            f"{self.new} found, {c['stored']} stored ({size(self.bytes)}, {self.per_minute():.0f}/min), "
            f"{c['archived']} archived, {self.dead} dead, {c['failed']} attempts failed"
        )


def _words(event: Event) -> str:
    return event.name + "".join(f" {key}={value}" for key, value in event.fields.items() if value not in (None, ""))


def _live(archive: Archive) -> Iterator[Listener]:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    totals = _Totals()
    tail: deque[str] = deque(maxlen=6)
    console = Console(stderr=True)
    with Live(console=console, refresh_per_second=4, transient=True) as live:

        def listen(event: Event) -> None:
            totals.take(event)
            if event.name not in _QUIET:
                tail.append(f"{iso_time(event.at)[11:19]} {printable(_words(event))}")
            live.update(Text("\n".join([f"{archive.folder}  {totals.words()}", *tail])))

        yield listen

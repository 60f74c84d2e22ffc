"""When a post was there and when not, as pieces of one line from its creation to now. Must not: hold SQL or draw."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clipledger.core.times import read_iso_time

WIDTH = 100.0


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of the line, in parts of `WIDTH`; `state` is present, gone or unknown."""

    state: str
    x: float
    width: float


def timeline(runs: Sequence[Mapping[str, Any]], created: float, now: float) -> tuple[Piece, ...]:
    """Lay runs of observations (as `show` tells them) on a line from `created` to `now`."""
    begin = min([created, *(read_iso_time(run["first_at"]) for run in runs)])
    span = max(now - begin, 1.0)
    return tuple(
        Piece(state, round(WIDTH * (start - begin) / span, 3), round(max(WIDTH * (end - start) / span, 0.4), 3))
        for state, start, end in _spans(runs, begin, now)
    )


def _spans(runs: Sequence[Mapping[str, Any]], begin: float, now: float) -> Iterator[tuple[str, float, float]]:
    yield "unknown", begin, now
    for run in runs:
        ended = run.get("ended_at")
        last = read_iso_time(run["last_at"])
        end = read_iso_time(ended) if ended else now if run["state"] == "gone" else last
        yield run["state"], read_iso_time(run["first_at"]), end

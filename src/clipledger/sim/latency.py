"""How long the world takes when nothing is wrong: drawn from the seed, never from a clock.

Must not: know faults; what a fault delays is in the `Reply`.
"""

from __future__ import annotations

from dataclasses import dataclass

from clipledger.sim.dice import Draw
from clipledger.sim.reply import Reply


@dataclass(frozen=True, slots=True)
class Span:
    """From `low` to `high`, evenly."""

    low: float
    high: float

    def at(self, unit: float) -> float:
        """Return the value at a roll in [0, 1)."""
        return self.low + (self.high - self.low) * unit


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds before the first byte of the API and of the CDN, and seconds for the whole body of a CDN file.

    Of the downloads, `late_share` take `late_s` for the body instead: a link must outlive them.
    """

    api_s: Span = Span(0.2, 0.8)
    cdn_s: Span = Span(0.05, 0.3)
    body_s: Span = Span(0.2, 3.0)
    late_s: float = 12.0
    late_share: float = 0.1

    def before(self, seed: int, reply: Reply) -> float:
        """Return the seconds before the first byte, without the fault's own wait."""
        draw = Draw(seed, "latency", reply.draw)
        return {"api": self.api_s, "cdn": self.cdn_s}.get(reply.door, NONE).at(draw[0])

    def speed(self, seed: int, reply: Reply) -> float | None:
        """Return the body's bytes per second; None for at once. A fault's own speed comes first."""
        if reply.bytes_per_s is not None:
            return reply.bytes_per_s
        if reply.door != "cdn" or not reply.body:
            return None
        draw = Draw(seed, "speed", reply.draw)
        seconds = self.late_s if draw[0] < self.late_share else self.body_s.at(draw[1])
        return len(reply.body) / seconds if seconds > 0 else None


NONE = Span(0.0, 0.0)
INSTANT = Latency(NONE, NONE, NONE, 0.0, 0.0)

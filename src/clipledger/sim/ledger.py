"""What really happened, in the world's own books: every call, every credit, every byte that was served whole.

Must not: decide anything, or know what the client believes.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from hashlib import blake2b

from clipledger.sim.reply import FileRef, Shown

WINDOW_S = 60.0


@dataclass(frozen=True, slots=True)
class Call:
    """One API call. `at` is its arrival (unix seconds), `subject` the id or word asked about, `credits` what was taken.

    `outcome`: `ok`, `error` (the API said no), `refused` (key, balance), `throttled`, or the fault's name.
    """

    at: float
    path: str
    subject: str
    outcome: str
    credits: int
    status: int


@dataclass(slots=True)
class Ledger:
    """Counts from the start of the world. `served`: files handed over whole; `shown`: id -> first time in a list."""

    calls: list[Call] = field(default_factory=list)
    served: Counter[FileRef] = field(default_factory=Counter)
    served_bytes: int = 0
    fetches: Counter[str] = field(default_factory=Counter)
    shown: dict[str, float] = field(default_factory=dict)
    shown_by: dict[str, set[str]] = field(default_factory=dict)
    key_leaks: int = 0
    worst_minute: int = 0
    open_now: Counter[str] = field(default_factory=Counter)
    open_most: Counter[str] = field(default_factory=Counter)
    _window: deque[float] = field(default_factory=deque)

    def arrived(self, at: float) -> None:
        """Count an API call into the sliding minute: `worst_minute` is the most that any (t-60 s, t] held."""
        self._window.append(at)
        while self._window[0] <= at - WINDOW_S:
            self._window.popleft()
        self.worst_minute = max(self.worst_minute, len(self._window))

    def delivered(self, receipt: FileRef | Shown | None, at: float, size_bytes: int) -> None:
        """Book what a renderer handed over to the last byte."""
        match receipt:
            case FileRef():
                self.served[receipt] += 1
                self.served_bytes += size_bytes
            case Shown():
                self.shown_by.setdefault(receipt.source, set()).update(receipt.ids)
                for post_id in receipt.ids:
                    self.shown.setdefault(post_id, at)
            case None:
                pass

    def opened(self, door: str) -> None:
        """Count an exchange that begins."""
        self.open_now[door] += 1
        self.open_most[door] = max(self.open_most[door], self.open_now[door])

    def closed(self, door: str) -> None:
        """Count an exchange that ended."""
        self.open_now[door] -= 1

    @property
    def credits(self) -> int:
        """Return how many credits were taken."""
        return sum(call.credits for call in self.calls)

    def calls_about(self, path: str) -> dict[str, int]:
        """Return subject -> number of calls of one endpoint."""
        return dict(Counter(call.subject for call in self.calls if call.path == path))

    def credits_about(self, path: str) -> dict[str, int]:
        """Return subject -> credits taken by one endpoint."""
        total: Counter[str] = Counter()
        for call in self.calls:
            if call.path == path and call.credits:
                total[call.subject] += call.credits
        return dict(total)

    def digest(self) -> str:
        """Return a hash of all calls and all files served: equal for equal runs."""
        hashed = blake2b(digest_size=16)
        for call in self.calls:
            hashed.update(repr(call).encode())
        for ref, times in sorted(self.served.items(), key=lambda entry: repr(entry[0])):
            hashed.update(f"{ref!r}{times}".encode())
        return hashed.hexdigest()

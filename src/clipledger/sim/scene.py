"""The state that all doors of the world share: time, plan, keys, counts of calls, books.

Must not: answer anything; that is for api, cdn and control.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from clipledger.sim.faults import Door, FaultPlan
from clipledger.sim.ledger import Ledger
from clipledger.sim.links import Signer
from clipledger.sim.population import Population


@dataclass(slots=True)
class Scene:
    """One world's state. `start` in unix seconds; `balance` None: credits without end."""

    seed: int
    start: float
    now: Callable[[], float]
    plan: FaultPlan
    population: Population
    signer: Signer
    api_key: str
    balance: int | None = None
    ledger: Ledger = field(default_factory=Ledger)
    _nth: Counter[tuple[str, ...]] = field(default_factory=Counter)
    _failures: Counter[str] = field(default_factory=Counter)
    _taken: deque[float] = field(default_factory=deque)

    def nth(self, *what: str) -> int:
        """Return how often this was asked before, and count this time."""
        self._nth[what] += 1
        return self._nth[what] - 1

    def struck(self, door: Door, *what: object) -> frozenset[str]:
        """Return the faults that strike `what` now."""
        return self.plan.struck(door, self.now() - self.start, self.seed, *what)

    def patient(self, post_id: str) -> bool:
        """True when this post has failed often enough and is now answered truthfully."""
        return self.plan.patience is not None and self._failures[post_id] >= self.plan.patience

    def failed(self, post_id: str) -> None:
        """Count an answer about a post that cannot have helped the client."""
        if post_id:
            self._failures[post_id] += 1

    def over_limit(self) -> bool:
        """True when one more call now breaks the API's limits; else the call is taken into account."""
        at, taken = self.now(), self._taken
        while taken and taken[0] <= at - 60.0:
            taken.popleft()
        over = self.plan.rpm is not None and len(taken) >= self.plan.rpm
        if not over and self.plan.burst is not None:
            over = len(taken) >= self.plan.burst and taken[-self.plan.burst] > at - 1.0
        if not over:
            taken.append(at)
        return over

    def spend(self) -> int:
        """Take one credit and return how many were taken."""
        if self.balance is not None:
            self.balance -= 1
        return 1

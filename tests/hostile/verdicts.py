"""What came of one bad input: taken safely, refused with a reason, or a fault of ours.

Must not: know what was fed, or to what.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from clipledger.core.errors import ClipledgerError
from clipledger.core.sidecar import BadSidecar
from hostile.sandbox import Sandbox

ACCEPTED, REFUSED = "accepted", "refused: "
SLOWEST_S = 10.0
"""No single input may hold the program up for longer, on a busy machine; a server that is away is waited for 5 s."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict on input `number` of its corpus. `fault` is '' unless the program is to blame."""

    number: int
    outcome: str
    seconds: float = 0.0
    fault: str = ""


Feed = Callable[[Sandbox, str, Iterable[int]], Iterator[Verdict]]
"""(where to play, seed, numbers) -> one verdict for each number; an input is a function of seed and number."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """One kind of bad input. `share` of all inputs, in parts of a thousand; `batch` are fed together."""

    name: str
    share: int
    feed: Feed
    batch: int = 500


def refused(error: Exception) -> str:
    """Name a refusal."""
    return f"{REFUSED}{type(error).__name__}"


def judged(number: int, act: Callable[[], str], expected: tuple[type[Exception], ...] = ()) -> Verdict:
    """Do something with an input and say what came of it."""
    began = time.perf_counter()
    fault = ""
    try:
        outcome = act()
    except (ClipledgerError, BadSidecar, *expected) as error:
        outcome = refused(error)
    except Exception as bug:  # noqa: BLE001 whatever else leaves is a finding
        outcome, fault = "fault", f"{type(bug).__name__}: {str(bug)[:300]!r}"
    seconds = time.perf_counter() - began
    if not fault and seconds > SLOWEST_S:
        outcome, fault = "fault", f"took {seconds:.1f} s ({outcome})"
    return Verdict(number, outcome, seconds, fault)


def each(act: Callable[[Sandbox, random.Random], str], *expected: type[Exception]) -> Feed:
    """Make a feed of a function that takes one input drawn from its own dice."""

    def feed(place: Sandbox, seed: str, numbers: Iterable[int]) -> Iterator[Verdict]:
        for number in numbers:
            dice = random.Random(f"{seed}/{number}")
            yield judged(number, lambda dice=dice: act(place, dice), expected)  # type: ignore[misc]

    return feed

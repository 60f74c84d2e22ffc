"""Suit the interpreter to a process that works for hours: turns for its threads, and when garbage is looked for.

Must not: know what the process does. A command that only looks something up is better off without it.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

TURN_S = 0.0005
"""How long one thread keeps the interpreter while others wait. A commit hands it over with each of its statements, and
waited for it each time, 5 ms as Python has it: measured, two thirds more posts a second."""

GARBAGE_MIN = 10_000
"""Objects made, less those dropped, after which cycles are searched for; Python's own 700 is for small programs."""


@contextmanager
def suited_to_work() -> Iterator[None]:
    """Prepare this process; undone at the end."""
    turn_s, thresholds = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(TURN_S)
    gc.freeze()  # what is there for good is not searched
    gc.set_threshold(GARBAGE_MIN)
    try:
        yield
    finally:
        sys.setswitchinterval(turn_s)
        gc.set_threshold(*thresholds)
        gc.unfreeze()

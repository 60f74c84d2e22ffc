"""Suit the interpreter to a process that works for hours: turns for its threads, garbage, freed memory.

Must not: know what the process does. A command that only looks something up is better off without it.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

TURN_S = 0.0005
"""How long one thread keeps the interpreter while others wait. A commit hands it over with each of its statements, and
waited for it each time, 5 ms as Python has it: measured, two thirds more posts a second."""

GARBAGE_MIN = 10_000
"""Objects made, less those dropped, after which cycles are searched for; Python's own 700 is for small programs."""

TRIM_S = 60.0
"""How often freed memory is given back. What glibc keeps of it, in pieces between what is held, grew by 7 MB in an hour
of 350 posts a minute; looking for it takes milliseconds."""


@contextmanager
def suited_to_work() -> Iterator[None]:
    """Prepare this process, whose loop is running, and give freed memory back each `TRIM_S`; undone at the end."""
    turn_s, thresholds = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(TURN_S)
    gc.freeze()  # what is there for good is not searched
    gc.set_threshold(GARBAGE_MIN)
    try:
        with _each(TRIM_S, _given_back()):
            yield
    finally:
        sys.setswitchinterval(turn_s)
        gc.set_threshold(*thresholds)
        gc.unfreeze()


def _given_back() -> Callable[[], object]:
    """Find the C library's way of giving memory back; where it has none there is nothing to do."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return (lambda: trim(0)) if trim is not None else (lambda: None)


@contextmanager
def _each(seconds: float, act: Callable[[], object]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    timer = loop.call_later(seconds, lambda: again())

    def again() -> None:
        nonlocal timer
        act()
        timer = loop.call_later(seconds, again)

    try:
        yield
    finally:
        timer.cancel()

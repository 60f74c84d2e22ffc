"""Suit the interpreter to a process that works for hours: turns for its threads, memory, when garbage is looked for.

Must not: know what the process does. A command that only looks something up is better off without it.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

TURN_S = 0.0005
"""How long one thread keeps the interpreter while others wait. A commit hands it over with each of its statements, and
waited for it each time, 5 ms as Python has it: measured, two thirds more posts a second."""

GARBAGE_MIN = 10_000
"""Objects made, less those dropped, after which cycles are searched for; Python's own 700 is for small programs."""

_MALLOPT = {-8: 1, -3: 64 * 2**10}
"""glibc's M_ARENA_MAX: heaps; and M_MMAP_THRESHOLD: bytes from which on a piece lies outside of them. Left to itself
the C library gives each thread a heap and moves the other bound up with every large piece that is freed; what is held
then pins what is free, and a run of an hour crept up by 9 MB."""


def keep_memory_together() -> None:
    """Have all threads share one heap, and large pieces go back to the system when they are freed.

    To be called before there are threads. Where the C library is not glibc this does nothing.
    """
    import ctypes  # 6 ms, which no other command shall pay

    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        for name, value in _MALLOPT.items():
            library.mallopt(name, value)


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

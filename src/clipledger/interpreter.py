"""Suit the interpreter to a process that works for hours: its loop, turns for its threads, memory, garbage.

Must not: know what the process does. A command that only looks something up is better off without it.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, cast

TURN_S = 0.0005
"""How long one thread keeps the interpreter while others wait. A commit hands it over with each of its statements, and
waited for it each time, 5 ms as Python has it: measured, two thirds more posts a second."""

GARBAGE_MIN = 10_000
"""Objects made, less those dropped, after which cycles are searched for; Python's own 700 is for small programs."""

GARBAGE_S = 60.0
"""Cycles are searched for so often whatever was made. Counted by objects alone, what a failed call leaves behind (its
error, the frames it came through, their buffers) lay about for half an hour: 4,500 objects a minute at 1,500 posts a
minute. A search takes 10 ms, as what the start made is left out."""

_MALLOPT = {-8: 1, -3: 64 * 2**10}
"""glibc's M_ARENA_MAX: heaps; and M_MMAP_THRESHOLD: bytes from which on a piece lies outside of them. Left to itself
the C library gives each thread a heap and moves the other bound up with every large piece that is freed; what is held
then pins what is free, and a run of an hour crept up by 9 MB."""


def keep_memory_together() -> None:
    """Have all threads share one heap, and large pieces go back to the system when they are freed.

    To be called before there are threads. Where the C library is not glibc this does nothing.
    """
    with suppress(OSError, AttributeError):
        for name, value in _MALLOPT.items():
            _c_library().mallopt(name, value)


def new_loop() -> asyncio.AbstractEventLoop:
    """Make the event loop of a process that works: uvloop's where that is installed, else Python's own."""
    with suppress(ImportError):
        return cast(asyncio.AbstractEventLoop, importlib.import_module("uvloop").new_event_loop())
    return asyncio.new_event_loop()


@contextmanager
def suited_to_work() -> Iterator[None]:
    """Prepare this process, whose loop runs; undone at the end."""
    turn_s, thresholds = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(TURN_S)
    gc.freeze()  # what is there for good is not searched
    gc.set_threshold(GARBAGE_MIN)
    tidy = _Tidy(asyncio.get_running_loop())
    try:
        yield
    finally:
        tidy.end()
        sys.setswitchinterval(turn_s)
        gc.set_threshold(*thresholds)
        gc.unfreeze()


def _c_library() -> Any:
    import ctypes  # 6 ms, which no other command shall pay

    return ctypes.CDLL(None)


class _Tidy:
    """Drop what holds itself, and give back what lies free, every `GARBAGE_S` until `end`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._next = loop.call_later(GARBAGE_S, self._look)

    def end(self) -> None:
        self._next.cancel()

    def _look(self) -> None:
        gc.collect()
        with suppress(OSError, AttributeError):
            _c_library().malloc_trim(0)  # glibc's; alone it changed nothing
        self._next = self._loop.call_later(GARBAGE_S, self._look)

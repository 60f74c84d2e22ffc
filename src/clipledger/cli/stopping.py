"""Signals as the two steps of a stop: the first lets what is under way finish, the second cuts.

Must not: know what is stopped.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from clipledger.events import Events

ECHO_S = 0.2
"""`timeout` and some supervisors signal the process and then its whole group: two of one kind, meant as one."""


@contextmanager
def caught(asked: Callable[[str], None]) -> Iterator[None]:
    """Call `asked` with the name of each SIGINT and SIGTERM; one of the same kind within `ECHO_S` is its echo."""
    loop, last = asyncio.get_running_loop(), dict[str, float]()

    def arrived(name: str) -> None:
        now = loop.time()
        if now - last.get(name, float("-inf")) > ECHO_S:
            last[name] = now  # an echo has none: a key that is held down is a second signal in the end
            asked(name)

    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, arrived, number.name)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


@contextmanager
def signals(step: Callable[[], None], events: Events, *, attended: bool = False) -> Iterator[Callable[[], bool]]:
    """Turn SIGINT and SIGTERM into the two steps of a stop; if `attended`, the end of standard input into the first.

    Gives what says whether any of them came.
    """
    loop, seen = asyncio.get_running_loop(), list[str]()

    def asked(name: str) -> None:
        seen.append(name)
        events.emit("stopping", signal=name, how="finishing what is under way" if len(seen) == 1 else "cutting")
        step()

    def heard() -> None:
        if not os.read(0, 4096):
            loop.remove_reader(0)
            if not seen:
                asked("end of input")

    if attended:
        loop.add_reader(0, heard)
    try:
        with caught(asked):
            yield lambda: bool(seen)
    finally:
        loop.remove_reader(0)

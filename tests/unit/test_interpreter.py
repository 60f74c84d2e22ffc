"""A process that works for hours gives back the memory that it no longer holds."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import sys
from pathlib import Path

import pytest

from clipledger.interpreter import TRIM_S, suited_to_work
from contract.archives import in_jumping_time

MB = 2**20


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="NOT TESTED: the C library is not glibc")
def test_freed_memory_is_given_back_within_a_minute() -> None:
    """What was freed in pieces, between others that are still held, leaves the process at the next turn."""

    async def grow_and_shrink() -> None:
        held = [b"x" * 40_000 for _ in range(2_000)]
        with suited_to_work():
            del held[:-1]  # the last one stands above all others, which therefore stay
            before = resident_bytes()
            await asyncio.sleep(TRIM_S + 1)
            assert resident_bytes() < before - 40 * MB

    in_jumping_time(grow_and_shrink())


def test_the_interpreter_is_left_as_it_was() -> None:
    """A server that ends its work, but goes on answering, gets its own habits back."""

    async def work() -> None:
        with suited_to_work():
            assert sys.getswitchinterval() < 0.001 and gc.get_freeze_count()

    before = sys.getswitchinterval(), gc.get_threshold()
    in_jumping_time(work())
    assert (sys.getswitchinterval(), gc.get_threshold()) == before and not gc.get_freeze_count()

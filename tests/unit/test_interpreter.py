"""A process that works for hours has other habits than one that looks something up."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import re
import subprocess
import sys
import weakref

import pytest

from clipledger import interpreter
from clipledger.interpreter import suited_to_work


class Caught:
    """What holds itself, as an error does whose frame names it."""

    def __init__(self) -> None:
        self.itself = self


def test_the_interpreter_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that ends its work, but goes on answering, gets its own habits back."""
    monkeypatch.setattr(interpreter, "GARBAGE_S", 0.01)

    async def work() -> None:
        with suited_to_work():
            assert sys.getswitchinterval() < 0.001 and gc.get_freeze_count()
        left = weakref.ref(Caught())
        await asyncio.sleep(0.1)
        assert left() is not None, "nobody looks any more"

    before = sys.getswitchinterval(), gc.get_threshold()
    asyncio.run(work())
    assert (sys.getswitchinterval(), gc.get_threshold()) == before and not gc.get_freeze_count()


def test_what_holds_itself_does_not_lie_about_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Garbage goes by the clock, however few objects a quiet run makes; again and again."""
    monkeypatch.setattr(interpreter, "GARBAGE_S", 0.01)

    async def work() -> None:
        with suited_to_work():
            for _ in range(3):
                left = weakref.ref(Caught())
                assert left() is not None
                await asyncio.sleep(0.2)
                assert left() is None

    asyncio.run(work())


_MEMORY = """
import ctypes, json, sys, threading
from clipledger.interpreter import keep_memory_together
if sys.argv[1:]:
    keep_memory_together()
library, held, told = ctypes.CDLL(None), [], threading.Barrier(7)
library.fopen.restype = ctypes.c_void_p
def hold():
    held.append([bytes(3000) for _ in range(100)])
    told.wait()
    told.wait()
for _ in range(6):
    threading.Thread(target=hold).start()
bytes(4 * 2**20)  # a large piece comes and goes
held.append(bytes(2**20))
told.wait()
out = ctypes.c_void_p(library.fopen(b"/dev/stdout", b"w"))
library.malloc_info(0, out)
library.fclose(out)
told.wait()
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_info"), reason="NOT TESTED: another C library than glibc")
def test_threads_share_one_heap_and_large_pieces_lie_outside() -> None:
    """What a thread frees the others can use, and no large piece leaves a hole; without this both are otherwise."""

    def told(*words: str) -> tuple[int, int]:
        ended = subprocess.run([sys.executable, "-c", _MEMORY, *words], capture_output=True, text=True, check=True)
        outside = re.findall(r'<total type="mmap" count="\d+" size="(\d+)"', ended.stdout)
        return ended.stdout.count("<heap nr="), int(outside[-1])

    heaps, outside = told("together")
    heaps_left, outside_left = told()
    assert heaps == 1 < heaps_left
    assert outside - outside_left >= 2**20

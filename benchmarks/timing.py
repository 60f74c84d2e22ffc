"""Run a command to its end and tell what it took: time, CPU, and the memory of all its processes.

CPU is what the kernel books to the process and to those it waited for. Memory is the largest sum over the process
tree of proportional set sizes (shared pages once), looked at 20 times a second. Must not: know what is run.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

LOOK_S = 0.05


@dataclass(frozen=True, slots=True)
class Cost:
    """What one command took: seconds by the clock, of CPU, and the largest memory of its processes in MB."""

    wall_s: float
    cpu_s: float
    memory_mb: float


@dataclass(frozen=True, slots=True)
class Spread:
    """Some figures in short."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{self.median:,.4g} ({self.least:,.4g}..{self.most:,.4g})"


def spread(figures: Sequence[float]) -> Spread:
    """Sum figures up."""
    return Spread(statistics.median(figures), min(figures), max(figures))


def timed(command: Sequence[str], *, env: Mapping[str, str] | None = None, codes: Sequence[int] = (0,)) -> Cost:
    """Run a command; RuntimeError with the end of what it said when it ends with another code."""
    began = time.perf_counter()
    process = subprocess.Popen(
        command, env=dict(env) if env else None, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    said, peak = bytearray(), _Peak(process.pid)
    listener = threading.Thread(target=lambda: said.extend(process.stderr.read()))  # type: ignore[union-attr]
    listener.start()
    with peak:
        _pid, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - began
    listener.join()
    process.stderr.close()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in codes:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}: {said[-2000:].decode(errors='replace')}")
    return Cost(wall_s, usage.ru_utime + usage.ru_stime, max(peak.mb, 0.0))


class _Peak:
    """Watches the memory of a process and all below it."""

    def __init__(self, pid: int) -> None:
        self._pid, self._ended, self.mb = pid, threading.Event(), 0.0
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_S):
            self.mb = max(self.mb, sum(_memory_kb(pid) for pid in tree(self._pid)) / 1024)


def tree(pid: int) -> list[int]:
    """List a process and all below it."""
    found = [pid]
    with suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in (thread / "children").read_text().split():
                found += tree(int(child))
    return found


def _memory_kb(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0

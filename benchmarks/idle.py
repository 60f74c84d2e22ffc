"""What does waiting cost? A `run --follow` with nothing due, and one that works at the cap of the API's rate.

    python benchmarks/idle.py waiting|capped [--seconds 120] [--json FILE]

CPU is what the kernel books to the process and its threads, a wake-up is each time one of them was given a processor
after it had slept. Both are counted over so many seconds after the start has settled. At the cap, the share is that
of the calls in the ledger to what the limit allows in the same time. Exits 1 when a bound is missed.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from ground import laid_out
from process.harness import Archive, archive_for
from race import keep
from racers import environment

SETTLE_S = 8.0
CAP = 200
_TICKS = os.sysconf("SC_CLK_TCK")
_SLEPT = re.compile(r"^voluntary_ctxt_switches:\s*(\d+)", re.M)


@dataclass(frozen=True, slots=True)
class Look:
    """What a process had used at a moment."""

    at: float
    cpu_s: float
    wakes: int
    calls: int


def main() -> int:
    """Measure and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("waiting", "capped"))
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    measure = waiting if asked.what == "waiting" else capped
    report = [
        {"figure": figure, "measured": measured, "must": must, "aim": aim,
         "reached": measured >= must if figure.startswith("share") else measured <= must}
        for figure, measured, must, aim in measure(asked.seconds)
    ]  # fmt: skip
    for line in report:
        print("{verdict} {figure}: {measured:.3f} (must {must}, aim {aim})".format(
            verdict="ok  " if line["reached"] else "MISS", **line))  # fmt: skip
    if asked.json:
        keep(asked.json, asked.what, {"ratios": report})
    return int(any(not line["reached"] for line in report))


def waiting(seconds: float) -> list[tuple[str, float, float, float]]:
    """Follow an archive that has nothing to do."""
    with tempfile.TemporaryDirectory(prefix="clipledger-idle-") as place:
        archive = archive_for(Path(place) / "archive")
        before, after = _followed(archive, seconds)
    took_s = after.at - before.at
    return [
        ("nothing due: CPU of one core, %", (after.cpu_s - before.cpu_s) / took_s * 100, 0.1, 0.02),
        ("nothing due: wake-ups a second", (after.wakes - before.wakes) / took_s, 2.0, 0.5),
    ]


def capped(seconds: float) -> list[tuple[str, float, float, float]]:
    """Follow an archive with more to do than the rate allows."""
    posts = round((seconds + SETTLE_S + 30) * CAP / 60) + 60
    with (
        laid_out(posts, 64 * 2**10) as ground,
        tempfile.TemporaryDirectory(prefix="clipledger-capped-") as place,
    ):
        archive = archive_for(Path(place) / "archive")
        archive.env |= environment(ground) | {"CLIPLEDGER_API__REQUESTS_PER_MINUTE": str(CAP)}
        archive.cli("add", "-q", "-a", "-", stdin="\n".join(ground.ids).encode())
        before, after = _followed(archive, seconds)
    took_s = after.at - before.at
    return [
        ("share of the cap of 200/min used, %", (after.calls - before.calls) / took_s * 60 / CAP * 100, 98.0, 99.5),
        ("at the cap: CPU of one core, %", (after.cpu_s - before.cpu_s) / took_s * 100, 2.0, 1.0),
    ]


def _followed(archive: Archive, seconds: float) -> tuple[Look, Look]:
    env = archive.env | {"TIKLIVEAPI_KEY": "idling"}
    process = subprocess.Popen(archive.command("run", "--follow", "-q"), env=env, stderr=subprocess.DEVNULL)
    try:
        time.sleep(SETTLE_S)
        before = _look(process.pid, archive)
        time.sleep(seconds)
        after = _look(process.pid, archive)
        if process.poll() is not None:
            raise RuntimeError(f"the run ended with {process.returncode}")
        return before, after
    finally:
        process.terminate()
        process.wait()


def _look(pid: int, archive: Archive) -> Look:
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    wakes = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):
            wakes += int(_SLEPT.findall((task / "status").read_text())[0])
    calls = archive.one("SELECT count(*) FROM credits WHERE outcome <> 'sent'")
    return Look(time.monotonic(), (int(user) + int(system)) / _TICKS, wakes, calls)


if __name__ == "__main__":
    sys.exit(main())

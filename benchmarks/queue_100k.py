"""Does a long queue cost memory, or time at the start? Compare a run over 4,000 queued ids with one over 100,000.

    python benchmarks/queue_100k.py [--videos 2000] [--rounds 3] [--json FILE]

Real processes against a calm simulator on loopback. Memory is the largest resident size of `run`, as the
kernel tells it at the end; the start is measured from the process's birth to the arrival of its first
/post-detail/ call at the simulator. Of several rounds the best start counts (others may be at work on the
machine) and the worst memory. Prints the figures; exits 1 when a bound is missed.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from process.harness import Archive, Sim, archive_for, simulator
from race import keep

FEW, MANY = 4_000, 100_000
RESIDENT_MAX_MB = 200.0
GROWTH_MUST, GROWTH_AIM = 1.1, 1.05
START_MAX_S = 2.0
RPM = 60_000


@dataclass(frozen=True, slots=True)
class Figures:
    """One run: largest resident size in MB, seconds to the first call, posts archived in a second."""

    resident_mb: float
    start_s: float
    per_s: float


def main() -> int:
    """Measure both queues and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    with simulator(MANY + MANY // 5, rpm=RPM) as sim, tempfile.TemporaryDirectory(prefix="clipledger-queue-") as place:
        born = (post_id for post_id in sim.twin().ids() if int(post_id) >> 32 < sim.start)
        ids = list(itertools.islice(born, MANY))
        told = {count: _measure(Path(place), sim, ids[:count], asked.videos, asked.rounds) for count in (FEW, MANY)}
    line = _growth(told)
    if asked.json:
        keep(asked.json, "memory", {"ratios": [line]})
    return _judge(told, line)


def _growth(told: dict[int, Figures]) -> dict[str, object]:
    growth = told[MANY].resident_mb / told[FEW].resident_mb
    return {"figure": f"memory at {MANY:,} queued ids against {FEW:,}", "must": GROWTH_MUST, "aim": GROWTH_AIM,
            "measured": growth, "reached": growth <= GROWTH_MUST}  # fmt: skip


def _measure(place: Path, sim: Sim, ids: list[str], videos: int, rounds: int) -> Figures:
    found = []
    for nth in range(rounds):
        archive = archive_for(place / f"{len(ids)}-{nth}", sim)
        began = time.monotonic()
        archive.cli("add", "-q", "-a", "-", stdin="\n".join(ids).encode())
        added_s = time.monotonic() - began
        found.append(figures := _run(archive, sim, min(videos, len(ids) * 9 // 10)))
        print(f"{len(ids):7} queued (added in {added_s:.1f} s): {_spelt(figures)}", flush=True)
    return Figures(max(f.resident_mb for f in found), min(f.start_s for f in found), max(f.per_s for f in found))


def _run(archive: Archive, sim: Sim, videos: int) -> Figures:
    before = len(sim.ledger()["rows"])
    born = time.time()
    process = subprocess.Popen(
        archive.command("run", "-q", "--max-videos", str(videos)), env=archive.env, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    took_s = time.time() - born
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 5, process.returncode
    first_at = min(row[0] for row in sim.ledger()["rows"][before:] if row[1] == "/post-detail/")
    return Figures(usage.ru_maxrss / 1024, first_at - born, videos / (took_s - (first_at - born)))


def _spelt(figures: Figures) -> str:
    return f"{figures.resident_mb:.0f} MB, first call after {figures.start_s:.2f} s, {figures.per_s:.0f} posts/s"


def _judge(told: dict[int, Figures], line: Mapping[str, object]) -> int:
    many = told[MANY]
    bounds = [
        (f"resident at {MANY} queued: {many.resident_mb:.0f} MB", many.resident_mb, RESIDENT_MAX_MB, "MB"),
        (f"start to first claim: {many.start_s:.2f} s", many.start_s, START_MAX_S, "s"),
    ]
    for said, value, bound, unit in bounds:
        print(f"{'ok  ' if value < bound else 'MISS'} {said} (bound {bound:g} {unit})")
    print("{verdict} {figure}: {measured:.3f} (must {must}, aim {aim})".format(
        verdict="ok  " if line["reached"] else "MISS", **line))  # fmt: skip
    return int(not line["reached"] or any(value >= bound for _, value, bound, _ in bounds))


if __name__ == "__main__":
    sys.exit(main())

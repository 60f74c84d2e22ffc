"""Simulated time: 1,000 drawn hours of the whole archive on the jumping clock, each judged and played twice.

`python benchmarks/simulated_hours.py [--seeds 1000] [--first 1] [--processes 2] [--once] [--tell] [--out FILE]`.
World, faults, settings, workers and crashes come from the seed; after the hour the faults end and the archive must
recover by itself. Prints one JSON document; exit 1 when a trial failed, which is told with the line that replays it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from trials.hours import drawn, one
from trials.verdicts import Verdict, places, told

SHARE = 5
"""Seeds that one process plays before it hands its verdicts over."""


def some(seeds: Sequence[int], twice: bool) -> list[Verdict]:
    """Play a few hours in this process."""
    with places() as fresh:
        return [one(seed, fresh, twice=twice) for seed in seeds]


def played(first: int, count: int, processes: int, twice: bool) -> Iterator[Verdict]:
    """Play all of them, several processes side by side."""
    shares = [list(range(at, min(at + SHARE, first + count))) for at in range(first, first + count, SHARE)]
    with ProcessPoolExecutor(processes) as pool:
        for verdicts in pool.map(some, shares, [twice] * len(shares)):
            yield from verdicts


def main() -> int:
    """Play the seeds and tell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--once", action="store_true", help="do not play each a second time")
    parser.add_argument("--tell", action="store_true", help="show what the first seed draws")
    parser.add_argument("--out")
    given = parser.parse_args()
    if given.tell:
        sys.stderr.write(f"{drawn(given.first)}\n")
    verdicts = played(given.first, given.seeds, given.processes, not given.once)
    return told(verdicts, out=given.out, harness="simulated hours", first=given.first, played_twice=not given.once)


if __name__ == "__main__":
    sys.exit(main())

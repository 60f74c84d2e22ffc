"""Simulated time: 1,000 drawn hours of the whole archive on the jumping clock, each judged and played twice.

`python benchmarks/simulated_hours.py [--seeds 1000] [--first 1] [--processes 2] [--once] [--tell] [--out FILE]`.
World, faults, settings, workers and crashes come from the seed; after the hour the faults end and the archive must
recover by itself. Prints one JSON document; exit 1 when a trial failed, which is told with the line that replays it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from trials.hours import drawn, trial
from trials.verdicts import side_by_side, told


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
    trials = [trial(seed, twice=not given.once) for seed in range(given.first, given.first + given.seeds)]
    verdicts = side_by_side(trials, given.processes)
    return told(verdicts, out=given.out, harness="simulated hours", first=given.first, played_twice=not given.once)


if __name__ == "__main__":
    sys.exit(main())

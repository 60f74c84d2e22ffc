"""Let every write-class system call of a small run fail with EIO, with ENOSPC, or be the last one before a kill -9.

    python benchmarks/syscall_faults.py [--every 1] [--seed 1] [--minutes M] [--point CALL:N:FAULT]

A reference run under strace tells how often each call is made; each n-th call of each name is a point, and meets three
faults. After each the archive is run without faults and judged. `--minutes` ends the series early (the points come in
an order drawn from the seed, so any part is a fair sample); `--point` plays one. Needs strace and ptrace. Progress goes
to stderr, one JSON document to stdout. Exits 1 when a trial fails.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from process.faulting import Outcome, Point, points, read_point, reference, replay_of, trial, why_not


def main() -> int:
    """Play the points; tell each, then the figures."""
    asked, began_at = _asked(), time.monotonic()
    if (why := why_not()) is not None:
        print(why, file=sys.stderr)
        return 2
    outcomes: dict[Point, Outcome] = {}
    counts: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix="clipledger-faults-") as place:
        if asked.point:
            wanted = [read_point(asked.point)]
        else:
            (folder := Path(place) / "reference").mkdir()
            counts = reference(folder)
            wanted = points(counts, random.Random(f"{asked.seed}"))[:: asked.every]
        for number, point in enumerate(wanted):
            if time.monotonic() - began_at > asked.minutes * 60:
                break
            with tempfile.TemporaryDirectory(prefix="clipledger-faults-") as folder_name:
                outcomes[point] = outcome = trial(Path(folder_name), point)
            told = "; ".join(outcome.findings) or ("content" if outcome.hit else "never came")
            print(f"{number + 1}/{len(wanted)} {point} exit {outcome.code}: {told}", file=sys.stderr, flush=True)
    print(json.dumps(_summed_up(asked, counts, len(wanted), outcomes, time.monotonic() - began_at), indent=2))
    return int(any(outcome.findings for outcome in outcomes.values()))


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--point")
    return parser.parse_args()


def _summed_up(
    asked: argparse.Namespace, counts: dict[str, int], wanted: int, outcomes: dict[Point, Outcome], took_s: float
) -> dict[str, Any]:
    hit = {point: outcome for point, outcome in outcomes.items() if outcome.hit}
    failed = {point: outcome for point, outcome in hit.items() if outcome.findings}
    return {
        "seed": asked.seed,
        "calls_of_the_busiest_thread": counts,
        "points": wanted,
        "played": len(outcomes),
        "injected": len(hit),
        "never_came": len(outcomes) - len(hit),
        "by_fault": Counter(point.fault for point in hit),
        "by_call": Counter(point.call for point in hit),
        "exits": {
            fault: Counter(str(o.code) for p, o in hit.items() if p.fault == fault)
            for fault in ("KILL", "EIO", "ENOSPC")
        },
        "failures": [{"hit": o.hit, "findings": o.findings, "replay": replay_of(p)} for p, o in failed.items()],
        "upper_95_percent_bound": round(3 / len(hit), 5) if hit and not failed else None,
        "seconds": round(took_s, 1),
    }


if __name__ == "__main__":
    sys.exit(main())

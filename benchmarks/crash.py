"""Kill a run without warning, again and again, and demand after each time that the books balance.

    python benchmarks/crash.py [--kills 200] [--seed 1] [--first 1]

Each trial has a simulator, an archive and a moment of its own, all drawn from the seed and the trial's
number, so `--first N` goes on where a broken-off series stopped and `--first N --kills 1` replays one.
A trial fails when the judge finds anything, when `verify` does, when a listed post is not archived, or
when more resolves were bought again than can have been under way. Exits 1 when one fails.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from process.killing import IN_FLIGHT, POSTS, Outcome, trial


def main() -> int:
    """Play the trials; print a line for each, then the figures."""
    asked = _asked()
    outcomes: list[Outcome] = []
    for number in range(asked.first, asked.first + asked.kills):
        with tempfile.TemporaryDirectory(prefix="clipledger-crash-") as folder:
            outcome = trial(Path(folder), random.Random(f"{asked.seed}/{number}"))
        outcomes.append(outcome)
        told = "; ".join(outcome.findings) or "content"
        print(
            f"{number:4} {outcome.phase:9} after {outcome.events:3} events, {outcome.extra:2} extra: {told}", flush=True
        )
    _sum_up(outcomes)
    return int(any(outcome.findings for outcome in outcomes))


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=1)
    return parser.parse_args()


def _sum_up(outcomes: list[Outcome]) -> None:
    extra = [outcome.extra for outcome in outcomes]
    phases = Counter(outcome.phase for outcome in outcomes)
    print(f"\n{len(outcomes)} kills of a run over {POSTS} posts, {sum(bool(o.findings) for o in outcomes)} failures")
    print("killed in: " + ", ".join(f"{phase} {count}" for phase, count in phases.most_common()))
    print(
        f"extra credits a kill: min {min(extra)}, median {statistics.median(extra):g}, "
        f"mean {statistics.mean(extra):.1f}, max {max(extra)} (at most {IN_FLIGHT} can be under way)"
    )


if __name__ == "__main__":
    sys.exit(main())

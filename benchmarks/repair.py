"""Hurt a file, kill its repair at every step in simulated time, and see that nothing is lost and the next run ends it.

    python benchmarks/repair.py [--steps 60] [--worlds 3] [--seed 1] [--hurt flipped,cut,missing]

For each world (a seed of its own), each kind of damage and each step after the paid call: one kill. Prints one JSON
object; each failure is told on stderr with the command that replays it. Exits 1 when one fails.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from clipledger.sim.timeloop import bury
from scenario.hurting import HURTS, Trial, killed_repairs


def main() -> int:
    """Play the trials; print the figures."""
    asked = _asked()
    trials: list[Trial] = []
    failures = 0
    for seed in range(asked.seed, asked.seed + asked.worlds):
        for hurt in asked.hurt.split(","):
            with tempfile.TemporaryDirectory(prefix="clipledger-repair-") as place:
                found = killed_repairs(
                    Path(place) / "archive", seed, hurt, range(asked.first, asked.first + asked.steps)
                )
                bury()
            trials += found
            failures += _told(seed, hurt, found)
    killed = [trial for trial in trials if trial.crashed]
    body = {
        "trials": len(trials),
        "killed": len(killed),
        "failures": failures,
        "standing_at_the_kill": Counter(" and ".join(sorted(trial.standing)) or "nothing" for trial in killed),
        "seed": asked.seed,
        "worlds": asked.worlds,
    }
    print(json.dumps(body, indent=1))
    return int(failures > 0)


def _told(seed: int, hurt: str, trials: list[Trial]) -> int:
    wrong = [trial for trial in trials if trial.findings]
    for trial in wrong:
        replay = f"--seed {seed} --worlds 1 --hurt {hurt} --first {trial.steps} --steps 1"
        print(f"{trial.findings[:3]}: python benchmarks/repair.py {replay}", file=sys.stderr)
    print(f"seed {seed}, {hurt}: {len(trials)} trials, {len(wrong)} failures", file=sys.stderr, flush=True)
    return len(wrong)


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--worlds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--hurt", default=",".join(HURTS))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

"""Cut the power in the middle of a run, again and again, on ext4 and on XFS, and demand what was told before.

    python benchmarks/power_loss.py [--cycles 500] [--controls 20] [--seed 1] [--first 1] [--kind all] [--minutes M]

So many cycles on each file system, of which half lose its log too; and controls with every fsync made to do nothing
(`eatmydata`), which must be caught. Everything is drawn from the seed, the kind and the number, so `--first N
--cycles 1` replays one. Needs root, loop devices, e2fsprogs, xfsprogs and eatmydata. Progress goes to stderr, one JSON
document to stdout. Exits 1 when anything told was lost, when the judge finds anything, or when no control was caught.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from process.power import KINDS, Disk, Outcome, cycle, eatmydata, powered


def main() -> int:
    """Play the cycles of each kind; tell each, then the figures."""
    asked, began_at = _asked(), time.monotonic()
    kinds = KINDS if asked.kind == "all" else (asked.kind,)
    told = {
        kind: _kind(asked, kind, began_at + asked.minutes * 60 * (n + 1) / len(kinds)) for n, kind in enumerate(kinds)
    }
    print(json.dumps({"seed": asked.seed, **told, "seconds": round(time.monotonic() - began_at, 1)}, indent=2))
    return int(any(each["failures"] or (asked.controls and not each["controls_caught"]) for each in told.values()))


def _kind(asked: argparse.Namespace, kind: str, ends_at: float) -> dict[str, Any]:
    outcomes: dict[int, Outcome] = {}
    with tempfile.TemporaryDirectory(prefix="clipledger-power-") as place, powered(Path(place), kind) as disk:
        for number in range(asked.first, asked.first + asked.cycles):
            if time.monotonic() > ends_at:
                break
            outcomes[number] = _told(kind, number, cycle(disk, random.Random(f"{asked.seed}/{kind}/{number}")))
        controls = _controls(asked, kind, disk)
    failed = {n: outcome for n, outcome in outcomes.items() if outcome.lost or outcome.findings}
    replay = f"python benchmarks/power_loss.py --seed {asked.seed} --kind {kind} --controls 0 --cycles 1 --first"
    return {
        "cycles": len(outcomes),
        "events_told_before": sum(outcome.told for outcome in outcomes.values()),
        "failures": [
            {"lost": outcome.lost, "findings": outcome.findings, "replay": f"{replay} {n}"}
            for n, outcome in failed.items()
        ],
        "upper_95_percent_bound": round(3 / len(outcomes), 5) if outcomes and not failed else None,
        "controls": len(controls),
        "controls_caught": sum(bool(outcome.lost) for outcome in controls),
    }


def _controls(asked: argparse.Namespace, kind: str, disk: Disk) -> list[Outcome]:
    if eatmydata() is None:
        print("eatmydata is not installed: no controls", file=sys.stderr)
        return []
    dice = (random.Random(f"{asked.seed}/{kind}/control/{number}") for number in range(asked.controls))
    return [_told(f"{kind} control", number, cycle(disk, each, safe=False)) for number, each in enumerate(dice)]


def _told(kind: str, number: int, outcome: Outcome) -> Outcome:
    found = "; ".join((*outcome.lost, *outcome.findings)) or "content"
    print(f"{kind} {number:4} after {outcome.told:3} events: {found[:300]}", file=sys.stderr, flush=True)
    return outcome


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, default=500)
    parser.add_argument("--controls", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--kind", choices=(*KINDS, "all"), default="all")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="end the cycles after so long")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

"""Soak: `run --follow` at ten times 50,000 posts a day for an hour, a tenth of the calls going wrong.

`python benchmarks/soak.py [--minutes 60] [--warm-up 10] [--seed 7] [--per-minute 350] [--samples FILE] [--out FILE]`.
Real processes, real time: the simulator behind a port, the archive on disk. Figures to reach: resident memory grows by
less than 1 MB an hour after the warm-up, as many descriptors at the end as in the middle. Prints one JSON document.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from process import harness
from trials.soak import MIXED, soaked

MB = 1e6
SLOPE_MAX = 1.0


def main() -> int:
    """Soak, and tell the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--warm-up", type=float, default=10.0, help="minutes that are not judged")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--per-minute", type=int, default=350)
    parser.add_argument("--samples", help="write every sample to this file")
    parser.add_argument("--out")
    given = parser.parse_args()
    harness.PATIENCE_S = 3600.0
    with tempfile.TemporaryDirectory() as place:
        told = soaked(
            Path(place) / "archive",
            seconds=given.minutes * 60,
            warm_up_s=given.warm_up * 60,
            seed=given.seed,
            per_minute=given.per_minute,
        )
    before, after = told.descriptors
    slope = told.slope_bytes_per_h / MB
    figures = {
        "harness": "soak",
        "minutes": given.minutes,
        "warm_up_minutes": given.warm_up,
        "seed": given.seed,
        "faults": MIXED,
        "archived": told.archived,
        "archived_a_minute": round(told.per_minute, 1),
        "states": told.states,
        "calls": told.calls,
        "failed_calls": told.failed_calls,
        "rss_mb": {
            "first": round(told.warm[0].rss_bytes / MB, 1),
            "last": round(told.warm[-1].rss_bytes / MB, 1),
            "most": round(max(sample.rss_bytes for sample in told.samples) / MB, 1),
        },
        "rss_slope_mb_an_hour": round(slope, 2),
        "descriptors": {"first_third": round(before, 1), "last_third": round(after, 1)},
        "verify_exit": told.exit_code,
        "held": slope < SLOPE_MAX and after <= before + 2 and told.exit_code == 0,
    }
    text = json.dumps(figures, indent=1)
    for path, body in (
        (given.out, text),
        (given.samples, json.dumps([(s.at, s.rss_bytes, s.descriptors) for s in told.samples])),
    ):
        if path:
            Path(path).write_text(body + "\n", encoding="utf-8")
    sys.stdout.write(text + "\n")
    return 0 if figures["held"] else 1


if __name__ == "__main__":
    sys.exit(main())

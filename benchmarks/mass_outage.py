"""Mass outages: 10,000 ids meet an API that fails all of them for four hours; none is lost and hardly a credit.

`python benchmarks/mass_outage.py [--ids 10000] [--seed 3] [--only not_found] [--out FILE]`. Simulated time. All not
found; all of an unknown shape (two ways); credits gone (402); key refused (401). Prints one JSON document; exit 1
when one of them cost an id, an attempt or more than 60 credits, or was not recovered from by itself.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from trials.outage import OUTAGES, met
from trials.verdicts import places, told


def main() -> int:
    """Play the outages and tell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ids", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--only", choices=[outage.name for outage in OUTAGES])
    parser.add_argument("--out")
    given = parser.parse_args()
    wanted = [outage for outage in OUTAGES if given.only in (None, outage.name)]
    with places() as fresh:
        verdicts = (met(outage, given.seed, given.ids, fresh) for outage in wanted)
        return told(verdicts, out=given.out, harness="mass outage", ids=given.ids, seed=given.seed)


if __name__ == "__main__":
    sys.exit(main())

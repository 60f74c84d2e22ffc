"""Kill a run without warning, again and again, and demand after each time that the books balance.

    python benchmarks/crash.py [--kills 2000] [--seed 1] [--first 1] [--posts 80] [--minutes M]
                               [--database all] [--store all]

Each trial has a simulator, an archive and a moment of its own, all drawn from the seed and the trial's number, which
also picks the place: SQLite or PostgreSQL, a folder or a bucket, in turns where `all` is asked for. `--first N` goes on
where a broken-off series stopped. A trial fails when the judge finds anything, when `verify` does, when a listed post
is not archived, or when more resolves were bought again than can have been under way; the line that replays it is
told. Progress goes to stderr, one JSON document to stdout. Exits 1 when a trial fails.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from process.killing import IN_FLIGHT, PLACES, POSTS, Outcome, trial


def main() -> int:
    """Play the trials; tell each, then the figures."""
    asked, began_at = _asked(), time.monotonic()
    places = [p for p in PLACES if asked.database in (p[0], "all") and asked.store in (p[1], "all")]
    outcomes: dict[int, tuple[tuple[str, str], Outcome]] = {}
    for number in range(asked.first, asked.first + asked.kills):
        if time.monotonic() - began_at > asked.minutes * 60:
            break
        place = places[number % len(places)]
        outcome = _played(asked, number, place)
        outcomes[number] = place, outcome
        told = "; ".join(outcome.findings) or "content"
        print(
            f"{number:4} {'/'.join(place):14} {outcome.phase:9} after {outcome.events:3} events, "
            f"{outcome.extra:2} extra: {told}",
            file=sys.stderr,
            flush=True,
        )
    print(json.dumps(_summed_up(asked, outcomes, time.monotonic() - began_at), indent=2))
    return int(any(outcome.findings for _, outcome in outcomes.values()))


def _played(asked: argparse.Namespace, number: int, place: tuple[str, str]) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="clipledger-crash-") as folder:
        dice = random.Random(f"{asked.seed}/{number}")
        try:
            return trial(Path(folder), dice, database=place[0], store=place[1], posts=asked.posts)
        except AssertionError as error:
            return Outcome("recovery", 0, 0, (str(error)[:2000],))


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="end the series after so long")
    parser.add_argument("--posts", type=int, default=POSTS)
    parser.add_argument("--database", choices=("sqlite", "postgres", "all"), default="all")
    parser.add_argument("--store", choices=("local", "s3", "all"), default="all")
    return parser.parse_args()


def _summed_up(
    asked: argparse.Namespace, outcomes: dict[int, tuple[tuple[str, str], Outcome]], took_s: float
) -> dict[str, Any]:
    extra = [outcome.extra for _, outcome in outcomes.values()]
    failed = {n: (place, outcome) for n, (place, outcome) in outcomes.items() if outcome.findings}
    return {
        "kills": len(outcomes),
        "posts": asked.posts,
        "seed": asked.seed,
        "failures": [
            {
                "findings": outcome.findings,
                "replay": f"python benchmarks/crash.py --seed {asked.seed} --posts {asked.posts} --first {n} --kills 1 "
                f"--database {asked.database} --store {asked.store}",
            }
            for n, (_, outcome) in failed.items()
        ],
        "upper_95_percent_bound": None if failed else round(3 / len(outcomes), 5),
        "places": Counter("/".join(place) for place, _ in outcomes.values()),
        "killed_in": Counter(outcome.phase for _, outcome in outcomes.values()),
        "extra_credits": {
            "least": min(extra),
            "median": statistics.median(extra),
            "mean": round(statistics.mean(extra), 1),
            "most": max(extra),
            "bound": IN_FLIGHT,
        },
        "seconds": round(took_s, 1),
    }


if __name__ == "__main__":
    sys.exit(main())

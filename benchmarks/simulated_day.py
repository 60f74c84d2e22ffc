"""A simulated day at the plan's limit: 10,000 posts listed from 40 sources, 200 calls a minute.

    python benchmarks/simulated_day.py [--posts 19500] [--faults calm] [--seed 5]

Plays `run --follow` for 24 simulated hours against the built-in world, on the jumping clock, with the real
database and the real store in a temporary folder. Prints one JSON line of figures; exit 1 when a promise fails:
95 % resolved within 60 s of being listed, no 60 s window over the limit as the world counts it, and credits =
posts + pages + look-ups + recorded reasons. Ratios to a peer make no sense here: the clock is not real.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from clipledger.sim.play import Play
from clipledger.sim.scenarios import Outcome, outcome

SOURCES = 40
DAY_S = 86_400.0
LIMIT = 200
WITHIN_S = 60.0


def day(folder: Path, *, posts: int, faults: str, seed: int, seconds: float = DAY_S) -> Outcome:
    """Follow 40 profiles of one world for a day."""
    stage = Play(folder, seed=seed, posts=posts, faults=faults)
    handles = [author.first_handle for author in stage.world.population.authors][:SOURCES]
    stage.add(*(f"@{handle}" for handle in handles))
    stage.run(follow=True, stop_after_s=seconds)
    return outcome(stage, finished=False)


def figures(told: Outcome) -> dict[str, object]:
    """Lay out what was promised and what came of it."""
    calls = Counter(call.path for call in told.stage.world.ledger.calls)
    return {
        "states": dict(told.states),
        "listed": len(told.latencies),
        "resolved_within_60_s": round(sum(late <= WITHIN_S for late in told.latencies) / len(told.latencies), 4),
        "p50_s": round(told.latency_s(0.50), 1),
        "p95_s": round(told.latency_s(0.95), 1),
        "p99_s": round(told.latency_s(0.99), 1),
        "worst_minute": told.worst_minute,
        "credits_told": told.report.credits_told,
        "credits_taken_by_the_world": told.report.credits_taken,
        "calls_by_reason": dict(told.calls),
        "calls_by_endpoint": dict(calls),
        "findings": told.report.findings[:10],
    }


def broken(told: Outcome) -> list[str]:
    """Name the promises that do not hold."""
    found = list(told.report.findings)
    if told.latency_s(0.95) > WITHIN_S:
        found.append(f"p95 {told.latency_s(0.95):.1f} s")
    if told.worst_minute > LIMIT:
        found.append(f"{told.worst_minute} calls within 60 s")
    ids = sum(told.states.values())
    if told.calls["first"] != ids:
        found.append(f"{told.calls['first']} first resolves of {ids} ids")
    if sum(told.calls.values()) != len(told.stage.world.ledger.calls):
        found.append(f"{sum(told.calls.values())} calls told, {len(told.stage.world.ledger.calls)} made")
    return found


def main() -> int:
    """Play the day and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--posts", type=int, default=19_500, help="posts in the world; the profiles show 11 in 20")
    parser.add_argument("--faults", default="calm")
    parser.add_argument("--seed", type=int, default=5)
    given = parser.parse_args()
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as place:
        told = day(Path(place) / "archive", posts=given.posts, faults=given.faults, seed=given.seed)
        faults = broken(told)
        print(json.dumps(figures(told) | {"seconds": round(time.perf_counter() - begun), "broken": faults}))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

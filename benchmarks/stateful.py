"""Play random histories of the queue, the catalog and the ledger against a model: prints steps and steps a second.

    python benchmarks/stateful.py [--steps 1000000] [--seed 1] [--seconds N] [--database sqlite|postgres] [--rounds N]

A step is one call of a rule (claim, settle, crash, buy, index ...) and the comparison of every table with the model
after it. A round is 25 histories of 200 steps, a function of the seed and its number: `--seed S --rounds 1` replays
the round of seed S. A failure is shown as the shortest history that Hypothesis finds; then the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from hypothesis import seed as seeded

from contract.archive_machine import ArchiveMachine, case
from contract.archives import on

HISTORIES, STEPS = 25, 200


def main() -> int:
    """Play rounds until there were enough steps; tell how many, and how fast."""
    asked = _asked()
    began, rounds, failure = time.perf_counter(), 0, ""
    while not failure and rounds < asked.rounds and ArchiveMachine.steps < asked.steps:
        if time.perf_counter() - began > asked.seconds:
            break
        failure = _round(asked.database, asked.seed + rounds)
        rounds += 1
        rate = ArchiveMachine.steps / (time.perf_counter() - began)
        print(f"{ArchiveMachine.steps} steps, {rate:.0f}/s", file=sys.stderr, flush=True)
    told = {
        "database": asked.database,
        "seeds": [asked.seed, asked.seed + rounds - 1],
        "histories": rounds * HISTORIES,
        "steps": ArchiveMachine.steps,
        "seconds": round(time.perf_counter() - began),
        "steps_per_s": round(ArchiveMachine.steps / (time.perf_counter() - began)),
        "failures": int(bool(failure)),
        "replay": failure,
    }
    print(json.dumps(told, indent=1))
    return int(bool(failure))


def _round(database: str, seed: int) -> str:
    """Play one round; give what replays it when it failed."""
    machine = seeded(seed)(type("Machine", (ArchiveMachine,), {}))
    with on(database):
        try:
            case(HISTORIES, STEPS, machine=machine)().runTest()
        except Exception as error:  # noqa: BLE001 whatever leaves is the finding
            print(f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ()), sep="\n", file=sys.stderr)
            return f"python benchmarks/stateful.py --database {database} --seed {seed} --rounds 1"
    return ""


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--rounds", type=int, default=sys.maxsize)
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

"""Feed the program bad input of every kind, and demand a verdict on each: taken safely, or refused with a reason.

    python benchmarks/bad_input.py [--inputs 50000] [--seed 1] [--only CORPUS] [--first 0]

Each input is a function of the seed, its corpus and its number, so that `--only CORPUS --first N --inputs 1` replays
one. What runs is the real code: parsers, the whole capture of a post over a hostile wire, sockets, the command line.
All of it plays in a sandbox folder; whatever is changed outside of it is a fault, and so is an exception that is none
of our own, and an input that takes longer than its bound. Prints one JSON document; exits 1 when there was a fault.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from hostile import capturing, commands, reading, wired
from hostile.sandbox import Sandbox, sandbox
from hostile.verdicts import ACCEPTED, REFUSED, Corpus, Verdict

CORPORA = (*reading.CORPORA, *capturing.CORPORA, *commands.CORPORA, *wired.CORPORA)
_FAULTS_TOLD = 20


@dataclass(slots=True)
class Tally:
    """What came of one corpus."""

    outcomes: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    took_s: float = 0.0
    faults: list[str] = field(default_factory=list)

    def note(self, verdict: Verdict, replay: str) -> None:
        """Count a verdict; keep how to play a fault again."""
        self.outcomes[verdict.outcome] += 1
        self.slowest_s = max(self.slowest_s, verdict.seconds)
        if verdict.fault:
            self.faults.append(f"{replay}  # {verdict.fault}")

    def told(self) -> dict[str, object]:
        """Give it as JSON values."""
        refused = {name.removeprefix(REFUSED): n for name, n in self.outcomes.most_common() if name.startswith(REFUSED)}
        return {
            "inputs": self.outcomes.total(),
            "accepted": self.outcomes[ACCEPTED],
            "refused": refused,
            "faults": len(self.faults),
            "slowest_s": round(self.slowest_s, 3),
            "seconds": round(self.took_s, 1),
        }


def main() -> int:
    """Feed all corpora, tell the table, and say whether there was a fault."""
    asked = _asked()
    tallies: dict[str, Tally] = {}
    with sandbox() as place:
        for corpus in CORPORA:
            if asked.only in (None, corpus.name):
                count = asked.inputs if asked.only else _share(corpus, asked.inputs)
                tallies[corpus.name] = fed(place, corpus, asked.seed, range(asked.first, asked.first + count))
        changed = place.changed()
    faults = [fault for tally in tallies.values() for fault in tally.faults]
    for line in (*faults[:_FAULTS_TOLD], *changed[:_FAULTS_TOLD]):
        print(line, file=sys.stderr)
    told = {
        "seed": asked.seed,
        "inputs": sum(tally.outcomes.total() for tally in tallies.values()),
        "faults": len(faults),
        "changed_outside": changed[:_FAULTS_TOLD],
        "largest_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "corpora": {name: tally.told() for name, tally in tallies.items()},
    }
    print(json.dumps(told, indent=1))
    return int(bool(faults or changed))


def fed(place: Sandbox, corpus: Corpus, seed: int, numbers: range) -> Tally:
    """Feed one corpus, a batch at a time."""
    tally, began = Tally(), time.perf_counter()
    replay = f"python benchmarks/bad_input.py --seed {seed} --only '{corpus.name}' --inputs 1 --first"
    for start in range(numbers.start, numbers.stop, corpus.batch):
        batch = range(start, min(start + corpus.batch, numbers.stop))
        for verdict in corpus.feed(place, f"{seed}/{corpus.name}", batch):
            tally.note(verdict, f"{replay} {verdict.number}")
    tally.took_s = time.perf_counter() - began
    told = f"{tally.outcomes.total()} inputs, {len(tally.faults)} faults, {tally.took_s:.1f} s"
    print(f"{corpus.name}: {told}", file=sys.stderr, flush=True)
    return tally


def _share(corpus: Corpus, inputs: int) -> int:
    return max(1, round(inputs * corpus.share / sum(each.share for each in CORPORA)))


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=[corpus.name for corpus in CORPORA])
    parser.add_argument("--first", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

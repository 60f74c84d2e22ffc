"""How long until the command line answers? Best and median of several starts.

    python benchmarks/startup.py [--rounds 15]

`--help` must come within 0.3 s: it may not wait for a database or an HTTP library. The best start is
judged, since others may be at work on the machine. The bare interpreter and `status` stand beside it for
comparison. Exits 1 when the bound is missed.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from process.harness import PROGRAM, archive_for

HELP_MAX_S = 0.3


def main() -> int:
    """Measure and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="clipledger-startup-") as place:
        archive = archive_for(Path(place) / "archive")
        _measure("python -c pass", (sys.executable, "-c", "pass"), rounds)
        best_s = _measure("clipledger --help", (*PROGRAM, "--help"), rounds)
        _measure("clipledger status", archive.command("status"), rounds)
    print(f"{'ok  ' if best_s < HELP_MAX_S else 'MISS'} clipledger --help: {best_s:.2f} s (bound {HELP_MAX_S} s)")
    return int(best_s >= HELP_MAX_S)


def _measure(name: str, command: Sequence[str], rounds: int) -> float:
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        taken.append(time.perf_counter() - began)
    print(f"{name:18} best {min(taken):.2f} s, median {statistics.median(taken):.2f} s")
    return min(taken)


if __name__ == "__main__":
    sys.exit(main())

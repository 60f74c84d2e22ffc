"""How long until the command line answers? Several starts of each, in turns.

    python benchmarks/startup.py [--rounds 15] [--json FILE] [--no-peers]

`--version` is asked by scripts, often: beside the bare interpreter and yt-dlp. `--help` must come within 0.3 s: it may
not wait for a database or an HTTP library; its best start is judged, since others may be at work on the machine, and
so are ratios of best starts. Exits 1 when a bound is missed.
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
sys.path.insert(0, str(Path(__file__).resolve().parent))

from process.harness import archive_for
from race import keep
from racers import PROGRAM, peer, plain

HELP_MAX_S = 0.3
PASS, VERSION, HELP, YT_DLP = "python -c pass", "clipledger --version", "clipledger --help", "yt-dlp --version"


def main() -> int:
    """Measure and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--no-peers", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="clipledger-startup-") as place:
        archive = archive_for(Path(place) / "archive")
        commands: dict[str, Sequence[str]] = {
            PASS: (sys.executable, "-c", "pass"),
            VERSION: (*PROGRAM, "--version"),
            HELP: (*PROGRAM, "--help"),
            "clipledger status": archive.command("status"),
        }
        if not asked.no_peers:
            commands[YT_DLP] = (peer("yt-dlp"), "--version")
        best_s = _measure(commands, asked.rounds)
    ratios = [("`--version` against `python -c pass`", best_s[VERSION] / best_s[PASS], 3.0, 1.5)]
    if not asked.no_peers:
        ratios.append(("`--version` against yt-dlp", best_s[VERSION] / best_s[YT_DLP], 0.5, 0.2))
    ratios.append(("`--help`, seconds", best_s[HELP], HELP_MAX_S, HELP_MAX_S))
    report = [{"figure": figure, "measured": measured, "must": must, "aim": aim, "reached": measured <= must}
              for figure, measured, must, aim in ratios]  # fmt: skip
    for line in report:
        print("{verdict} {figure}: {measured:.2f} (must {must}, aim {aim})".format(
            verdict="ok  " if line["reached"] else "MISS", **line))  # fmt: skip
    if asked.json:
        keep(asked.json, "start", {"ratios": report})
    return int(any(not line["reached"] for line in report))


def _measure(commands: dict[str, Sequence[str]], rounds: int) -> dict[str, float]:
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds + 1):  # the first one reads the disk
        for name, command in commands.items():
            began = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True, env=plain())
            taken[name].append(time.perf_counter() - began)
    for name, seconds in taken.items():
        print(f"{name:22} best {min(seconds[1:]):.3f} s, median {statistics.median(seconds[1:]):.3f} s")
    return {name: min(seconds[1:]) for name, seconds in taken.items()}


if __name__ == "__main__":
    sys.exit(main())

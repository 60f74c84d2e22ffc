"""Lose the database, rebuild it from the store alone, and prove it: how long, and what if it is killed on the way?

    python benchmarks/rebuild.py [--posts 10000] [--kills 0] [--seed 1] [--first 1]

Prints one JSON object: seconds, posts a second and peak memory of `rebuild` and of `rebuild --check`, and of `--kills`
trials how many failed; each failure is told on stderr with the command that replays it. Exits 1 when one fails.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from process.filled import Ran, fill, killed_and_taken_up, timed
from process.harness import Archive, archive_for


def main() -> int:
    """Fill a store, measure, kill; print the figures."""
    asked = _asked()
    with tempfile.TemporaryDirectory(prefix="clipledger-rebuild-") as place:
        archive = archive_for(Path(place) / "archive")
        size = fill(archive.folder, asked.posts, asked.seed)
        _forget(archive)
        rebuilt = timed(archive, "rebuild")
        checked = timed(archive, "rebuild", "--check")
        failures = [
            failure for n in range(asked.kills) if (failure := _trial(archive, asked, asked.first + n, rebuilt))
        ]
    whole = rebuilt.code == checked.code == 0 and checked.told["equal"] and rebuilt.told["restored"] == asked.posts
    body = {
        "posts": asked.posts,
        "sidecar_bytes": size,
        "rebuild": _figures(rebuilt, asked.posts),
        "check": _figures(checked, asked.posts),
        "equal": whole,
        "kills": asked.kills,
        "failures": len(failures),
        "seed": asked.seed,
    }
    print(json.dumps(body, indent=1))
    return int(bool(failures) or not whole)


def _trial(archive: Archive, asked: argparse.Namespace, number: int, rebuilt: Ran) -> str:
    _forget(archive)
    found = killed_and_taken_up(archive, random.Random(f"{asked.seed}/{number}"), rebuilt.seconds)
    if found:
        replay = f"--posts {asked.posts} --seed {asked.seed} --first {number} --kills 1"
        print(f"{found}: python benchmarks/rebuild.py {replay}", file=sys.stderr, flush=True)
    else:
        print(f"trial {number}: equal", file=sys.stderr, flush=True)
    return "; ".join(found)


def _forget(archive: Archive) -> None:
    for ending in ("", "-wal", "-shm"):
        (archive.folder / f"clipledger.db{ending}").unlink(missing_ok=True)


def _figures(ran: Ran, posts: int) -> dict[str, Any]:
    return {
        "seconds": round(ran.seconds, 2),
        "cpu_s": round(ran.cpu_s, 2),
        "posts_per_s": round(posts / ran.seconds),
        "posts_per_cpu_s": round(posts / ran.cpu_s),
        "peak_mb": round(ran.peak_mb, 1),
        "exit": ran.code,
    }


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--posts", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

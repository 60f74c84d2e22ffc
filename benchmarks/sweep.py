"""Read every file again with one process and with two, in turns (A, B, B, A): the median of the ratios.

`python benchmarks/sweep.py [TURNS [SHAPE...]]` lays two archives down: many small files, few large ones.
All files are in memory after the first turn, so this measures hashing and bookkeeping, not a disk.
"""

from __future__ import annotations

import hashlib
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

SHAPES = {"small": (20_000, 80_000), "large": (400, 20_000_000)}
DISTINCT = 20
"""So many different files of each shape; the rest of the ids share them."""


def laid_down(folder: Path, count: int, size: int) -> Path:
    """Make an archive of `count` ids with one file of `size` bytes each."""
    run(folder, "init", "-q")
    digest = {}
    for nth in range(DISTINCT):
        body = hashlib.sha256(str(nth).encode()).digest() * (size // 32)
        (folder / f"{nth}.mp4").write_bytes(body)
        digest[nth] = (len(body), hashlib.sha256(body).hexdigest())
    at = "2026-05-29T00:00:00.000Z"
    with closing(sqlite3.connect(folder / "clipledger.db")) as db, db:
        for n in range(count):
            row = (str(7 * 10**18 + n), at, at)
            db.execute(
                "INSERT INTO archive_queue (aweme_id, source, state, added_at, due_at) "
                "VALUES (?, 'x', 'archived', ?, ?)",
                row,
            )
            told = (row[0], f"{n % DISTINCT}.mp4", *digest[n % DISTINCT], at)
            db.execute(
                "INSERT INTO files (aweme_id, storage_key, kind, media_type, bytes, sha256, stored_at) "
                "VALUES (?, ?, 'video', 'video/mp4', ?, ?, ?)",
                told,
            )
    return folder


def run(folder: Path, *words: str) -> float:
    """Run a command; give its seconds. Exit 7 is right: these ids have no sidecars."""
    since = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "clipledger", "--archive", str(folder), *words], capture_output=True)
    assert done.returncode in (0, 7), done.stderr.decode()
    return time.monotonic() - since


def main(turns: int, shapes: Sequence[str]) -> None:
    """Compare, and print."""
    with tempfile.TemporaryDirectory() as place:
        for name, (count, size) in ((name, SHAPES[name]) for name in shapes or SHAPES):
            folder = laid_down(Path(place) / name, count, size)
            sweep = ("verify", "--media", "-q", "--json", "--processes")
            run(folder, *sweep, "1")
            ratios, ones = [], []
            for _ in range(turns):
                one, two = run(folder, *sweep, "1"), run(folder, *sweep, "2")
                two_again, one_again = run(folder, *sweep, "2"), run(folder, *sweep, "1")
                ratios += [one / two, one_again / two_again]
                ones += [one, one_again]
            mb = count * size / 1e6
            print(
                f"{name}: {count} files of {size / 1e6:g} MB; two processes are {statistics.median(ratios):.2f} times "
                f"as fast as one (of {', '.join(f'{ratio:.2f}' for ratio in ratios)}); "
                f"one: {statistics.median(ones):.1f} s, "
                f"{count / statistics.median(ones):.0f} files/s, {mb / statistics.median(ones):.0f} MB/s"
            )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2, sys.argv[2:])

"""How quickly a large archive is exported as Parquet: the posts alone, everything, and what changed since.

Usage: .venv/bin/python benchmarks/export.py [POSTS] [METRICS_A_POST] [FOLDER] [--seed N] [--no-all]

Progress on stderr, one JSON document on stdout, exit code 1 when a limit is missed; wall time, CPU time and peak
memory of each step, which runs in a process of its own. FOLDER is kept, and used again when an archive is in it.
`--no-all` leaves out the tables other than the posts, and with them the incremental steps.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from bisect import bisect
from pathlib import Path
from threading import Event
from typing import Any

from sqlalchemy import func, insert, select, text, update

import search
from clipledger.archive import SystemClock, create_archive
from clipledger.db.engine import backend_of
from clipledger.db.tables import metadata, post_metrics_history, posts
from clipledger.export.manifest import Kind
from clipledger.export.staging import Survey, stage, survey

CHANGES = 1000
AGES = tuple(hours * 3600 for hours in (1, 6, 24, 72, 168, 720))
"""In seconds: those of `history.refresh = "1h,6h,1d,3d,7d,30d"`, the schedule that the settings give as an example."""

SEEDS = 50_000
COPIED = ("posts", "archive_queue", "files", "sightings", "post_metrics_history")
_LATER = "CAST(CAST(aweme_id AS INTEGER) + :later AS TEXT)"
LIMITS = {"posts_s": 30.0, "posts_mb": 500.0, "incremental_s": 3.0}


def main() -> None:
    if {"-h", "--help"} & set(sys.argv):
        print(__doc__)
        return
    if sys.argv[1:2] == ["--posts-only"]:
        _posts_only(Path(sys.argv[2]), Path(sys.argv[3]))
        return
    words = [word for word in sys.argv[1:] if not word.startswith("--")]
    seed = int(sys.argv[sys.argv.index("--seed") + 1]) if "--seed" in sys.argv else 1
    words = [word for word in words if word != str(seed) or "--seed" not in sys.argv]
    count, metrics = int([*words, "1000000"][0]), int([*words[1:], "10"][0])
    kept = Path(words[2]) if len(words) > 2 else None
    folder = kept or Path(tempfile.mkdtemp(prefix="clipledger-export-"))
    try:
        if not (folder / "clipledger.toml").exists():
            _generate(folder, count, metrics)
        told = {"posts": count, "metrics": count * metrics, "seed": seed, "limits": LIMITS}
        told |= _steps(folder, seed, everything="--no-all" not in sys.argv)
        missed = _missed(told)
        print(json.dumps(told | {"missed": missed}, indent=1))
    finally:
        if kept is None:
            shutil.rmtree(folder)
    sys.exit(bool(missed))


def _missed(told: dict[str, Any]) -> list[str]:
    """Name the limits that were not kept to; they are meant for a quiet machine."""
    alone = told["posts_only"]
    measured = {"posts_s": alone["wall_s"], "posts_mb": alone["peak_mb"]}
    if "newest_changed" in told:
        measured["incremental_s"] = max(told[name]["wall_s"] for name in ("newest_changed", "refreshed"))
    return [name for name, value in measured.items() if value > LIMITS[name]]


def _generate(folder: Path, count: int, metrics: int) -> None:
    """Make the first 50,000 posts one by one, the others in SQL, each a copy that was made some days later."""
    folder.mkdir(parents=True, exist_ok=True)
    create_archive(folder, SystemClock())
    engines = backend_of(folder / "clipledger.db").engines()
    seeds = min(count, SEEDS)
    for table, rows in search._tables(seeds, metrics):
        if table.name in COPIED:
            _say(f"{table.name} ...")
            with engines.writing.begin() as connection:
                search._bulk(connection, table, rows)
    last = str(int(search._id(seeds)) >> 32 << 32)
    for nth in range(1, count // seeds):
        _say(f"{nth * seeds} posts ...")
        with engines.writing.begin() as connection:
            for name in COPIED:
                names = [column.name for column in metadata.tables[name].c]
                told = ", ".join(_LATER if each == "aweme_id" else each for each in names)
                copied = f"INSERT INTO {name} ({', '.join(names)}) SELECT {told} FROM {name} WHERE aweme_id < :last"
                connection.execute(text(copied), {"last": last, "later": nth * seeds * 8 << 32})
    engines.dispose()


def _steps(folder: Path, seed: int, *, everything: bool) -> dict[str, Any]:
    aside, to = folder / "aside", folder / "exported"
    for path in (aside, to):
        shutil.rmtree(path, ignore_errors=True)
    aside.mkdir()
    told = {"posts_only": _timed([sys.executable, __file__, "--posts-only", str(folder), str(aside)])}
    shutil.rmtree(aside)
    if everything:
        command = [sys.executable, "-m", "clipledger", "--archive", str(folder), "--json", "export", "parquet"]
        command += ["--to", str(to)]
        told["everything"] = _timed(command)
        told["nothing_changed"] = _timed(command)
        for name in ("newest_changed", "refreshed", "random_changed"):
            _change(folder, random.Random(seed), name)
            told[name] = _timed(command)
        told["parquet_mb"] = sum(path.stat().st_size for path in to.rglob("*.parquet")) / 1e6
    return told


def _change(folder: Path, dice: random.Random, which: str) -> None:
    """See posts again: new counters and a new observation of each."""
    engines = backend_of(folder / "clipledger.db").engines()
    with engines.writing.begin() as connection:
        ids = list(connection.execute(select(posts.c.aweme_id).order_by(posts.c.aweme_id)).scalars())
        chosen = _chosen(ids, dice, which)
        seen = connection.execute(select(func.max(posts.c.counters_at))).scalar() or 0.0
        # Later than any before: a kept folder was changed by the last run too, with the same dice.
        plays, at = dice.randrange(10**9), max(seen, search.START + 10**6) + 1 + dice.randrange(10**4)
        touch = update(posts).where(posts.c.aweme_id.in_(chosen)).values(play_count=plays, counters_at=float(at))
        connection.execute(touch)
        row = {"observed_at": float(at), "feed": "list", "play_count": plays}
        connection.execute(insert(post_metrics_history), [{"aweme_id": each} | row for each in chosen])
    engines.dispose()


def _chosen(ids: list[str], dice: random.Random, which: str) -> list[str]:
    """Choose which change: the newest ones, those whose age a schedule of refreshes names, or any."""
    if which == "random_changed":
        return dice.sample(ids, min(CHANGES, len(ids)))
    ages = AGES if which == "refreshed" else (0,)
    ends = [bisect(ids, str(int(ids[-1]) - (age << 32))) for age in ages]
    return sorted({each for end in ends for each in ids[max(end - CHANGES // len(ages), 0) : end]})


def _posts_only(folder: Path, aside: Path) -> None:
    engines = backend_of(folder / "clipledger.db").engines()
    with engines.reading.connect() as connection, connection.begin():
        plan = survey(connection, Kind.PARQUET, "", None, None)
        pieces = tuple(piece for piece in plan.pieces if piece.extract.name == "posts")
        batch = stage(connection, Survey(True, pieces, (), ()), Kind.PARQUET, "", aside, lambda *_: None, Event())
    engines.dispose()
    print(json.dumps({"rows": {"posts": sum(each.file.rows for each in batch.staged)}, "files_written": len(pieces)}))


def _timed(command: list[str]) -> dict[str, Any]:
    _say(" ".join(command[2:]))
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    out = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{command} ended with {process.returncode}")
    told = json.loads(out)
    return {
        "wall_s": round(time.monotonic() - began, 2),
        "cpu_s": round(used.ru_utime + used.ru_stime, 2),
        "peak_mb": round(used.ru_maxrss / 1024, 1),
        "files_written": told["files_written"],
        "rows": sum(told["rows"].values()),
        "load": round(os.getloadavg()[0], 1),
    }


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

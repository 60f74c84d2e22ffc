"""How quickly the web app answers on a large archive: p95 of each screen's requests, and the server's memory.

A real server in a process of its own, asked over loopback by one visitor after the other. The archive is that of
`benchmarks/search.py`: a million posts with titles, tags, authors and counters; it has no media.

Usage: .venv/bin/python benchmarks/web.py [POSTS] [FOLDER]
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

import search as filled

ROUNDS, FEW_ROUNDS = 100, 20
LIMIT_MS, MEMORY_MB = 100.0, 200.0
MODULE = (sys.executable, "-m", "clipledger")


def main() -> None:
    if {"-h", "--help"} & set(sys.argv):
        print(__doc__)
        return
    words = sys.argv[1:]
    count, kept = int([*words, "1000000"][0]), Path(words[1]) if len(words) > 1 else None
    folder = kept or Path(tempfile.mkdtemp(prefix="clipledger-web-"))
    try:
        if not (folder / "clipledger.toml").exists():
            filled._generate(folder, count, 2, "")
        ok = _measure(folder, count)
    finally:
        if kept is None:
            shutil.rmtree(folder)
    sys.exit(not ok)


def _requests(dice: random.Random, count: int) -> dict[str, Callable[[], str]]:
    """Give for each screen a maker of the requests that it sends."""

    def word() -> str:
        return filled.WORDS[min(int(dice.expovariate(0.05)), len(filled.WORDS) - 1)]

    def aweme_id() -> str:
        return filled._id(dice.randrange(count))

    return {
        "now": lambda: "/api/v1/now",
        "first page": lambda: "/",
        "page: gallery": lambda: f"/gallery?after={aweme_id()}",
        "page: gallery, plays": lambda: f"/gallery?sort=plays&q={word()}",
        "page: gallery, tag": lambda: f"/gallery?q=tag:{dice.choice(filled.TAGS)}",
        "page: search": lambda: f"/search?q={word()}",
        "page: search, plays": lambda: f"/search?sort=plays&q={word()}",
        "page: search, author": lambda: f"/search?q=from:@author{dice.randrange(filled.AUTHORS)}",
        "page: post": lambda: f"/posts/{aweme_id()}",
        "page: queue": lambda: "/queue",
        "page: sources": lambda: "/sources",
        "page: gone": lambda: "/gone",
        "page: budget": lambda: "/budget",
        "page: system": lambda: "/system",
        "page: removals": lambda: "/removals",
        "page: gone, older": lambda: f"/gone?after=2026-05-30T00:00:00Z_{aweme_id()}",
        "page: author": lambda: f"/authors/author{dice.randrange(filled.AUTHORS)}",
        "page: tag": lambda: f"/tags/{dice.choice(filled.TAGS)}",
        "gallery": lambda: f"/api/v1/posts?limit=40&after={aweme_id()}",
        "gallery by plays": lambda: "/api/v1/posts?limit=40&sort=plays",
        "search": lambda: f"/api/v1/search?limit=40&q={word()}",
        "search, tag": lambda: f"/api/v1/search?limit=40&q=tag:{dice.choice(filled.TAGS)}",
        "search, author": lambda: f"/api/v1/search?limit=40&q=from:@author{dice.randrange(filled.AUTHORS)}",
        "search, growth": lambda: f"/api/v1/search?limit=40&sort=growth&q={word()}",
        "search, relevance": lambda: f"/api/v1/search?limit=40&sort=relevance&q={word()}",
        "search, plays": lambda: f"/api/v1/search?limit=40&sort=plays&q={word()}",
        "post": lambda: f"/api/v1/posts/{aweme_id()}",
        "failures": lambda: "/api/v1/failures",
        "sources": lambda: "/api/v1/sources",
        "gone": lambda: "/api/v1/gone?limit=40",
        "authors": lambda: "/api/v1/authors?limit=40",
        "tags": lambda: "/api/v1/tags?limit=40",
        "credits": lambda: "/api/v1/credits",
        "count and facets": lambda: f"/api/v1/search/count?facets=true&q={word()}",
    }


BESIDE = (
    "page: queue",
    "page: sources",
    "page: budget",
    "page: system",
    "page: removals",
    "page: author",
    "page: tag",
    "page: gone",
    "page: gone, older",
    "failures",
    "sources",
    "gone",
    "authors",
    "tags",
    "credits",
    "count and facets",
)
"""What has no limit: the other screens, and what pages ask for when they stand."""


def _measure(folder: Path, count: int) -> bool:
    subprocess.run([*MODULE, "--archive", str(folder), "-q", "db", "migrate"], check=True)
    with _served(folder) as (base, pid), httpx.Client(base_url=base, timeout=120) as client:
        began = time.monotonic()
        client.get("/").raise_for_status()
        print(f"first page of a new server: {(time.monotonic() - began) * 1000:.0f} ms")
        began = time.monotonic()
        client.get("/api/v1/now").raise_for_status()
        print(f"first figures of a new server: {(time.monotonic() - began) * 1000:.0f} ms")
        slow = []
        for name, make in _requests(random.Random(7), count).items():
            taken, spent_ms = [], _cpu_ms(pid)
            for _ in range(FEW_ROUNDS if name in BESIDE else ROUNDS):
                url, began = make(), time.monotonic()
                answer = client.get(url)
                taken.append((time.monotonic() - began) * 1000)
                assert answer.status_code == 200, (url, answer.text)
            p50, p95 = statistics.median(taken), sorted(taken)[int(len(taken) * 0.95)]
            slow += [name] if p95 > LIMIT_MS and name not in BESIDE else []
            clock = f"p50 {p50:7.1f} ms   p95 {p95:7.1f} ms   max {max(taken):7.1f} ms"
            print(f"{name:20} {clock}   CPU {(_cpu_ms(pid) - spent_ms) / len(taken):6.1f} ms")
        memory = _peak_mb(pid)
    print(
        f"peak memory of the server: {memory:.0f} MB (limit {MEMORY_MB:.0f}); too slow: {', '.join(slow) or 'nothing'}"
    )
    return not slow and memory < MEMORY_MB


@contextmanager
def _served(folder: Path) -> Iterator[tuple[str, int]]:
    command = [*MODULE, "--archive", str(folder), "--json", "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield str(json.loads(process.stdout.readline())["url"]).rstrip("/"), process.pid
        finally:
            os.kill(process.pid, signal.SIGINT)
            process.wait(30)


def _cpu_ms(pid: int) -> float:
    """Tell the processor time of the server: on a machine with other work it says more than the clock."""
    told = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return 1000 * (int(told[11]) + int(told[12])) / os.sysconf("SC_CLK_TCK")


def _peak_mb(pid: int) -> float:
    told = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(next(line for line in told.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024


if __name__ == "__main__":
    main()

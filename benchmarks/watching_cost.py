"""Does being watched slow a run down? The same run plain, with metrics that are scraped, and with a log file too.

    python benchmarks/watching_cost.py [--rounds 4] [--posts 600]

Real processes on loopback. Each round plays plain, watched, watched, plain against one simulator each; the
ratio is that of CPU seconds of the run's own process, which other work on the machine disturbs least. One scrape
a second is fifteen times as many as Prometheus makes by default. Exits 1 above the bound.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from process.harness import archive_for, simulator

RATIO_MAX = 1.10
PLAIN: tuple[str, ...] = ()


def main() -> int:
    """Measure and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--posts", type=int, default=600)
    options = parser.parse_args()
    cpu, wall, events = [], [], []
    for _ in range(options.rounds):
        plain, watched, again, last = (_run(options.posts, watched) for watched in (False, True, True, False))
        cpu.append((watched[0] + again[0]) / (plain[0] + last[0]))
        wall.append((watched[1] + again[1]) / (plain[1] + last[1]))
        events.append(watched[2])
        print(f"plain {plain[0]:.2f} {last[0]:.2f}, watched {watched[0]:.2f} {again[0]:.2f} CPU s: {cpu[-1]:.3f}")
    ratio = statistics.median(cpu)
    print(f"{'ok  ' if ratio < RATIO_MAX else 'MISS'} CPU ratio, median: {ratio:.3f} (bound {RATIO_MAX})")
    print(f"     wall ratio, median: {statistics.median(wall):.3f}; some {statistics.median(events):.0f} events a run")
    return int(ratio >= RATIO_MAX)


def _run(posts: int, watched: bool) -> tuple[float, float, int]:
    """Play one run; give its CPU seconds, its wall seconds and its events."""
    with tempfile.TemporaryDirectory(prefix="clipledger-watching-") as place, simulator(posts, rpm=60_000) as sim:
        archive, log, port = archive_for(Path(place) / "archive", sim), Path(place) / "log", _free_port()
        archive.cli("add", *sim.names())
        words = ("--metrics-port", str(port), "--log-file", str(log)) if watched else PLAIN
        began = time.perf_counter()
        process = subprocess.Popen(archive.command("run", "-q", *words), env=archive.env)
        with _scraping(port) if watched else contextlib.nullcontext():
            _pid, _status, usage = os.wait4(process.pid, 0)
        process.returncode = 0
        took_s = time.perf_counter() - began
        return usage.ru_utime + usage.ru_stime, took_s, len(log.read_bytes().splitlines()) if watched else 0


def _free_port() -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def _scraping(port: int) -> Iterator[None]:
    ended = threading.Event()

    def scrape() -> None:
        while not ended.wait(1.0):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
                answer.read()

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


if __name__ == "__main__":
    sys.exit(main())

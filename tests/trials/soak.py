"""Soak: a real process at ten times 50,000 posts a day against the simulator's port, a tenth of it going wrong.

Watches the process from outside: resident memory and open descriptors once a second. Must not: look inside it.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from process.harness import Archive, archive_for, simulator

PER_MINUTE = 350
"""50,000 posts a day, ten times over: 347 a minute."""

MIXED = (
    "deleted=0.02,http_500=0.015,http_502_html=0.01,broken_json=0.01,reset=0.01,slow=0.01:1,timeout=0.002:2,"
    "unknown_message=0.005,cdn_500=0.01,cdn_403=0.005,truncated=0.01,cdn_reset=0.01,cdn_html=0.005,no_length=0.05,"
    "expired_at_birth=0.005,burst=none,patience=3"
)
"""About a tenth of what is asked goes wrong: half of it at the API, half at the CDN."""

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Sample:
    """One look: seconds since the start, bytes resident, descriptors open."""

    at: float
    rss_bytes: int
    descriptors: int


@dataclass(frozen=True, slots=True)
class Soaked:
    """What came of it. The slope is that of a straight line through the memory after the warm-up."""

    samples: Sequence[Sample]
    warm_up_s: float
    archived: int
    states: dict[str, int]
    calls: int
    failed_calls: int
    exit_code: int

    @property
    def warm(self) -> list[Sample]:
        """Give the samples after the warm-up."""
        return [sample for sample in self.samples if sample.at >= self.warm_up_s]

    @property
    def slope_bytes_per_h(self) -> float:
        """Fit a line through the resident memory (least squares) and give its slope."""
        return slope([(sample.at, float(sample.rss_bytes)) for sample in self.warm]) * 3600.0

    @property
    def descriptors(self) -> tuple[float, float]:
        """Give the mean number of descriptors in the first and in the last third after the warm-up."""
        counts = [sample.descriptors for sample in self.warm]
        third = max(len(counts) // 3, 1)
        return sum(counts[:third]) / third, sum(counts[-third:]) / third

    @property
    def per_minute(self) -> float:
        """Give the posts archived a minute."""
        return self.archived / self.samples[-1].at * 60.0


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Give the slope of the line of least squares through points."""
    n = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


def soaked(folder: Path, *, seconds: float, warm_up_s: float, seed: int = 7, per_minute: int = PER_MINUTE) -> Soaked:
    """Let `run --follow` work at full rate for so long, look at it every second, stop it in good order."""
    posts = int(per_minute * seconds / 60 * 1.6) + 400
    with simulator(posts, MIXED, seed=seed, rpm=6000) as sim:
        rate = {"CLIPLEDGER_API__REQUESTS_PER_MINUTE": str(int(per_minute * 1.15))}
        archive = archive_for(folder, sim, **rate)
        archive.cli("add", *sim.names())
        samples = list(_watched(archive, seconds))
        ledger = sim.ledger()
        failed = sum(count for outcome, count in ledger["outcomes"].items() if outcome not in ("ok", "error"))
        states = dict(archive.rows("SELECT state, count(*) FROM archive_queue GROUP BY state"))
        archived = archive.one("SELECT count(*) FROM posts")
        code = archive.cli("verify", "--ledger", code=None).code
        return Soaked(samples, warm_up_s, archived, states, ledger["calls"], failed, code)


def _watched(archive: Archive, seconds: float) -> Iterator[Sample]:
    log = (archive.folder / "run.log").open("wb")
    with log, archive.started("run", "--follow", "-q", stdout=log, stderr=log) as process:
        began = time.monotonic()
        while (at := time.monotonic() - began) < seconds:
            assert process.poll() is None, (
                f"it ended after {at:.0f} s: {(archive.folder / 'run.log').read_text()[-500:]}"
            )
            if (sample := _look(process.pid, at)) is not None:
                yield sample
            time.sleep(1.0)
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _look(pid: int, at: float) -> Sample | None:
    try:
        resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES
        return Sample(at, resident, len(list(Path(f"/proc/{pid}/fd").iterdir())))
    except (OSError, IndexError):
        return None

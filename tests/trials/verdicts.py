"""What every trial of the reliability harnesses shares: faults end, the archive recovers, the judge looks.

One engine for the small sizes in `tests/` and the full ones in `benchmarks/`. Must not: draw a trial.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from clipledger.sim.faults import KINDS, Door, FaultPlan
from clipledger.sim.play import Play
from clipledger.sim.scenarios import outcome
from clipledger.sim.timeloop import bury

DAY_S = 86_400.0
SLOW_S = 10.0
"""A trial of so much CPU time is told by itself: there are few of that kind."""

RUNS_MAX = 16
"""So many runs after the faults have ended, the back-offs between them sat out, must settle every id."""

_OPEN = "SELECT count(*) FROM archive_queue WHERE state NOT IN ('archived', 'dead', 'withheld')"
_FOR_EVER = {kind.name for kind in KINDS if kind.door in (Door.HD, Door.WORLD)}
"""What is true of a post for as long as the world stands: the judge could not tell its files without it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one trial ended. `findings` empty: it held. `replay` runs exactly this trial again."""

    name: str
    replay: str
    findings: tuple[str, ...]
    states: dict[str, int] = field(default_factory=dict)
    endings: tuple[str, ...] = ()
    trace: str = ""
    seconds: float = 0.0
    retried: int = 0
    """Dead ids that are alive: the operator's `retry` had to bring them back."""


def faults_end(stage: Play) -> None:
    """Let the world be well from now on; what its posts are they stay."""
    plan = stage.world.scene.plan
    kept = {name: row for name, row in plan.settings.items() if name in _FOR_EVER}
    stage.world.scene.plan = FaultPlan(kept, plan.rpm, plan.burst, plan.patience)


def recover(stage: Play, *, runs_max: int = RUNS_MAX, workers: int = 1) -> list[str]:
    """Run until nothing is open, as an operator's timer would: at least once a day, later for longer back-offs.

    First whenever something is due; then, where many ids wait for moments of their own, a quarter of a day apart.
    """
    for number in range(runs_max):
        stage.run(workers=workers)
        if not stage.rows(_OPEN)[0][0]:
            return []
        due_at = stage.next_due_at() or 0.0
        least = 0.0 if number < runs_max // 2 else DAY_S / 4
        stage.wait(min(max(due_at - stage.now(), least), DAY_S) + 1.0)
    return [f"{stage.rows(_OPEN)[0][0]} ids still open after {runs_max} runs: {stage.states()}"]


def judged(stage: Play, *, requests_per_minute: int | None = 200) -> tuple[list[str], str]:
    """Hold the archive against the world; give the findings and the trace."""
    told = outcome(stage, finished=False)
    report = stage.audit(requests_per_minute=requests_per_minute)
    return list(report.findings), told.trace


@contextmanager
def places(where: Path | None = None) -> Iterator[Callable[[], Path]]:
    """Give folders for archives, in memory where there is room; each is freed when the next is asked for."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 2**31
    with tempfile.TemporaryDirectory(dir=where or (memory if roomy else None), ignore_cleanup_errors=True) as place:
        count = iter(range(10**9))

        def fresh() -> Path:
            for old in Path(place).iterdir():
                shutil.rmtree(old, ignore_errors=True)
            return Path(place) / f"archive-{next(count)}"

        try:
            yield fresh
        finally:
            bury()


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial to be made: what it is called, how it is made again, and how it is made in a folder."""

    name: str
    replay: str
    make: Callable[[Callable[[], Path]], Verdict]


def side_by_side(trials: Iterable[Trial], processes: int) -> Iterator[Verdict]:
    """Make trials, several processes side by side; one that breaks off is a verdict too."""
    with ProcessPoolExecutor(processes) as pool:
        waiting = [(trial, pool.submit(_made, trial.make)) for trial in trials]
        for trial, future in waiting:
            error = future.exception()
            if error is None:
                yield future.result()
            else:
                yield Verdict(trial.name, trial.replay, (f"it broke off: {_leaf(error)!r}",))


def _made(make: Callable[[Callable[[], Path]], Verdict]) -> Verdict:
    with places() as fresh:
        return make(fresh)


def _leaf(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def told(verdicts: Iterable[Verdict], *, out: str | None, **about: object) -> int:
    """Tell each verdict on stderr as it comes, the sum as JSON; give the exit code: 1 when any trial failed."""
    began, rows = time.monotonic(), list[Verdict]()
    for verdict in verdicts:
        rows.append(verdict)
        if verdict.findings:
            sys.stderr.write(f"FAILED {verdict.name}: {'; '.join(verdict.findings[:3])}\n  again: {verdict.replay}\n")
        if len(rows) % 25 == 0 or verdict.seconds > SLOW_S:
            sys.stderr.write(f"{len(rows)} trials, {time.monotonic() - began:.0f} s\n")
        sys.stderr.flush()
    failed = [asdict(row) for row in rows if row.findings]
    summary = about | {
        "trials": len(rows),
        "failures": len(failed),
        "upper_95": round(3 / len(rows), 5) if rows and not failed else None,
        "retried_by_hand": sum(row.retried for row in rows),
        "seconds": round(time.monotonic() - began, 1),
        "failed": failed,
    }
    text = json.dumps(summary, indent=1)
    if out:
        Path(out).write_text(text + "\n", encoding="utf-8")
    sys.stdout.write(text + "\n")
    return 1 if failed else 0

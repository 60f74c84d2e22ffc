"""One kill -9 and what comes after: start a run, kill it at a drawn moment, run until nothing waits, judge.

Shared by the test and by `benchmarks/crash.py`. Each trial has a world and an archive of its own, so that
its credits are its own too.
"""

from __future__ import annotations

import atexit
import random
import shutil
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from process.harness import KEY, Archive, Evidence, Sim, archive_for, audit, copy_of, events_of, simulator

POSTS = 80
IN_FLIGHT = 24
"""cdn.concurrency (20) + wiring.EXTRA_JOBS (4): what may have been bought and not stored when the blow comes."""

_WORLDS = (7, 8, 9)
_PREPARED: dict[int, Archive] = {}
_START_UP_S = 1.6
_EVENTS = 2 * POSTS + 20
"""Events of an undisturbed run of `POSTS` posts: each stored and archived, some pages and look-ups."""

_PHASES = {"looked_up": "listing", "page": "listing", "archived": "metadata", "summary": "end"}


@dataclass(frozen=True, slots=True)
class Moment:
    """When to strike: so long after the n-th event; n = 0 counts from the start of the process."""

    event: int
    delay_s: float

    @classmethod
    def drawn(cls, dice: random.Random) -> Moment:
        """Draw a moment: one in six while the process starts, the others over its whole work."""
        if dice.random() < 1 / 6:
            return cls(0, dice.uniform(0.0, _START_UP_S))
        return cls(dice.randint(1, _EVENTS), dice.uniform(0.0, 0.03))


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one trial ended. `extra` counts resolves beyond one an id; `findings` empty: the judge is content."""

    phase: str
    events: int
    extra: int
    findings: tuple[str, ...]


def trial(folder: Path, dice: random.Random) -> Outcome:
    """Play one trial in `folder`."""
    with simulator(POSTS, seed=dice.choice(_WORLDS)) as sim:
        archive = copy_of(_with_sources(sim), folder / "archive", sim)
        phase, events = kill_at(archive, Moment.drawn(dice))
        archive.finish()
        return _judged(archive, sim, phase, events)


def _with_sources(sim: Sim) -> Archive:
    """Give a new archive with all lists of a world in it; made once for each world."""
    if sim.seed not in _PREPARED:
        folder = Path(tempfile.mkdtemp(prefix="clipledger-sources-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        archive = archive_for(folder / "archive", sim)
        archive.cli("add", "-q", *sim.names())
        _PREPARED[sim.seed] = archive
    return _PREPARED[sim.seed]


def kill_at(archive: Archive, moment: Moment) -> tuple[str, int]:
    """Run and kill; say in which phase and after how many events it happened."""
    seen: list[str] = []
    with archive.started("run", "--json", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:

        def strike() -> None:
            time.sleep(moment.delay_s)
            process.kill()

        blow = threading.Thread(target=strike)
        if moment.event == 0:
            blow.start()
        for event in events_of(process.stdout):
            seen.append(event["event"])
            if len(seen) == moment.event:
                blow.start()
        if blow.ident is None:  # it was done before its hour came
            blow.start()
        blow.join()
    return (_PHASES.get(seen[-1], "capture") if seen else "start-up"), len(seen)


def _judged(archive: Archive, sim: Sim, phase: str, events: int) -> Outcome:
    report = audit(archive.folder, Evidence(sim.ledger(), sim.truth(), KEY, sim.rpm), database=archive.database)
    findings = [*report.findings, *_missing(archive, sim)]
    if report.extra_calls > IN_FLIGHT:
        findings.append(f"{report.extra_calls} resolves were bought again, {IN_FLIGHT} can have been under way")
    verified = archive.cli("verify", code=None)
    findings += [verified.err] * (verified.code != 0)
    return Outcome(phase, events, report.extra_calls, tuple(findings))


def _missing(archive: Archive, sim: Sim) -> list[str]:
    archived = set(archive.ids())
    listed: list[Any] = [post for post in sim.truth()["posts"] if post["listed"] and post["alive"]]
    return [f"{post['id']}: is listed and not archived" for post in listed if post["id"] not in archived]

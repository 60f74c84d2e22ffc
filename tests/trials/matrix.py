"""The fault matrix: every kind of fault at three intensities, and random pairs; each ends with a whole archive.

A fault below full intensity strikes single calls and tires of a post after four failures; at full intensity it
strikes every call for half an hour. Must not: judge; that is for `sim.audit`.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from clipledger.archive import SystemClock, open_archive
from clipledger.db.alarms import ALLOWED, Alarms
from clipledger.sim.dice import roll
from clipledger.sim.faults import KINDS, Door
from clipledger.sim.play import Crash, Play
from trials.hours import BLOCKS, OWN_TROUBLE
from trials.verdicts import Trial, Verdict, faults_end, judged, recover

INTENSITIES = (0.1, 0.4, 1.0)
POSTS = 30
BEGINS_S, ENDS_S = 4.0, 1800.0
BETWEEN_S = 400.0
SAME_MOST = 5

BY_HAND = OWN_TROUBLE | BLOCKS | {"reposted"}
"""Kinds after which the operator's `retry` may be needed: what `reliability.md` tells of each."""

_STRANGE = re.compile(r"(\d+): \S+ is no \S* ?video of this post")


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: kinds with their shares."""

    kinds: tuple[tuple[str, float], ...]
    seed: int
    crash: Crash | None = None
    again: str = ""

    @property
    def name(self) -> str:
        """Name it as the command line takes it."""
        return "+".join(f"{kind}={share:g}" for kind, share in self.kinds)

    @property
    def replay(self) -> str:
        """Write the line that tries it again."""
        return f"python benchmarks/fault_matrix.py {self.again}"

    @property
    def plan(self) -> str:
        """Write the plan."""
        doors = {kind.name: kind.door for kind in KINDS}
        words = ["deleted=0.05", "rpm=200"]
        for kind, share in self.kinds:
            for_ever = doors[kind] in (Door.WORLD, Door.HD)
            words.append(f"{kind}={share:g}" if for_ever else f"{kind}={share:g}@{BEGINS_S:.0f}-{ENDS_S:.0f}")
        if all(share < 1 for _, share in self.kinds):
            words.append("patience=4")
        return ",".join(words)


def singles(seed: int) -> list[Cell]:
    """List every kind at each intensity."""
    return [single(kind.name, share, seed) for kind in KINDS for share in INTENSITIES]


def single(kind: str, share: float, seed: int) -> Cell:
    return Cell(((kind, share),), seed, again=f"--cell {kind}={share:g} --seed {seed}")


def pairs(seed: int, count: int) -> list[Cell]:
    """Draw pairs of kinds, with a crash in the middle."""
    return [_pair(seed, n) for n in range(count)]


def _pair(seed: int, n: int) -> Cell:
    units = [roll(seed, "pair", n, what) for what in ("a", "b", "share a", "share b", "crash", "steps")]
    one, other = (KINDS[int(unit * len(KINDS))].name for unit in units[:2])
    shares = [INTENSITIES[int(unit * len(INTENSITIES))] for unit in units[2:4]]
    kinds = tuple({one: shares[0], other: shares[1]}.items())
    return Cell(kinds, seed + n, Crash(5.0 + units[4] * 120.0, int(units[5] * 60)), f"--pair {n} --seed {seed}")


def tried(cell: Cell, fresh: Callable[[], Path], *, posts: int = POSTS) -> Verdict:
    """Play one cell to its end."""
    began, settings = time.process_time(), {"queue.recheck_gone": ["2h", "24h"]}
    stage = Play(fresh(), seed=cell.seed, posts=posts, faults=cell.plan, settings=settings)
    stage.add(*(f"@{author.handle(stage.now())}" for author in stage.world.population.authors))
    until = stage.now() + ENDS_S
    if cell.crash is not None:
        stage.run(crash=cell.crash)
    while stage.now() < until:
        stage.run(stop_after_s=until - stage.now())
        stage.wait(min(BETWEEN_S, max(until - stage.now(), 0.0)) + 1.0)
    faults_end(stage)
    kinds = {kind for kind, _ in cell.kinds}
    retried, findings = _recovered(stage, kinds)
    told, trace = judged(stage)
    return Verdict(
        cell.name,
        cell.replay,
        (*findings, *_unexplained(stage, told, kinds)),
        stage.states(),
        tuple(run.ending for run in stage.runs),
        trace,
        round(time.process_time() - began, 2),
        retried,
    )


def trial(cell: Cell) -> Trial:
    """Make a trial of a cell, as a pool of processes takes it."""
    return Trial(cell.name, cell.replay, partial(tried, cell))


def _recovered(stage: Play, kinds: set[str]) -> tuple[int, list[str]]:
    if "reposted" in kinds:
        stage.run()
        asyncio.run(_accept(stage))
    # What is gone is asked again after 2 h and 24 h, so a run on the third day must have settled everything.
    recover(stage)
    stage.wait(2 * 86_400.0)
    open_ids = recover(stage)
    dead = stage.rows("SELECT aweme_id FROM archive_queue WHERE state = 'dead'")
    alive = [aweme_id for (aweme_id,) in dead if stage.world.truth(aweme_id).alive]
    if not alive or not kinds & BY_HAND:
        return 0, open_ids
    asyncio.run(_retry(stage, alive))
    return len(alive), recover(stage)


async def _accept(stage: Play) -> None:
    async with open_archive(stage.folder, SystemClock()) as archive:
        alarms = Alarms(archive.db)
        for alarm in await alarms.all():
            await alarms.note(alarm.sha256, ALLOWED, stage.now(), "accepted by the harness")
            await alarms.release(alarm.sha256, stage.now())


async def _retry(stage: Play, ids: list[str]) -> None:
    async with open_archive(stage.folder, SystemClock()) as archive:
        await archive.queue.retry(ids, stage.now())  # type: ignore[arg-type]


def _unexplained(stage: Play, findings: list[str], kinds: set[str]) -> Iterator[str]:
    """Let pass what is promised of placeholders: at most five posts hold the same wrong bytes."""
    wrong: dict[str, list[str]] = {}
    for finding in findings:
        strange = _STRANGE.match(finding)
        if strange is None or not kinds & {"placeholder", "placeholder_fits"}:
            yield finding
            continue
        sha256 = stage.rows("SELECT video_sha256 FROM archive_queue WHERE aweme_id = ?", strange[1])[0][0]
        wrong.setdefault(sha256, []).append(finding)
    for sha256, found in wrong.items():
        if len(found) > SAME_MOST:
            yield f"{sha256[:12]} stands for {len(found)} posts: {found[0]}"

"""Whole plays from a value: what is archived from which world, what goes wrong, and what came of it.

`play` lays an archive down in a folder, works on it in simulated time until nothing is open, and has it
judged. The same scenario gives the same outcome, step by step. Must not: know how a run is staged
(`play`), or what the judge looks at (`audit`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from math import inf
from pathlib import Path

from clipledger.core.times import read_iso_time
from clipledger.sim.audit import Report
from clipledger.sim.play import NO_LIMITS, Crash, Play, Run
from clipledger.sim.world import World
from clipledger.wiring import Limits

ORDINARY = frozenset({"first", "page", "lookup", "regions"})
"""Why a call is made when nothing goes wrong; any other reason says what did."""

_OTHERS = ("#", "search:", "music:", "playlist:", "collection:", "liked:")
_TABLES = {"archive_queue": "aweme_id", "sources": "source", "credits": "seq", "files": "aweme_id, storage_key"}


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is played. `sources` as typed after `add`; None: every list and link that the world has.

    `crashes` end one run each, before the others. `follow_s`: one run that follows so long, then is told
    to stop; None: runs without `--follow`, the back-offs between them sat out, `runs_max` at most.
    """

    seed: int = 1
    posts: int = 200
    faults: str = "calm"
    sources: tuple[str, ...] | None = None
    every: str | None = None
    settings: Mapping[str, object] = field(default_factory=dict)
    crashes: tuple[Crash, ...] = ()
    follow_s: float | None = None
    workers: int = 1
    limits: Limits = NO_LIMITS
    runs_max: int = 8
    photo_share: float = 0.1


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it.

    `credits` and `calls` by reason, from the archive's ledger. `latencies`: seconds from the moment a list
    showed an id until a resolve told what it is, sorted; infinite for ids never told of. `trace` is a hash
    of every step, every call and what the tables hold. `stage` is what can be played on.
    """

    stage: Play
    runs: tuple[Run, ...]
    states: Mapping[str, int]
    report: Report
    worst_minute: int
    credits: Mapping[str, int]
    calls: Mapping[str, int]
    latencies: tuple[float, ...]
    trace: str

    def latency_s(self, share: float) -> float:
        """Give the latency that `share` (0..1) of the listed ids do not exceed; 0 when none was listed."""
        return self.latencies[min(int(share * len(self.latencies)), len(self.latencies) - 1)] if self.latencies else 0.0


def play(scenario: Scenario, folder: Path) -> Outcome:
    """Play a scenario in a folder that is not there yet."""
    stage = Play(
        folder,
        seed=scenario.seed,
        posts=scenario.posts,
        faults=scenario.faults,
        settings=scenario.settings,
        photo_share=scenario.photo_share,
    )
    wanted = scenario.sources if scenario.sources is not None else everything(stage.world)
    stage.add(*wanted, every=scenario.every)
    for crash in scenario.crashes:
        stage.run(workers=scenario.workers, crash=crash)
    if scenario.follow_s is not None:
        stage.run(workers=scenario.workers, limits=scenario.limits, follow=True, stop_after_s=scenario.follow_s)
    else:
        stage.run_to_the_end(scenario.runs_max, workers=scenario.workers, limits=scenario.limits)
    return outcome(stage, finished=scenario.follow_s is None)


def outcome(stage: Play, *, finished: bool = True) -> Outcome:
    """Judge a stage as it stands; `finished`: nothing may be left open."""
    spent = stage.rows("SELECT reason, sum(credits), count(*) FROM credits GROUP BY reason ORDER BY reason")
    return Outcome(
        stage,
        tuple(stage.runs),
        stage.states(),
        stage.audit(finished=finished),
        stage.world.ledger.worst_minute,
        {reason: credits for reason, credits, _ in spent},
        {reason: calls for reason, _, calls in spent},
        tuple(sorted(_latencies(stage))),
        _trace(stage),
    )


def everything(world: World) -> tuple[str, ...]:
    """Write down every author, some of every other kind of source, and posts by hand: one of them never was."""
    lists, people = list(world.sources()), world.population
    handles = [author.handle(world.now()) for author in people.authors]
    others = [name for kind in _OTHERS for name in [each for each in lists if each.startswith(kind)][:3]]
    alive = [post_id for post_id in world.ids() if world.truth(post_id).alive]
    from_the_middle = (people.post((people.size // 2 + step) % people.size) for step in range(people.size))
    shared = next(post for post in from_the_middle if post.fate(world.now()) != "unborn")
    return (
        *(f"@{handle}" for handle in handles),
        *others,
        f"stories:@{handles[1]}",
        f"search:{next(iter(people.tags))}?region=US&sort=date",
        f"https://vm.tiktok.com/{people.short_code(shared)}",
        world.post_url(alive[0]),
        alive[1],
        stranger(world, alive[2]),
    )


def stranger(world: World, near: str) -> str:
    """Give an id that could be a post's, not far from another's, and is nobody's."""
    return next(other for step in range(1, 1000) if not world.truth(other := str(int(near) + step)).created_at)


def _latencies(stage: Play) -> Iterator[float]:
    told = dict(
        stage.rows("SELECT aweme_id, min(settled_at) FROM credits WHERE outcome IN ('ok','gone') GROUP BY aweme_id")
    )
    for aweme_id, shown_at in stage.world.ledger.shown.items():
        yield read_iso_time(told[aweme_id]) - shown_at if aweme_id in told else inf


def _trace(stage: Play) -> str:
    traced = blake2b(digest_size=16)
    for run in stage.runs:
        traced.update(run.trace.encode())
    traced.update(stage.world.ledger.digest().encode())
    for table, order in _TABLES.items():
        for row in stage.rows(f"SELECT * FROM {table} ORDER BY {order}"):
            traced.update(repr(row).encode())
    return traced.hexdigest()

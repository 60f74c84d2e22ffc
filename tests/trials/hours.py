"""Simulated time: the whole archive through an hour of drawn trouble, then recovery, judged, and played twice.

Everything is drawn from the seed: world, faults, settings, workers, crashes, whether one process follows or a timer
starts many. Must not: judge; that is for `sim.audit`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from clipledger.sim.dice import pick, roll
from clipledger.sim.faults import KINDS, Door
from clipledger.sim.play import Crash, Play
from clipledger.sim.scenarios import everything
from trials.verdicts import DAY_S, Trial, Verdict, faults_end, judged, recover

HOUR_S = 3600.0

UNTOLD = {"placeholder", "placeholder_fits", "reposted"}
"""Left to their own tests: the first few posts cannot be told from the right ones, or wait for the operator."""

OWN_TROUBLE = {"one_post_429", "one_post_cdn_429", "images_gone"}
"""Trouble of one post alone that lasts longer than its attempts do: it is dead of it, and `retry` brings it back."""

BLOCKS = {"partial_block", "private_meanwhile", "region_meanwhile"}
"""Some posts are said to be gone for as long as this lasts: in a small archive that is believed, and asked again."""

FALSE_NEWS = "not_found_outage"

_APART = UNTOLD | OWN_TROUBLE | BLOCKS
DRAWN = tuple(kind for kind in KINDS if kind.door is not Door.WORLD and kind.name not in _APART)


@dataclass(frozen=True, slots=True)
class Hour:
    """One drawn hour."""

    seed: int
    posts: int
    faults: str
    settings: dict[str, object]
    workers: int
    follow: bool
    every_s: float
    crashes: tuple[Crash, ...]
    all_sources: bool


def drawn(seed: int) -> Hour:
    """Draw the hour of a seed."""

    def unit(*what: object) -> float:
        return roll(seed, "hour", *what)

    crashes = sorted(unit("crash", n) * HOUR_S * unit("early", n) ** 2 for n in range(int(unit("crashes") * 4)))
    faults, settings = _faults(unit), _settings(unit)
    if FALSE_NEWS in faults:
        # Single calls that say of a living post that it is gone are believed where most are right: it is asked again.
        settings["queue.recheck_gone"] = ["2h", "24h"]
    return Hour(
        seed,
        posts=12 + int(unit("posts") ** 2 * 40),
        faults=faults,
        settings=settings,
        workers=1 + (unit("workers") < 0.25),
        follow=unit("follow") < 0.3,
        every_s=300.0 + unit("every") * 900.0,
        crashes=tuple(Crash(at, int(unit("steps", n) * 60)) for n, at in enumerate(crashes)),
        all_sources=unit("sources") < 0.5,
    )


def _faults(unit: Callable[..., float]) -> str:
    words = [f"{name}={unit(name) * 0.15:.3f}" for name in ("deleted", "private", "region_locked", "renamed")]
    for n in range(1 + int(unit("kinds") * 6)):
        kind = DRAWN[int(unit("kind", n) * len(DRAWN))]
        if kind.door is Door.HD:
            words.append(f"{kind.name}={unit('share', n):.3f}")
            continue
        share = 10 ** (-2 + 2 * unit("share", n))
        since = unit("since", n) ** 3 * HOUR_S * 0.5
        until = since + (HOUR_S - since) * unit("until", n) if share > 0.3 else HOUR_S
        words.append(f"{kind.name}={share:.3f}@{since:.0f}-{max(until, since + 5):.0f}")
    words += ["patience=3", "rpm=200" if unit("rpm") < 0.8 else "rpm=120"]
    return ",".join(words)


def _settings(unit: Callable[..., float]) -> dict[str, object]:
    drawn: dict[str, object] = {
        "cdn.concurrency": 1 + int(unit("cdn") * 20),
        "api.concurrency": 1 + int(unit("api") * 8),
        "api.requests_per_minute": pick((8, 20, 60, 200), unit("limit")),
        "queue.lease_s": 15 + int(unit("lease") * 100),
        "capture.quality": pick(("hd", "hd", "hd", "standard", "watermarked"), unit("quality")),
        "capture.covers": unit("covers") < 0.7,
        "capture.audio": unit("audio") < 0.3,
        "capture.lean": unit("lean") < 0.15,
        "listing.backlog": unit("backlog") < 0.7,
        "listing.every": pick(("10m", "30m", "6h"), unit("poll")),
    }
    if unit("recheck") < 0.3:
        drawn |= {"queue.recheck_gone": ["20m", "2h"], "queue.recheck_region": ["30m"]}
    if unit("refresh") < 0.2:
        drawn["history.refresh"] = "10m,30m"
    return drawn


def lived(hour: Hour, folder: Path) -> Play:
    """Play the hour: a follower that is started again after each crash, or a timer that starts run after run."""
    stage = Play(folder, seed=hour.seed, posts=hour.posts, faults=hour.faults, settings=hour.settings)
    handles = [f"@{author.handle(stage.now())}" for author in stage.world.population.authors]
    stage.add(*(everything(stage.world) if hour.all_sources else handles), every="20m")
    began, crashes = stage.now(), list(hour.crashes)
    while (passed := stage.now() - began) < HOUR_S:
        left, crash = HOUR_S - passed, None
        if crashes:
            due, crashes = crashes[0], crashes[1:]
            crash = Crash(max(due.at_s - passed, 0.1), due.steps)
        run = stage.run(workers=hour.workers, follow=hour.follow, stop_after_s=left, crash=crash)
        if not run.crashed:
            stage.wait(min(hour.every_s, max(HOUR_S - (stage.now() - began), 0.0)))
        stage.wait(1.0)
    return stage


def one(seed: int, fresh: Callable[[], Path], *, twice: bool = True) -> Verdict:
    """Play the hour of a seed, let the faults end, recover, judge; and again, to see that it replays."""
    hour, began = drawn(seed), time.process_time()
    first = _once(hour, fresh())
    again = _once(hour, fresh()).trace if twice else first.trace
    odd = () if again == first.trace else (f"the second play went another way: {first.trace[:8]}, {again[:8]}",)
    return replace(first, findings=first.findings + odd, seconds=round(time.process_time() - began, 2))


def trial(seed: int, *, twice: bool = True) -> Trial:
    """Make a trial of a seed, as a pool of processes takes it."""
    return Trial(f"seed {seed}", _replay(seed), partial(one, seed, twice=twice))


def _once(hour: Hour, folder: Path) -> Verdict:
    stage = lived(hour, folder)
    faults_end(stage)
    recover(stage, workers=hour.workers)
    stage.wait(2 * DAY_S)  # whoever is to be asked again has been by then
    open_ids = recover(stage, workers=hour.workers)
    limit = hour.settings["api.requests_per_minute"]
    assert isinstance(limit, int)
    findings, trace = judged(stage, requests_per_minute=limit)
    endings = tuple(run.ending for run in stage.runs)
    found = (*open_ids, *findings)
    return Verdict(f"seed {hour.seed}", _replay(hour.seed), found, stage.states(), endings, trace)


def _replay(seed: int) -> str:
    return f"python benchmarks/simulated_hours.py --seeds 1 --first {seed} --tell"

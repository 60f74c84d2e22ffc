"""Mass outages: thousands of ids meet an API that says the wrong thing of all of them, and nobody is lost.

All not found; all of a shape nobody knows (drifted); credits gone (402); key refused (401). A process that follows
sits the first two out; the other two end each run with a code of their own, and a timer starts the next. Must not:
judge; that is for `sim.audit`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from clipledger.sim.play import Play
from trials.verdicts import Verdict, faults_end, judged, recover

BEGINS_S, LASTS_S = 20.0, 4 * 3600.0
CREDITS_MAX = 60
CHUNK = 500


@dataclass(frozen=True, slots=True)
class Outage:
    """One way in which the API fails everybody. `ends`: how a run without --follow ends meanwhile."""

    name: str
    fault: str
    ends: str
    follows: bool


OUTAGES = (
    Outage("not_found", "not_found_outage", "outage", True),
    Outage("drifted", "links_renamed", "outage", True),
    Outage("drifted_links", "links_as_objects", "outage", True),
    Outage("402", "balance_gone", "credits_exhausted", False),
    Outage("401", "key_refused=1:401", "key_refused", False),
)


def met(outage: Outage, seed: int, ids: int, fresh: Callable[[], Path]) -> Verdict:
    """Let an archive with `ids` ids in its queue meet an outage of four hours, and recover."""
    began = time.process_time()
    share = "" if "=" in outage.fault else "=1"
    plan = f"{outage.fault}{share}@{BEGINS_S:.0f}-{BEGINS_S + LASTS_S:.0f},rpm=200"
    stage = Play(fresh(), seed=seed, posts=ids, faults=plan, photo_share=0.05)
    alive = [post_id for post_id in stage.world.ids() if stage.world.truth(post_id).alive]
    for start in range(0, len(alive), CHUNK):
        stage.add(*alive[start : start + CHUNK])
    endings = _sat_out(stage, outage)
    findings = list(_harmless(stage, outage, endings))
    faults_end(stage)
    stage.wait(1800.0)
    findings += recover(stage)
    told, trace = judged(stage)
    if stage.states() != {"archived": len(alive)}:
        findings.append(f"not all are saved: {stage.states()}")
    return Verdict(
        f"{outage.name}, {len(alive)} ids",
        f"python benchmarks/mass_outage.py --only {outage.name} --ids {ids} --seed {seed}",
        (*findings, *told),
        stage.states(),
        tuple(endings),
        trace,
        round(time.process_time() - began, 1),
    )


def _sat_out(stage: Play, outage: Outage) -> list[str]:
    """Work through the outage to its very end: as a follower, or as a timer of ten minutes."""
    until = stage.now() + BEGINS_S + LASTS_S
    if outage.follows:
        return [stage.run(follow=True, stop_after_s=until - stage.now()).ending]
    endings = []
    while stage.now() < until:
        endings.append(stage.run(stop_after_s=until - stage.now()).ending)
        stage.wait(600.0)
    return endings


def _harmless(stage: Play, outage: Outage, endings: Sequence[str]) -> Iterator[str]:
    """Name what the outage did that it must not do: kill, burn attempts, cost credits."""
    if dead := stage.states().get("dead", 0):
        yield f"{dead} dead"
    burnt = stage.rows("SELECT count(*) FROM archive_queue WHERE state = 'pending' AND attempts > 0")[0][0]
    if burnt:
        yield f"{burnt} waiting ids lost an attempt"
    since = stage.runs[0].began_at + BEGINS_S
    spent = sum(call.credits for call in stage.world.ledger.calls if call.at >= since)
    calls = sum(call.at >= since for call in stage.world.ledger.calls)
    told = stage.rows("SELECT sum(credits) FROM credits WHERE at >= ?", _utc(since))[0][0] or 0
    if max(spent, told) > CREDITS_MAX:
        yield f"{max(spent, told)} credits, {calls} calls while it lasted"
    wanted = {"done", "stopped"} if outage.follows else {outage.ends}
    if not set(endings) <= wanted:
        yield f"runs ended as {sorted(set(endings))}, not {sorted(wanted)}"


def _utc(at: float) -> str:
    from clipledger.core.times import iso_time

    return iso_time(at)

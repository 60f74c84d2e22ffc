"""`verify --media`: read every file again, as a sweep that many processes share and that can be stopped.

A sweep that was stopped is gone on with. Its numbers are those of the whole sweep, each file counted once.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from typing import Any

from clipledger import presence
from clipledger.archive import Archive, open_archive, reach_store
from clipledger.cli.exits import Exit
from clipledger.cli.fleets import HERE, needs_ray, seats_at, supervised
from clipledger.cli.output import Context, size
from clipledger.cli.repairing import Wish, needed_key, repair_found
from clipledger.cli.stopping import signals
from clipledger.cli.verifying import KEPT, tell_findings
from clipledger.core.errors import Misconfigured, StorageUnreachable, UsageError
from clipledger.core.scaling import Bounds
from clipledger.core.times import iso_time
from clipledger.db.sweeps import Standing
from clipledger.events import Events
from clipledger.fleet.errand import errand_for
from clipledger.fleet.seats import SeatsLost
from clipledger.fleet.supervisor import Outcome
from clipledger.stages.sweeping import VERIFY_MEDIA, Sweeper
from clipledger.stages.verify import Verify
from clipledger.wiring import janitor, new_worker_name
from clipledger.worker import Stop, wait_for

PARTS = 8
"""Ranges for each process, at least: who is slow or dies holds up an eighth of its share."""

LOOK_S = 1.0


@dataclass(frozen=True, slots=True)
class Asked:
    """What `verify --media` was asked for, as typed."""

    processes: int
    resume: bool
    anew: bool
    address: str
    child: bool
    wish: Wish | None = None


def verify_media(context: Context, asked: Asked) -> None:
    """Check every file; exit 7 when any differs, 130 when it was stopped: the next call goes on."""
    if asked.resume and asked.anew:
        raise UsageError("--resume or --anew: not both")
    if asked.address != HERE:
        needs_ray()
    needed_key(asked.wish)
    try:
        asyncio.run(_take_part(context) if asked.child else _sweep(context, asked))
    except* SeatsLost as group:
        raise Misconfigured(str(group.exceptions[0])) from None
    except* StorageUnreachable as group:
        found: BaseException = group
        while isinstance(found, BaseExceptionGroup):
            found = found.exceptions[0]
        raise found from None


async def _take_part(context: Context) -> None:
    """Work on the open sweep for as long as a range is free, under the eyes of who started this process."""
    async with open_archive(context.archive) as archive:
        stop, worker = Stop(), new_worker_name()
        with (
            presence.hold_archive(archive.folder),
            presence.hold_worker(archive.folder, worker),
            signals(stop.step, Events(archive.clock), attended=True),
        ):
            sweep = await archive.sweeps.open(VERIFY_MEDIA)
            if sweep is not None:
                await _sweeper(archive, worker, stop).act(sweep)
    context.exit = Exit.INTERRUPTED if stop else Exit.OK


async def _sweep(context: Context, asked: Asked) -> None:
    async with open_archive(context.archive) as archive:
        stop, worker = Stop(), new_worker_name()
        with presence.hold_archive(archive.folder), presence.hold_worker(archive.folder, worker):
            await reach_store(archive)
            await janitor(archive, Events(archive.clock)).recover()
            sweep = await _chosen(context, archive, asked)
            async with asyncio.TaskGroup() as group:
                shown = group.create_task(_show(context, archive, sweep))
                outcome = await _through(context, archive, asked, sweep, worker, stop)
                shown.cancel()
            done = await archive.sweeps.end(sweep, archive.clock.now())
        await _report(context, archive, sweep, done, outcome, asked.wish)


async def _chosen(context: Context, archive: Archive, asked: Asked) -> int:
    """Go on with the sweep that was stopped, by itself; else plan one."""
    left = await archive.sweeps.open(VERIFY_MEDIA)
    if left is not None and asked.anew:
        await archive.sweeps.drop(left)
        left = None
    if left is not None:
        stands = await archive.sweeps.standing(left)
        context.warn(
            f"going on with the sweep of {iso_time(stands.began_at)}: {stands.files} files were read before; "
            "--anew begins again"
        )
        return left
    if asked.resume:
        raise UsageError("--resume: no sweep was stopped; `clipledger verify --media` begins one")
    return await archive.sweeps.plan(VERIFY_MEDIA, archive.clock.now(), asked.processes * PARTS)


async def _through(
    context: Context, archive: Archive, asked: Asked, sweep: int, worker: str, stop: Stop
) -> Outcome | None:
    """Have all ranges done, by this process or by others; what somebody else holds is waited for."""
    quiet = Context(context.archive, loudness=-1)
    if asked.processes == 1 and asked.address == HERE:
        with signals(stop.step, Events(archive.clock)):
            while not stop:
                await _sweeper(archive, worker, stop).act(sweep)
                if await _is_done(archive, sweep) or await wait_for(stop.asked, LOOK_S):
                    break
        return None
    outcome = None
    while not stop and not await _is_done(archive, sweep):
        outcome = await supervised(
            quiet,
            archive,
            seats_at(asked.address, asked.processes),
            errand_for(archive.folder, archive.uuid, archive.settings, ("verify", "--media", "--child")),
            Bounds(asked.processes, asked.processes),
            follow=False,
            attended=False,
            stop=stop,
        )
    return outcome


def _sweeper(archive: Archive, worker: str, stop: Stop) -> Sweeper:
    return Sweeper(
        archive.sweeps,
        archive.catalog,
        lambda: Verify(archive.books, archive.catalog, archive.store),
        archive.clock,
        worker=worker,
        lease_s=archive.settings.queue.lease_s,
        stopping=lambda: bool(stop),
    )


async def _is_done(archive: Archive, sweep: int) -> bool:
    stands = await archive.sweeps.standing(sweep)
    return stands.ranges_done == stands.ranges


async def _show(context: Context, archive: Archive, sweep: int) -> None:
    """Tell how far it is: a line on a terminal, an event a second with -v --json, else nothing."""
    if context.loudness < 0 or not (sys.stderr.isatty() or (context.json and context.loudness > 0)):
        return
    began_at, began_with = archive.clock.now(), (await archive.sweeps.standing(sweep)).passed
    while True:
        await archive.clock.sleep(LOOK_S)
        stands = await archive.sweeps.standing(sweep)
        spent_s = archive.clock.now() - began_at
        per_s = (stands.passed - began_with) / spent_s if spent_s > 0 else 0.0
        left_s = (stands.planned - stands.passed) / per_s if per_s > 0 else None
        sys.stderr.write(f"\r{_progress(stands, left_s)}  ")
        sys.stderr.flush()


def _progress(stands: Standing, left_s: float | None) -> str:
    share = 100.0 * stands.passed / max(stands.planned, 1)
    rest = f", {left_s / 60:.0f} min left" if left_s is not None and left_s >= 60 else ""
    return f"{share:.1f} % of {stands.planned} ids, {stands.files} files, {size(stands.bytes)}{rest}"


async def _report(
    context: Context, archive: Archive, sweep: int, done: bool, outcome: Outcome | None, wish: Wish | None
) -> None:
    stands = await archive.sweeps.standing(sweep)
    found = await archive.sweeps.findings(sweep, KEPT)
    context.exit = _ending(stands, done, outcome)
    repaired = None
    if wish is not None and done:
        hurt = list(dict.fromkeys(finding.aweme_id for finding in found))
        repaired = await repair_found(context, archive, wish, hurt, others=stands.findings > KEPT)
    everything = await archive.books.everything()
    body: dict[str, Any] = {
        "findings": [{"aweme_id": finding.aweme_id, "what": finding.what} for finding in found],
        "count": stands.findings,
        "seen": everything.seen,
        "archived": everything.archived,
        "dead": everything.dead,
        "withheld": everything.withheld,
        "waiting": everything.waiting,
        "files": stands.files,
        "bytes": stands.bytes,
        "sweep": {
            "id": stands.sweep,
            "began_at": iso_time(stands.began_at),
            "done": done,
            "ids": stands.ids,
            "ranges": stands.ranges,
            "ranges_done": stands.ranges_done,
        },
        "exit": context.exit.word,
    }
    if repaired is not None:
        body["repair"] = repaired
    if outcome is not None:
        body["sweep"] |= {"processes": outcome.started, "deaths": outcome.deaths}
    tell_findings(context, body, books=False, files=True)
    if not done:
        context.warn(
            f"stopped after {stands.files} files, {stands.ranges_done} of {stands.ranges} ranges; "
            "`clipledger verify --media` goes on" + (f": {outcome.why}" if outcome is not None and outcome.why else "")
        )


def _ending(stands: Standing, done: bool, outcome: Outcome | None) -> Exit:
    if not done:
        code = outcome.code if outcome is not None else None
        return Exit(code) if code in set(Exit) and code is not None else Exit.INTERRUPTED
    return Exit.DAMAGED if stands.findings else Exit.OK

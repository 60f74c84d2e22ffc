"""`fleet`: a supervisor in a process of its own, which is started anew when Ray is lost and takes it along.

`run_fleet` is what the operator starts; with Ray it never imports it, so nothing that happens to Ray ends
it. `main` is the process that it keeps alive. All state is in the database.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from clipledger import presence
from clipledger.archive import Archive, SystemClock, identity_of, open_archive
from clipledger.cli.exits import Exit
from clipledger.cli.logs import LogFormat, speller
from clipledger.cli.output import Context
from clipledger.cli.progress import watch
from clipledger.cli.running import chosen_roles, ending
from clipledger.cli.stopping import signals
from clipledger.core.errors import ClipledgerError, Misconfigured, UsageError
from clipledger.core.scaling import Bounds, Load
from clipledger.events import Events
from clipledger.fleet.errand import Errand, errand_for
from clipledger.fleet.ray_seats import RaySeats
from clipledger.fleet.seats import LocalSeats, Seats, SeatsLost
from clipledger.fleet.supervisor import Outcome, Supervisor
from clipledger.wiring import EXTRA_JOBS, janitor, new_worker_name
from clipledger.worker import Stop, wait_for

HERE = "here"

LOST = 75
"""How the supervisor's process ends when Ray cannot be reached; 1 and signals are how Ray's own code ends it."""

AGAIN_S = 5.0
"""How long to wait before Ray is tried again."""

_DUE_MAX = 100_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """What `fleet` was asked for, as typed."""

    workers: int | None
    least: int | None
    most: int | None
    address: str
    follow: bool
    only: str | None


def run_fleet(context: Context, wanted: Wanted) -> None:
    """Run a fleet to its end; the exit code is that of `run`."""
    bounds_of(wanted)
    chosen_roles(wanted.only)
    identity_of(context.archive)
    if wanted.address == HERE:
        asyncio.run(_supervise(context, wanted))
        return
    needs_ray()
    code = asyncio.run(_keep(context, wanted))
    context.exit = Exit(code) if code in set(Exit) else Exit.BUG


def run_side_by_side(context: Context, processes: int, follow: bool, only: str | None, more: bool) -> None:
    """Run so many processes on this machine as a fleet without Ray; `more`: options that hold for one process."""
    if more:
        raise UsageError(
            "--processes goes with --follow and --only: caps, metrics, logs and --dry-run are of one process; "
            "budget.credits_per_day caps them all"
        )
    run_fleet(context, Wanted(processes, None, None, HERE, follow, only))


def bounds_of(wanted: Wanted) -> Bounds:
    """Read how many workers are asked for."""
    if wanted.workers is not None:
        if wanted.least is not None or wanted.most is not None:
            raise UsageError("give --workers, or --min and --max")
        return Bounds(wanted.workers, wanted.workers)
    if wanted.most is None:
        raise UsageError("say how many: --workers N, or --min A --max B")
    least = 1 if wanted.least is None else wanted.least
    if least > wanted.most:
        raise UsageError(f"--min {least} is more than --max {wanted.most}")
    if least == 0 and not wanted.follow:
        raise UsageError("--min 0 goes with --follow: else nobody would say when all is done")
    return Bounds(least, wanted.most)


def needs_ray() -> None:
    """Refuse in one line where Ray is not installed."""
    if find_spec("ray") is None:
        raise Misconfigured("a fleet needs Ray: pip install 'clipledger[cluster]'; --address here does without")


def seats_at(address: str, most: int) -> Seats:
    """Give the seats of an address; those of Ray are to be connected yet."""
    return LocalSeats(most) if address == HERE else RaySeats(address)


async def supervised(
    context: Context,
    archive: Archive,
    seats: Seats,
    errand: Errand,
    bounds: Bounds,
    *,
    follow: bool,
    attended: bool,
    stop: Stop,
) -> Outcome:
    """Run an errand in as many seats as it takes, with the signals of this process passed on."""
    with watch(context, archive, speller(archive.uuid, "fleet"), LogFormat.TEXT) as listener:
        events = Events(archive.clock, listener)
        sweeper = janitor(archive, events)

        async def bereaved() -> None:
            await sweeper.recover()

        if isinstance(seats, RaySeats):
            await seats.connect()
        supervisor = Supervisor(
            seats,
            errand,
            bounds,
            lambda: _load(archive),
            archive.clock,
            events,
            follow=follow,
            bereaved=bereaved,
        )
        try:
            with signals(stop.step, events, attended=attended):
                return await supervisor.run(stop)
        finally:
            await seats.close()


async def _keep(context: Context, wanted: Wanted) -> int:
    """Keep the supervisor's process alive until it ends by itself; it dies with Ray, and comes back with it."""
    told = asdict(wanted) | {"archive": str(context.archive), "json": context.json, "loudness": context.loudness}
    command = (sys.executable, "-m", "clipledger.cli.fleets", json.dumps(told))
    stop, events, was_up = Stop(), Events(SystemClock()), False
    while True:
        process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE, start_new_session=True)
        sent: list[int] = []

        def passed_on(process: asyncio.subprocess.Process = process, sent: list[int] = sent) -> None:
            stop.step()
            process.send_signal((signal.SIGTERM, signal.SIGINT)[min(len(sent), 1)])
            sent.append(1)

        with signals(passed_on, events):
            code = await process.wait()
        lost = code == LOST or code < 0 or code == Exit.BUG
        if not lost or (code == LOST and not was_up) or stop:
            return Exit.INTERRUPTED if lost and stop else Exit.MISCONFIGURED if code == LOST else code
        was_up = True
        context.warn(f"clipledger: Ray is lost; the database holds all state: trying again in {AGAIN_S:.0f} s")
        with signals(stop.step, events):
            if await wait_for(stop.asked, AGAIN_S):
                return Exit.INTERRUPTED


def main(arguments: Sequence[str]) -> int:
    """Supervise, as `run_fleet` asked; give the exit code."""
    told = json.loads(arguments[0])
    context = Context(Path(told.pop("archive")), told.pop("json"), told.pop("loudness"))
    try:
        asyncio.run(_supervise(context, Wanted(**told)))
    except SeatsLost as error:
        context.warn(f"clipledger: {error}")
        return LOST
    except ClipledgerError as error:
        from clipledger.cli.exits import exit_of

        context.warn(f"clipledger: {error.detail}")
        return exit_of(error)
    return context.exit


async def _supervise(context: Context, wanted: Wanted) -> None:
    bounds, roles = bounds_of(wanted), chosen_roles(wanted.only)
    words = ["run", "--json", "--attended", "--only", ",".join(sorted(roles)), *(["--follow"] if wanted.follow else [])]
    async with open_archive(context.archive) as archive:
        with presence.hold_archive(archive.folder), presence.hold_worker(archive.folder, new_worker_name()):
            errand = errand_for(archive.folder, archive.uuid, archive.settings, tuple(words))
            stop, seats = Stop(), seats_at(wanted.address, bounds.most)
            outcome = await supervised(
                context,
                archive,
                seats,
                errand,
                bounds,
                follow=wanted.follow,
                attended=wanted.address != HERE,
                stop=stop,
            )
        await _report(context, archive, outcome, interrupted=bool(stop))


async def _report(context: Context, archive: Archive, outcome: Outcome, *, interrupted: bool) -> None:
    why: str | None = outcome.why
    if outcome.code is not None:
        context.exit = Exit(outcome.code) if outcome.code in set(Exit) else Exit.BUG
    else:
        context.exit, why = await ending(archive, interrupted)
    body = fleet_summary(context.exit, outcome) | {
        "why": why or None,
        "states": {state.value: count for state, count in (await archive.queue.counts()).items()},
    }
    if context.json:
        context.line(body)
        return
    context.tell(
        f"{context.exit.word}: {outcome.started} processes were started, {outcome.deaths} died; "
        f"together they archived {body['archived']} for {body['credits']} credits"
    )
    if why:
        context.warn(f"clipledger: {why}")


def fleet_summary(code: Exit, outcome: Outcome) -> dict[str, Any]:
    """Put an outcome in a summary's words; totals are of the processes that ended in good order."""
    totals: Mapping[str, int] = outcome.totals
    return {
        "event": "summary",
        "exit": code.word,
        "why": outcome.why or None,
        "started": outcome.started,
        "deaths": outcome.deaths,
    } | {name: totals.get(name, 0) for name in ("captured", "adopted", "archived", "bytes", "credits")}


async def _load(archive: Archive) -> Load:
    """Ask the database what there is to do; a source that is due counts as a page of posts."""
    now, settings = archive.clock.now(), archive.settings
    members = await archive.members.all()
    due = await archive.queue.due_count(now, _DUE_MAX)
    next_list = await archive.sources.next_due_at()
    return Load(
        due=due + (30 if next_list is not None and next_list <= now else 0),
        in_flight=sum(member.in_flight for member in members),
        videos_per_min=sum(member.videos_per_min for member in members),
        calls_per_min=settings.api.requests_per_minute,
        slots=settings.cdn.concurrency + EXTRA_JOBS,
    )


if __name__ == "__main__":
    sys.exit(int(main(sys.argv[1:])))

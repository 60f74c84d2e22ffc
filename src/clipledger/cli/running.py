"""`run` and the sweeps: the process that works, its signals, its progress, and how it ends."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clipledger import presence
from clipledger.archive import Archive, SystemClock, note_settings, open_archive, prove_store, recognise_store
from clipledger.cli.exits import Exit, exit_of
from clipledger.cli.output import Context, table
from clipledger.cli.stopping import signals
from clipledger.cli.watching import Watched, Watchers, watching
from clipledger.core.errors import Misconfigured, Reason, UsageError
from clipledger.core.model import State
from clipledger.core.sizes import parse_size
from clipledger.core.times import iso_time, utc_day
from clipledger.crew import ROLES, Crew, Plan
from clipledger.db.sources import SourceRow
from clipledger.events import Events
from clipledger.interpreter import keep_memory_together, new_loop, suited_to_work
from clipledger.net import descriptors
from clipledger.net.wire import CurlWire
from clipledger.settings import read_key
from clipledger.sources import registry
from clipledger.stages.listing import known_regions
from clipledger.storage.probe import StoreProbe
from clipledger.wiring import Limits, crew, new_worker_name, open_files_needed, paid_calls, posts_that_fit
from clipledger.worker import Tally


@dataclass(frozen=True, slots=True)
class Wanted:
    """What `run` was asked for, as typed."""

    follow: bool
    only: str | None
    max_videos: int | None
    max_credits: int | None
    max_bytes: str | None
    dry_run: bool
    watched: Watched
    attended: bool = False


def run_archive(context: Context, wanted: Wanted) -> None:
    """Work on the archive; the exit code says how it ended."""
    roles = chosen_roles(wanted.only)
    limits = Limits(wanted.max_videos, wanted.max_credits, _size(wanted.max_bytes))
    if wanted.dry_run:
        asyncio.run(_foretell(context, roles, limits))
    else:
        _begin(context, Plan(roles, wanted.follow), limits, wanted.watched, attended=wanted.attended)


def sweep(context: Context) -> None:
    """Run the janitor once."""
    _begin(context, Plan(frozenset({"janitor"})), Limits(), Watched())


def list_regions(context: Context) -> None:
    """Print the API's regions, buying them when none are kept."""
    regions = asyncio.run(_regions(context.archive))
    if context.json:
        context.line(regions)
    else:
        context.tell(table(sorted(regions.items()), ("code", "name")))


def _begin(context: Context, plan: Plan, limits: Limits, watched: Watched, *, attended: bool = False) -> None:
    keep_memory_together()
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(_run(context, plan, limits, watched, attended=attended))


async def _run(context: Context, plan: Plan, limits: Limits, watched: Watched, *, attended: bool) -> None:
    async with open_archive(context.archive) as archive:
        worker = new_worker_name()
        with suited_to_work(), presence.hold_archive(archive.folder), presence.hold_worker(archive.folder, worker):
            await note_settings(archive)
            found = await _met_store(archive, plan)
            async with watching(context, archive, worker, plan, watched) as watchers:
                hands, tally, interrupted = await _work(
                    archive, plan, limits, worker, watchers, found, attended=attended
                )
                code, why = await _ending(archive, tally, interrupted or bool(hands.worker.stop))
                summary = await _summary(archive, tally, hands, code, why)
                watchers.sum_up(summary)
        _report(context, summary, tally, code)


async def _work(
    archive: Archive,
    plan: Plan,
    limits: Limits,
    worker: str,
    watchers: Watchers,
    found: StoreProbe | None,
    *,
    attended: bool,
) -> tuple[Crew, Tally, bool]:
    wire, events = CurlWire(), Events(archive.clock, *watchers.listeners)
    try:
        files = _allow_files(archive.settings.cdn.concurrency)
        limits = replace(limits, at_once=files.at_once)
        hands = crew(archive, plan, wire=wire, key=_key(plan), events=events, worker=worker, limits=limits)
        watchers.begin(events, hands)
        _tell_mode(events, found)
        files.tell(events)
        with signals(hands.worker.stop.step, events, attended=attended) as interrupted:
            tally = await hands.run()
    finally:
        await wire.close()
    return hands, tally, interrupted()


async def _met_store(archive: Archive, plan: Plan) -> StoreProbe | None:
    """Prove the store to whoever will write to it; let all others, who would take its files for lost, meet it."""
    if "capture" in plan.roles:
        return await prove_store(archive)
    await recognise_store(archive)
    return None


@dataclass(frozen=True, slots=True)
class _Files:
    """How many files this process may have open: `had` at first, `limit` now, `need` for so many `downloads`."""

    downloads: int
    need: int
    had: int
    limit: int

    @property
    def at_once(self) -> int | None:
        """Give how many posts there is room for at a time; None for as many as the settings say."""
        return None if self.limit >= self.need else posts_that_fit(self.downloads, self.limit)

    def tell(self, events: Events) -> None:
        """Say so where they are, or were, too few."""
        if 0 <= self.had < self.need:
            few = f"too few: {self.at_once} posts at a time; ulimit -n {self.need}, or lower cdn.concurrency"
            why = f"raised from {self.had}" if self.at_once is None else few
            events.emit("open_files", limit=self.limit, need=self.need, why=why)


def _allow_files(downloads: int) -> _Files:
    """Have as many open files allowed as a run with so many downloads at a time may need."""
    need, (had, _) = open_files_needed(downloads), resource.getrlimit(resource.RLIMIT_NOFILE)
    return _Files(downloads, need, had, descriptors.allow(need))


def _tell_mode(events: Events, found: StoreProbe | None) -> None:
    """Say once a run what the operator should know of the store."""
    if found is not None and (found.warning or found.problems):
        why = "; ".join(filter(None, (found.warning, *found.problems)))
        events.emit("store_mode", mode=found.mode.value, store=found.url, why=why)


def _key(plan: Plan) -> Any:
    key = read_key()
    if key is None and plan.roles & {"listing", "capture", "history"}:
        raise Misconfigured("no API key: set TIKLIVEAPI_KEY, or TIKLIVEAPI_KEY_FILE to a file that holds it")
    return key


async def _ending(archive: Archive, tally: Tally, interrupted: bool) -> tuple[Exit, str | None]:
    if tally.halted is not None:
        return exit_of(tally.halted), tally.halted.detail
    return await ending(archive, interrupted)


async def ending(archive: Archive, interrupted: bool) -> tuple[Exit, str | None]:
    """Say how work ends that nothing halted, and why if not everything is saved, and whole as far as is known."""
    if interrupted:
        return Exit.INTERRUPTED, None
    if damaged := (await archive.care.standing(archive.clock.now(), None)).damaged:
        return Exit.DAMAGED, f"damaged files: {damaged} posts (`clipledger verify --repair` mends them)"
    owed = await _owed(archive)
    return (Exit.UNFINISHED, "; ".join(owed)) if owed else (Exit.OK, None)


async def _owed(archive: Archive) -> list[str]:
    """Say in words what is not saved, and what to do about it; nothing when everything asked for is."""
    counts, dead = await archive.queue.counts(), await archive.queue.unacknowledged()
    waiting = sum(counts[state] for state in (State.PENDING, State.RUNNING, State.STORED))
    failing = [source for source in await archive.sources.all() if source.last_reason is not None]
    words = []
    if dead:
        words.append(f"dead, not acknowledged: {dead} (`clipledger failures` says why)")
    if waiting:
        due_at = await archive.queue.next_due_at()
        later = due_at is not None and due_at > archive.clock.now()
        until = f", the first until {iso_time(due_at)[:19]}Z" if due_at is not None and later else ""
        then = " then" if until else ""
        words.append(f"waiting: {waiting}{until} (`clipledger run` again{then}, or `run --follow`)")
    if failing:
        words.append(_unread(failing))
    return words


def _unread(failing: Sequence[SourceRow]) -> str:
    """Say which sources give nothing and when they are read again, and what to do where nothing answers at all."""
    first = min(failing, key=lambda row: (row.paused_at is not None, row.next_at))
    detail = " ".join((first.last_detail or "").split())
    why = f"{first.source}: {first.last_reason}" + (f", {detail}" if detail else "")
    if first.paused_at is not None:
        return f"sources that could not be read: {len(failing)}, such as {why}; paused (`clipledger resume SOURCE`)"
    next_ = "`clipledger sources` lists them, `clipledger remove SOURCE` is for one that was mistyped"
    if all(row.last_reason == Reason.API_UNAVAILABLE for row in failing):
        next_ = "nothing answers: `clipledger doctor --online` says what is wrong"
    return (
        f"sources that cannot be read: {len(failing)}, such as {why}; read again from {iso_time(first.next_at)[:19]}Z, "
        f"or at once by `clipledger read SOURCE` ({next_})"
    )


async def _summary(archive: Archive, tally: Tally, hands: Crew, code: Exit, why: str | None) -> dict[str, Any]:
    return {
        "event": "summary",
        "exit": code.word,
        "why": why,
        "captured": tally.captured,
        "adopted": tally.adopted,
        "archived": tally.archived,
        "failed_attempts": tally.failed,
        "bytes": tally.bytes,
        "credits": hands.spent,
        "unconfirmed": tally.unconfirmed,
        "states": {state.value: count for state, count in (await archive.queue.counts()).items()},
    }


def _report(context: Context, summary: dict[str, Any], tally: Tally, code: Exit) -> None:
    if context.json:
        context.line(summary)
    else:
        context.tell(_in_words(summary))
        if code is Exit.UNFINISHED:
            context.tell(f"not saved: {summary['why']}")
        if tally.halted is not None:
            context.warn(f"clipledger: {tally.halted.detail}")
    context.exit = code


def _in_words(summary: dict[str, Any]) -> str:
    counts = {State(name): count for name, count in summary["states"].items()}
    waiting = counts[State.PENDING] + counts[State.RUNNING] + counts[State.STORED]
    return (
        f"{summary['exit']}: this run archived {summary['archived']} for {summary['credits']} credits. "
        f"The archive: {counts[State.ARCHIVED]} archived, {counts[State.DEAD]} dead, {waiting} waiting, "
        f"{counts[State.WITHHELD]} withheld"
    )


async def _foretell(context: Context, roles: frozenset[str], limits: Limits) -> None:
    async with open_archive(context.archive) as archive:
        now, pace = archive.clock.now(), archive.settings.api.requests_per_minute
        due = await archive.queue.due_count(now, 1 << 62) if "capture" in roles else 0
        later = (await archive.queue.counts())[State.PENDING] - due if "capture" in roles else 0
        due = due if limits.videos is None else min(due, limits.videos)
        refreshes = await _refreshes(archive, now) if "history" in roles else 0
        kinds = registry() if "listing" in roles else {}
        listing = [row for row in await archive.sources.all() if _is_due(row, now, kinds)]
        lookups = sum(row.entity_id is None and kinds[row.kind].lookup(row.subject) is not None for row in listing)
        left = await _left(archive, now, limits.credits)
    wanted = due + lookups + len(listing) + refreshes
    spends = wanted if left is None else min(wanted, left)
    body = {
        "resolves": due,
        "lookups": lookups,
        "pages_at_least": len(listing),
        "refreshes": refreshes,
        "not_due_yet": max(later, 0),
        "credits_at_least": spends,
        "credits_at_most": left,
        "minutes_at_least": round(spends / pace, 1),
        "sources": [source.source for source in listing],
    }
    if context.json:
        context.document(body)
        return
    capped = f", and at most {left} by the caps" if left is not None else ""
    context.tell(
        f"would spend at least {spends} credits{capped}: {due} posts to resolve, {lookups} look-ups, "
        f"{len(listing)} sources with one page or more each, {refreshes} refreshes, and one for every 30 posts they "
        f"show and each post not known yet; at least {body['minutes_at_least']:.1f} min at {pace} calls a minute"
        + (f". Not due yet: {body['not_due_yet']} posts" if body["not_due_yet"] else "")
    )


async def _refreshes(archive: Archive, now: float) -> int:
    told, a_day = await archive.refreshes.standing(now), archive.settings.budget.history_credits_per_day
    return told.due if a_day is None else min(told.due, max(0, a_day - told.spent))


async def _left(archive: Archive, now: float, max_credits: int | None) -> int | None:
    """Say how many credits a run that begins now may spend; None: no cap is set."""
    a_day = archive.settings.budget.credits_per_day
    today = None if a_day is None else max(0, a_day - await archive.credits.spent(utc_day(now)))
    return min((cap for cap in (max_credits, today) if cap is not None), default=None)


def _is_due(row: SourceRow, now: float, kinds: Container[str]) -> bool:
    return row.next_at <= now and row.paused_at is None and row.kind in kinds


async def _regions(folder: Path) -> dict[str, str]:
    async with open_archive(folder) as archive:
        wire, worker = CurlWire(), new_worker_name()
        try:
            paid = paid_calls(archive, wire, read_key(), Events(SystemClock()), worker)
            return await known_regions(paid, archive.meta, archive.clock)
        finally:
            await wire.close()


def chosen_roles(only: str | None) -> frozenset[str]:
    """Read `--only`; all roles when it is not given."""
    if only is None:
        return frozenset(ROLES)
    roles = frozenset(word.strip() for word in only.split(",") if word.strip())
    if not roles or not roles <= set(ROLES):
        raise UsageError(f"--only {only!r}: name roles out of {','.join(ROLES)}")
    return roles


def _size(text: str | None) -> int | None:
    try:
        return None if text is None else parse_size(text)
    except UsageError as error:
        raise UsageError(f"--max-bytes: {error.detail}") from None

"""Put the parts together that work on an opened archive: the only place (with the CLI and the scenarios) for it.

Must not: decide anything, or be imported by what it wires.
"""

from __future__ import annotations

import os
import random  # noqa: TID251 - the one source of jitter, handed down as an argument
import socket
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial

from clipledger.archive import Archive, bucket_of, prove_room, room_of
from clipledger.core.lifecycle import CaptureChoice
from clipledger.core.model import ApiKey
from clipledger.core.ports import Clock, Wire
from clipledger.core.rotation import read_period
from clipledger.crew import Crew, Plan
from clipledger.db.alarms import Alarms
from clipledger.db.clock import WARN_S, SharedClock
from clipledger.db.paces import PaceRow
from clipledger.db.restoring import Restorer
from clipledger.db.retention import Retained
from clipledger.events import Events
from clipledger.limits import Limiter
from clipledger.membership import Membership, Place
from clipledger.net.cdn import Cdn, FetchLimits
from clipledger.net.tiklive import TikLive
from clipledger.settings import Settings
from clipledger.stages.detail import Detail
from clipledger.stages.download import Download
from clipledger.stages.fixity import DEFAULT_PERIOD_S, Fixity
from clipledger.stages.fresh import Fresh
from clipledger.stages.guard import Guard
from clipledger.stages.history import History
from clipledger.stages.janitor import Janitor
from clipledger.stages.likeness import Likeness
from clipledger.stages.listing import Listing
from clipledger.stages.metadata import Metadata
from clipledger.stages.paid import PaidCalls
from clipledger.stages.removal import Removal
from clipledger.stages.repair import Repair
from clipledger.stages.retention import Retention
from clipledger.stages.rewriting import Rewriting
from clipledger.storage.paced import PacedStore
from clipledger.worker import Caps, Worker


@dataclass(frozen=True, slots=True)
class Limits:
    """Where one run stops by itself, and how many posts it works on at once at most; None for no cap."""

    videos: int | None = None
    credits: int | None = None
    bytes: int | None = None
    at_once: int | None = None


def new_worker_name() -> str:
    """Name a worker so that no two ever share a name."""
    return f"{socket.gethostname()[:40]}-{uuid.uuid4().hex[:12]}"


def paid_calls(
    archive: Archive,
    wire: Wire,
    key: ApiKey | None,
    events: Events,
    worker: str,
    run_cap: int | None = None,
    jitter: Callable[[], float] = random.random,
) -> PaidCalls:
    """Build the one door to the API."""
    settings = archive.settings
    api = TikLive(wire, key, settings.api.base_url, clock=archive.clock, allow_insecure=settings.cdn.allow_insecure)
    return PaidCalls(
        api,
        archive.credits,
        archive.samples,
        Limiter(PaceRow(archive.db, "api"), settings.api.requests_per_minute, archive.clock),
        archive.clock,
        events,
        worker=worker,
        slots=settings.api.concurrency,
        jitter=jitter,
        day_cap=settings.budget.credits_per_day,
        run_cap=run_cap,
    )


def crew(
    archive: Archive,
    plan: Plan,
    *,
    wire: Wire,
    key: ApiKey | None,
    events: Events,
    worker: str,
    limits: Limits = Limits(),
    jitter: Callable[[], float] = random.random,
) -> Crew:
    """Build everything a run needs on an opened archive."""
    archive = _telling(archive, events)
    settings, clock, policy = archive.settings, archive.clock, archive.policy
    paid = paid_calls(archive, wire, key, events, worker, limits.credits, jitter)
    guard = Guard(paid, archive.queue, archive.catalog, archive.credits, archive.switches, clock, events, policy)
    cdn = _cdn(wire, settings, clock)
    fresh = Fresh()
    mends = settings.janitor.repair and "capture" in plan.roles
    mender = _repair(archive, paid, cdn, events, worker, lambda: guard.is_open)
    hands = Worker(
        worker,
        archive.queue,
        guard,
        _download(archive, paid, guard, cdn, fresh, events),
        clock,
        events,
        policy,
        slots=limits.at_once or settings.cdn.concurrency + EXTRA_JOBS,
        lease_s=settings.queue.lease_s,
        caps=Caps(limits.videos, limits.bytes),
        jitter=jitter,
        check_room=room_of(archive).check,
    )
    return Crew(
        plan,
        hands,
        paid=paid,
        queue=archive.queue,
        sources=archive.sources,
        samples=archive.samples,
        guard=guard,
        listing=_listing(archive, paid, cdn, events, gated="capture" in plan.roles, on_page=hands.stop.wake.set),
        metadata=Metadata(archive.queue, archive.catalog, archive.store, fresh, clock, events),
        janitor=janitor(archive, events),
        fixity=_fixity(archive, events, worker, "janitor" in plan.roles, mender if mends else None),
        enrol=lambda doing: Membership(worker, here(), plan.roles, archive.members, clock, doing),
        history=History(paid, archive.queue, archive.refreshes, archive.meta, guard, clock, events, settings, worker),
        clock=clock,
        events=events,
        settings=settings,
        policy=policy,
        jitter=jitter,
        prove_room=partial(prove_room, archive),
        beats=_keep_time(archive, events),
    )


def _fixity(archive: Archive, events: Events, worker: str, checks: bool, mender: Repair | None) -> Fixity:
    return Fixity(
        archive.care,
        archive.catalog,
        archive.store,
        archive.meta,
        archive.clock,
        events,
        archive.settings,
        worker=worker,
        checks=checks,
        repair=mender,
    )


def repair(archive: Archive, wire: Wire, key: ApiKey | None, events: Events, worker: str, cap: int | None) -> Repair:
    """Build what mends posts by hand, on a store that was proven; `cap`: credits at most."""
    paid = paid_calls(archive, wire, key, events, worker, cap)
    return _repair(archive, paid, _cdn(wire, archive.settings, archive.clock), events, worker, lambda: False)


def _repair(
    archive: Archive, paid: PaidCalls, cdn: Cdn, events: Events, worker: str, is_outage: Callable[[], bool]
) -> Repair:
    capture = archive.settings.capture
    return Repair(
        paid,
        cdn,
        archive.store,
        archive.spool,
        archive.catalog,
        archive.care,
        Rewriting(archive.store, archive.queue, archive.catalog, archive.custody),
        archive.clock,
        events,
        CaptureChoice(capture.quality, capture.covers, capture.audio),
        worker=worker,
        period_s=read_period(archive.settings.janitor.fixity) or DEFAULT_PERIOD_S,
        is_outage=is_outage,
    )


def _listing(
    archive: Archive, paid: PaidCalls, cdn: Cdn, events: Events, *, gated: bool, on_page: Callable[[], None]
) -> Listing:
    return Listing(
        paid,
        archive.meta,
        archive.queue,
        archive.sources,
        cdn,
        archive.clock,
        events,
        archive.settings,
        archive.policy,
        gated=gated,
        on_page=on_page,
    )


def _keep_time(archive: Archive, events: Events) -> list[Callable[[], Awaitable[None]]]:
    """Say when this machine's clock is off, and give what keeps it corrected during a run."""
    clock = archive.clock
    if not isinstance(clock, SharedClock):
        return []
    if abs(clock.skew.ahead_s) > WARN_S:
        events.emit("clock_skew", seconds=round(clock.skew.ahead_s, 3))
    return [partial(clock.keep, archive.db)]


EXTRA_JOBS = 4
"""Jobs in flight beyond the download slots: enough to hide the resolve, few enough that links stay young."""


CONNECTIONS = 64
"""Sockets of the wire, `net.wire.CurlWire`."""

_HELD_FILES = 20  # a run at rest holds 16 to 18
_FILES_A_POST = 3  # a socket, its twin while it connects, a part
_OTHER_FILES = 96  # three database connections of three files, threads at work on files, logs, a scrape


def open_files_needed(downloads: int) -> int:
    """Say how many files a run with so many downloads at a time may have open at once."""
    return CONNECTIONS + _OTHER_FILES + downloads + EXTRA_JOBS


def posts_that_fit(downloads: int, files: int) -> int:
    """Say how many posts may be under way at once where so few files may be open: at least one.

    Running out only later costs credits: a post is paid before its first file is opened.
    """
    return min(downloads + EXTRA_JOBS, max(1, (files - _HELD_FILES) // _FILES_A_POST))


def _telling(archive: Archive, events: Events) -> Archive:
    """Let the store's pauses be heard."""
    store = archive.store
    return replace(archive, store=store.telling(events)) if isinstance(store, PacedStore) else archive


def here() -> Place:
    """Say where this process runs."""
    return Place(socket.gethostname(), os.getpid())


def janitor(archive: Archive, events: Events) -> Janitor:
    """Build the sweeper."""
    return Janitor(
        archive.folder,
        archive.db,
        archive.queue,
        archive.credits,
        archive.members,
        archive.spool,
        archive.clock,
        events,
        archive.settings,
        archive.policy,
        archive.store,
        Restorer(archive.db, archive.removals),
        chores=_chores(archive, events),
    )


def _chores(archive: Archive, events: Events) -> list[Callable[[], Awaitable[None]]]:
    """Give what a sweep also does: erase what was withdrawn; when asked to, what the retention rules say."""
    chores: list[Callable[[], Awaitable[None]]] = [removal(archive, events).tidy]
    if archive.settings.lifecycle.retention:
        chores.append(retention(archive, events).tidy)
    return chores


def removal(archive: Archive, events: Events) -> Removal:
    """Build what takes posts out."""
    return Removal(
        archive.removals,
        archive.db,
        archive.meta,
        archive.store,
        bucket_of(archive),
        archive.spool,
        archive.clock,
        events,
    )


def retention(archive: Archive, events: Events) -> Retention:
    """Build what does as the retention rules say; Misconfigured where a rule asks for what the store cannot."""
    lifecycle = archive.settings.lifecycle
    return Retention(
        lifecycle.rules,
        Retained(archive.db, archive.audit.who),
        archive.holds,
        removal(archive, events),
        bucket_of(archive),
        lifecycle.cold_class,
        archive.clock,
        events,
    )


def _download(archive: Archive, paid: PaidCalls, guard: Guard, cdn: Cdn, fresh: Fresh, events: Events) -> Download:
    capture = archive.settings.capture
    choice = CaptureChoice(capture.quality, capture.covers, capture.audio)
    likeness = Likeness(
        Alarms(archive.db),
        archive.catalog,
        paid,
        cdn,
        archive.spool,
        guard,
        archive.clock,
        events,
        choice,
        most=archive.settings.queue.same_bytes_max,
    )
    return Download(
        Detail(paid, guard, archive.clock, lean=capture.lean),
        archive.queue,
        archive.store,
        archive.spool,
        cdn,
        archive.clock,
        events,
        choice,
        guard,
        likeness,
        fresh,
        slots=archive.settings.cdn.concurrency,
    )


def _cdn(wire: Wire, settings: Settings, clock: Clock) -> Cdn:
    return Cdn(
        wire,
        allowed_hosts=settings.cdn.allowed_hosts,
        allow_insecure=settings.cdn.allow_insecure,
        base_url=settings.api.base_url,
        clock=clock,
        limits=FetchLimits(
            max_bytes=settings.cdn.max_bytes,
            deadline_s=settings.cdn.deadline_s,
            floor_bytes_per_s=settings.cdn.floor_bytes_per_s,
        ),
    )

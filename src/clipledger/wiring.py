"""Put the parts together: the only place (with the CLI and the scenarios) where concrete things are built.

`Archive` is an opened archive: settings, database, store. `crew` adds what it takes to work on it.
Must not: decide anything, or be imported by what it wires.
"""

from __future__ import annotations

import asyncio
import os
import random  # noqa: TID251 - the one source of jitter, handed down as an argument
import socket
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from clipledger import presence
from clipledger import settings as settings_file
from clipledger.core.errors import Misconfigured
from clipledger.core.lifecycle import CaptureChoice, Policy
from clipledger.core.model import ApiKey
from clipledger.core.ports import Clock, ObjectStore, Wire
from clipledger.crew import Crew, Plan
from clipledger.db.books import Books
from clipledger.db.catalog import Catalog
from clipledger.db.clock import WARN_S, SharedClock
from clipledger.db.credits import Credits
from clipledger.db.database import Database
from clipledger.db.members import Members
from clipledger.db.meta import Meta
from clipledger.db.paces import PaceRow
from clipledger.db.queue import Queue
from clipledger.db.samples import Samples
from clipledger.db.sources import Sources
from clipledger.db.sweeps import Sweeps
from clipledger.db.switches import Switches
from clipledger.events import Events
from clipledger.founding import create_archive as create_archive
from clipledger.founding import database_url as database_url
from clipledger.founding import identity_of as identity_of
from clipledger.limits import Limiter, Pause
from clipledger.membership import Membership, Place
from clipledger.net.cdn import Cdn, FetchLimits
from clipledger.net.tiklive import TikLive
from clipledger.settings import Settings
from clipledger.stages.detail import Detail
from clipledger.stages.download import Download
from clipledger.stages.guard import Guard
from clipledger.stages.janitor import Janitor
from clipledger.stages.listing import Listing
from clipledger.stages.metadata import Metadata
from clipledger.stages.paid import PaidCalls
from clipledger.stages.proving import prove, remembered
from clipledger.stages.sweeping import Sweeper
from clipledger.stages.verify import Verify
from clipledger.storage import Options, is_remote, open_store
from clipledger.storage.paced import PacedStore
from clipledger.storage.probe import StoreProbe
from clipledger.storage.spool import Spool
from clipledger.worker import Caps, Worker

_UUID_KEY = "archive_uuid"


class SystemClock:
    """The wall clock."""

    def now(self) -> float:
        """Give unix seconds."""
        return time.time()  # noqa: TID251 - this is the Clock

    async def sleep(self, seconds: float) -> None:
        """Sleep for real."""
        await asyncio.sleep(seconds)


@dataclass(frozen=True, slots=True)
class Archive:
    """An opened archive."""

    folder: Path
    uuid: str
    settings: Settings
    clock: Clock
    db: Database
    meta: Meta
    queue: Queue
    sources: Sources
    catalog: Catalog
    credits: Credits
    books: Books
    switches: Switches
    samples: Samples
    members: Members
    sweeps: Sweeps
    store: ObjectStore
    spool: Spool

    @property
    def policy(self) -> Policy:
        """Give the operator's numbers to the decisions."""
        return Policy(self.settings.queue.attempts_max, self.settings.queue.retry_base_s)


@dataclass(frozen=True, slots=True)
class Limits:
    """Where one run stops by itself; None for no cap."""

    videos: int | None = None
    credits: int | None = None
    bytes: int | None = None


@asynccontextmanager
async def open_archive(
    folder: Path,
    clock: Clock | None = None,
    store: ObjectStore | None = None,
    jitter: Callable[[], float] = random.random,
) -> AsyncIterator[Archive]:
    """Open an archive; Misconfigured with one clear line when there is none, or it is not whole.

    `clock` None: the wall clock, on a database server corrected to the server's. `store` stands for the one
    that the settings name: a play's.
    """
    settings = settings_file.load(folder)
    identity = identity_of(folder)
    patience_s = settings.database.patience_s
    async with Database.open(database_url(folder, settings), patience_s=patience_s, jitter=jitter) as db:
        meta = Meta(db)
        if clock is None:
            clock = await _one_clock(db)
        if (known := await meta.get(_UUID_KEY)) != identity:
            raise Misconfigured(f"{folder}: the folder is archive {identity}, the database is archive {known}")
        store = store or open_store(settings.storage.url, archive=folder, options=_store_options(settings))
        if is_remote(settings.storage.url):
            store = PacedStore(store, Pause(PaceRow(db, "store"), clock), clock, jitter)
        try:
            yield Archive(
                folder=folder,
                uuid=identity,
                settings=settings,
                clock=clock,
                db=db,
                meta=meta,
                queue=Queue(db),
                sources=Sources(db),
                catalog=Catalog(db),
                credits=Credits(db),
                books=Books(db),
                switches=Switches(db),
                samples=Samples(db),
                members=Members(db),
                sweeps=Sweeps(db),
                store=store,
                spool=Spool(presence.private_folder(folder) / "spool"),
            )
        finally:
            await store.close()


async def _one_clock(db: Database) -> Clock:
    if not db.backend.is_server:
        return SystemClock()
    shared = SharedClock(SystemClock())
    await shared.set_by(db)
    return shared


async def prove_store(archive: Archive, *, anew: bool = False) -> StoreProbe:
    """Make sure, before a credit is spent, that the store can be written, and put it into the mode it needs."""
    store = archive.store.inner if isinstance(archive.store, PacedStore) else archive.store
    place, token = store_place(archive), uuid.uuid4().hex
    return await prove(store, archive.meta, archive.clock, place=place, token=token, anew=anew)


async def known_probe(archive: Archive) -> StoreProbe | None:
    """Look up what was last found of the archive's store."""
    return await remembered(archive.meta, store_place(archive))


def store_place(archive: Archive) -> str:
    """Tell the archive's store from any other: the same bucket name may be at two endpoints."""
    return f"{archive.settings.storage.endpoint_url} {archive.store.url}".strip()


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
    guard = _guard(archive, paid, events)
    cdn = _cdn(wire, settings, clock)
    hands = Worker(
        worker,
        archive.queue,
        guard,
        _download(archive, paid, cdn, events, guard),
        clock,
        events,
        policy,
        slots=settings.cdn.concurrency + EXTRA_JOBS,
        lease_s=settings.queue.lease_s,
        caps=Caps(limits.videos, limits.bytes),
        jitter=jitter,
    )
    return Crew(
        plan,
        hands,
        paid=paid,
        queue=archive.queue,
        sources=archive.sources,
        samples=archive.samples,
        guard=guard,
        listing=_listing(archive, plan, paid, cdn, events, hands),
        metadata=Metadata(archive.queue, archive.catalog, archive.store, clock, events),
        janitor=janitor(archive, events),
        enrol=lambda doing: Membership(worker, here(), plan.roles, archive.members, clock, doing),
        clock=clock,
        events=events,
        settings=settings,
        policy=policy,
        jitter=jitter,
        beats=_keep_time(archive, events),
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


def _telling(archive: Archive, events: Events) -> Archive:
    """Let the store's pauses be heard."""
    store = archive.store
    return replace(archive, store=store.telling(events)) if isinstance(store, PacedStore) else archive


def sweeper(archive: Archive, worker: str, stopping: Callable[[], bool]) -> Sweeper:
    """Build one process's part in a sweep over the files."""
    return Sweeper(
        archive.sweeps,
        archive.catalog,
        lambda: Verify(archive.books, archive.catalog, archive.store),
        archive.clock,
        worker=worker,
        lease_s=archive.settings.queue.lease_s,
        stopping=stopping,
    )


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
    )


def _listing(archive: Archive, plan: Plan, paid: PaidCalls, cdn: Cdn, events: Events, hands: Worker) -> Listing:
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
        gated="capture" in plan.roles,
        on_page=hands.stop.wake.set,
    )


def _guard(archive: Archive, paid: PaidCalls, events: Events) -> Guard:
    at = archive
    return Guard(paid, at.queue, at.catalog, at.credits, at.switches, at.clock, events, at.policy)


def _download(archive: Archive, paid: PaidCalls, cdn: Cdn, events: Events, guard: Guard) -> Download:
    capture = archive.settings.capture
    return Download(
        Detail(paid, guard, archive.clock, lean=capture.lean),
        archive.queue,
        archive.store,
        archive.spool,
        cdn,
        archive.clock,
        events,
        CaptureChoice(capture.quality, capture.covers, capture.audio),
        guard,
        slots=archive.settings.cdn.concurrency,
    )


def _store_options(settings: Settings) -> Options:
    storage = settings.storage
    return Options(storage.endpoint_url, storage.region, storage.addressing)


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

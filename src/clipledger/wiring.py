"""Put the parts together: the only place (with the CLI and the scenarios) where concrete things are built.

`Archive` is an opened archive: settings, database, store. `crew` adds what it takes to work on it.
Must not: decide anything, or be imported by what it wires.
"""

from __future__ import annotations

import asyncio
import random  # noqa: TID251 - the one source of jitter, handed down as an argument
import socket
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from clipledger import presence
from clipledger import settings as settings_file
from clipledger.core.errors import Misconfigured, StorageFull
from clipledger.core.lifecycle import CaptureChoice, Policy
from clipledger.core.model import ApiKey
from clipledger.core.ports import Clock, ObjectStore, Wire
from clipledger.crew import Crew, Plan
from clipledger.db import schema
from clipledger.db.books import Books
from clipledger.db.catalog import Catalog
from clipledger.db.clock import WARN_S, SharedClock
from clipledger.db.credits import Credits
from clipledger.db.database import Database
from clipledger.db.meta import Meta
from clipledger.db.paces import PaceRow
from clipledger.db.queue import Queue
from clipledger.db.refreshes import Refreshes
from clipledger.db.samples import Samples
from clipledger.db.sources import Sources
from clipledger.db.switches import Switches
from clipledger.events import Events
from clipledger.limits import Limiter
from clipledger.net.cdn import Cdn, FetchLimits
from clipledger.net.tiklive import TikLive
from clipledger.settings import Settings
from clipledger.stages.detail import Detail
from clipledger.stages.download import Download
from clipledger.stages.guard import Guard
from clipledger.stages.history import History
from clipledger.stages.janitor import Janitor
from clipledger.stages.listing import Listing
from clipledger.stages.metadata import Metadata
from clipledger.stages.paid import PaidCalls
from clipledger.storage import open_store
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
    refreshes: Refreshes
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


def create_archive(folder: Path, clock: Clock) -> bool:
    """Lay down an archive: settings, database, UUID. Changes nothing that is there; says whether it was new."""
    try:
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        file = folder / settings_file.FILE_NAME
        if not file.exists():
            file.write_text(settings_file.template(), encoding="utf-8")
    except OSError as error:
        raise StorageFull(f"cannot make an archive in {folder}: {error.strerror}") from error
    name = presence.private_folder(folder) / "uuid"
    if name.exists():
        return False
    url = database_url(folder, settings_file.load(folder))
    # What the database says, not what was just thrown: an earlier init may have died between the two.
    identity = schema.create(url, now=clock.now(), archive_uuid=str(uuid.uuid4()))
    name.write_text(identity + "\n", encoding="ascii")
    return True


@asynccontextmanager
async def open_archive(folder: Path, clock: Clock | None = None) -> AsyncIterator[Archive]:
    """Open an archive; Misconfigured with one clear line when there is none, or it is not whole.

    `clock` None: the wall clock, on a database server corrected to the server's.
    """
    settings = settings_file.load(folder)
    identity = identity_of(folder)
    patience_s = settings.database.patience_s
    async with Database.open(database_url(folder, settings), patience_s=patience_s, jitter=random.random) as db:
        meta = Meta(db)
        if clock is None:
            clock = await _one_clock(db)
        if (known := await meta.get(_UUID_KEY)) != identity:
            raise Misconfigured(f"{folder}: the folder is archive {identity}, the database is archive {known}")
        store = open_store(settings.storage.url, archive=folder)
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
                refreshes=Refreshes(db, settings.history.refresh, settings.budget.history_credits_per_day),
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
    settings, clock, policy = archive.settings, archive.clock, archive.policy
    shared = clock if isinstance(clock, SharedClock) else None
    if shared is not None and abs(shared.skew.ahead_s) > WARN_S:
        events.emit("clock_skew", seconds=round(shared.skew.ahead_s, 3))
    paid = paid_calls(archive, wire, key, events, worker, limits.credits, jitter)
    guard = Guard(paid, archive.queue, archive.catalog, archive.credits, archive.switches, clock, events, policy)
    cdn = _cdn(wire, settings, clock)
    hands = Worker(
        worker,
        archive.queue,
        guard,
        _download(archive, Detail(paid, guard, clock, lean=settings.capture.lean), cdn, events),
        clock,
        events,
        policy,
        slots=settings.cdn.concurrency + EXTRA_JOBS,
        lease_s=settings.queue.lease_s,
        caps=Caps(limits.videos, limits.bytes),
        jitter=jitter,
    )
    listing = Listing(
        paid,
        archive.meta,
        archive.queue,
        archive.sources,
        cdn,
        clock,
        events,
        settings,
        policy,
        gated="capture" in plan.roles,
        on_page=hands.stop.wake.set,
    )
    return Crew(
        plan,
        hands,
        paid=paid,
        queue=archive.queue,
        sources=archive.sources,
        samples=archive.samples,
        guard=guard,
        listing=listing,
        metadata=Metadata(archive.queue, archive.catalog, archive.store, clock, events),
        janitor=Janitor(
            archive.folder, archive.db, archive.queue, archive.credits, archive.spool, clock, events, settings, policy
        ),
        history=History(paid, archive.queue, archive.refreshes, archive.meta, guard, clock, events, settings, worker),
        clock=clock,
        events=events,
        settings=settings,
        policy=policy,
        jitter=jitter,
        beats=[partial(shared.keep, archive.db)] if shared is not None else [],
    )


EXTRA_JOBS = 4
"""Jobs in flight beyond the download slots: enough to hide the resolve, few enough that links stay young."""


def _download(archive: Archive, detail: Detail, cdn: Cdn, events: Events) -> Download:
    capture = archive.settings.capture
    return Download(
        detail,
        archive.queue,
        archive.store,
        archive.spool,
        cdn,
        archive.clock,
        events,
        CaptureChoice(capture.quality, capture.covers, capture.audio),
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


def identity_of(folder: Path) -> str:
    """Read the archive's UUID; Misconfigured where there is no archive."""
    try:
        return (folder / presence.PRIVATE / "uuid").read_text(encoding="ascii").strip()
    except (FileNotFoundError, NotADirectoryError):
        raise Misconfigured(f"no archive in {folder}: run `clipledger init {folder}` first") from None
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{folder}: cannot read the archive's UUID: {error}") from None


def database_url(folder: Path, settings: Settings) -> str | Path:
    """Give the database: a SQLite file's path, made absolute in the archive folder, or another URL."""
    url = settings.database.url
    head, name = "sqlite:///", url.removeprefix("sqlite:///")
    return folder.resolve() / name if url.startswith(head) else url

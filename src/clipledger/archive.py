"""An archive: lay one down, open one, prove its store.

`Archive` is an opened archive: settings, database, store, and the tables' doors. What works on it is put
together in `wiring`. Must not: know a role, the API or the CDN.
"""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import random  # noqa: TID251 - the one source of jitter, handed down as an argument
import re
import socket
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from clipledger import __version__, presence
from clipledger import settings as settings_file
from clipledger.core.chain import Act, Who
from clipledger.core.errors import Misconfigured, StorageFull, StorageUnavailable, StorageUnreachable
from clipledger.core.lifecycle import Policy
from clipledger.core.ports import Bucket, Clock, ObjectStore
from clipledger.core.sizes import parse_size
from clipledger.core.times import iso_time
from clipledger.db import schema
from clipledger.db.audit import AuditLog
from clipledger.db.books import Books
from clipledger.db.care import Care
from clipledger.db.catalog import Catalog
from clipledger.db.clock import SharedClock
from clipledger.db.credits import Credits
from clipledger.db.custody import Custody
from clipledger.db.database import Database
from clipledger.db.engine import file_of
from clipledger.db.holds import Holds
from clipledger.db.members import Members
from clipledger.db.meta import Meta
from clipledger.db.paces import PaceRow
from clipledger.db.queue import Queue
from clipledger.db.refreshes import Refreshes
from clipledger.db.removals import Removals
from clipledger.db.samples import Samples
from clipledger.db.sources import Sources
from clipledger.db.sweeps import Sweeps
from clipledger.db.switches import Switches
from clipledger.limits import Pause
from clipledger.settings import AUTO, Settings
from clipledger.stages.proving import check_mark, claim_place, prove, recognise, remembered
from clipledger.storage import Options, is_remote, open_store
from clipledger.storage.disk import make_folders, sync_folder, sync_path
from clipledger.storage.local import LocalStore
from clipledger.storage.paced import PacedStore
from clipledger.storage.probe import StoreProbe
from clipledger.storage.publish import publish_chunks
from clipledger.storage.room import Room
from clipledger.storage.spool import Spool

_UUID_KEY = "archive_uuid"
_ROOM_KEY = "room_proven_at"
_SETTINGS_KEY = "settings_seen"

_PASSWORD = re.compile(r"//[^/@]*@|(?<=password=)[^&\"]*")

OPERATOR = "CLIPLEDGER_OPERATOR"
"""The variable that names who acts, for the audit log."""

REACH_S = 25.0
"""A store that does not answer one look within this cannot be reached: nothing is known of its files."""


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
    members: Members
    sweeps: Sweeps
    audit: AuditLog
    holds: Holds
    removals: Removals
    care: Care
    custody: Custody
    store: ObjectStore
    spool: Spool

    @property
    def policy(self) -> Policy:
        """Give the operator's numbers to the decisions."""
        queue = self.settings.queue
        return Policy(queue.attempts_max, queue.retry_base_s, gone_twice=queue.gone_twice)


def signed(archive: Archive, operator: str) -> Archive:
    """Give the archive as somebody else acts on it: the audit log names them, not the account of the process."""
    who = replace(acting(), operator=" ".join(operator.split())[:100])
    return replace(
        archive, audit=AuditLog(archive.db, who), holds=Holds(archive.db, who), removals=Removals(archive.db, who)
    )


def create_archive(folder: Path, clock: Clock) -> bool:
    """Lay down an archive: settings, database, UUID. Changes nothing that is there; says whether it was new."""
    with _cannot_make(folder):
        make_folders(folder)
        _lay_down(folder / settings_file.FILE_NAME, settings_file.template())
    name = presence.private_folder(folder) / "uuid"
    if name.exists() and name.stat().st_size:
        return False
    url = database_url(folder, settings_file.load(folder))
    if isinstance(url, Path):
        with _cannot_make(folder):
            private_file(url)
    # What the database says, not what was just thrown: an earlier init may have died between the two.
    identity = schema.create(url, now=clock.now(), archive_uuid=str(uuid.uuid4()), who=acting())
    with _cannot_make(folder):
        name.unlink(missing_ok=True)  # empty: older releases lost it in a power cut
        _lay_down(name, identity + "\n")
        sync_path(folder)
    return True


def _lay_down(file: Path, text: str) -> None:
    """Write a file that survives a power cut, whole or not at all; leave one that is there as it is."""
    if file.exists():
        return
    fd = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(FileExistsError):
            publish_chunks([text.encode()], fd, file.name)
        sync_folder(fd)
    finally:
        os.close(fd)


@contextmanager
def _cannot_make(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageFull(f"cannot make an archive in {folder}: {error.strerror}") from error


def private_file(file: Path) -> None:
    """Make an empty file that others cannot read, whatever the umask; leave one that is there as it is."""
    with suppress(FileExistsError):
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640))
        with suppress(PermissionError):  # FAT and its kin have no modes to set
            file.chmod(0o640)


@asynccontextmanager
async def open_archive(
    folder: Path,
    clock: Clock | None = None,
    store: ObjectStore | None = None,
    jitter: Callable[[], float] = random.random,
    database: str | Path | None = None,
) -> AsyncIterator[Archive]:
    """Open an archive; Misconfigured with one clear line when there is none, or it is not whole.

    `clock` None: the wall clock, on a database server corrected to the server's. `store` stands for the one
    that the settings name: a play's. `database` stands for the one that they name: what is being rebuilt.
    """
    settings = settings_file.load(folder)
    identity = identity_of(folder)
    patience_s, where = settings.database.patience_s, database or database_url(folder, settings)
    async with Database.open(where, patience_s=patience_s, jitter=jitter) as db:
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
                refreshes=Refreshes(db, settings.history.refresh, settings.budget.history_credits_per_day),
                members=Members(db),
                sweeps=Sweeps(db),
                audit=AuditLog(db, acting()),
                holds=Holds(db, acting()),
                removals=Removals(db, acting()),
                care=Care(db),
                custody=Custody(db),
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


async def prove_store(archive: Archive, *, anew: bool = False, files_missing: bool = False) -> StoreProbe:
    """Make sure, before a credit is spent, that the store is ours and can be written; put it into the mode it needs.

    `files_missing`: whoever asks knows that files are gone, and is about to put them there again.
    """
    await recognise_store(archive, files_missing=files_missing)
    store, place = _bare(archive), store_place(archive)
    found = await prove(store, archive.meta, archive.clock, place=place, token=uuid.uuid4().hex, anew=anew)
    await claim_place(store, archive.meta, place=place, identity=archive.uuid)
    return found


async def recognise_store(archive: Archive, *, files_missing: bool = False) -> None:
    """Make sure that the store is this archive's and is there: StorageGone for a disk that is not mounted."""
    place = store_place(archive)
    if files_missing:
        await check_mark(_bare(archive), archive.meta, place=place, identity=archive.uuid)
        return
    await recognise(_bare(archive), archive.meta, archive.catalog, archive.clock, place=place, identity=archive.uuid)


def room_of(archive: Archive) -> Room:
    """Give the reserve that the archive's own disks keep: of the parts, the database file and the store."""
    folders = [archive.folder.absolute()]
    file = database_url(archive.folder, archive.settings)
    if isinstance(file, Path):
        folders.append(file.parent)
    if isinstance(archive.store, LocalStore):
        folders.append(archive.store.root)
    reserve = archive.settings.storage.reserve
    return Room(list(dict.fromkeys(folders)), None if reserve == AUTO else parse_size(reserve))


async def prove_room(archive: Archive) -> None:
    """Make sure that there is room and that files and rows can be written; leaves nothing but a mark in `meta`."""
    await room_of(archive).check()
    await archive.store.check()
    await archive.meta.set(_ROOM_KEY, iso_time(archive.clock.now()))


def _bare(archive: Archive) -> ObjectStore:
    return archive.store.inner if isinstance(archive.store, PacedStore) else archive.store


async def reach_store(archive: Archive) -> None:
    """Look at one file, so that a store that is away is not taken for damage: StorageUnreachable in `REACH_S`."""
    store = _bare(archive)
    ids = await archive.catalog.next_archived("", 1)
    rows = (await archive.catalog.files_of_many(ids)).get(ids[0], []) if ids else []
    if not rows:
        return
    try:
        async with asyncio.timeout(REACH_S):
            await check_mark(store, archive.meta, place=store_place(archive), identity=archive.uuid)
            await store.stat(rows[0].storage_key)
    except TimeoutError:
        raise StorageUnreachable(f"the store {store.url} did not answer within {REACH_S:.0f} s") from None
    except StorageUnreachable:
        raise
    except (StorageUnavailable, ValueError):
        return  # a trouble of this one file, a key that is none, or asked to slow down: whoever reads it tells


async def note_settings(archive: Archive) -> None:
    """Tell the audit log which settings are others than when it last looked."""
    now_in_force = _fingerprints(archive.settings)
    before = json.loads(await archive.meta.get(_SETTINGS_KEY) or "{}")
    if changed := [name for name, told in now_in_force.items() if before.get(name) != told]:
        detail = ", ".join(changed) if before else "as found at the first run"
        await archive.audit.append(archive.clock.now(), Act.SETTINGS, detail=detail)
        await archive.meta.set(_SETTINGS_KEY, json.dumps(now_in_force))


def _fingerprints(settings: Settings) -> dict[str, str]:
    """Give a short hash of each setting's value, passwords left out: enough to tell which one changed."""
    values = settings.model_dump(mode="json")
    return {
        f"{section}.{name}": sha256(_PASSWORD.sub("//", json.dumps(value)).encode()).hexdigest()[:12]
        for section, named in values.items()
        for name, value in named.items()
    }


def settings_in_force(settings: Settings) -> list[tuple[str, str]]:
    """List every setting as it is in force, as (dotted name, JSON text); passwords in addresses are left out."""
    values = settings.model_dump(mode="json")
    return [
        (f"{section}.{name}", _PASSWORD.sub("//", json.dumps(value, ensure_ascii=False)))
        for section, named in values.items()
        for name, value in named.items()
    ]


def acting() -> Who:
    """Say who acts: CLIPLEDGER_OPERATOR, else the name of the account that runs the program."""
    operator = " ".join(os.environ.get(OPERATOR, "").split())[:100]
    if not operator:
        try:
            operator = pwd.getpwuid(os.getuid()).pw_name
        except KeyError:  # a container's account without a name
            operator = f"uid {os.getuid()}"
    return Who(operator, socket.gethostname()[:100], __version__)


def bucket_of(archive: Archive) -> Bucket | None:
    """Give the store's further abilities; None where it is no S3 bucket."""
    if not is_remote(archive.settings.storage.url):
        return None
    from clipledger.storage.s3 import S3Store  # here: an archive in a folder need not read how buckets are spoken to

    store = _bare(archive)
    return store if isinstance(store, S3Store) else None


async def known_probe(archive: Archive) -> StoreProbe | None:
    """Look up what was last found of the archive's store."""
    return await remembered(archive.meta, store_place(archive))


def store_place(archive: Archive) -> str:
    """Tell the archive's store from any other: the same bucket name may be at two endpoints."""
    return f"{archive.settings.storage.endpoint_url} {archive.store.url}".strip()


def _store_options(settings: Settings) -> Options:
    storage = settings.storage
    return Options(storage.endpoint_url, storage.region, storage.addressing)


def identity_of(folder: Path) -> str:
    """Read the archive's UUID; Misconfigured where there is no archive."""
    try:
        identity = (folder / presence.PRIVATE / "uuid").read_text(encoding="ascii").strip()
    except (FileNotFoundError, NotADirectoryError):
        raise Misconfigured(
            f"no archive in {folder}: name its folder with --archive or CLIPLEDGER_ARCHIVE, "
            f"or run `clipledger init {folder}` first"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{folder}: cannot read the archive's UUID: {error}") from None
    if not identity:
        raise Misconfigured(f"{folder}: the archive's UUID is lost: `clipledger init {folder}` writes it anew")
    return identity


def database_url(folder: Path, settings: Settings) -> str | Path:
    """Give the database of an archive's settings."""
    return database_at(folder, settings.database.url)


def database_at(folder: Path, url: str) -> str | Path:
    """Give a database: a SQLite file's path, made absolute in the archive folder, or a server's URL."""
    file = file_of(url)
    return url if file is None else folder.resolve() / file

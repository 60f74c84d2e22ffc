"""Make an export: what changed, written aside on one snapshot, published file by file, the manifest last but one.

The order is the promise. Parts replace parts, each whole for a reader at any moment; then the manifest says what
is whole; then files that nothing names any more go; then the archive's books; then `export.json` with the
watermark. Whoever dies on the way is followed by an export that begins at the old watermark and does it all
again. Must not: know a cloud, a format's bytes, or a clock other than the archive's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event
from typing import cast

from sqlalchemy import Connection

from clipledger import __version__
from clipledger.archive import Archive
from clipledger.core.errors import ArchiveInUse, UsageError
from clipledger.core.model import ObjectKey
from clipledger.core.ports import ReplacingStore
from clipledger.core.query import parse
from clipledger.core.times import iso_time
from clipledger.db.exports import ExportRow, Exports, PartRow, Watermark, read_watermark
from clipledger.export import manifest as written
from clipledger.export.card import card_files, facts
from clipledger.export.extras import require
from clipledger.export.manifest import MANIFEST, STATE, File, Kind, Made, Manifest
from clipledger.export.staging import Batch, Progress, Staged, Survey, private_place, sealed, stage, survey
from clipledger.storage import Options, open_store

_MADE_MAX_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for. `anew`: everything, whatever stands there."""

    kind: Kind
    query: str = ""
    anew: bool = False


@dataclass(frozen=True, slots=True)
class Names:
    """Two names that nobody else has: of this export, and of the journal, should it begin now."""

    export_id: str
    journal: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an export came to. `export_id` "": nothing had changed, nothing was written. `rows`: by table, in all."""

    export_id: str
    destination: str
    full: bool
    written: tuple[File, ...]
    removed: int
    kept: int
    rows: dict[str, int]


@dataclass(frozen=True, slots=True)
class _Standing:
    """What stands at a destination."""

    manifest: Manifest | None
    made: Made | None


def destination(archive: Archive, to: str) -> ReplacingStore:
    """Open the place of an export: a folder, relative to where the command was given, or a bucket."""
    storage = archive.settings.storage
    options = Options(storage.endpoint_url, storage.region, storage.addressing)
    store = open_store(_one_name(to), archive=Path.cwd(), options=options)
    if store.url == archive.store.url or store.url == archive.folder.absolute().as_uri():
        raise UsageError("--to is where the archive itself is: name another folder, or a prefix of its own")
    if not hasattr(store, "replace"):
        raise UsageError("--to: exports go to a folder, s3://, gs:// or az://")
    return cast(ReplacingStore, store)


def _one_name(to: str) -> str:
    """Name a folder in one way, however it was typed: the books know a destination by its name."""
    return to if ":" in to else str(Path(to).expanduser().resolve())


async def export(archive: Archive, store: ReplacingStore, wish: Wish, names: Names, told: Progress) -> Outcome:
    """Bring a destination up to date; Misconfigured without the extra, UsageError where something else stands."""
    _check(wish)
    books = Exports(archive.db)
    with private_place(archive.folder, store.url) as folder:
        standing = await _standing(archive, store, wish)
        since = None if wish.anew else await _since(books, store, standing)
        mark = await books.begin(names.journal)
        at = archive.clock.now()
        batch = await _snapshot(archive, partial(_stage, standing.manifest, since, wish, folder, told, archive))
        manifest = Manifest(wish.kind, archive.uuid, __version__, wish.query, _files(batch))
        if not batch.full and manifest == _ordered(standing.manifest):
            return _outcome("", store, manifest, batch, [], 0)
        fresh = _fresh(batch, standing.manifest)
        await _check_alone(store, standing)
        await _publish(store, folder, fresh, manifest)
        gone = await _remove(store, batch, manifest)
        export_row = _row(names.export_id, at, wish, store.url, mark, fresh)
        await books.record(export_row, [_part(each.file) for each in fresh])
        made = Made(names.export_id, iso_time(at), str(mark))
        await _put(store, folder, STATE, written.write_made(made))
        return _outcome(names.export_id, store, manifest, batch, fresh, gone)


async def look(archive: Archive, store: ReplacingStore, wish: Wish) -> Survey:
    """Find out what an export would write; change nothing."""
    _check(wish)
    standing = await _standing(archive, store, wish)
    since = None if wish.anew else await _since(Exports(archive.db), store, standing)
    return await archive.db.read(lambda connection: survey(connection, wish.kind, wish.query, standing.manifest, since))


def _check(wish: Wish) -> None:
    parse(wish.query)
    if wish.kind.by_day:
        require("pyarrow", "analytics", "Parquet")


async def _standing(archive: Archive, store: ReplacingStore, wish: Wish) -> _Standing:
    manifest = made = None
    with suppress(KeyError):
        manifest = written.read_manifest(await store.read(MANIFEST, written.MAX_BYTES))
    with suppress(KeyError):
        made = written.read_made(await store.read(STATE, _MADE_MAX_BYTES))
    if manifest is not None and manifest.archive != archive.uuid:
        raise UsageError(f"--to holds an export of another archive, {manifest.archive}: name another place")
    if manifest is not None and manifest.kind is not wish.kind:
        raise UsageError(f"--to holds an export of kind {manifest.kind}: name another place")
    if manifest is not None and manifest.query != wish.query and not wish.anew:
        holds = f"--where {manifest.query!r}" if manifest.query else "everything"
        raise UsageError(f"--to holds an export of {holds}: name another place, or --anew to put this one in its stead")
    return _Standing(manifest, made)


async def _since(books: Exports, store: ReplacingStore, standing: _Standing) -> Watermark | None:
    """Give the watermark to go on from: only one that this very database gave for this very place."""
    if standing.made is None or standing.manifest is None or standing.manifest.query:
        return None
    known = await books.known(standing.made.export_id)
    if known is None or known.watermark != standing.made.watermark or known.destination != store.url:
        return None
    # Another release may write other columns or types.
    return read_watermark(known.watermark) if standing.manifest.version == __version__ else None


async def _snapshot(archive: Archive, fn: Callable[[Event, Connection], Batch]) -> Batch:
    """Run the reading on one snapshot; an interrupt ends it at its next batch of rows."""
    stop = Event()
    try:
        return await archive.db.read(partial(fn, stop))
    except asyncio.CancelledError:
        stop.set()
        raise


def _stage(
    standing: Manifest | None,
    since: Watermark | None,
    wish: Wish,
    folder: Path,
    told: Progress,
    archive: Archive,
    stop: Event,
    connection: Connection,
) -> Batch:
    plan = survey(connection, wish.kind, wish.query, standing, since)
    batch = stage(connection, plan, wish.kind, wish.query, folder, told, stop)
    if wish.kind is not Kind.DATASET:
        return batch
    known = facts(connection, archive, wish.query)
    cards = [_card(folder, name, body) for name, body in card_files(known, _files(batch)).items()]
    return Batch(batch.full, (*batch.staged, *cards), batch.kept, batch.empty)


def _card(folder: Path, name: str, body: bytes) -> Staged:
    target = folder / f"{name}.part"
    target.write_bytes(body)
    return sealed(target, name, "", None, 0)


def _files(batch: Batch) -> tuple[File, ...]:
    kept = [file for file in batch.kept if file.table]
    return written.ordered([*kept, *(each.file for each in batch.staged)])


def _ordered(manifest: Manifest | None) -> Manifest | None:
    if manifest is None:
        return None
    return Manifest(manifest.kind, manifest.archive, manifest.version, manifest.query, written.ordered(manifest.files))


def _fresh(batch: Batch, standing: Manifest | None) -> list[Staged]:
    """Leave out what stands there already, byte for byte, unless everything was asked for."""
    stands = {file.path: file.sha256 for file in standing.files} if standing is not None and not batch.full else {}
    return [each for each in batch.staged if stands.get(each.file.path) != each.sha256]


async def _check_alone(store: ReplacingStore, standing: _Standing) -> None:
    """Stop before anything is published when another machine exported here meanwhile."""
    made = None
    with suppress(KeyError):
        made = written.read_made(await store.read(STATE, _MADE_MAX_BYTES))
    if made != standing.made:
        raise ArchiveInUse(f"another export wrote to {store.url} meanwhile: run this one again")


async def _publish(store: ReplacingStore, folder: Path, fresh: Iterable[Staged], manifest: Manifest) -> None:
    for each in fresh:
        await store.replace(ObjectKey(each.file.path), each, written.media_type(each.file.path))
    await _put(store, folder, MANIFEST, written.write_manifest(manifest))


async def _put(store: ReplacingStore, folder: Path, key: ObjectKey, body: bytes) -> None:
    target = folder / key
    target.write_bytes(body)
    await store.replace(key, sealed(target, key, "", None, 0), written.media_type(key))


async def _remove(store: ReplacingStore, batch: Batch, manifest: Manifest) -> int:
    """Remove the parts of days without rows; after a full export also what earlier ones left."""
    named = {file.path for file in manifest.files}
    gone = set(batch.empty)
    if batch.full and manifest.kind.by_day:
        for table in manifest.kind.tables:
            gone |= {str(found.key) async for found in store.walk(f"{table}/") if written.is_part(found.key)}
    gone -= named
    for path in sorted(gone):
        await store.delete(ObjectKey(path))
    return len(gone)


def _row(export_id: str, at: float, wish: Wish, where: str, mark: Watermark, fresh: list[Staged]) -> ExportRow:
    rows, size = sum(each.file.rows for each in fresh), sum(each.file.bytes for each in fresh)
    return ExportRow(export_id, at, wish.kind, where, str(mark), wish.query, rows, size)


def _part(file: File) -> PartRow:
    return PartRow(file.path, file.table, file.day, file.rows, file.bytes, file.sha256)


def _outcome(
    export_id: str, store: ReplacingStore, manifest: Manifest, batch: Batch, fresh: list[Staged], removed: int
) -> Outcome:
    files = tuple(each.file for each in fresh)
    kept = len(manifest.files) - len(files)
    return Outcome(export_id, store.url, batch.full, files, removed, kept, manifest.rows)

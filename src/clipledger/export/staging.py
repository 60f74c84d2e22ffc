"""Write the parts of an export aside: on one snapshot, into a private folder, nothing of it seen by a reader.

Only days that changed are written; the others stay as the manifest has them. Must not: know a store.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from threading import Event

from sqlalchemy import Connection

from clipledger.core.errors import ArchiveInUse, Stopped, StorageFull
from clipledger.core.query import Query, parse
from clipledger.db.exports import Watermark, changed
from clipledger.db.extracts import EXTRACTS, Extract, Row, Wanted, days, days_of, rows
from clipledger.export.formats import write_csv, write_ids, write_jsonl
from clipledger.export.manifest import File, Kind, Manifest, path_of
from clipledger.presence import private_folder

_CHUNK_BYTES = 1 << 20

Progress = Callable[[str, int, int], None]
"""Table, parts done, parts in all."""


@dataclass(frozen=True, slots=True)
class Staged:
    """A file written aside: `Sealed`, and what the manifest says of it."""

    path: Path
    file: File

    @property
    def size_bytes(self) -> int:
        """Give its size."""
        return self.file.bytes

    @property
    def sha256(self) -> str:
        """Give its digest, in hex."""
        return self.file.sha256


@dataclass(frozen=True, slots=True)
class Piece:
    """One file to be: the days of a table that go into it."""

    extract: Extract
    day: int | None
    days: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Survey:
    """What an export will do. `empty` are the paths of days without rows; `full`: everything is written."""

    full: bool
    pieces: tuple[Piece, ...]
    kept: tuple[File, ...]
    empty: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """What was written aside, what stays, and what has to go."""

    full: bool
    staged: tuple[Staged, ...]
    kept: tuple[File, ...]
    empty: tuple[str, ...]


@contextmanager
def private_place(archive: Path, destination: str) -> Iterator[Path]:
    """Hold an empty folder for one destination; ArchiveInUse while another process exports there.

    What a killed export left is removed first.
    """
    folder = private_folder(archive) / "export" / hashlib.sha256(destination.encode()).hexdigest()[:16]
    try:
        folder.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        descriptor = os.open(folder.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise StorageFull(f"cannot write to {folder.parent}: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ArchiveInUse(f"another process exports to {destination}: wait for it, or stop it") from None
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o750)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def survey(
    connection: Connection, kind: Kind, query: str, standing: Manifest | None, since: Watermark | None
) -> Survey:
    """Find out what has to be written: all days, or those that changed after `since`."""
    # What a query matches changes with more than the rows that go out: a rename, a post that vanished.
    dirty = changed(connection, since) if since is not None and standing is not None and not query else None
    stands = {file.path: file for file in standing.files} if standing is not None and dirty is not None else {}
    wanted = parse(query)
    pieces, kept, empty = list[Piece](), list[File](), list[str]()
    for name in kind.tables:
        extract = EXTRACTS[name]
        if kind.by_day:
            touched = set() if dirty is None else dirty.get(name, set())
            there = days(connection, extract) if dirty is None else days_of(connection, extract, touched)
            pieces += [Piece(extract, day, (day,)) for day in _within(there, extract, wanted)]
            kept += [file for file in stands.values() if file.table == name and file.day not in touched]
            empty += [path_of(kind, name, day) for day in sorted(touched - set(there))]
        elif dirty is None or dirty.get(name):
            pieces.append(Piece(extract, None, tuple(_within(days(connection, extract), extract, wanted))))
        else:
            kept += [file for file in stands.values() if file.table == name]
    return Survey(dirty is None, tuple(pieces), tuple(kept), tuple(empty))


def stage(
    connection: Connection, plan: Survey, kind: Kind, query: str, folder: Path, told: Progress, stop: Event
) -> Batch:
    """Write the pieces of a plan, on the snapshot it was made on. A day whose rows are all withheld is empty."""
    wanted = Wanted(parse(query)) if query else None
    staged, empty = list[Staged](), list(plan.empty)
    for done, piece in enumerate(plan.pieces):
        told(piece.extract.name, done, len(plan.pieces))
        path = path_of(kind, piece.extract.name, piece.day)
        target = folder / f"{done}.part"
        target.unlink(missing_ok=True)  # of a first try, should the database have been lost on the way
        count = _write(kind, target, piece.extract, _stoppable(_rows(connection, piece, wanted), stop))
        if target.exists():
            staged.append(sealed(target, path, piece.extract.name, piece.day, count))
        else:
            empty.append(path)
    told("", len(plan.pieces), len(plan.pieces))
    return Batch(plan.full, tuple(staged), plan.kept, tuple(empty))


def sealed(target: Path, path: str, table: str, day: int | None, rows_: int) -> Staged:
    """Take note of a file written aside."""
    digest = hashlib.sha256()
    with target.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return Staged(target, File(path, table, day, rows_, target.stat().st_size, digest.hexdigest()))


def _within(there: list[int], extract: Extract, wanted: Query) -> list[int]:
    if not extract.by_id or (wanted.since is None and wanted.until is None):
        return there
    since, until = wanted.since or 0.0, wanted.until if wanted.until is not None else float("inf")
    return [day for day in there if (day + 1) * 86_400 > since and day * 86_400 < until]


def _rows(connection: Connection, piece: Piece, wanted: Wanted | None) -> Iterator[list[Row]]:
    return chain.from_iterable(rows(connection, piece.extract, day, wanted) for day in piece.days)


def _stoppable(batches: Iterator[list[Row]], stop: Event) -> Iterator[list[Row]]:
    for batch in batches:
        if stop.is_set():
            raise Stopped("the export was told to stop")
        yield batch


def _write(kind: Kind, target: Path, extract: Extract, batches: Iterator[list[Row]]) -> int:
    try:
        match kind:
            case Kind.CSV:
                return write_csv(target, extract, batches)
            case Kind.JSONL:
                return write_jsonl(target, extract, batches)
            case Kind.IDS:
                return write_ids(target, extract, batches)
        from clipledger.export.parquet import write_parquet

        return write_parquet(target, extract, batches)
    except OSError as error:
        raise StorageFull(f"cannot write {target.parent}: {error.strerror or error}") from error

"""The catalog: one row per archived post, its files, and its counters at capture.

Idempotent: only ids in state `stored` go on, and each table keeps what it has. Must not: read a
sidecar, or decide where a file lies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import (
    ColumnElement,
    Connection,
    bindparam,
    case,
    delete,
    func,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects.sqlite import Insert

from clipledger.core.history import growth
from clipledger.core.model import AwemeId, Counters, MediaType, ObjectKey, Post, State, StoredFile
from clipledger.core.sidecar import Replaced
from clipledger.db import custody, search_index
from clipledger.db.availability import AvailabilityRow, had_been_gone, runs
from clipledger.db.backend import in_order
from clipledger.db.care_tables import fixity
from clipledger.db.database import Database
from clipledger.db.engine import InsertInto, per_dialect, summed
from clipledger.db.intake import counts, measured
from clipledger.db.tables import UtcTime, archive_queue, files, post_metrics_history, posts

SIDECAR = "sidecar"
"""The `files.kind` of a sidecar, which is no `FileKind` of the sidecar's own list."""


@dataclass(frozen=True, slots=True)
class SidecarFile:
    """The sidecar's own bytes."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Record:
    """A complete post as its sidecar tells it. `bytes` counts its files without the cover.

    `sha256` is that of the MP4, for a photo post that of the sidecar. `is_photo` stands apart
    from `post`, whose slides are gone once it was read back from a sidecar. `replaced`: by repairs, so far.
    """

    post: Post
    storage_key: ObjectKey
    sidecar_key: ObjectKey
    bytes: int
    sha256: str
    files: Sequence[StoredFile]
    sidecar_file: SidecarFile
    captured_at: float
    is_photo: bool
    replaced: tuple[Replaced, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A video whose sidecar stands and that is not in the catalog yet."""

    aweme_id: AwemeId
    storage_key: ObjectKey
    stored_at: float


@dataclass(frozen=True, slots=True)
class PostRow:
    """One archived post. `counters` were observed at `counters_at`."""

    aweme_id: AwemeId
    author_id: str
    author_handle: str
    author_nickname: str
    title: str
    region: str
    duration: float | None
    create_time: int | None
    counters: Counters
    music_id: str
    is_photo: bool
    is_ad: bool
    thin: bool
    storage_key: ObjectKey
    sidecar_key: ObjectKey
    bytes: int
    sha256: str | None
    archived_at: float
    counters_at: float
    plays_per_day: float | None


@dataclass(frozen=True, slots=True)
class FileRow:
    """One stored file of a post; `kind` is a `FileKind` or `SIDECAR`."""

    aweme_id: AwemeId
    storage_key: ObjectKey
    kind: str
    position: int
    rendition: str | None
    media_type: str
    bytes: int
    sha256: str
    stored_at: float


_q = archive_queue
_COUNTERS = tuple(f"{name}_count" for name in Counters.__slots__)
_ADMIT = (
    update(_q)
    .where(_q.c.aweme_id.in_(bindparam("ids", expanding=True)), _q.c.state == State.STORED)
    .values(state=State.ARCHIVED, settled_at=bindparam("now", type_=UtcTime))
    .returning(_q.c.aweme_id)
)
_MEASURE = per_dialect(lambda insert: insert(post_metrics_history).on_conflict_do_nothing())
_WATCH = per_dialect(lambda insert: insert(fixity).on_conflict_do_nothing())
_REVISE = (
    update(posts)
    .where(posts.c.aweme_id == bindparam("id"))
    .values(
        storage_key=bindparam("main"),
        sidecar_key=bindparam("told"),
        bytes=bindparam("size"),
        sha256=bindparam("digest"),
    )
)
_DROP_FILES = delete(files).where(files.c.aweme_id == bindparam("id"))


@per_dialect
def _post(insert: InsertInto) -> Insert:
    statement = insert(posts)
    told = statement.excluded
    plain = [
        column.name
        for column in posts.c
        if column.name not in (*_COUNTERS, "aweme_id", "archived_at", "counters_at", "plays_per_day")
    ]
    return statement.on_conflict_do_update(
        index_elements=["aweme_id"],
        set_={name: told[name] for name in plain}
        | {name: _latest(told[name], posts.c[name], told.counters_at >= posts.c.counters_at) for name in _COUNTERS}
        | {"counters_at": case((told.counters_at >= posts.c.counters_at, told.counters_at), else_=posts.c.counters_at)},
    )


def _latest(told: ColumnElement[int], known: ColumnElement[int], told_later: ColumnElement[bool]) -> ColumnElement[int]:
    return case((told_later, func.coalesce(told, known)), else_=func.coalesce(known, told))


@per_dialect
def _file(insert: InsertInto) -> Insert:
    statement = insert(files)
    told = statement.excluded
    names = ("kind", "position", "rendition", "media_type", "bytes", "sha256", "stored_at")
    return statement.on_conflict_do_update(
        index_elements=["aweme_id", "storage_key"], set_={name: told[name] for name in names}
    )


_STORED = (
    select(_q.c.aweme_id, _q.c.storage_key, _q.c.stored_at)
    .where(_q.c.state.in_([literal_column("'running'"), literal_column("'stored'")]), _q.c.state == State.STORED)
    .limit(bindparam("n"))
)
_ONE_POST = select(posts).where(posts.c.aweme_id == bindparam("id"))
_CAPTURED = select(*(post_metrics_history.c[name] for name in _COUNTERS)).where(
    post_metrics_history.c.aweme_id == bindparam("id"), post_metrics_history.c.feed == "capture"
)
_FILES = select(files).where(files.c.aweme_id == bindparam("id")).order_by(files.c.kind, files.c.position)
_FILES_OF_MANY = (
    select(files)
    .where(files.c.aweme_id.in_(bindparam("ids", expanding=True)))
    .order_by(files.c.aweme_id, files.c.kind, files.c.position)
)
_SIZE = select(func.count(), summed(files.c.bytes))
_CANARIES = (
    select(posts.c.aweme_id)
    .where(posts.c.archived_at < bindparam("before", type_=UtcTime))
    .order_by(posts.c.archived_at.desc())
    .limit(bindparam("n"))
)
_NEXT = (
    select(_q.c.aweme_id)
    .where(_q.c.aweme_id > bindparam("after"), _q.c.state == State.ARCHIVED)
    .order_by(_q.c.aweme_id)
    .limit(bindparam("n"))
)


class Catalog:
    """The tables `posts`, `files` and `post_metrics_history`, and the last step of the queue."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def record(self, batch: Sequence[Record], now: float) -> int:
        """Index complete posts in one transaction and move them to archived; return how many moved.

        Ids not in state stored are passed over: they are indexed already, or not ours to index.
        """
        return await self._db.write(lambda connection: record_stored(connection, batch, now)) if batch else 0

    async def stored(self, limit: int) -> list[StoredRow]:
        """List videos that wait to be indexed."""
        return await self._db.read(
            lambda connection: [StoredRow(*row) for row in connection.execute(_STORED, {"n": limit})]
        )

    async def post(self, aweme_id: AwemeId) -> PostRow | None:
        """Look one archived post up."""
        return await self._db.read(lambda connection: _read_post(connection, aweme_id))

    async def captured_counters(self, aweme_id: AwemeId) -> Counters:
        """Give the counters that the capture of a post told."""
        found = await self._db.read(lambda connection: connection.execute(_CAPTURED, {"id": aweme_id}).one_or_none())
        return Counters(*found) if found is not None else Counters()

    async def files_of(self, aweme_id: AwemeId) -> list[FileRow]:
        """List a post's files, its sidecar among them."""
        return await self._db.read(
            lambda connection: [FileRow(*row) for row in connection.execute(_FILES, {"id": aweme_id})]
        )

    async def files_of_many(self, ids: Sequence[AwemeId]) -> dict[AwemeId, list[FileRow]]:
        """List the files of many posts, by id; an id without any is not in it."""
        found: dict[AwemeId, list[FileRow]] = {}
        asked = {"ids": list(ids)}
        for row in await self._db.read(lambda connection: connection.execute(_FILES_OF_MANY, asked).all()):
            found.setdefault(AwemeId(row.aweme_id), []).append(FileRow(*row))
        return found

    async def availability(self, aweme_id: AwemeId) -> list[AvailabilityRow]:
        """List what was observed of a post's being there, oldest first."""
        return await self._db.read(lambda connection: runs(connection, aweme_id))

    async def size(self) -> tuple[int, int]:
        """Count the stored files and their bytes, sidecars included."""
        count, size = await self._db.read(lambda connection: connection.execute(_SIZE).one())
        return count, size or 0

    async def canaries(self, limit: int, before: float) -> list[AwemeId]:
        """List the posts archived last before a moment: known to be alive a short while ago."""
        asked = {"n": limit, "before": before}
        rows = await self._db.read(lambda connection: connection.execute(_CANARIES, asked).scalars().all())
        return [AwemeId(row) for row in rows]

    async def next_archived(self, after_id: str, limit: int) -> list[AwemeId]:
        """Page through archived ids in order; begin with ''."""
        asked = {"after": after_id, "n": limit}
        rows = await self._db.read(
            lambda connection: in_order(after_id, connection.execute(_NEXT, asked).scalars().all())
        )
        return [AwemeId(row) for row in rows]


def revise(connection: Connection, record: Record) -> None:
    """Write the files of an archived post anew, as its new sidecar lists them; nothing else of it changes."""
    aweme_id = record.post.aweme_id
    connection.execute(_DROP_FILES, {"id": aweme_id})
    connection.execute(_file(connection), _file_values(record))
    told = {"main": record.storage_key, "told": record.sidecar_key, "size": record.bytes, "digest": record.sha256}
    connection.execute(_REVISE, {"id": aweme_id} | told)


def record_stored(connection: Connection, batch: Sequence[Record], now: float) -> int:
    """Index complete posts whose ids are in state stored, and move them to archived; return how many moved."""
    by_id = {record.post.aweme_id: record for record in batch}
    admitted = connection.execute(_ADMIT, {"ids": list(by_id), "now": now}).scalars().all()
    records = [by_id[AwemeId(aweme_id)] for aweme_id in admitted]
    if records:
        connection.execute(_post(connection), [_post_values(record) for record in records])
        connection.execute(_file(connection), [row for record in records for row in _file_values(record)])
        measures = [measured(record.post, record.captured_at, "capture") for record in records]
        connection.execute(_MEASURE(connection), measures)
        watched = [{"aweme_id": record.post.aweme_id, "checked_at": record.captured_at} for record in records]
        connection.execute(_WATCH(connection), watched)
        custody.note(connection, [row for each in records for row in custody.told(each.post.aweme_id, each.replaced)])
        ids = [record.post.aweme_id for record in records]
        search_index.begin(connection, ids)
        had_been_gone(connection, ids)
        search_index.index(connection, ids)
    return len(records)


def _post_values(record: Record) -> dict[str, object]:
    post = record.post
    told: dict[str, object] = {
        "aweme_id": post.aweme_id,
        "author_id": post.author.id,
        "author_handle": post.author.handle,
        "author_nickname": post.author.nickname,
        "title": post.title,
        "region": post.region,
        "duration": post.duration_s,
        "create_time": post.created_at,
        "music_id": post.music_id,
        "is_photo": record.is_photo,
        "is_ad": post.is_ad,
        "thin": post.thin,
        "storage_key": record.storage_key,
        "sidecar_key": record.sidecar_key,
        "bytes": record.bytes,
        "sha256": record.sha256,
        "archived_at": record.captured_at,
        "counters_at": record.captured_at,
        "plays_per_day": growth((0, post.created_at), post.counters.play, record.captured_at, None)
        if post.created_at is not None
        else None,
    }
    return told | counts(post.counters)


def _file_values(record: Record) -> list[dict[str, object]]:
    sidecar = {
        "storage_key": record.sidecar_key,
        "kind": SIDECAR,
        "position": 0,
        "rendition": None,
        "media_type": MediaType.JSON,
        "bytes": record.sidecar_file.bytes,
        "sha256": record.sidecar_file.sha256,
    }
    owner: dict[str, object] = {"aweme_id": record.post.aweme_id, "stored_at": record.captured_at}
    return [owner | row for row in (sidecar, *map(_file_row, record.files))]


def _file_row(file: StoredFile) -> dict[str, object]:
    return {
        "storage_key": file.key,
        "kind": file.kind,
        "position": file.position,
        "rendition": file.rendition,
        "media_type": file.media_type,
        "bytes": file.bytes,
        "sha256": file.sha256,
    }


def _read_post(connection: Connection, aweme_id: AwemeId) -> PostRow | None:
    found = connection.execute(_ONE_POST, {"id": aweme_id}).one_or_none()
    if found is None:
        return None
    row = dict(found._mapping)
    counters = Counters(*(row.pop(name) for name in _COUNTERS))
    return PostRow(counters=counters, **row)

"""Bring complete posts into the index: sidecar -> posts, files, metrics, archived; many in one transaction.

The sidecar is the truth. A failure here costs no credit: the row stays `stored` and is read again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from clipledger.core import layout, sidecar
from clipledger.core.errors import TooLarge
from clipledger.core.model import AwemeId, FileKind, ObjectKey, StoredFile
from clipledger.core.ports import Clock, ObjectStore
from clipledger.core.times import since
from clipledger.db.catalog import Catalog, Record, SidecarFile
from clipledger.db.queue import Queue
from clipledger.events import Events
from clipledger.stages.fresh import Fresh

BATCH = 100


class Metadata:
    """Read sidecars of stored posts and record them."""

    def __init__(
        self, queue: Queue, catalog: Catalog, store: ObjectStore, fresh: Fresh, clock: Clock, events: Events
    ) -> None:
        self._fresh = fresh
        self._queue, self._catalog, self._store = queue, catalog, store
        self._clock, self._events = clock, events
        self.archived = 0  # by this process: another one may have been faster

    async def act(self) -> int:
        """Record one batch; give how many rows it dealt with, 0 when none is waiting."""
        began = self._clock.now()
        waiting = await self._catalog.stored(BATCH)
        records = [record for row in waiting if (record := await self._record(row.aweme_id, row.storage_key))]
        if records:
            self.archived += await self._catalog.record(records, self._clock.now())
            for record in records:
                self._events.emit("archived", aweme_id=record.post.aweme_id, bytes=record.bytes, key=record.storage_key)
            self._events.emit("recorded", posts=len(records), seconds=since(began, self._clock.now()))
        return len(waiting)

    async def _record(self, aweme_id: AwemeId, storage_key: ObjectKey) -> Record | None:
        key = layout.sidecar_of(storage_key)
        try:
            body = self._fresh.take(key) or await self._store.read(key, sidecar.MAX_BYTES)
            return record_of(sidecar.read_of(body, aweme_id), key, body)
        except (KeyError, TooLarge, sidecar.BadSidecar) as error:
            # Said to be complete, but its proof is not there: it is owed again, and somebody should know.
            self._events.emit("sidecar_lost", aweme_id=aweme_id, why=repr(error))
            await self._queue.unstore(aweme_id, f"{key}: {error!r}", self._clock.now())
            return None


def record_of(found: sidecar.Sidecar, key: ObjectKey, body: bytes) -> Record:
    """Read a sidecar into what the index holds of its post; BadSidecar when it lacks the post's own file."""
    own = SidecarFile(len(body), hashlib.sha256(body).hexdigest())
    main_key, sha256 = (key, own.sha256) if found.is_photo else _main(found.files)
    return Record(
        post=found.post,
        storage_key=main_key,
        sidecar_key=key,
        bytes=sum(file.bytes for file in found.files if file.kind is not FileKind.COVER),
        sha256=sha256,
        files=found.files,
        sidecar_file=own,
        captured_at=found.captured_at,
        is_photo=found.is_photo,
        replaced=found.replaced,
    )


def _main(files: Sequence[StoredFile]) -> tuple[ObjectKey, str]:
    for file in files:
        if file.kind is FileKind.VIDEO:
            return file.key, file.sha256
    raise sidecar.BadSidecar("a video post without its video")

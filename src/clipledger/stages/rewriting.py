"""Write the sidecar of an archived post anew, after a repair or because it was lost.

The old one goes only once the new one stands beside it. Must not: fetch, or know what was damaged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clipledger import __version__
from clipledger.core import layout, sidecar
from clipledger.core.errors import Misconfigured
from clipledger.core.model import Author, AwemeId, Counters, MediaType, ObjectKey, Post, StoredFile
from clipledger.core.ports import ObjectStore
from clipledger.core.sidecar import Origin, Replaced
from clipledger.db.catalog import Catalog, PostRow, Record
from clipledger.db.custody import Custody, replacement
from clipledger.db.queue import Queue
from clipledger.stages.metadata import record_of


@dataclass(frozen=True, slots=True)
class Rewriting:
    """Sidecars, out of their former selves or out of the index."""

    store: ObjectStore
    queue: Queue
    catalog: Catalog
    custody: Custody

    async def with_files(
        self,
        aweme_id: AwemeId,
        key: ObjectKey,
        former: bytes,
        files: Sequence[StoredFile],
        replaced: Sequence[Replaced],
        stamp: int,
    ) -> Record:
        """Change what a whole sidecar (`former`) says of its files; all else in it stays."""
        told = sidecar.read_of(former, aweme_id)
        body = sidecar.with_files(former, files, [*told.replaced, *replaced])
        return await self._put(aweme_id, key, body, stamp)

    async def out_of_index(
        self, aweme_id: AwemeId, key: ObjectKey, files: Sequence[StoredFile], replaced: Sequence[Replaced], stamp: int
    ) -> Record:
        """Write a lost sidecar: all but the API's reply is in the index."""
        post, row = await self.catalog.post(aweme_id), await self.queue.row(aweme_id)
        if post is None or row is None:
            raise Misconfigured(f"{aweme_id} is not in the index: restore the database from a backup, or `rebuild` it")
        acts = await self.custody.of(aweme_id)
        before = [each for act in acts if (each := replacement(act)) is not None]
        body = sidecar.write(
            _post(post, await self.catalog.captured_counters(aweme_id)),
            files,
            captured_at=post.archived_at,
            version=__version__,
            missing=(),
            origin=Origin(row.source, row.added_at, row.asked_url),
            replaced=[*before, *replaced],
            is_photo=post.is_photo,
        )
        return await self._put(aweme_id, key, body, stamp)

    async def _put(self, aweme_id: AwemeId, key: ObjectKey, body: bytes, stamp: int) -> Record:
        beside = layout.second_key(key, stamp)
        if await self.store.stat(key) is not None:
            await self.store.put_bytes(beside, body, MediaType.JSON)
            await self.store.delete(key)
        await self.store.put_bytes(key, body, MediaType.JSON)
        await self.store.delete(beside)
        return record_of(sidecar.read_of(body, aweme_id), key, body)


def _post(row: PostRow, counters: Counters) -> Post:
    return Post(
        aweme_id=row.aweme_id,
        author=Author(row.author_id, row.author_handle, row.author_nickname),
        title=row.title,
        region=row.region,
        duration_s=row.duration,
        created_at=row.create_time,
        counters=counters,
        music_id=row.music_id,
        is_ad=row.is_ad,
        thin=row.thin,
    )

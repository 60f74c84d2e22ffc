"""Recompute what the archive claims: the books from the ledger, the files from their bytes.

Reads only. Every finding names an id; none at all means that the books balance and every file is whole.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from clipledger.core.errors import StorageUnavailable, StorageUnreachable, TooLarge
from clipledger.core.model import AwemeId, ObjectKey
from clipledger.core.ports import ObjectStore
from clipledger.core.sidecar import MAX_BYTES, Sidecar, read
from clipledger.db.books import Books, Finding
from clipledger.db.catalog import SIDECAR, Catalog, FileRow

PAGE = 500


class Verify:
    """Hold the index against the store."""

    def __init__(self, books: Books, catalog: Catalog, store: ObjectStore) -> None:
        self._books, self._catalog, self._store = books, catalog, store
        self.ids = self.files = self.bytes = 0

    async def books(self) -> AsyncIterator[Finding]:
        """Find what does not balance."""
        async for finding in self._books.check():
            yield finding

    async def media(self) -> AsyncIterator[Finding]:
        """Read every stored file of every archived id again and find what differs."""
        after = ""
        while ids := await self._catalog.next_archived(after, PAGE):
            files = await self._catalog.files_of_many(ids)
            for aweme_id in ids:
                async for finding in self.post(aweme_id, files.get(aweme_id, [])):
                    yield finding
            after = ids[-1]

    async def post(self, aweme_id: AwemeId, rows: list[FileRow]) -> AsyncIterator[Finding]:
        """Read one archived id's files, as the catalog lists them, again."""
        self.ids += 1
        async for what in self._post(aweme_id, rows):
            yield Finding(aweme_id, what)

    async def _post(self, aweme_id: AwemeId, rows: list[FileRow]) -> AsyncIterator[str]:
        for row in rows:
            if (what := await self._file(row)) is not None:
                yield what
        sidecars = [row for row in rows if row.kind == SIDECAR]
        if not sidecars:
            yield "has no sidecar in the index"
            return
        async for what in self._sidecar(aweme_id, sidecars[0].storage_key, rows):
            yield what

    async def _file(self, row: FileRow) -> str | None:
        self.files += 1
        try:
            size, sha256 = await self._store.digest(row.storage_key)
        except KeyError:
            return f"{row.storage_key} is missing"
        except ValueError:
            return f"{row.storage_key[:80]!r} is not a key of the archive"
        except StorageUnreachable:
            raise
        except StorageUnavailable as error:
            return f"{row.storage_key} cannot be read: {error.detail}"
        self.bytes += size
        if size != row.bytes:
            return f"{row.storage_key} has {size} bytes, not {row.bytes}"
        return f"{row.storage_key} has another sha256 than when it was stored" if sha256 != row.sha256 else None

    async def _sidecar(self, aweme_id: AwemeId, key: ObjectKey, rows: list[FileRow]) -> AsyncIterator[str]:
        try:
            told = read(await self._store.read(key, MAX_BYTES))
        except StorageUnreachable:
            raise
        except (KeyError, TooLarge, ValueError, StorageUnavailable) as error:  # a sidecar or a key that is none
            yield f"{key} is not a sidecar: {error}"
            return
        if told.post.aweme_id != aweme_id:
            yield f"{key} is the sidecar of {told.post.aweme_id}"
        if _listed(told) != {(row.storage_key, row.bytes, row.sha256) for row in rows if row.kind != SIDECAR}:
            yield f"{key} lists other files than the index"


def _listed(told: Sidecar) -> set[tuple[ObjectKey, int, str]]:
    return {(file.key, file.bytes, file.sha256) for file in told.files}

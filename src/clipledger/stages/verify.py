"""Recompute what the archive claims: the books from the ledger, the files from their bytes.

Reads only. Every finding names an id; none at all means that the books balance and every file is whole.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from clipledger.core.errors import StorageUnavailable, StorageUnreachable
from clipledger.core.model import AwemeId, ObjectKey
from clipledger.core.ports import ObjectStore
from clipledger.db.books import Books, Finding
from clipledger.db.catalog import SIDECAR, Catalog, FileRow
from clipledger.stages.damage import read_file, read_sidecar

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
            size, damaged = await read_file(self._store, row)
        except StorageUnreachable:
            raise
        except StorageUnavailable as error:
            return f"{row.storage_key} cannot be read: {error.detail}"
        self.bytes += size
        return damaged.what if damaged is not None else None

    async def _sidecar(self, aweme_id: AwemeId, key: ObjectKey, rows: list[FileRow]) -> AsyncIterator[str]:
        try:
            _, _, wrong = await read_sidecar(self._store, aweme_id, key, rows)
        except StorageUnreachable:
            raise
        except StorageUnavailable as error:
            wrong = [f"{key} is not a sidecar: {error}"]
        for what in wrong:
            yield what

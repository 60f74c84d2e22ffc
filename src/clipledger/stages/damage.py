"""Read an archived post's files again and say what is wrong with them: the one look that all checks share.

Every byte is read and hashed here, on a bucket too: a store's own checksum says what it was given, not what it gives.
Must not: change anything, or take a store that is away for damage: that passes as StorageUnavailable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from clipledger.core.errors import StorageFull, StorageThrottled, StorageUnavailable, StorageUnreachable, TooLarge
from clipledger.core.model import AwemeId, ObjectKey
from clipledger.core.ports import ObjectStore
from clipledger.core.sidecar import MAX_BYTES, Sidecar, read
from clipledger.db.catalog import SIDECAR, FileRow


@dataclass(frozen=True, slots=True)
class Damaged:
    """One stored file that is not what the index says: `size` and `sha256` of what stands, None where nothing does."""

    row: FileRow
    what: str
    size: int | None = None
    sha256: str | None = None

    @property
    def stands(self) -> bool:
        """Say whether some other bytes have the key."""
        return self.size is not None


@dataclass(slots=True)
class Look:
    """What a look at one post found. `told` and `body`: its sidecar, where it could be read and is this post's."""

    files: int = 0
    size: int = 0
    damaged: list[Damaged] = field(default_factory=list)
    sidecar: list[str] = field(default_factory=list)
    told: Sidecar | None = None
    body: bytes = b""

    @property
    def findings(self) -> list[str]:
        """Say all that is wrong; nothing where the post is whole."""
        return [*(damaged.what for damaged in self.damaged), *self.sidecar]


async def look(store: ObjectStore, aweme_id: AwemeId, rows: Sequence[FileRow], *, despite: bool = False) -> Look:
    """Read all files of one archived post, as the catalog lists them.

    `despite`: a file that a store which answers does not give is damaged, instead of passing as StorageUnavailable.
    """
    found = Look()
    for row in rows:
        try:
            size, damaged = await read_file(store, row)
        except (StorageUnreachable, StorageThrottled):
            raise
        except StorageUnavailable as error:
            if not despite:
                raise
            size, damaged = 0, Damaged(row, f"{row.storage_key} cannot be read: {error.detail}", row.bytes)
        found.files, found.size = found.files + 1, found.size + size
        if damaged is not None:
            found.damaged.append(damaged)
    keys = [row.storage_key for row in rows if row.kind == SIDECAR]
    if not keys:
        found.sidecar.append("has no sidecar in the index")
        return found
    if despite and keys[0] in {damaged.row.storage_key for damaged in found.damaged}:
        return found  # whatever it says: it is not what was stored
    found.body, found.told, found.sidecar = await read_sidecar(store, aweme_id, keys[0], rows)
    return found


async def read_file(store: ObjectStore, row: FileRow) -> tuple[int, Damaged | None]:
    """Read one file; give how many bytes that were, and what is wrong with it."""
    key = row.storage_key
    try:
        size, sha256 = await store.digest(key)
    except KeyError:
        return 0, Damaged(row, f"{key} is missing")
    except ValueError:
        return 0, Damaged(row, f"{key[:80]!r} is not a key of the archive")
    except StorageFull as error:  # a disk that cannot read is not full: it is this file, as far as is known
        raise StorageUnavailable(error.detail) from error
    if size != row.bytes:
        return size, Damaged(row, f"{key} has {size} bytes, not {row.bytes}", size, sha256)
    if sha256 != row.sha256:
        return size, Damaged(row, f"{key} has another sha256 than when it was stored", size, sha256)
    return size, None


async def read_sidecar(
    store: ObjectStore, aweme_id: AwemeId, key: ObjectKey, rows: Sequence[FileRow]
) -> tuple[bytes, Sidecar | None, list[str]]:
    """Read a post's sidecar; give it, where it is this post's, and what is wrong with what it says."""
    try:
        body = await store.read(key, MAX_BYTES)
        told = read(body)
    except (KeyError, TooLarge, ValueError) as error:  # a sidecar or a key that is none
        return b"", None, [f"{key} is not a sidecar: {error}"]
    wrong = []
    if told.post.aweme_id != aweme_id:
        return b"", None, [f"{key} is the sidecar of {told.post.aweme_id}", f"{key} lists other files than the index"]
    if _listed(told) != {(row.storage_key, row.bytes, row.sha256) for row in rows if row.kind != SIDECAR}:
        wrong.append(f"{key} lists other files than the index")
    return body, told, wrong


def _listed(told: Sidecar) -> set[tuple[ObjectKey, int, str]]:
    return {(file.key, file.bytes, file.sha256) for file in told.files}

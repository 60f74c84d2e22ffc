"""What earlier attempts at a post published: whole files that stand without their sidecar yet.

Each was checked before it was published, so it is kept: nothing is fetched twice, and no second set of
bytes ever competes for a key. Must not: fetch, or change anything.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from clipledger.core import layout
from clipledger.core.layout import KeyParts
from clipledger.core.model import FileKind, Job, MediaType, ObjectKey, Quality, StoredFile
from clipledger.core.ports import ObjectStore

Standing = dict[tuple[FileKind, int], StoredFile]
"""Files by what they were wanted as: the kind asked for, and the slide's number or 0."""

_COVERS = (MediaType.JPEG, MediaType.WEBP, MediaType.PNG, MediaType.HEIC)
_SOUNDS = (MediaType.MP3, MediaType.M4A)


async def standing_files(store: ObjectStore, job: Job) -> Standing:
    """Find the files that stand for a job; {} for one that never came as far as publishing."""
    found: Standing = {}
    if job.storage_key is None or job.author_part is None:
        return found
    async for key in _keys(store, job, job.author_part):
        parts = layout.parse_key(key)
        if parts is not None and (file := await _standing(store, job, key, parts)) is not None:
            wanted_as = FileKind.IMAGE if parts.position else file.kind
            found.setdefault((wanted_as, parts.position), file)
    return found


async def claims_its_key(store: ObjectStore, job: Job) -> ObjectKey | None:
    """Name a file that stands where this post's own kind of files lie; None when nothing but a cover does."""
    if job.storage_key is None or job.author_part is None:
        return None
    async for key in _keys(store, job, job.author_part):
        parts = layout.parse_key(key)
        if parts is not None and parts.kind != FileKind.COVER:
            return key
    return None


async def _keys(store: ObjectStore, job: Job, author: str) -> AsyncIterator[ObjectKey]:
    assert job.storage_key is not None
    day, aweme_id = job.first_seen_day, job.aweme_id
    is_photo = job.storage_key == layout.sidecar_of(job.storage_key)
    if is_photo:
        async for stat in store.walk(f"{job.storage_key.removesuffix('.json')}/"):
            yield stat.key
    candidates = [layout.cover_key(day, aweme_id, kind) for kind in _COVERS]
    if not is_photo:
        candidates += [layout.audio_key(day, author, aweme_id, False, kind) for kind in _SOUNDS]
        candidates.append(job.storage_key)
    for key in candidates:
        if await store.stat(key) is not None:
            yield key


async def _standing(store: ObjectStore, job: Job, key: ObjectKey, parts: KeyParts) -> StoredFile | None:
    if parts.media_type is None:
        return None
    kind, rendition = FileKind(parts.kind), None
    if parts.position and parts.media_type is MediaType.MP4:
        kind, rendition = FileKind.VIDEO, Quality.STANDARD
    elif kind is FileKind.VIDEO and (rendition := job.rendition) is None:
        return None  # nobody wrote down which rendition it is: not to be labelled by guessing
    if await store.stat(key) is None:
        return None  # listed, but torn or gone
    size, sha256 = await store.digest(key)
    return StoredFile(kind, key, size, sha256, parts.media_type, rendition, parts.position)

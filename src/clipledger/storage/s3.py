"""Objects in an S3 bucket: AWS, R2, B2, MinIO, Ceph and their kin. One conditional put an object, never a second.

A name is taken by whoever puts it first; who comes later adopts what stands when it is the same, by size and
sha256. How the store is kept from replacing is its mode, which the probe finds. Must not: retry for the
job's sake, wait out a throttle, or know what a key means.
"""

from __future__ import annotations

import asyncio
import hashlib
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any
from weakref import WeakValueDictionary

from clipledger.core.errors import StorageUnavailable, TooLarge
from clipledger.core.model import MediaType, ObjectKey
from clipledger.core.ports import KeyTaken, Part, Sealed, Stat
from clipledger.storage import mark, multipart, versions
from clipledger.storage.aws import Answered, Aws, reading
from clipledger.storage.bodies import Offer, of_bytes, of_part
from clipledger.storage.disk import CHUNK_BYTES
from clipledger.storage.heads import is_torn, sha256_of
from clipledger.storage.keys import is_key, key_parts, prefix_parts
from clipledger.storage.place import Place
from clipledger.storage.probe import FOLDER, Mode, Trial

SINGLE_BYTES_MAX = 64 * 2**20
"""Larger objects go in pieces."""

_PUT_TRIES = 5  # a name that is busy (409) or vanishes while we look at it; more often is no accident
_BUSY_S = 0.2
_PAGE = 1000
_EMPTY_MAX = 100  # pages without an object in one listing, one after the other: some stores show deleted ones so
_TAKEN = frozenset({304, 409, 412})


class S3Store:
    """An `ObjectStore` on a bucket, for one event loop; nothing is opened before the first call.

    `mode` is CONDITIONAL until the probe says otherwise. A key that is none raises ValueError, and so does
    a part that is not what was sealed.
    """

    def __init__(
        self,
        place: Place,
        aws: Aws,
        *,
        single_bytes_max: int = SINGLE_BYTES_MAX,
        piece_bytes: int = multipart.PIECE_BYTES,
    ) -> None:
        self.url = place.url
        self.mode = Mode.CONDITIONAL
        self._bucket, self._prefix, self._aws = place.bucket, place.prefix, aws
        self._single_bytes_max, self._piece_bytes = single_bytes_max, piece_bytes
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def put_part(self, key: ObjectKey, part: Part, media_type: MediaType) -> bool:
        """Upload a sealed part: in one streamed put, or in pieces when it is large."""
        key_parts(key)
        async with of_part(part, f"put {key}") as offer:
            return await self._put(key, offer, media_type)

    async def put_bytes(self, key: ObjectKey, body: bytes, media_type: MediaType) -> bool:
        """Upload a small body in one put."""
        key_parts(key)
        return await self._put(key, of_bytes(body), media_type)

    async def replace(self, key: ObjectKey, part: Sealed, media_type: MediaType) -> None:
        """Upload a sealed part in the place of whatever stands there: a reader sees the one or the other, whole."""
        key_parts(key)
        async with of_part(part, f"put {key}") as offer:
            in_pieces = offer.size_bytes >= self._single_bytes_max
            try:
                await self._send(key, offer, media_type, in_pieces=in_pieces, conditional=False, looking=False)
            except Answered as answer:
                raise answer.failure from None

    async def stat(self, key: ObjectKey) -> Stat | None:
        """Give size, time and, where it was put by us or is kept by the store, the sha256; None for a torn object."""
        key_parts(key)
        head = await self._head(key)
        if head is None or is_torn(head):
            return None
        return Stat(key, head["ContentLength"], head["LastModified"].timestamp(), sha256_of(head))

    async def read(self, key: ObjectKey, max_bytes: int) -> bytes:
        """Read a small object whole; KeyError when there is none, `TooLarge` above `max_bytes`."""
        async with self._object(key) as (size_bytes, body):
            if size_bytes > max_bytes:
                raise TooLarge(f"{key} has {size_bytes} bytes, more than {max_bytes}")
            received = bytearray()
            async for chunk in _chunks(body):
                received += chunk
                if len(received) > max_bytes:
                    raise TooLarge(f"{key} has more than {max_bytes} bytes, though it told {size_bytes}")
            return bytes(received)

    async def piece(self, key: ObjectKey, start: int, length: int) -> bytes:
        """Read `length` bytes from `start` on, fewer at the end; KeyError when there is no object."""
        async with self._object(key, Range=f"bytes={start}-{start + length - 1}") as (_, body):
            return b"".join([chunk async for chunk in _chunks(body)])[:length]

    async def digest(self, key: ObjectKey) -> tuple[int, str]:
        """Read an object in chunks of 1 MiB; give (size in bytes, sha256 hex). KeyError when there is none."""
        size_bytes, digest = 0, hashlib.sha256()
        async with self._object(key) as (_, body):
            async for chunk in _chunks(body):
                size_bytes += len(chunk)
                digest.update(chunk)
        return size_bytes, digest.hexdigest()

    async def walk(self, prefix: str, after: str = "") -> AsyncIterator[Stat]:
        """Yield every object whose key begins with `prefix`, in key order, a page of 1,000 at a time."""
        prefix_parts(prefix)
        start = {"StartAfter": self._prefix + after} if after else {}
        async for found in self._listed(f"walk {prefix}", self._prefix + prefix, **start):
            name = found.get("Key", "")
            key = ObjectKey(name.removeprefix(self._prefix))
            # s3rver and its like do not know StartAfter; a name from outside of the prefix is none of ours.
            if key > after and name.startswith(self._prefix + prefix) and is_key(key) and "LastModified" in found:
                yield Stat(key, found.get("Size", 0), found["LastModified"].timestamp())

    async def delete(self, key: ObjectKey) -> None:
        """Remove an object, if there is one. In a versioned bucket its versions stay."""
        key_parts(key)
        await self.drop(key)

    async def erase(self, key: ObjectKey) -> None:
        """Remove an object with every version that the bucket keeps of it."""
        await self.delete(key)
        await versions.erase(self._aws, self._bucket, self._prefix + key)

    async def cool(self, key: ObjectKey, storage_class: str) -> None:
        """Move an object to another storage class, as it is."""
        key_parts(key)
        await versions.cool(self._aws, self._bucket, self._prefix + key, storage_class)

    async def check(self) -> None:
        """Prove that objects can be written and removed."""
        name = f"{FOLDER}/check"
        try:
            await self._call(f"write to {self.url}", "put_object", name, Body=b"")
        except Answered as answer:
            raise answer.failure from None
        await self.drop(name)

    async def sweep(self, older_than_s: float, now: float, limit: int) -> int:
        """Abort multipart uploads below the prefix that were begun long ago, and drop what killed probes left."""
        aborted = await self._abort_uploads(older_than_s, now, limit)
        return aborted + await self._drop_trials(older_than_s, now, limit - aborted)

    async def _abort_uploads(self, older_than_s: float, now: float, limit: int) -> int:
        aborted, after = 0, dict[str, str]()
        while aborted < limit:
            page = await self._page("sweep", "list_multipart_uploads", Prefix=self._prefix, MaxUploads=_PAGE, **after)
            for upload in page.get("Uploads", []):
                if now - upload["Initiated"].timestamp() > older_than_s and aborted < limit:
                    place = {"Bucket": self._bucket, "Key": upload["Key"], "UploadId": upload["UploadId"]}
                    await multipart.abort(self._aws, place)
                    aborted += 1
            behind = {"KeyMarker": page.get("NextKeyMarker", ""), "UploadIdMarker": page.get("NextUploadIdMarker", "")}
            if not page.get("IsTruncated") or not behind["KeyMarker"] or behind == after:
                break
            after = behind
        return aborted

    async def _drop_trials(self, older_than_s: float, now: float, limit: int) -> int:
        listed = self._listed("sweep", f"{self._prefix}{FOLDER}/")
        old = [found["Key"] async for found in listed if now - found["LastModified"].timestamp() > older_than_s]
        for name in old[:limit]:
            await self.drop(name.removeprefix(self._prefix))
        return len(old[:limit])

    async def close(self) -> None:
        """Close the connections; a later call opens others."""
        await self._aws.close()

    async def mark(self) -> str | None:
        """Read the UUID of the archive that this prefix belongs to."""
        try:
            answer = await self._call("read the mark", "get_object", mark.OBJECT)
        except Answered as refusal:
            if refusal.status == 404:
                return None
            raise refusal.failure from None
        async with reading("read the mark", answer) as body:
            text = mark.text_of(await body.read(mark.BYTES_MAX))
        return None if is_torn(answer) else text

    async def set_mark(self, uuid: str) -> None:
        """Lay the mark down; on a store that knows no conditions the last of two that come at once stands."""
        if await self.mark() is None:
            with suppress(KeyTaken):
                await self._put(ObjectKey(mark.OBJECT), of_bytes(f"{uuid}\n".encode()), MediaType.UNKNOWN)

    async def attempt(self, name: str, body: bytes, *, sha256: str, multipart: bool) -> Trial:
        """Put under a name on the condition that nothing stands there: one request, for the probe."""
        offer = of_bytes(body)
        offer = Offer(offer.name, offer.size_bytes, sha256, offer.read)
        try:
            await self._send(name, offer, MediaType.UNKNOWN, in_pieces=multipart, conditional=True)
        except Answered as answer:
            if answer.is_bad_sum:
                return Trial.DAMAGED
            return Trial.TAKEN if answer.status in _TAKEN else Trial.UNKNOWN
        return Trial.CREATED

    async def names(self, prefix: str) -> list[str]:
        """List the first thousand names below a prefix."""
        page = await self._page(f"list {prefix}", "list_objects_v2", Prefix=self._prefix + prefix)
        return [found["Key"].removeprefix(self._prefix) for found in page.get("Contents", [])]

    async def drop(self, name: str) -> None:
        """Remove what stands under a name."""
        try:
            await self._call(f"delete {name}", "delete_object", name)
        except Answered as answer:
            if answer.status != 404:
                raise answer.failure from None

    async def _put(self, key: ObjectKey, offer: Offer, media_type: MediaType) -> bool:
        in_pieces = offer.size_bytes >= self._single_bytes_max
        if self.mode is Mode.CONDITIONAL or (self.mode is Mode.CONDITIONAL_SINGLE and not in_pieces):
            return await self._put_refused_when_taken(key, offer, media_type, in_pieces)
        async with self._turn(key):
            return await self._put_looking(key, offer, media_type, in_pieces)

    async def _put_refused_when_taken(
        self, key: ObjectKey, offer: Offer, media_type: MediaType, in_pieces: bool
    ) -> bool:
        for nth in range(_PUT_TRIES):
            if in_pieces and await self._stands(key, offer):
                return False  # an answer that was lost must not cost a second upload of something large
            try:
                await self._send(key, offer, media_type, in_pieces=in_pieces, conditional=True)
                return True
            except Answered as answer:
                if answer.status not in _TAKEN:
                    raise answer.failure from None
            if await self._stands(key, offer):
                return False
            await asyncio.sleep(_BUSY_S * 2**nth)  # somebody else is at this very name
        raise StorageUnavailable(f"put {key}: the name is busy")

    async def _put_looking(self, key: ObjectKey, offer: Offer, media_type: MediaType, in_pieces: bool) -> bool:
        """Put where nothing stands, then look whether it was us: the row's fence keeps other processes away."""
        if await self._stands(key, offer):
            return False
        try:
            await self._send(key, offer, media_type, in_pieces=in_pieces, conditional=False)
        except Answered as answer:
            raise answer.failure from None
        if not await self._stands(key, offer):
            raise StorageUnavailable(f"put {key}: it is not there afterwards")
        return True

    async def _send(
        self,
        name: str,
        offer: Offer,
        media_type: MediaType,
        *,
        in_pieces: bool,
        conditional: bool,
        looking: bool = True,
    ) -> None:
        about = {
            "ContentType": media_type.value,
            "Metadata": {"sha256": offer.sha256, "bytes": str(offer.size_bytes)},
        }
        condition = {"IfNoneMatch": "*"} if conditional else {}
        where = {"Bucket": self._bucket, "Key": self._prefix + name}
        if in_pieces:
            await multipart.upload(
                self._aws,
                where,
                offer,
                about=about,
                condition=condition,
                before_end=None if conditional or not looking else lambda: self._look(ObjectKey(name), offer),
                piece_bytes=self._piece_bytes,
            )
            return
        await self._aws.call(
            f"put {name}",
            "put_object",
            size_bytes=offer.size_bytes,
            **where,
            **about,
            **condition,
            Body=offer.body(),
            ContentLength=offer.size_bytes,
            ChecksumSHA256=b64encode(bytes.fromhex(offer.sha256)).decode(),
        )

    async def _stands(self, key: ObjectKey, offer: Offer) -> bool:
        """Tell whether the very same bytes stand under a key; KeyTaken when others do. A torn object is removed."""
        head = await self._head(key)
        if head is None:
            return False
        if is_torn(head):
            await self._drop_torn(key, head["ETag"])
            return False
        if head["ContentLength"] != offer.size_bytes:
            raise KeyTaken(key)
        sha256 = sha256_of(head) or (await self.digest(key))[1]
        if sha256 != offer.sha256:
            raise KeyTaken(key)
        return True

    async def _head(self, key: ObjectKey) -> Mapping[str, Any] | None:
        try:
            return await self._call(f"stat {key}", "head_object", key, ChecksumMode="ENABLED")
        except Answered as answer:
            if answer.status == 404:
                return None
            raise answer.failure from None

    async def _drop_torn(self, key: ObjectKey, etag: str) -> None:
        """Remove an object that broke off, unless somebody has put another one in its place meanwhile."""
        try:
            await self._call(f"delete {key}", "delete_object", key, IfMatch=etag)
        except Answered as answer:
            if answer.status not in (404, 409, 412):
                raise answer.failure from None

    async def _look(self, key: ObjectKey, offer: Offer) -> None:
        """Look once more before a name is given that nothing else protects."""
        if await self._stands(key, offer):
            raise Answered(412, "PreconditionFailed", f"put {key}")

    async def _call(self, doing: str, operation: str, name: str, **arguments: Any) -> Mapping[str, Any]:
        return await self._aws.call(doing, operation, Bucket=self._bucket, Key=self._prefix + name, **arguments)

    async def _page(self, doing: str, operation: str, **arguments: Any) -> Mapping[str, Any]:
        try:
            return await self._aws.call(doing, operation, Bucket=self._bucket, **arguments)
        except Answered as answer:
            raise answer.failure from None

    async def _listed(self, doing: str, prefix: str, **start: str) -> AsyncIterator[Mapping[str, Any]]:
        more, met, empty = start, set[str](), 0
        while True:
            page = await self._page(doing, "list_objects_v2", Prefix=prefix, MaxKeys=_PAGE, **more)
            found = page.get("Contents", [])
            for each in found:
                yield each
            if not page.get("IsTruncated"):
                return
            token, empty = page.get("NextContinuationToken", ""), 0 if found else empty + 1
            if not token or token in met or empty > _EMPTY_MAX:
                raise StorageUnavailable(f"{doing}: the store's listing runs in a circle")
            met.add(token)
            more = {"ContinuationToken": token}

    @asynccontextmanager
    async def _object(self, key: ObjectKey, **span: str) -> AsyncIterator[tuple[int, Any]]:
        key_parts(key)
        try:
            answer = await self._call(f"read {key}", "get_object", key, **span)
        except Answered as refusal:
            if refusal.status == 404:
                raise KeyError(key) from None
            raise refusal.failure from None
        async with reading(f"read {key}", answer) as body:
            if not span and is_torn(answer):
                raise KeyError(key)
            yield answer.get("ContentLength", 0), body

    def _turn(self, key: ObjectKey) -> asyncio.Lock:
        """Give the lock of a key: where nothing else keeps two of our own tasks apart."""
        return self._turns.setdefault(key, asyncio.Lock())


async def _chunks(body: Any) -> AsyncIterator[bytes]:
    while chunk := await body.read(CHUNK_BYTES):
        yield chunk

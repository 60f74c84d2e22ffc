"""Objects in Google Cloud Storage and Azure Blob Storage, by way of obstore. The one file that knows it.

Small objects are put in create mode. Large ones cannot be: create mode takes one request, and obstore holds
a request's body in memory. They are streamed to a private name first, then copied to theirs where nothing
stands; the copy is made inside the store. Must not: retry, wait out a throttle, or know what a key means.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import timedelta
from typing import Any

import obstore
from obstore import exceptions as refused
from obstore.store import AzureStore, GCSStore

from clipledger.core.errors import (
    ClipledgerError,
    Misconfigured,
    StorageFull,
    StorageThrottled,
    StorageUnavailable,
    StorageUnreachable,
    TooLarge,
)
from clipledger.core.model import MediaType, ObjectKey
from clipledger.core.ports import KeyTaken, Part, Sealed, Stat
from clipledger.storage import mark
from clipledger.storage.bodies import Offer, of_bytes, of_part
from clipledger.storage.disk import CHUNK_BYTES, in_thread
from clipledger.storage.keys import is_key, key_parts, prefix_parts
from clipledger.storage.place import Place
from clipledger.storage.probe import FOLDER, Trial

SMALL_BYTES_MAX = 8 * 2**20
"""Larger objects are streamed: obstore holds what goes in one request in memory."""

_PIECE_BYTES, _AT_ONCE = 5 * 2**20, 1  # memory in flight; the least a multipart piece may be
_PARTS = ".clipledger-parts"
_CALL_S, _FLOOR_BYTES_PER_S = 60.0, 64 * 2**10
_PUT_TRIES = 5
_BUSY_S = 0.2
_TAKEN = (refused.AlreadyExistsError, refused.PreconditionError, refused.NotModifiedError)
_DENIED = (refused.PermissionDeniedError, refused.UnauthenticatedError)

_URL = re.compile(r"\w+://[^\s\"')]+")  # a shared access signature is part of one
_STATUS = re.compile(r"status code: (\d{3})")
_THROTTLED = re.compile(r"\b(SlowDown|ServerBusy|rateLimitExceeded|userRateLimitExceeded|OperationTimedOut)\b", re.I)
_FULL = re.compile(r"\b(InsufficientStorage|quotaExceeded|AccountIsDisabled)\b", re.I)
_REFUSED = re.compile(
    r"\b(NoSuchBucket|ContainerNotFound|bucket does not exist|InvalidAccessKeyId|SignatureDoesNotMatch"
    r"|AuthenticationFailed|ExpiredToken|InvalidAuthenticationInfo|credentials?|invalid_grant)\b"
    r"|metadata\.google|169\.254\.169\.254",
    re.I,
)


def open_bucket(place: Place, endpoint_url: str = "") -> CloudStore:
    """Open `gs://` or `az://` with the credentials that the cloud's own tools would use."""
    shared: Any = {
        "client_options": {"allow_http": endpoint_url.startswith("http:"), "timeout": timedelta(seconds=600)},
        "retry_config": {"max_retries": 0, "retry_timeout": timedelta(seconds=1)},
    }
    try:
        bucket: Any
        if place.scheme == "gs":
            config: Any = {"base_url": endpoint_url} if endpoint_url else {}
            bucket = GCSStore(place.bucket, config=config, **shared)
        else:
            config = {"endpoint": endpoint_url} if endpoint_url else {}
            bucket = AzureStore(place.bucket, config=config, **shared)
    except (refused.BaseError, ValueError) as error:
        raise Misconfigured(f"open {place.url}: {_told(error)}") from None
    return CloudStore(place, bucket)


class CloudStore:
    """An `ObjectStore` over any obstore backend that lists in key order and knows create mode.

    A key that is none raises ValueError, and so does a part that is not what was sealed.
    """

    def __init__(self, place: Place, bucket: Any, *, small_bytes_max: int = SMALL_BYTES_MAX) -> None:
        self.url = place.url
        self._prefix, self._bucket, self._small_bytes_max = place.prefix, bucket, small_bytes_max

    async def put_part(self, key: ObjectKey, part: Part, media_type: MediaType) -> bool:
        """Upload a sealed part."""
        key_parts(key)
        async with of_part(part, f"put {key}") as offer:
            return await self._put(key, offer, media_type)

    async def put_bytes(self, key: ObjectKey, body: bytes, media_type: MediaType) -> bool:
        """Upload a small body."""
        key_parts(key)
        return await self._put(key, of_bytes(body), media_type)

    async def replace(self, key: ObjectKey, part: Sealed, media_type: MediaType) -> None:
        """Upload a sealed part in the place of whatever stands there: a reader sees the one or the other, whole."""
        key_parts(key)
        about: Any = {"Content-Type": media_type.value, "sha256": part.sha256}
        async with of_part(part, f"put {key}") as offer:
            with translated(f"put {key}"):
                async with asyncio.timeout(_CALL_S + offer.size_bytes / _FLOOR_BYTES_PER_S):
                    await obstore.put_async(
                        self._bucket,
                        self._prefix + key,
                        _streamed(offer),
                        attributes=about,
                        use_multipart=True,
                        chunk_size=_PIECE_BYTES,
                        max_concurrency=_AT_ONCE,
                    )

    async def stat(self, key: ObjectKey) -> Stat | None:
        """Give size, time and, where it was put by us, the sha256."""
        key_parts(key)
        with suppress(FileNotFoundError), translated(f"stat {key}"):
            async with asyncio.timeout(_CALL_S):
                found = await obstore.get_async(self._bucket, self._prefix + key, options={"head": True})
            sha256: Any = found.attributes.get("sha256")
            return Stat(key, found.meta["size"], found.meta["last_modified"].timestamp(), sha256)
        return None

    async def read(self, key: ObjectKey, max_bytes: int) -> bytes:
        """Read a small object whole; KeyError when there is none, `TooLarge` above `max_bytes`."""
        async with self._object(key) as found:
            if found.meta["size"] > max_bytes:
                raise TooLarge(f"{key} has {found.meta['size']} bytes, more than {max_bytes}")
            return bytes(await found.bytes_async())

    async def piece(self, key: ObjectKey, start: int, length: int) -> bytes:
        """Read `length` bytes from `start` on, fewer at the end; KeyError when there is no object."""
        key_parts(key)
        try:
            with translated(f"read {key}"):
                async with asyncio.timeout(_CALL_S + length / _FLOOR_BYTES_PER_S):
                    return bytes(
                        await obstore.get_range_async(self._bucket, self._prefix + key, start=start, length=length)
                    )
        except FileNotFoundError:
            raise KeyError(key) from None

    async def digest(self, key: ObjectKey) -> tuple[int, str]:
        """Read an object in chunks; give (size in bytes, sha256 hex). KeyError when there is none."""
        size_bytes, digest = 0, hashlib.sha256()
        async with self._object(key) as found:
            async for chunk in found.stream(min_chunk_size=CHUNK_BYTES):
                size_bytes += len(chunk)
                digest.update(chunk)
        return size_bytes, digest.hexdigest()

    async def walk(self, prefix: str, after: str = "") -> AsyncIterator[Stat]:
        """Yield every object whose key begins with `prefix`, in the order of the store's listing: by key."""
        prefix_parts(prefix)
        folder, wanted = (self._prefix + prefix).rpartition("/")[0], self._prefix + prefix
        with translated(f"walk {prefix}"):
            async for page in self._listed(folder, self._prefix + after if after else None):
                for found in page:
                    name = found["path"]
                    key = ObjectKey(name.removeprefix(self._prefix))
                    if name.startswith(wanted) and key > after and is_key(key):
                        yield Stat(key, found["size"], found["last_modified"].timestamp())

    async def delete(self, key: ObjectKey) -> None:
        """Remove an object, if there is one."""
        key_parts(key)
        await self.drop(key)

    async def check(self) -> None:
        """Prove that objects can be written and removed."""
        name = f"{FOLDER}/check"
        with translated(f"write to {self.url}"):
            async with asyncio.timeout(_CALL_S):
                await obstore.put_async(self._bucket, self._prefix + name, b"", use_multipart=False)
        await self.drop(name)

    async def sweep(self, older_than_s: float, now: float, limit: int) -> int:
        """Remove what killed uploads and probes left under private names; pieces without a name the cloud drops."""
        removed = 0
        with translated("sweep"):
            for private in (_PARTS, FOLDER):
                async for page in self._listed(self._prefix + private, None):
                    for found in page:
                        if now - found["last_modified"].timestamp() > older_than_s and removed < limit:
                            await self.drop(found["path"].removeprefix(self._prefix))
                            removed += 1
        return removed

    async def close(self) -> None:
        """Do nothing: obstore's connections end with it."""

    async def mark(self) -> str | None:
        """Read the UUID of the archive that this prefix belongs to."""
        with suppress(FileNotFoundError), translated("read the mark"):
            async with asyncio.timeout(_CALL_S):
                found = await obstore.get_async(self._bucket, self._prefix + mark.OBJECT)
                return mark.text_of(bytes(await found.bytes_async()))
        return None

    async def set_mark(self, uuid: str) -> None:
        """Lay the mark down unless there is one."""
        with suppress(*_TAKEN):
            await self._send(mark.OBJECT, of_bytes(f"{uuid}\n".encode()), MediaType.UNKNOWN, streamed=False)

    async def attempt(self, name: str, body: bytes, *, sha256: str, multipart: bool) -> Trial:
        """Put under a name on the condition that nothing stands there, for the probe."""
        offer = of_bytes(body)
        if offer.sha256 != sha256:
            return Trial.DAMAGED  # compared here, before the bytes leave: these stores take no sha256
        try:
            await self._send(name, offer, MediaType.UNKNOWN, streamed=multipart)
        except refused.NotSupportedError:
            return Trial.UNKNOWN
        except _TAKEN:
            return Trial.TAKEN
        return Trial.CREATED

    async def names(self, prefix: str) -> list[str]:
        """List the first names below a prefix."""
        with translated(f"list {prefix}"):
            async for page in self._listed((self._prefix + prefix).rstrip("/"), None):
                return [found["path"].removeprefix(self._prefix) for found in page]
        return []

    async def drop(self, name: str) -> None:
        """Remove what stands under a name."""
        with suppress(FileNotFoundError), translated(f"delete {name}"):
            async with asyncio.timeout(_CALL_S):
                await obstore.delete_async(self._bucket, self._prefix + name)

    async def _put(self, key: ObjectKey, offer: Offer, media_type: MediaType) -> bool:
        streamed = offer.size_bytes > self._small_bytes_max
        for nth in range(_PUT_TRIES):
            if streamed and await self._stands(key, offer):
                return False  # an answer that was lost must not cost a second upload of something large
            with suppress(*_TAKEN):
                await self._send(key, offer, media_type, streamed=streamed)
                return True
            if await self._stands(key, offer):
                return False
            await asyncio.sleep(_BUSY_S * 2**nth)  # it stood there a moment ago
        raise StorageUnavailable(f"put {key}: the name is busy")

    async def _send(self, name: str, offer: Offer, media_type: MediaType, *, streamed: bool) -> None:
        """Put where nothing stands; raises one of `_TAKEN` else."""
        about: Any = {"Content-Type": media_type.value, "sha256": offer.sha256}
        with translated(f"put {name}"):
            async with asyncio.timeout(_CALL_S + offer.size_bytes / _FLOOR_BYTES_PER_S):
                if streamed:
                    await self._stream(name, offer, about)
                    return
                body = await in_thread(lambda: _checked(offer))
                await obstore.put_async(
                    self._bucket, self._prefix + name, body, attributes=about, mode="create", use_multipart=False
                )

    async def _stream(self, name: str, offer: Offer, about: Any) -> None:
        private = f"{_PARTS}/{hashlib.sha256(f'{name} {id(offer)}'.encode()).hexdigest()}"
        try:
            await obstore.put_async(
                self._bucket,
                self._prefix + private,
                _streamed(offer),
                attributes=about,
                use_multipart=True,
                chunk_size=_PIECE_BYTES,
                max_concurrency=_AT_ONCE,
            )
            await obstore.copy_async(self._bucket, self._prefix + private, self._prefix + name, overwrite=False)
        finally:
            with suppress(ClipledgerError):  # the sweep finds it
                await self.drop(private)

    async def _stands(self, key: ObjectKey, offer: Offer) -> bool:
        """Tell whether the very same bytes stand under a key; KeyTaken when others do."""
        found = await self.stat(key)
        if found is None:
            return False
        if found.size_bytes != offer.size_bytes or (found.sha256 or (await self.digest(key))[1]) != offer.sha256:
            raise KeyTaken(key)
        return True

    def _listed(self, folder: str, after: str | None) -> Any:
        return obstore.list(self._bucket, prefix=folder or None, offset=after, chunk_size=256)

    @asynccontextmanager
    async def _object(self, key: ObjectKey) -> AsyncIterator[Any]:
        key_parts(key)
        try:
            with translated(f"read {key}"):
                found = await obstore.get_async(self._bucket, self._prefix + key)
                async with asyncio.timeout(_CALL_S + found.meta["size"] / _FLOOR_BYTES_PER_S):
                    yield found
        except FileNotFoundError:
            raise KeyError(key) from None


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn what obstore raises into one of our errors; what means something to the caller passes."""
    try:
        yield
    except (*_TAKEN, FileNotFoundError, refused.NotSupportedError) as error:
        if isinstance(error, FileNotFoundError) and _REFUSED.search(str(error)):
            raise _failure(error, doing) from None
        raise
    except TimeoutError:
        raise StorageUnreachable(f"{doing}: no answer in time") from None
    except (refused.BaseError, OSError) as error:
        raise _failure(error, doing) from None


def _failure(error: BaseException, doing: str) -> ClipledgerError:
    """Read what went wrong out of the text: obstore tells a status no other way. The one table."""
    told = str(error)
    what, found = f"{doing}: {_told(error)}", _STATUS.search(told)
    status = found[1] if found else ""
    if status == "507" or _FULL.search(told):
        return StorageFull(what)
    if status == "429" or _THROTTLED.search(told):
        return StorageThrottled(what)
    if isinstance(error, _DENIED) or status in ("401", "403") or _REFUSED.search(told):
        return Misconfigured(f"{what}: check the credentials, their rights, and the bucket")
    return StorageUnavailable(what)


def _told(error: BaseException) -> str:
    """Say what an error says on one line, without links: they may be signed."""
    return _URL.sub("...", " ".join(str(error).split()))[:160] or type(error).__name__


def _checked(offer: Offer) -> bytes:
    body = b"".join(offer.read(at, n) for at, n in offer.chunks(0, offer.size_bytes))
    if hashlib.sha256(body).hexdigest() != offer.sha256:
        raise ValueError(f"{offer.name} is not the part that was sealed")
    return body


async def _streamed(offer: Offer) -> AsyncIterator[bytes]:
    """Give the bytes a piece at a time; ValueError at the end, before anything has a name, when they are others."""
    digest = hashlib.sha256()
    for at, n in offer.chunks(0, offer.size_bytes):
        chunk = await in_thread(lambda at=at, n=n: offer.read(at, n))  # type: ignore[misc]
        digest.update(chunk)
        yield chunk
    if digest.hexdigest() != offer.sha256:
        raise ValueError(f"{offer.name} is not the part that was sealed")


def _is_key(name: str) -> bool:
    with suppress(ValueError):
        key_parts(name)
        return True
    return False

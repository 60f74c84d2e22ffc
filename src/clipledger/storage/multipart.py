"""One large object in pieces: a few at a time, each with its checksum, named only when all are there.

What fails or is cancelled aborts its upload; what is killed leaves it to `S3Store.sweep`. Must not: decide
whether a key is taken, or retry.
"""

from __future__ import annotations

import asyncio
import hashlib
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from clipledger.core.errors import ClipledgerError
from clipledger.storage.aws import Answered, Aws
from clipledger.storage.bodies import Offer
from clipledger.storage.disk import in_thread

PIECE_BYTES = 16 * 2**20
PIECES_MAX = 10_000  # of S3
AT_ONCE = 3


async def upload(
    aws: Aws,
    where: Mapping[str, Any],
    offer: Offer,
    *,
    about: Mapping[str, Any],
    condition: Mapping[str, Any],
    before_end: Callable[[], Awaitable[None]] | None = None,
    piece_bytes: int = PIECE_BYTES,
) -> None:
    """Upload `offer` to the `Bucket` and `Key` of `where`; nothing stands there before the last step.

    `about` goes with the creation, `condition` (`IfNoneMatch`) with the completion; `before_end` may raise just
    before it. ValueError when the bytes are not those of `offer.sha256`.
    """
    doing = f"put {where['Key']}"
    begun = await aws.call(doing, "create_multipart_upload", **where, **about, ChecksumAlgorithm="SHA256")
    place = {**where, "UploadId": begun["UploadId"]}
    try:
        pieces = await _send_all(aws, place, offer, _piece_size(offer.size_bytes, piece_bytes), doing)
        if before_end is not None:
            await before_end()
        await aws.call(doing, "complete_multipart_upload", **place, **condition, MultipartUpload={"Parts": pieces})
    except BaseException:
        await abort(aws, place)
        raise


async def abort(aws: Aws, place: Mapping[str, Any]) -> None:
    """Drop an upload; one that is gone, or cannot be dropped now, is left to the sweep."""
    with suppress(Answered, ClipledgerError):
        await aws.call(f"abort {place['Key']}", "abort_multipart_upload", **place)


async def _send_all(aws: Aws, place: Mapping[str, Any], offer: Offer, size: int, doing: str) -> list[dict[str, Any]]:
    whole, room, sent = hashlib.sha256(), asyncio.Semaphore(AT_ONCE), list[dict[str, Any]]()

    async def send(number: int, offset: int, length: int, digest: bytes) -> None:
        checksum = b64encode(digest).decode()
        body = offer.piece(offset, length, digest.hex())
        try:
            answer = await aws.call(
                doing,
                "upload_part",
                size_bytes=length,
                **place,
                PartNumber=number,
                Body=body,
                ContentLength=length,
                ChecksumSHA256=checksum,
            )
        finally:
            room.release()
        sent.append({"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": checksum})

    try:
        async with asyncio.TaskGroup() as group:
            for number, offset in enumerate(range(0, offer.size_bytes, size), start=1):
                length = min(size, offer.size_bytes - offset)
                await room.acquire()
                digest = await in_thread(lambda at=offset, n=length: _digest(offer, at, n, whole))  # type: ignore[misc]
                group.create_task(send(number, offset, length, digest))
    except BaseExceptionGroup as group_of:
        raise _leaf(group_of) from None
    if whole.hexdigest() != offer.sha256:
        raise ValueError(f"{offer.name} is not the part that was sealed")
    return sorted(sent, key=lambda piece: int(piece["PartNumber"]))


def _digest(offer: Offer, offset: int, size_bytes: int, whole: Any) -> bytes:
    """Hash one piece, and add it to the hash of the whole: each byte is read here once, and once to be sent."""
    piece = hashlib.sha256()
    for at, n in offer.chunks(offset, size_bytes):
        chunk = offer.read(at, n)
        piece.update(chunk)
        whole.update(chunk)
    return piece.digest()


def _piece_size(size_bytes: int, wanted: int) -> int:
    """Take larger pieces where the store's limit on their number asks for it."""
    return max(wanted, -(-size_bytes // PIECES_MAX))


def _leaf(found: BaseException) -> BaseException:
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found

"""What a bucket does with an object that is there: erase it with all its versions, move it to another class.

Must not: know what a key means, or write an object's bytes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from clipledger.storage.aws import Answered, Aws

_UNKNOWN = (404, 501)  # R2 and its like know no versions


async def erase(aws: Aws, bucket: str, name: str) -> None:
    """Remove every version of an object, and the markers of its deletion."""
    async for version_id in _versions(aws, bucket, name):
        where: dict[str, Any] = {"Bucket": bucket, "Key": name, "VersionId": version_id}
        try:
            await aws.call(f"erase {name}", "delete_object", **where)
        except Answered as answer:
            if answer.status != 404:
                raise answer.failure from None


async def cool(aws: Aws, bucket: str, name: str, storage_class: str) -> None:
    """Copy an object onto itself in another storage class, its metadata with it; at most 5 GiB, as S3 copies."""
    about: dict[str, Any] = {
        "StorageClass": storage_class,
        "MetadataDirective": "COPY",
        "CopySource": {"Bucket": bucket, "Key": name},
    }
    try:
        await aws.call(f"move {name} to {storage_class}", "copy_object", Bucket=bucket, Key=name, **about)
    except Answered as answer:
        if answer.status == 404:
            raise KeyError(name) from None
        raise answer.failure from None


async def _versions(aws: Aws, bucket: str, name: str) -> AsyncIterator[str]:
    more = dict[str, Any]()
    while True:
        try:
            page = await aws.call(
                f"list the versions of {name}", "list_object_versions", Bucket=bucket, Prefix=name, **more
            )
        except Answered as answer:
            if answer.status in _UNKNOWN:
                return
            raise answer.failure from None
        for found in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
            if found["Key"] == name:
                yield found["VersionId"]
        if not page.get("IsTruncated"):
            return
        more = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page.get("NextVersionIdMarker", "")}

"""The judge's own eyes: what an archive keeps, in a folder or in a bucket, read with none of the store's code.

A bucket is read with the cloud's own plain library. Must not: judge, write, or trust what a store says of
an object: it is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

_MEDIA = ("videos", "photos", "covers")
_FILE_MODE = 0o640
_MARK = ".clipledger/uuid"
_TRIALS = ".clipledger-probe/"
"""What a process killed while it tried the store leaves: the janitor drops it when it is a day old."""


class Kept(Protocol):
    """Where the files of posts are."""

    def read(self, key: str) -> bytes | None:
        """Give an object's bytes; None when there is none."""
        ...

    def listed(self) -> Iterator[str]:
        """List what lies where files of posts lie."""
        ...

    def oddity(self, key: str) -> str | None:
        """Say what is wrong about an object besides its bytes."""
        ...

    def stamps(self) -> dict[str, object]:
        """Give, by key, what changes when an object is written again, be it with the same bytes."""
        ...


class KeptInFolder:
    """Files below a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, key: str) -> bytes | None:
        """Read a file."""
        try:
            return (self._folder / key).read_bytes()
        except OSError:
            return None

    def listed(self) -> Iterator[str]:
        """List the files of the media folders."""
        for name in _MEDIA:
            for path in (self._folder / name).rglob("*"):
                if path.is_file():
                    yield path.relative_to(self._folder).as_posix()

    def oddity(self, key: str) -> str | None:
        """Look at a file's mode."""
        mode = (self._folder / key).stat().st_mode & 0o777
        return f"has mode {mode:o}" if mode != _FILE_MODE else None

    def stamps(self) -> dict[str, object]:
        """Give each file's inode and time of change."""
        found = {key: (self._folder / key).stat() for key in self.listed()}
        return {key: (stat.st_ino, stat.st_mtime_ns) for key, stat in found.items()}


class KeptInBucket:
    """Objects of an S3 bucket below a prefix; credentials as botocore finds them."""

    def __init__(self, bucket: str, prefix: str, endpoint_url: str) -> None:
        from botocore.config import Config
        from botocore.session import Session

        plain = Config(s3={"addressing_style": "path"}, response_checksum_validation="when_required")
        region = "us-east-1"
        self._client: Any = Session().create_client("s3", region, endpoint_url=endpoint_url or None, config=plain)
        self._bucket, self._prefix = bucket, prefix

    def read(self, key: str) -> bytes | None:
        """Read an object."""
        try:
            body: bytes = self._client.get_object(Bucket=self._bucket, Key=self._prefix + key)["Body"].read()
        except self._client.exceptions.NoSuchKey:
            return None
        return body

    def listed(self) -> Iterator[str]:
        """List every object below the prefix, whatever its name, but the archive's own mark and trials."""
        yield from self.stamps()

    def oddity(self, key: str) -> str | None:
        """Find none: a bucket has no modes."""
        return None

    def stamps(self) -> dict[str, object]:
        """Give each object's time of change, as exact as the server tells it."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
        found = (entry for page in pages for entry in page.get("Contents", []))
        changed = {entry["Key"].removeprefix(self._prefix): entry["LastModified"] for entry in found}
        return {name: at for name, at in changed.items() if name != _MARK and not name.startswith(_TRIALS)}

    def uploads(self) -> list[str]:
        """List uploads that were begun and not ended."""
        found = self._client.list_multipart_uploads(Bucket=self._bucket, Prefix=self._prefix)
        return [upload["Key"] for upload in found.get("Uploads", [])]

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

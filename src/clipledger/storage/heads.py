"""What an answer of S3 about an object says of it. Must not: ask."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from typing import Any


def is_torn(head: Mapping[str, Any]) -> bool:
    """Tell whether an object is shorter than its own note says: a store took what came before the sender died.

    No S3 of worth does; some test servers do. Such an object is nobody's: it counts as not there.
    """
    noted = str(head.get("Metadata", {}).get("bytes", ""))
    return noted.isdecimal() and int(head["ContentLength"]) < int(noted)


def sha256_of(head: Mapping[str, Any]) -> str | None:
    """Read the sha256 of a whole object: the one that went with the put, else the store's own.

    In that order: a store may give the checksum of an upload in pieces, which is another number, unmarked.
    """
    noted: str | None = head.get("Metadata", {}).get("sha256")
    kept = head.get("ChecksumSHA256", "")
    if noted or not kept or "-" in kept or head.get("ChecksumType", "FULL_OBJECT") != "FULL_OBJECT":
        return noted
    return b64decode(kept).hex()

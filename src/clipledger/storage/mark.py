"""The mark of a place where files are kept: the UUID of the archive that they belong to.

In a folder it is the file `.clipledger/uuid` (the archive's own folder has it from `init`), in a bucket the object of
that name below the prefix. No key leads to it. A place without its mark is not the place: a disk that is not mounted
looks like an empty folder. Must not: decide what a missing or a foreign mark means.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

FOLDER = ".clipledger"
NAME = "uuid"
OBJECT = f"{FOLDER}/{NAME}"
BYTES_MAX = 256


@runtime_checkable
class Markable(Protocol):
    """A store that can be marked."""

    url: str

    async def mark(self) -> str | None:
        """Read the mark; None where there is none."""
        ...

    async def set_mark(self, uuid: str) -> None:
        """Lay the mark down, durably, unless there is one: read it back to know whose it is."""
        ...


def text_of(body: bytes) -> str:
    """Read a mark's text; odd bytes become a text that is no UUID of anybody."""
    return body.decode("ascii", "replace").strip()

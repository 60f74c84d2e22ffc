"""Where bytes stay: one store per kind of place, all with the promises of `ports.ObjectStore`.

A new store is one new file and one line in `_OPENERS`. Must not: know a video, a state, a queue or
a signed link; retry; keep an index of what is stored.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from clipledger.core.errors import Misconfigured
from clipledger.core.ports import ObjectStore
from clipledger.storage.local import LocalStore
from clipledger.storage.memory import MemoryStore

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")


def open_store(url: str, *, archive: Path) -> ObjectStore:
    """Open the store that `storage.url` names: "" is the archive folder, a bare path a folder (relative to it).

    Opens nothing yet: `check` tells whether it can be written. `Misconfigured` for an unknown scheme.
    """
    scheme = _SCHEME.match(url)
    if scheme is None:
        return LocalStore(archive / Path(url).expanduser())
    opener = _OPENERS.get(scheme[1].lower())
    if opener is None:
        known = ", ".join(["a folder", *(f"{name}:" for name in sorted(_OPENERS))])
        raise Misconfigured(f"storage.url: unknown scheme {scheme[1]!r}; known are {known}")
    return opener(url)


def _open_file(url: str) -> ObjectStore:
    place = urlsplit(url)
    if place.netloc not in ("", "localhost") or not place.path.startswith("/"):
        raise Misconfigured("storage.url: a file URL is written file:///absolute/folder")
    return LocalStore(Path(unquote(place.path)))


def _open_memory(url: str) -> ObjectStore:
    return MemoryStore()


_OPENERS: dict[str, Callable[[str], ObjectStore]] = {"file": _open_file, "memory": _open_memory}

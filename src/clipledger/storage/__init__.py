"""Where bytes stay: one store per kind of place, all with the promises of `ports.ObjectStore`.

A new store is one new file and one line in `_OPENERS`. Must not: know a video, a state, a queue or
a signed link; retry; keep an index of what is stored.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from clipledger.core.errors import Misconfigured
from clipledger.core.ports import ObjectStore
from clipledger.storage.local import LocalStore
from clipledger.storage.memory import MemoryStore
from clipledger.storage.place import check_endpoint, read_place, refuse_credentials

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")


@dataclass(frozen=True, slots=True)
class Options:
    """What a bucket needs besides its URL. "" is the cloud's own, or what its tools are set to.

    `addressing` is auto, path or virtual: whether a bucket is named in the path or in the host; auto is
    path for an endpoint of one's own.
    """

    endpoint_url: str = ""
    region: str = ""
    addressing: str = "auto"


def open_store(url: str, *, archive: Path, options: Options = Options()) -> ObjectStore:
    """Open the store that `storage.url` names: "" is the archive folder, a bare path a folder (relative to it).

    Connects to nothing yet: `check` tells whether it can be written. `Misconfigured` for an unknown scheme,
    a name that cannot be, an extra that is not installed, and credentials in the URL, which are not shown.
    """
    scheme = _SCHEME.match(url)
    if scheme is None:
        return LocalStore(archive / _folder(url))
    opener = _OPENERS.get(scheme[1].lower())
    if opener is None:
        refuse_credentials(url)
        known = ", ".join(["a folder", *(f"{name}:" for name in sorted(_OPENERS))])
        raise Misconfigured(f"storage.url: unknown scheme {scheme[1]!r}; known are {known}")
    return opener(url, options)


def is_remote(url: str) -> bool:
    """Tell whether a store lies beyond a network: its calls may be throttled, and are worth repeating."""
    return url.partition(":")[0].lower() in ("s3", "gs", "az")


def _folder(url: str) -> Path:
    try:
        return Path(url).expanduser()
    except RuntimeError:  # ~somebody who is no user here, or ~ without a HOME
        home = url.partition("/")[0]
        raise Misconfigured(f"storage.url: {home!r} is nobody's home on this machine: write the whole path") from None


def _open_file(url: str, _: Options) -> ObjectStore:
    place = urlsplit(url)
    if "@" in place.netloc:
        refuse_credentials(url)
    if place.netloc not in ("", "localhost") or not place.path.startswith("/"):
        raise Misconfigured("storage.url: a file URL is written file:///absolute/folder")
    return LocalStore(Path(unquote(place.path)))


def _open_memory(url: str, _: Options) -> ObjectStore:
    return MemoryStore()


def _open_s3(url: str, options: Options) -> ObjectStore:
    place, endpoint_url = read_place(url), check_endpoint(options.endpoint_url)
    _require("aiobotocore", "s3", url)
    from clipledger.storage.aws import Address, Aws
    from clipledger.storage.s3 import S3Store

    return S3Store(place, Aws(Address(endpoint_url, options.region, options.addressing)))


def _open_cloud(url: str, options: Options) -> ObjectStore:
    place, endpoint_url = read_place(url), check_endpoint(options.endpoint_url)
    _require("obstore", "cloud", url)
    from clipledger.storage.cloud import open_bucket

    return open_bucket(place, endpoint_url)


def _require(module: str, extra: str, url: str) -> None:
    from importlib.util import find_spec

    if find_spec(module) is None:
        scheme = url.partition(":")[0].lower()
        raise Misconfigured(
            f"storage.url is {scheme}: and {module} is not installed: pip install 'clipledger[{extra}]'"
        )


_OPENERS: dict[str, Callable[[str, Options], ObjectStore]] = {
    "file": _open_file,
    "memory": _open_memory,
    "s3": _open_s3,
    "gs": _open_cloud,
    "az": _open_cloud,
}

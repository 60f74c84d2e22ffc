"""What `storage.url` names when it is a bucket: checked before anything is opened, and free of secrets.

Must not: repeat what may be a password, open anything, or look at the environment.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from clipledger.core.errors import Misconfigured
from clipledger.storage.keys import is_name

_PREFIX_BYTES_MAX = 512  # of the 1,024 that a key may have: the longest of ours has less than 300

_BUCKETS = {
    "s3": re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]"),  # old and foreign buckets break AWS's own rules
    "gs": re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]"),
    "az": re.compile(r"[a-z0-9](?!.*--)[a-z0-9-]{1,61}[a-z0-9]"),
}


@dataclass(frozen=True, slots=True)
class Place:
    """A bucket (Azure: container) and what every key in it begins with: "" or a prefix that ends in `/`."""

    scheme: str
    bucket: str
    prefix: str

    @property
    def url(self) -> str:
        """Write the place as one URL, always the same way."""
        return f"{self.scheme}://{self.bucket}/{self.prefix}".rstrip("/")


def read_place(url: str) -> Place:
    """Read `s3://bucket/prefix` and its kin; Misconfigured says what is wrong and never shows a credential."""
    scheme = url.partition(":")[0].lower()
    refuse_credentials(url)
    bucket, _, path = url[len(scheme) :].removeprefix("://").partition("/")
    if not bucket or not url[len(scheme) :].startswith("://") or set("?#;") & set(url):
        raise Misconfigured(f"storage.url: write {scheme}://bucket/prefix, and nothing after it")
    if not _BUCKETS[scheme].fullmatch(bucket):
        raise Misconfigured(f"storage.url: {bucket[:80]!r} cannot be the name of a bucket of {scheme}:")
    return Place(scheme, bucket, _read_prefix("/" + unquote(path)))


def refuse_credentials(url: str, setting: str = "storage.url") -> None:
    """Refuse a URL with an `@` anywhere, or a `:` in a bucket's name: what stands there is a key or a password.

    Anywhere, because a secret with a `/` in it moves the `@` out of the part where it belongs.
    """
    scheme, _, rest = url.partition("://")
    named = "" if scheme.lower() in ("http", "https", "file") else unquote(rest).partition("/")[0]
    if "@" in unquote(rest) or ":" in named:
        raise Misconfigured(
            f"{setting} holds credentials: take them out, and give them as the cloud's own tools take them "
            "(environment, shared credentials file, role of the machine)"
        )


def check_endpoint(url: str) -> str:
    """Check `storage.endpoint_url`; "" means the cloud's own address."""
    if not url:
        return url
    refuse_credentials(url, "storage.endpoint_url")
    try:
        parts = urlsplit(url)
        is_whole = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no number
        is_whole = False
    if not is_whole or set("?#;") & set(unquote(url)):
        raise Misconfigured("storage.endpoint_url: write https://host or https://host:port")
    return url


def _read_prefix(path: str) -> str:
    prefix = path.removeprefix("/").removesuffix("/")
    if not prefix:
        return ""
    if not all(map(is_name, prefix.split("/"))) or len(prefix.encode()) > _PREFIX_BYTES_MAX:
        raise Misconfigured(f"storage.url: {prefix[:80]!r} is no prefix: names without a leading dot, joined by /")
    return prefix + "/"

"""A store that lies in its listings: no key leads out of the archive, and no listing goes on for ever."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from xml.sax.saxutils import escape

import pytest

from clipledger.core.errors import ClipledgerError, StorageUnavailable, TooLarge
from clipledger.core.model import ObjectKey
from clipledger.storage.aws import Address, Aws
from clipledger.storage.place import read_place
from clipledger.storage.s3 import S3Store
from contract.http_peer import Answer, Peer, http_peer
from s3_servers import credentials

GOOD = "videos/dt=2026-05-29/author=a/7387261234567890123.mp4"
KEYS = (
    "../../etc/passwd", "/etc/passwd", "videos/../../x", ".clipledger/spool/x", "clipledger.db", "", "a//b", "x" * 2000,
    "videos/" + "y" * 300, "videos/.hidden", "%2e%2e/x", "a\\b",
)  # fmt: skip
PASSED = {"%2e%2e/x", "a\\b", GOOD}
"""What is a key, odd as it looks: it names a file of the archive's own folder."""


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in credentials().items():
        monkeypatch.setenv(name, value)


def row(key: str, size: str = "<Size>5</Size>", at: str = "<LastModified>2026-05-29T00:00:00Z</LastModified>") -> str:
    return f"<Contents><Key>{escape(key)}</Key>{at}<ETag>x</ETag>{size}</Contents>"


def listing(*rows: str, token: str | None = None, more: bool = False) -> bytes:
    told = f"<NextContinuationToken>{token}</NextContinuationToken>" if token is not None else ""
    space = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
    body = f"<IsTruncated>{str(more).lower()}</IsTruncated>{told}{''.join(rows)}"
    return f'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult {space}>{body}</ListBucketResult>'.encode()


@asynccontextmanager
async def lying(answer: Answer) -> AsyncIterator[tuple[S3Store, Peer]]:
    async with http_peer() as peer:
        peer.serve(answer, "/bucket")
        store = S3Store(read_place("s3://bucket/archive"), Aws(Address(peer.origin)))
        try:
            yield store, peer
        finally:
            await store.close()


BOMB = b"".join(
    (
        b'<!DOCTYPE a [<!ENTITY x "', b"y" * 1000, b'"><!ENTITY z "', b"&x;" * 1000, b'">]><ListBucketResult>',
        b"<Contents><Key>", b"&z;" * 1000, b"</Key></Contents></ListBucketResult>",
    )
)  # fmt: skip
"""A gigabyte in five kilobytes, for a parser that unpacks entities."""


def walked(answer: Answer) -> list[str]:
    async def walk() -> list[str]:
        async with lying(answer) as (store, _):
            return [stat.key async for stat in store.walk("")]

    return asyncio.run(asyncio.wait_for(walk(), 20))


def test_a_listing_names_no_place_outside_the_archive() -> None:
    """Whatever names a bucket lists, only keys below the archive's own prefix are seen."""
    ours = [row(f"archive/{key}") for key in (*KEYS, GOOD)]
    theirs = [row(key) for key in ("other/videos/x.mp4", GOOD, "archive", "archiveX/y")]
    odd = [row(f"archive/{GOOD}.no-date", at=""), row("archive/videos/no-size", size="")]
    assert set(walked(Answer(body=listing(*ours, *theirs, *odd)))) == PASSED | {"videos/no-size"}


@pytest.mark.parametrize("token", ["again", "", None])
def test_a_listing_that_runs_in_a_circle_ends(token: str | None) -> None:
    """A listing that always promises another page, the same one, or none at all is given up, not followed for ever."""
    with pytest.raises(StorageUnavailable, match="circle"):
        walked(Answer(body=listing(row(f"archive/{GOOD}"), token=token, more=True)))


def test_an_unfinished_upload_that_is_listed_for_ever_is_swept_once() -> None:
    """The janitor's look at unfinished uploads, and at what probes left, ends however the store pages them."""

    async def sweep() -> None:
        body = (
            b"<ListMultipartUploadsResult><IsTruncated>true</IsTruncated><NextKeyMarker>k</NextKeyMarker>"
            b"<NextUploadIdMarker>u</NextUploadIdMarker></ListMultipartUploadsResult>"
        )
        async with lying(Answer(body=body)) as (store, peer):
            with pytest.raises(StorageUnavailable, match="circle"):
                await store.sweep(0.0, 4e9, 100)
            assert len(peer.asked) == 3, "twice for the uploads, once for what probes left"

    asyncio.run(asyncio.wait_for(sweep(), 20))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not xml",
        b"{}",
        b"<a>" * 5000,
        listing(row(f"archive/{GOOD}", at="<LastModified>never</LastModified>")),
        listing(row(f"archive/{GOOD}", size="<Size>" + "9" * 5000 + "</Size>")),
        listing(row(f"archive/{GOOD}", size="<Size>many</Size>")),
        BOMB,
    ],
    ids=["empty", "text", "json", "deep", "date", "digits", "size", "entities"],
)  # fmt: skip
def test_a_listing_that_is_none_is_a_failure_of_the_store(body: bytes) -> None:
    """Garbage where a listing belongs is one of our own errors, or no key at all; never a traceback."""
    try:
        assert set(walked(Answer(body=body))) <= {GOOD}
    except ClipledgerError as error:
        assert "Traceback" not in error.detail and len(error.detail) < 1000


def test_a_sidecar_without_an_end_is_not_read_to_its_end() -> None:
    """An object that hides its length and does not stop costs no more memory than the bound that was asked for."""

    async def read() -> None:
        async with http_peer() as peer:
            peer.serve(Answer(body=itertools.repeat(b"z" * 65_536), chunked=True), "/bucket/archive/videos/x.json")
            store = S3Store(read_place("s3://bucket/archive"), Aws(Address(peer.origin)))
            try:
                with pytest.raises(TooLarge):
                    await store.read(ObjectKey("videos/x.json"), 100_000)
            finally:
                await store.close()

    asyncio.run(asyncio.wait_for(read(), 20))

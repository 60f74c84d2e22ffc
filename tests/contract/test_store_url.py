"""How `storage.url` names a store."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from clipledger.core.errors import Misconfigured
from clipledger.doctor import wishes
from clipledger.settings import Settings
from clipledger.storage import Options, open_store
from contract.stores import VIDEO, keys, put, run


@pytest.mark.parametrize(
    ("url", "folder"),
    [
        ("", "/a/archive"),
        ("/srv/clips", "/srv/clips"),
        ("clips", "/a/archive/clips"),
        ("file:///srv/my%20clips", "/srv/my clips"),
        ("FILE://localhost/srv", "/srv"),
    ],
)
def test_a_folder_can_be_named_in_many_ways(url: str, folder: str) -> None:
    """An empty setting means the archive folder; a path or a file URL means that folder."""
    assert open_store(url, archive=Path("/a/archive")).url == Path(folder).as_uri()


def test_memory_is_a_store_too() -> None:
    """`memory:` gives a store that is empty and its own."""
    first, second = (open_store("memory:", archive=Path("/a")) for _ in range(2))
    run(put(first, VIDEO, b"x"))
    assert run(keys(second)) == []


@pytest.mark.parametrize("url", ["ftp://user:hunter2@host/x", "s4:bucket", "file://host/x", "file:relative"])
def test_an_unknown_store_is_refused_with_what_is_known(url: str) -> None:
    """A store that we cannot open is a configuration error that says what would be right and shows no password."""
    with pytest.raises(Misconfigured, match="file") as refused:
        open_store(url, archive=Path("/a"))
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "s3://AKIA:hunter2@bucket/x",
        "gs://me:hunter2@bucket",
        "az://hunter2@container",
        "s3://bucket/x?AWSSecretKey=hunter2",
        "s3://AKIA:abchunter2/RETPW@bucket/x",
        "s3://AKIA:abc/hunter2@bucket/x",
        "s3://AKIA:abc/.hunter2%40bucket/x",
        "s3://AKIA:hunter2",
        "s3://AKIA%3Ahunter2/x",
        "s3://bucket/x#hunter2",
        "s3://bucket/x;sig=hunter2",
        "s3://[bucket",
        "s4://AKIA:abc/hunter2@bucket/x",
        "s3://",
        "s3:bucket",
        "s3://b",
        "s3://bu cket/x",
        "s3://bucket/../x",
        "s3://bucket/.clipledger",
        "s3://bucket//x",
        "gs://UPPER",
        "az://dou--ble",
        "s3://bucket/" + "p" * 600,
    ],
)
def test_a_place_that_cannot_be_is_refused(url: str) -> None:
    """A bucket's URL with credentials, a wrong name or a prefix out of bounds is refused; no password is repeated."""
    with pytest.raises(Misconfigured, match=r"storage\.url") as refused:
        open_store(url, archive=Path("/a"))
    assert "hunter2" not in str(refused.value)
    told = wishes._shown(Settings.model_validate({"storage": {"url": url}}), "storage.url")
    assert "hunter2" not in told


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("s3://bucket", "s3://bucket"),
        ("S3://bucket/", "s3://bucket"),
        ("s3://bucket/a/b/", "s3://bucket/a/b"),
        ("s3://bucket/a%20b", "s3://bucket/a b"),
        ("gs://bucket/x", "gs://bucket/x"),
    ],
)
def test_a_bucket_can_be_named(url: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bucket with or without a prefix opens without a connection, and always shows the same URL."""
    monkeypatch.setenv("GOOGLE_SKIP_SIGNATURE", "true")
    assert open_store(url, archive=Path("/a")).url == shown


@pytest.mark.parametrize(
    "endpoint",
    [
        "host:9000",
        "ftp://host",
        "https://",
        "http://k:hunter2@host",
        "http://h:x",
        "http://AKIA:1/hunter2@127.0.0.1:1",
        "http://AKIA:1/hunter2%40127.0.0.1:1",
        "http://h/#hunter2",
        "http://h/?sig=hunter2",
        "http://h/;sig=hunter2",
        "http://[host",
    ],
)
def test_an_endpoint_is_a_web_address(endpoint: str) -> None:
    """An endpoint that is none is refused before anything is opened."""
    with pytest.raises(Misconfigured, match="endpoint_url") as refused:
        open_store("s3://bucket", archive=Path("/a"), options=Options(endpoint))
    assert "hunter2" not in str(refused.value)
    told = wishes._shown(Settings.model_validate({"storage": {"endpoint_url": endpoint}}), "storage.endpoint_url")
    assert "hunter2" not in told


def test_a_folder_may_hold_an_at_sign() -> None:
    """Only what stands where a user's name does is a credential: a folder may be called a@b."""
    assert open_store("file:///srv/a@b", archive=Path("/a")).url == Path("/srv/a@b").as_uri()


@pytest.mark.parametrize(
    ("url", "module", "extra"), [("s3://bucket", "aiobotocore", "s3"), ("gs://bucket", "obstore", "cloud")]
)
def test_a_missing_extra_is_named(url: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the library of a cloud the archive says which extra to install, in one line."""
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(Misconfigured, match=re.escape(f"pip install 'clipledger[{extra}]'")):
        open_store(url, archive=Path("/a"))


def test_the_home_of_nobody_is_refused() -> None:
    """`~name` of a user this machine does not have is a setting to be corrected."""
    with pytest.raises(Misconfigured, match=r"storage\.url: '~nobodyx'"):
        open_store("~nobodyx/x", archive=Path("/a"))

"""How `storage.url` names a store."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipledger.core.errors import Misconfigured
from clipledger.storage import open_store
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

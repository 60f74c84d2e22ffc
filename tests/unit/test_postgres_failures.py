"""What PostgreSQL says is sorted by class where the single code has no line of its own."""

from __future__ import annotations

import psycopg.errors
import pytest

from clipledger.core.errors import ClipledgerError, Misconfigured, StorageFull
from clipledger.db.postgres import failure


@pytest.mark.parametrize(
    ("state", "kind", "words"),
    [
        ("58000", StorageFull, "the disk that holds the database fails"),
        ("58P01", StorageFull, "the disk that holds the database fails"),
        ("58030", StorageFull, "the disk that holds the database fails"),
        ("XX000", Misconfigured, "the database is damaged"),
        ("XX001", Misconfigured, "restore it from a backup"),
        ("XX002", Misconfigured, "run REINDEX"),
    ],
)
def test_a_failing_server_is_named(state: str, kind: type[ClipledgerError], words: str) -> None:
    """A lost file, a failing disk or damage of any kind ends with a line, never with a traceback."""
    found = failure(psycopg.errors.lookup(state)("could not open file"))
    assert type(found) is kind
    assert words in found.detail and "could not open file" in found.detail

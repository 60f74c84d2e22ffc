"""What runs on every database: a module that uses `backend` has each of its tests run once on each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from contract.archives import on


@pytest.fixture(params=["sqlite", "postgres"])
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """Have this test's archives made on one database or the other."""
    with on(request.param):
        yield request.param

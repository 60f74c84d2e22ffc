"""What runs on every database: a module that uses `backend` has each of its tests run once on each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from compiled import share_compiled
from contract.archives import on


@pytest.fixture(scope="session", autouse=True)
def _compiled() -> Iterator[None]:
    """Compile each statement once for all archives."""
    with pytest.MonkeyPatch.context() as patch:
        share_compiled(patch)
        yield


@pytest.fixture(params=["sqlite", "postgres"])
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """Have this test's archives made on one database or the other."""
    with on(request.param):
        yield request.param

"""The archive's tables against a dict that obeys the same rules: any order of calls leaves both the same."""

from __future__ import annotations

import pytest

from contract.archive_machine import case
from contract.archives import is_postgres

pytestmark = pytest.mark.usefixtures("backend")


def test_any_short_history_keeps_the_books() -> None:
    """Whatever workers and operators do in whatever order, every video is where the rules say."""
    case(6, 12)().runTest()


@pytest.mark.slow
def test_any_long_history_keeps_the_books() -> None:
    """The same over many long histories, with crashes between any two transactions: every table, every paid call."""
    case(*((10, 40) if is_postgres() else (200, 100)))().runTest()

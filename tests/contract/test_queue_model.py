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
@pytest.mark.parametrize("half", [1, 2])
def test_any_long_history_keeps_the_books(half: int) -> None:
    """The same over long histories, 20,000 steps in all, with crashes between transactions: every table, every call."""
    case(*((5, 100) if is_postgres() else (50, 200)))().runTest()

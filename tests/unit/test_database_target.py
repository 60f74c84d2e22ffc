"""`db copy --to` is read before anything is opened."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipledger.cli.copying import target_of
from clipledger.core.errors import UsageError


@pytest.mark.parametrize(
    "to",
    [
        "host=127.0.0.1 password=hunter2",
        "host=127.0.0.1 password%3Dhunter2",
        "postgresql:/u:hunter2@h/x",
        "postgresql://u:hunter2@h/x",
        "postgresql://h/x?password=hunter2",
        "postgresql://h/x?pass%77ord%3Dhunter2",
        "postgresql://[hunter2",
    ],
)
def test_a_target_with_a_password_is_not_repeated(to: str, tmp_path: Path) -> None:
    """A target with a password, however it is written, is a mistake of usage that names no part of it."""
    with pytest.raises(UsageError, match=r"^--to: .*password") as caught:
        target_of(tmp_path, to)
    assert "hunter2" not in caught.value.detail


def test_a_target_without_a_password_is_taken(tmp_path: Path) -> None:
    """A file, and a server's URL without a password, are taken as they are."""
    assert target_of(tmp_path, "sqlite:///back.db") == tmp_path.resolve() / "back.db"
    assert target_of(tmp_path, "postgresql://u@h/x") == "postgresql://u@h/x"

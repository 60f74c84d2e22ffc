"""Words that are no text, and a log that would overwrite the archive, are refused in one line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from clipledger.cli.exits import Exit
from clipledger.cli.main import not_text, run
from clipledger.cli.watching import watched
from clipledger.core.errors import Misconfigured, UsageError
from clipledger.settings import load

ODD = os.fsdecode(b"\xff")


@pytest.mark.parametrize(
    "words",
    [
        ("search", f"from:@a{ODD}"),
        ("authors", f"@{ODD}"),
        ("pause", "--reason", ODD),
        ("db", "copy", "--to", f"sqlite:///{ODD}"),
        ("search", "init", ODD),
    ],
)
def test_an_argument_that_is_no_text_is_named(
    words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is not UTF-8 is exit 2 and one line that shows the argument."""
    assert run(["--archive", str(tmp_path), *words]) is Exit.USAGE
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "\\xff" in told and "is not UTF-8 text" in told


@pytest.mark.parametrize(
    "words",
    [
        ("--archive", ODD, "run"),
        (f"--archive={ODD}", "run"),
        ("run", "--log-file", ODD),
        ("add", "--batch-file", ODD),
        ("add", f"-a{ODD}"),
        ("plan", "--prices", ODD),
        ("init", ODD),
        ("--archive", "x", "demo", "--seed", "3", ODD),
    ],
)
def test_a_path_may_be_any_bytes(words: tuple[str, ...]) -> None:
    """Folders and files are named as the file system names them."""
    assert not_text(words) is None


def test_a_setting_that_is_no_text_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that is not UTF-8 is a wrong setting."""
    monkeypatch.setenv("CLIPLEDGER_STORAGE__URL", ODD)
    with pytest.raises(Misconfigured, match="CLIPLEDGER_STORAGE__URL is not UTF-8"):
        load(tmp_path)


@pytest.mark.parametrize(
    "name", [".clipledger/x", ".clipledger", "clipledger.toml", "clipledger.db", "a/../clipledger.db-wal"]
)
def test_a_log_never_goes_onto_the_archives_own_files(name: str, tmp_path: Path) -> None:
    """The settings, the database and what `.clipledger/` holds are not overwritten by a log."""
    with pytest.raises(UsageError, match="--log-file"):
        watched(tmp_path, None, "", tmp_path / name, "text")
    assert watched(tmp_path, None, "", tmp_path / "run.log", "text").log_file == tmp_path / "run.log"

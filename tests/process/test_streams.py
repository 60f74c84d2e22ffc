"""Standard streams that are full, closed, or cannot spell: one line, a true exit code, never a traceback."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from process.harness import Archive, archive_for

pytestmark = pytest.mark.slow


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return archive_for(tmp_path / "archive")


def shell(archive: Archive, line: str, **env: str) -> tuple[int, str]:
    """Run a shell line in which $C is the program; give its exit code and what came on stderr."""
    command = " ".join(f"'{word}'" for word in archive.command())
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; C() {{ {command} \"$@\"; }}; {line}"],
        cwd=archive.folder.parent,
        env=archive.env | env, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr, done.stderr
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    "words", ["status", "--json status", "sources", "init", "--help", "regions --help", "--version"]
)
def test_a_full_device_is_one_line_and_a_failure(archive: Archive, words: str) -> None:
    """What could not be printed is no success: exit 6 and one line, for every command and for help texts."""
    code, told = shell(archive, f"C {words} > /dev/full")
    assert code == 6
    assert told.startswith("clipledger: cannot write") and told.count("\n") == 1 and "No space left" in told


def test_a_failure_keeps_its_own_code_on_a_full_device(archive: Archive) -> None:
    """A usage error stays one, wherever its JSON was to go."""
    assert shell(archive, "C --json show nonsense > /dev/full")[0] == 2


def test_full_everywhere_is_silent(archive: Archive) -> None:
    """With nowhere left to tell anything, the exit code still does."""
    assert shell(archive, "C status > /dev/full 2> /dev/full") == (6, "")


@pytest.mark.parametrize(
    "line", ["C status | head -c 1", "C --help | true", "C status >&-", "C status >&- 2>&-", "C status <&-"]
)
def test_a_reader_that_left_is_no_failure(archive: Archive, line: str) -> None:
    """`| head`, and a stream that was closed from the start, end a command as if somebody had read it all."""
    assert shell(archive, f"{line} > /dev/null" if ">&-" not in line and "|" not in line else line) == (0, "")


def test_no_file_takes_the_number_of_a_closed_stream(archive: Archive) -> None:
    """With every standard stream closed the database is not opened as number 1, where a stray print would damage it."""
    assert shell(archive, "C add @someone <&- >&- 2>&-")[0] == 0
    assert archive.json("sources")[0]["source"] == "@someone"
    assert archive.one("PRAGMA quick_check") == "ok"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_what_a_terminal_cannot_spell_is_escaped(tmp_path: Path, encoding: str) -> None:
    """A folder with a name in any script is told in whatever encoding the terminal has; no command dies of it."""
    folder = tmp_path / os.fsdecode("ü€-\N{SNOWMAN}".encode() + b"-\xff")
    archive = Archive(folder)
    for words in ("init", "status", "--json status"):
        assert shell(archive, f"C {words} > out", PYTHONIOENCODING=encoding)[0] in (0, 4)
    code, told = shell(Archive(tmp_path / "snow-\N{SNOWMAN}"), "C status", PYTHONIOENCODING=encoding)
    assert code == 4 and told.count("\n") == 1 and ("\N{SNOWMAN}" in told) == (encoding == "utf-8")


def test_a_run_goes_on_when_nobody_can_be_told(archive: Archive) -> None:
    """A run whose stdout is full does its work, says so once and ends with 6 instead of 0."""
    code, told = shell(archive, "C --json run --only janitor > /dev/full")
    assert code == 6 and told.count("cannot write") == 1

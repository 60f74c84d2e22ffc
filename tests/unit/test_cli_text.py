"""What a command is given and what it says: options on either side, and no stranger's text loose in a terminal."""

from __future__ import annotations

import json
import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipledger.cli.exits import Exit, exit_of
from clipledger.cli.main import globals_first, run
from clipledger.cli.output import Context, size, table
from clipledger.cli.streams import printable, write_line
from clipledger.core.errors import (
    ArchiveInUse,
    CapReached,
    ClipledgerError,
    CreditsExhausted,
    Misconfigured,
    Outage,
    StorageFull,
    StorageUnavailable,
    UsageError,
)

GLOBALS = [["--json"], ["-q"], ["-v"], ["--quiet"], ["--verbose"], ["-qv"], ["--archive", "x"], ["--archive=x"]]
LOOSE = ["run", "add", "-", "-a", "@a.b", "#tag", "--only", "-x", "", "--region"]
words = st.sampled_from([*LOOSE, "--", "--archive", *(option[0] for option in GLOBALS)])
typed_in = st.lists(st.sampled_from(GLOBALS) | st.sampled_from(LOOSE), max_size=12)


@pytest.mark.parametrize(
    ("typed", "sorted_"),
    [
        ("run", "run"),
        ("run --json", "--json run"),
        ("--json run", "--json run"),
        ("run --archive x --follow -q", "--archive x -q run --follow"),
        ("status --archive=x", "--archive=x status"),
        ("status -qv", "-qv status"),
        ("add -a - @x", "add -a - @x"),
        ("add -a - -- --json", "add -a - -- --json"),
        ("-v add -- -q --archive y", "-v add -- -q --archive y"),
        ("add --every 6h --json #tag", "--json add --every 6h #tag"),
        ("sim serve --port 0 --json", "--json sim serve --port 0"),
        ("", ""),
    ],
)
def test_global_options_are_accepted_on_either_side(typed: str, sorted_: str) -> None:
    """`clipledger run --json` is `clipledger --json run`; what stands behind `--` is left alone."""
    assert globals_first(typed.split()) == sorted_.split()


@pytest.mark.parametrize("typed", [["run", "--archive"], ["--archive"], ["--json", "run", "--archive"]])
def test_a_missing_folder_is_left_for_the_parser_to_name(typed: list[str]) -> None:
    """`--archive` without a folder is told as such: the command's name is not taken for the folder."""
    assert globals_first(typed)[-1] == "--archive"
    assert "run" not in globals_first(typed)


@given(st.lists(words, max_size=12))
def test_sorting_options_twice_changes_nothing(argv: list[str]) -> None:
    """However options are mixed, sorting them is done once and for all."""
    once = globals_first(argv)
    assert globals_first(once) == once


@given(typed_in, st.lists(words, max_size=4))
def test_sorting_options_loses_no_word(typed: list[list[str] | str], behind: list[str]) -> None:
    """No word is lost or invented: global options come first, the rest keeps its order, `--` and on are left alone."""
    front = [word for part in typed if isinstance(part, list) for word in part]
    rest = [part for part in typed if isinstance(part, str)]
    argv = [word for part in typed for word in ([part] if isinstance(part, str) else part)]
    assert globals_first([*argv, "--", *behind]) == [*front, *rest, "--", *behind]


@given(st.text(st.characters(), max_size=60))
def test_a_strangers_text_does_not_move_the_cursor(text: str) -> None:
    """Titles and handles cannot clear the screen, reverse how a line reads or hide what follows."""
    for sign in printable(text):
        assert sign in ("\n", "\u200d") or unicodedata.category(sign) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", "\\x1b[2J"),
        ("a\rb", "a\\x0db"),
        ("\u202egpj.exe", "\\x202egpj.exe"),
        ("\ud800", "\\xd800"),
        ("Älice ✨ \U0001f468\u200d\U0001f469", "Älice ✨ \U0001f468\u200d\U0001f469"),
        ("two\nlines", "two\nlines"),
    ],
)
def test_what_is_harmless_stays_as_it_is(text: str, shown: str) -> None:
    """Letters and pictures of all scripts are shown; what would do harm is shown as its number."""
    assert printable(text) == shown
    assert printable(shown) == shown


def test_a_table_lays_numbers_to_the_right() -> None:
    """Columns line up: text to the left, numbers to the right, nothing shown as `-`."""
    told = table([("alice", 5, None), ("bob", 1234, "x")], ("who", "n", "why"))
    assert told.splitlines() == ["who       n  why", "alice     5  -", "bob    1234  x"]


def test_a_title_cannot_forge_a_row() -> None:
    """A line break or an escape in a title does not break the table it is shown in."""
    told = table([("a\nb\x1b[2J", 1), ("c", 2)], ("title", "n"))
    assert len(told.splitlines()) == 3
    assert printable(told) == told
    assert {len(line) for line in told.splitlines()} == {len("a\\nb\\x1b[2J") + len("  1")}


def test_a_table_without_rows_is_its_head() -> None:
    """An empty table is shown with its head, not as an error."""
    assert table([], ("id", "state")) == "id  state"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (1_400_000_000, "1.4 GB"),
        (999_960, "1.0 MB"),
        (5_000_000_000_000_000, "5000.0 TB"),
    ],
)
def test_sizes_are_written_for_people(count: float, text: str) -> None:
    """Sizes are shown in units of a thousand, with one decimal, never as `1000.0 kB`."""
    assert size(count) == text


def test_json_is_one_document_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    """With `--json` stdout holds the document and nothing else; what is meant for people goes to stderr."""
    context = Context(json=True)
    context.tell("for people")
    context.warn("for people too")
    context.document({"title": "Älice\n\ud800", "path": str(Path("a\udcff"))})
    out, err = capsys.readouterr()
    assert json.loads(out) == {"title": "Älice\n\ud800", "path": "a\udcff", "exit": "ok"}
    assert out.isascii()
    assert out.count("\n") == 1
    assert err.splitlines() == ["for people", "for people too"]


@pytest.mark.parametrize(
    ("loudness", "out", "err"), [(-1, "", "must\n"), (0, "may\n", "must\n"), (1, "may\n", "must\n")]
)
def test_quiet_keeps_what_must_be_said(loudness: int, out: str, err: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`-q` silences what may be said and keeps what must be."""
    context = Context(loudness=loudness)
    context.tell("may")
    context.warn("must")
    assert capsys.readouterr() == (out, err)


@pytest.mark.parametrize(
    ("named", "text", "told"),
    [
        (False, "`clipledger failures` says why", "`clipledger failures` says why"),
        (True, "`clipledger failures` says why", "`clipledger --archive 'my archive' failures` says why"),
        (True, "or run `clipledger init elsewhere` first", "or run `clipledger init elsewhere` first"),
        (True, "see `clipledger search --help`", "see `clipledger search --help`"),
        (True, "`clipledger --help`, `clipledger demo`", "`clipledger --help`, `clipledger demo`"),
    ],
)
def test_what_is_proposed_to_type_names_the_archive(
    named: bool, text: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who had to say which archive is shown commands that say it too: as they stand they meet the same one."""
    context = Context(archive=Path("my archive"), named=named)
    context.tell(text)
    context.warn(text)
    assert capsys.readouterr() == (f"{told}\n", f"{told}\n")


def test_a_reader_that_goes_away_stops_nothing() -> None:
    """`clipledger run | head` goes on working: what nobody reads any more goes nowhere."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as out:
        for _ in range(3):
            write_line(out, "x" * 100_000)


@pytest.mark.parametrize(
    ("argv", "code", "told"),
    [
        (["status"], Exit.MISCONFIGURED, "clipledger init"),
        (["poem"], Exit.USAGE, "poem"),
        (["run", "--only", "poems"], Exit.USAGE, "listing,capture"),
        (["show", "poem\x1b[2J"], Exit.USAGE, "poem"),
        (["run", "--archive"], Exit.USAGE, "--archive"),
        (["add", "-a"], Exit.USAGE, "-a"),
    ],
)
def test_what_is_wrong_is_one_line(
    argv: list[str],
    code: Exit,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is wrong ends with its own exit code and one line on stderr that names it; JSON says the same."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CLIPLEDGER_ARCHIVE", raising=False)
    assert run(argv) is code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("clipledger: ")
    assert err.count("\n") == 1
    assert told in err
    assert err[:-1].isprintable()
    assert run(["--json", *argv]) is code
    out, err = capsys.readouterr()
    assert json.loads(out) == {"exit": code.word, "error": err.removeprefix("clipledger: ").rstrip("\n")}


@pytest.mark.parametrize(
    ("error", "code", "word"),
    [
        (UsageError("x"), 2, "usage"),
        (Misconfigured("x"), 4, "misconfigured"),
        (CreditsExhausted("x"), 5, "cap"),
        (CapReached("x"), 5, "cap"),
        (StorageFull("x"), 6, "storage"),
        (StorageUnavailable("x"), 6, "storage"),
        (Outage("x"), 8, "outage"),
        (ArchiveInUse("x"), 9, "in_use"),
        (ClipledgerError("x"), 1, "bug"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_every_end_has_its_exit_code(error: ClipledgerError, code: int, word: str) -> None:
    """Scripts tell a refused key, an empty balance, a full disk, an outage and a busy archive apart."""
    assert exit_of(error) == code
    assert exit_of(error).word == word


def test_exit_codes_are_the_documented_ones() -> None:
    """The exit codes are those that the contract names, and no others."""
    assert {code.word: int(code) for code in Exit} == {
        "ok": 0,
        "bug": 1,
        "usage": 2,
        "unfinished": 3,
        "misconfigured": 4,
        "cap": 5,
        "storage": 6,
        "damaged": 7,
        "outage": 8,
        "in_use": 9,
        "interrupted": 130,
    }


def test_a_signed_link_is_no_reason_to_keep(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A signed link in the reason of a pause, or in a mistyped option, is shown without its signature."""
    link, archive = "https://u:SECRET@h/x?x-signature=SECRET", str(tmp_path / "a")
    assert run(["init", archive]) == Exit.OK
    assert run(["--archive", archive, "pause", "--reason", f"{link} is dead"]) == Exit.OK
    run(["--archive", archive, "--json", "status"])
    run(["--archive", archive, "show", link])
    run(["--archive", archive, "stop", link])
    run(["--archive", archive, "pause", link])
    run(["--archive", archive, "failures", "--reason", link])
    told = capsys.readouterr()
    assert "https://h/x is dead" in told.out
    assert "SECRET" not in told.out + told.err

"""What commands print: one JSON document, nothing beside it, ids as text; words for people; silence when asked."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from process.harness import PROGRAM, Archive, finished_archive, simulator

pytestmark = pytest.mark.slow

_ID_LIKE = 10**14


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return finished_archive(tmp_path / "archive")


def numbers(value: Any) -> Iterator[Any]:
    """Yield every number in a JSON value."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from numbers(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from numbers(inner)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def one_document(text: str) -> Any:
    """Read stdout as exactly one JSON document on one line, without a number that is an id."""
    assert text.endswith("\n") and text.count("\n") == 1, text[:500]
    found = json.loads(text)
    assert all(abs(number) < _ID_LIKE for number in numbers(found)), text[:500]
    return found


@pytest.mark.parametrize(
    "words",
    ["init", "status", "sources", "failures", "verify", "run --dry-run", "add @zoe", "retry --all",
     "db migrate", "sim serve --faults wrong=2", "show @zoe", "frobnicate"],
)  # fmt: skip
def test_json_is_one_document_and_nothing_else(archive: Archive, words: str) -> None:
    """With --json a command prints exactly one JSON document on stdout, whatever becomes of it; ids are text."""
    told = one_document(archive.cli("--json", *words.split(), code=None).out)
    assert isinstance(told, dict | list)


def test_show_knows_all_of_an_id(archive: Archive) -> None:
    """`show ID` tells state, files, attribution, sightings and credits of a saved post, and why a dead one is dead."""
    saved, dead = archive.ids("archived")[0], archive.ids("dead")[0]
    told = one_document(archive.cli("show", saved, "--json").out)
    assert told["aweme_id"] == saved and told["state"] == "archived" and told["post"]["author_handle"]
    assert {file["kind"] for file in told["files"]} >= {"sidecar"} and told["sightings"] and told["credits"]
    assert told["url"].startswith("https://www.tiktok.com/@") and told["url"].endswith(saved)
    told = one_document(archive.cli("show", f"https://www.tiktok.com/@x/video/{dead}", "--json").out)
    assert told["dead_letter"]["reason"] == "not_found" and told["post"] is None and told["files"] == []
    plain = archive.cli("show", saved).out
    assert saved in plain and "archived" in plain


def test_failures_and_retry(archive: Archive) -> None:
    """`failures` lists dead ids by reason; `retry` makes them due, by id, by reason, or all."""
    dead = archive.ids("dead")
    told = archive.json("failures", "--reason", "not_found")
    assert {row["aweme_id"] for row in told["failures"]} == set(dead) and told["reasons"] == {"not_found": len(dead)}
    assert archive.json("failures", "--limit", "1")["failures"][0]["state"] == "dead"
    assert dead[0] in archive.cli("failures").out
    assert archive.json("retry", dead[0])["due_again"] == 1
    assert archive.ids("pending") == dead[:1]
    assert archive.json("retry", "--reason", "not_found")["due_again"] == len(dead) - 1
    saved = archive.ids("archived")[0]
    told = archive.json("retry", saved, saved)
    assert (told["due_again"], told["archived"]) == (0, [saved])
    assert f"archived already: {saved}" in archive.cli("retry", saved).out
    rows = archive.json("failures")["failures"]
    assert {row["aweme_id"] for row in rows} == set(dead) and {row["state"] for row in rows} == {"waiting"}
    archive.cli("verify")


def test_run_prints_events_line_by_line(tmp_path: Path) -> None:
    """`run --json` prints one event a line, and the last line holds the exit's name and the totals."""
    archive = finished_archive(tmp_path / "archive")
    archive.cli("retry", *archive.ids("dead")[:1])
    with simulator(60, "deleted=0.2") as sim:
        archive.env |= {"CLIPLEDGER_API__BASE_URL": sim.base_url}
        told = archive.cli("run", "--json", code=3)
    assert told.err == ""
    *events, summary = told.lines
    assert events and all(event["event"] and re.fullmatch(r"\d{4}-.*Z", event["at"]) for event in events)
    assert all(isinstance(event["aweme_id"], str) for event in events if "aweme_id" in event)
    assert summary["exit"] == "unfinished" and summary["states"]["dead"] == len(archive.ids("dead"))


def test_global_options_may_stand_on_either_side(archive: Archive) -> None:
    """--archive, --json, -q and -v are taken before and after the command, in every spelling."""
    folder = str(archive.folder)
    elsewhere = Archive(archive.folder.parent, archive.env)
    expected = archive.json("status")["ids"]
    for words in (
        ["--archive", folder, "--json", "status"],
        ["status", "--json", "--archive", folder],
        ["status", f"--archive={folder}", "--json"],
        ["--json", "status", "--archive", folder, "-v"],
    ):
        assert one_document(elsewhere.cli(*words).out)["ids"] == expected
    assert one_document(elsewhere.cli("status", "--json", CLIPLEDGER_ARCHIVE=folder, code=4).out)["exit"]
    named = {**archive.env, "CLIPLEDGER_ARCHIVE": folder}
    done = subprocess.run([*PROGRAM, "status", "--json"], env=named, capture_output=True, text=True, check=True)
    assert one_document(done.stdout)["ids"] == expected
    assert elsewhere.cli("add", "--archive", folder, "--", "--json", code=2).err.startswith("clipledger: '--json'")


@pytest.mark.parametrize("words", ["verify", "add @zoe", "run"])
def test_quiet_is_silent(archive: Archive, words: str) -> None:
    """With -q a command that succeeds prints nothing at all."""
    if words == "run":
        archive.change("DELETE FROM sources")
    told = archive.cli(*words.split(), "-q", code=None)
    assert (told.out, told.err) == ("", "") and told.code in (0, 3)


def test_quiet_still_tells_what_is_wrong(archive: Archive) -> None:
    """With -q what is wrong is told all the same."""
    archive.file_of(archive.ids()[0], "sidecar").unlink()
    assert archive.ids()[0] in archive.cli("verify", "-q", code=7).err
    archive.cli("show", "-q", "nonsense", code=2).says("nonsense")


def test_what_strangers_wrote_cannot_move_the_cursor(archive: Archive) -> None:
    """Titles, handles and details with escape sequences and line breaks are shown escaped."""
    saved = archive.ids()[0]
    archive.change("UPDATE posts SET title = ? WHERE aweme_id = ?", "\x1b[2J\r\x07evil\u202e", saved)
    archive.change("UPDATE dead_letters SET detail = ?", "one\nline\x1b[31m")
    for words in (["show", saved], ["failures"], ["status"]):
        out = archive.cli(*words).out
        assert all(c == "\n" or c.isprintable() for c in out)
    assert archive.json("show", saved)["post"]["title"] == "\x1b[2J\r\x07evil\u202e"


def test_help_and_version_say_so(tmp_path: Path) -> None:
    """--help lists every command, each command has its own, and --version names the version."""
    nowhere = Archive(tmp_path)
    text = nowhere.cli("--help").out
    for command in (
        "init",
        "add",
        "run",
        "status",
        "sources",
        "show",
        "failures",
        "retry",
        "verify",
        "janitor",
        "demo",
    ):
        assert re.search(rf"^ +{command} ", text, re.M), command
    assert "--max-credits" in nowhere.cli("run", "--help").out
    assert re.fullmatch(r"clipledger \d+\.\d+.*\n", nowhere.cli("--version").out)

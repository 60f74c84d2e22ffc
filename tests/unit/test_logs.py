"""Structured logs: one form of line, files that stay within their bound, and a disk that is full costs lines only."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from clipledger.cli.logs import LogFile, speller
from clipledger.core.errors import Misconfigured
from clipledger.core.told import FIELDS, ORIGIN
from clipledger.events import Event


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]


def test_a_line_begins_with_its_origin() -> None:
    """Every line tells when, how grave, what, which archive and which process, before the fields of its event."""
    told = speller("uuid", "host-1")(Event(1_780_012_800.5, "breaker_opened", {"evidence": "x", "acquitted": 2}))
    assert list(told) == [*ORIGIN, "evidence", "acquitted"]
    assert told["at"] == "2026-05-29T00:00:00.500Z" and told["level"] == "error" and told["worker"] == "host-1"
    assert not set(ORIGIN) & set(FIELDS)


def test_a_log_file_is_for_owner_and_group(tmp_path: Path) -> None:
    """Others on the machine cannot read what a run did."""
    log = LogFile(tmp_path / "log")
    log.write({"event": "page"})
    log.close()
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) & 0o137 == 0
    assert lines(tmp_path / "log") == [{"event": "page"}]


def test_log_files_stay_within_their_bound(tmp_path: Path) -> None:
    """However much is told, the files hold the newest lines, whole, in no more space than was granted."""
    log = LogFile(tmp_path / "log", max_bytes=200, kept=3)
    for n in range(500):
        log.write({"n": n})
    log.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["log", "log.1", "log.2", "log.3"]
    assert all(path.stat().st_size <= 200 for path in tmp_path.iterdir())
    kept = [line["n"] for name in ("log.3", "log.2", "log.1", "log") for line in lines(tmp_path / name)]
    assert kept == list(range(500 - len(kept), 500)) and len(kept) > 50


def test_two_processes_share_a_log_file(tmp_path: Path) -> None:
    """Two runs that write one file lose nothing to each other's rotation: every line stands once, whole."""
    path = tmp_path / "log"
    one, two = LogFile(path, max_bytes=300, kept=50), LogFile(path, max_bytes=300, kept=50)
    for n in range(100):
        (one if n % 3 else two).write({"n": n})
    one.close()
    two.close()
    found = [line["n"] for file in tmp_path.iterdir() for line in lines(file)]
    assert sorted(found) == list(range(100))  # type: ignore[type-var]


def test_a_file_that_was_moved_away_is_begun_anew(tmp_path: Path) -> None:
    """`logrotate` may move the file: the next line goes into a new one of the name."""
    path = tmp_path / "log"
    log = LogFile(path)
    log.write({"n": 1})
    path.rename(tmp_path / "moved")
    log.write({"n": 2})
    log.close()
    assert lines(path) == [{"n": 2}] and lines(tmp_path / "moved") == [{"n": 1}]


def test_a_full_disk_costs_lines_never_the_run() -> None:
    """A log that cannot be written counts what it lost and lets the run go on."""
    log = LogFile(Path("/dev/full"))
    for n in range(3):
        log.write({"n": n})
    log.close()
    assert log.dropped == 3


def test_a_line_cut_short_spoils_no_other(tmp_path: Path) -> None:
    """After a line that did not fit on the disk the next one begins on a line of its own."""
    path = tmp_path / "log"
    log = LogFile(path)
    log._torn = os.write(log._fd, b'{"n": ') == 6
    log.write({"n": 2})
    log.close()
    assert path.read_text().splitlines()[1] == '{"n": 2}'


def test_a_log_that_cannot_be_opened_is_told_at_once(tmp_path: Path) -> None:
    """A folder that is not there, or a folder in the file's place, is one clear line before any work."""
    for path in (tmp_path / "absent" / "log", tmp_path):
        with pytest.raises(Misconfigured, match="--log-file"):
            LogFile(path)

"""`doctor`: true findings on a whole archive, and red lines instead of tracebacks on a broken one."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from process.harness import KEY, Archive, Sim, archive_for, simulator, stop, wait_until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sim() -> Iterator[Sim]:
    with simulator(40) as running:
        yield running


@pytest.fixture
def archive(tmp_path: Path, sim: Sim) -> Archive:
    return archive_for(tmp_path / "archive", sim)


def look(archive: Archive, *words: str, code: int | None = 0, **env: str) -> dict[str, Any]:
    """Run `doctor --json`; give the findings by check."""
    told = archive.cli("--json", "doctor", *words, code=code, **env)
    assert "Traceback" not in told.err, told.err
    findings = {finding["check"]: finding for finding in told.json["findings"]}
    assert len(findings) == len(told.json["findings"]), "a check that tells twice"
    for finding in findings.values():
        assert finding["colour"] == "green" or (finding["means"] and finding["next"]), finding
        assert (finding["exit"] is not None) == (finding["colour"] == "red"), finding
    return findings


def reds(findings: dict[str, Any]) -> set[str]:
    return {name for name, finding in findings.items() if finding["colour"] == "red"}


def test_a_whole_archive_is_all_green(archive: Archive, sim: Sim) -> None:
    """On a whole archive everything is green, no call is made and nothing is written but a mark in `meta`."""
    calls = sum(sim.ledger()["endpoints"].values())
    findings = look(archive)
    assert {finding["colour"] for finding in findings.values()} == {"green"}, findings
    assert sum(sim.ledger()["endpoints"].values()) == calls
    assert {"python", "packages", "sqlite", "settings", "api key", "api host", "database file", "database", "store",
            "clock", "disk", "open files", "pace", "breaker", "credits", "sources", "workers", "leftovers",
            "api call"} <= set(findings)  # fmt: skip
    assert "durable write takes" in findings["database"]["found"] and "free" in findings["disk"]["found"]
    assert archive.one("SELECT count(*) FROM credits") == 0


def test_words_for_people(archive: Archive) -> None:
    """For people each finding is a line that begins with its colour, and what is wrong says what to do."""
    told = archive.cli("doctor", code=4, TIKLIVEAPI_KEY="")
    assert all(
        line.startswith(("green", "yellow", "red", " ")) or line.endswith(" red") for line in told.out.splitlines()
    )
    assert "-> set TIKLIVEAPI_KEY" in told.out and told.out.endswith(", 0 yellow, 1 red\n")


def test_online_makes_one_call_and_says_so_before(archive: Archive, sim: Sim) -> None:
    """`--online` says what it costs, makes one call that stands in the ledger, and compares the clocks."""
    before = sum(sim.ledger()["endpoints"].values())
    told = archive.cli("doctor", "--online")
    assert told.err.startswith("--online: one call to /region-list/, at most 1 credit")
    assert "api call" in told.out and "the key is taken" in told.out
    assert sum(sim.ledger()["endpoints"].values()) == before + 1
    assert archive.rows("SELECT endpoint, reason, outcome, credits FROM credits") == [
        ("/region-list/", "regions", "ok", 1)
    ]
    assert archive.json("verify", "--ledger")["count"] == 0


def test_online_tells_a_refused_key(archive: Archive) -> None:
    """A key that the API refuses is red with exit 4, and nowhere shown."""
    findings = look(archive, "--online", code=4, TIKLIVEAPI_KEY="wrong-key-1")
    assert reds(findings) == {"api call"} and "wrong-key-1" not in str(findings)


def _no_archive(archive: Archive) -> None:
    (archive.folder / ".clipledger" / "uuid").unlink()


def _broken_toml(archive: Archive) -> None:
    (archive.folder / "clipledger.toml").write_text("[api")


def _unknown_setting(archive: Archive) -> None:
    (archive.folder / "clipledger.toml").write_text("[api]\nbase_urll = 'x'\n")


def _garbage(archive: Archive) -> None:
    (archive.folder / "clipledger.db").write_bytes(os.urandom(50_000))


def _torn(archive: Archive) -> None:
    with (archive.folder / "clipledger.db").open("r+b") as file:
        file.seek(8 * 4096)
        file.write(os.urandom(40 * 4096))


def _no_database(archive: Archive) -> None:
    (archive.folder / "clipledger.db").unlink()


def _another(archive: Archive) -> None:
    (archive.folder / ".clipledger" / "uuid").write_text("another\n")


def _no_column(archive: Archive) -> None:
    archive.change("ALTER TABLE limits RENAME COLUMN throttles TO x")


def _newer(archive: Archive) -> None:
    archive.change("UPDATE alembic_version SET version_num = '9999'")


@pytest.mark.parametrize(
    ("break_", "red", "says"),
    [
        (_no_archive, "archive", "no archive in"),
        (_broken_toml, "settings", "not valid TOML"),
        (_unknown_setting, "settings", "did you mean api.base_url"),
        (_garbage, "database file", "not a database"),
        (_torn, "database file", "clipledger.db"),
        (_no_database, "database file", "not there"),
        (_another, "archive", "the database is archive"),
        (_no_column, "tables", "throttles"),
        (_newer, "archive", "made by a newer clipledger"),
    ],
)
def test_a_broken_archive_is_a_red_line(
    archive: Archive, break_: Callable[[Archive], None], red: str, says: str
) -> None:
    """Whatever is broken, the rest is looked at all the same; the broken part is red, named, with exit 4."""
    break_(archive)
    findings = look(archive, code=4)
    assert red in reds(findings) and says in findings[red]["found"], findings
    assert findings["python"]["colour"] == findings["disk"]["colour"] == findings["api key"]["colour"] == "green"


def test_where_nothing_is_nothing_is_made(tmp_path: Path, sim: Sim) -> None:
    """`doctor` where there is no archive says so and makes no file."""
    archive = archive_for(tmp_path / "archive", sim)
    archive.folder = tmp_path / "absent"
    assert reds(look(archive, code=4)) == {"archive"}
    assert not archive.folder.exists()


def test_a_host_that_does_not_answer(archive: Archive) -> None:
    """A closed port and a name that is not there are outages: exit 8, and the archive is looked at all the same."""
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        for url in (f"http://127.0.0.1:{taken.getsockname()[1]}", "https://no-such-host.invalid"):
            findings = look(archive, code=8, CLIPLEDGER_API__BASE_URL=url)
            assert reds(findings) == {"api host"} and findings["database"]["colour"] == "green"


def test_refused_rights(archive: Archive) -> None:
    """Where the user may not write, whatever a run writes is red with exit 6, and nothing is a traceback."""
    with tempfile.TemporaryDirectory(prefix="clipledger-doctor-") as place:
        Path(place).chmod(0o755)
        folder = Path(shutil.copytree(archive.folder, Path(place) / "archive"))
        _set_modes(folder, 0o555, 0o444)
        try:
            told = Archive(folder, archive.env).cli("--json", "doctor", code=6, wrap=_AS_NOBODY)
        finally:
            _set_modes(folder, 0o755, 0o644)
    found = {finding["check"] for finding in told.json["findings"] if finding["colour"] == "red"}
    assert {"clock", "database file", "database", "store", "workers"} <= found and told.err == ""


_AS_NOBODY = ("setpriv", "--reuid=65534", "--clear-groups") if os.getuid() == 0 else ()


def _set_modes(folder: Path, folders: int, files: int) -> None:
    for path in (folder, *folder.rglob("*")):
        path.chmod(folders if path.is_dir() else files)


def test_a_key_that_others_can_read_is_yellow(archive: Archive, tmp_path: Path) -> None:
    """A key file that everybody can read works and is pointed out; the key itself is never shown."""
    file = tmp_path / "key"
    file.write_text(KEY)
    file.chmod(0o644)
    findings = look(archive, TIKLIVEAPI_KEY="", TIKLIVEAPI_KEY_FILE=str(file))
    assert findings["api key"]["colour"] == "yellow" and KEY not in str(findings)


def test_settings_are_told_with_their_place(archive: Archive) -> None:
    """What is set is listed with where it is set; passwords in addresses are not."""
    (archive.folder / "clipledger.toml").write_text("[cdn]\nconcurrency = 7\n")
    told = look(archive, CLIPLEDGER_STORAGE__ENDPOINT_URL="https://user:hunter2@s3.example.org/x?token=hunter2")
    found = told["settings"]["found"]
    assert "cdn.concurrency = 7 (clipledger.toml)" in found and "(CLIPLEDGER_STORAGE__ENDPOINT_URL)" in found
    assert "hunter2" not in str(told) and "s3.example.org" in found


def test_too_few_open_files(archive: Archive) -> None:
    """A limit on open files below what a run can have open is red, with the number that would do."""
    findings = look_limited(archive, 128)
    assert "open files" in reds(findings) and "ulimit -n" in findings["open files"]["next"]


def look_limited(archive: Archive, limit: int) -> dict[str, Any]:
    told = archive.cli("--json", "doctor", code=4, wrap=("prlimit", f"--nofile={limit}:{limit}"))
    return {finding["check"]: finding for finding in told.json["findings"]}


def test_the_dead_and_what_they_left(archive: Archive) -> None:
    """A worker killed by kill -9, an open breaker and a pause of everybody are shown, with what will mend them."""
    with archive.started(
        "run", "--follow", "--only", "janitor", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as run:
        locks = archive.folder / ".clipledger" / "workers"
        wait_until(lambda: bool(list(locks.glob("*.lock"))))
        assert "1 at work" in look(archive)["workers"]["found"]
        stop(run, signal.SIGKILL)
        run.wait()
    archive.change("INSERT INTO switches VALUES ('breaker', 'open:api', '2026-05-29T12:00:00.000Z', '20 failures')")
    archive.change("INSERT INTO limits VALUES ('api', '2026-05-29T12:00:00.000Z', '2999-01-01T00:00:00.000Z', 3)")
    findings = look(archive, code=8)
    assert findings["workers"]["colour"] == "yellow" and "1 dead" in findings["workers"]["found"]
    assert findings["pace"]["colour"] == "yellow" and "paused" in findings["pace"]["found"]
    assert reds(findings) == {"breaker"} and "20 failures" in findings["breaker"]["found"]
    told = archive.json("status")
    assert told["breaker"]["state"] == "open" and told["pauses"]["api"]["throttles"] == 3

"""A sweep over the files is shared by processes, stopped, killed and resumed; each file is counted exactly once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from clipledger.db import tables
from process.harness import Archive, finished_archive, stop, wait_until

pytestmark = pytest.mark.slow

FILLER = 8_000


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return finished_archive(tmp_path / "archive")


def swollen(archive: Archive, count: int = FILLER) -> Archive:
    """Give one post many more ids with one file each, so that a sweep lasts long enough to be killed."""
    one = archive.ids()[0]
    ids = (
        f"(WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {count - 1}) "
        "SELECT CAST(8000000000000000000 + i AS TEXT) AS id FROM n)"
    )
    names = [column.name for column in tables.archive_queue.columns if column.name != "aweme_id"]
    archive.change(
        f"INSERT INTO archive_queue (aweme_id, {', '.join(names)}) "
        f"SELECT more.id, {', '.join('q.' + name for name in names)} FROM {ids} more, archive_queue q "
        "WHERE q.aweme_id = ?",
        one,
    )
    archive.change(
        "INSERT INTO files (aweme_id, storage_key, kind, media_type, bytes, sha256, stored_at) "
        f"SELECT more.id, f.storage_key, f.kind, f.media_type, f.bytes, f.sha256, f.stored_at FROM {ids} more, files f "
        "WHERE f.aweme_id = ? AND f.kind = 'video'",
        one,
    )
    return archive


def progress(archive: Archive) -> int:
    """Read how many files of the last sweep are counted."""
    return int(
        archive.one("SELECT COALESCE(SUM(files), 0) FROM sweep_ranges WHERE sweep = (SELECT max(sweep) FROM sweeps)")
    )


def children_of(pid: int) -> list[int]:
    lists = Path(f"/proc/{pid}/task").glob("*/children")  # each thread has its own
    return [int(word) for path in lists for word in path.read_text().split()]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def all_counted_once(archive: Archive, told: Any) -> None:
    """Hold a sweep's numbers against the catalog: each file once, each id of the filler found once."""
    assert told["files"] == archive.one("SELECT count(*) FROM files")
    assert told["sweep"]["ids"] == archive.one("SELECT count(*) FROM archive_queue WHERE state = 'archived'")
    found = [finding["aweme_id"] for finding in told["findings"] if finding["what"] == "has no sidecar in the index"]
    assert len(found) == len(set(found)) == FILLER == told["count"]


@pytest.mark.parametrize("processes", ["1", "2"])
def test_killed_in_the_middle_and_gone_on_with(archive: Archive, processes: str) -> None:
    """After kill -9 of the whole sweep the next call goes on by itself, and each file is in the result exactly once."""
    swollen(archive)
    with archive.started("verify", "--media", "--processes", processes, "-q") as sweep:
        wait_until(lambda: progress(archive) > 1000, 60.0)
        victims = [sweep.pid, *children_of(sweep.pid)]
        for victim in victims:
            os.kill(victim, signal.SIGKILL)
        sweep.wait()
        # Nobody here waits for the children: one that is inside of a commit dies behind it.
        wait_until(lambda: not any(map(is_alive, victims)))
    before = progress(archive)
    assert before < FILLER
    told = archive.cli("verify", "--media", "--resume", "--json", "--processes", processes, code=7)
    assert f"{before} files were read before" in told.err
    all_counted_once(archive, told.json)
    assert told.json["sweep"]["done"] and archive.one("SELECT count(*) FROM sweeps") == 1


def test_a_killed_process_of_the_pool_is_replaced(archive: Archive) -> None:
    """One of two processes is killed -9: another goes on at its cursor at once, and the sweep ends in one go."""
    swollen(archive)
    words = ("verify", "--media", "--processes", "2", "--json", "-q")
    with archive.started(*words, stdout=subprocess.PIPE) as sweep:
        wait_until(lambda: progress(archive) > 1000, 60.0)
        os.kill(children_of(sweep.pid)[0], signal.SIGKILL)
        out, _ = sweep.communicate(timeout=120)
    assert sweep.returncode == 7
    told = json.loads(out)
    assert told["sweep"]["deaths"] == 1 and told["sweep"]["processes"] >= 3
    all_counted_once(archive, told)


def test_stopped_with_ctrl_c_and_gone_on_with(archive: Archive) -> None:
    """Ctrl-C saves the cursor and ends with 130; the next call says that it goes on; --anew begins again."""
    swollen(archive)
    with archive.started("verify", "--media", stderr=subprocess.PIPE) as sweep:
        wait_until(lambda: progress(archive) > 1000, 60.0)
        stop(sweep, signal.SIGINT)
        assert sweep.wait(30) == 130
        assert sweep.stderr is not None and b" verify --media` goes on" in sweep.stderr.read()
    assert not archive.rows("SELECT 1 FROM sweep_ranges WHERE lease_until IS NOT NULL AND done_at IS NULL")
    all_counted_once(archive, archive.json("verify", "--media", code=7))
    assert archive.cli("verify", "--media", "--resume", code=2).err.endswith("begins one\n")


def test_results_are_the_same_however_many_look(archive: Archive) -> None:
    """One process, two processes and the plain `verify` find the same damage and count the same files and bytes."""
    hurt = archive.ids()[:3]
    for aweme_id in hurt:
        archive.file_of(aweme_id).write_bytes(b"short")
    archive.file_of(hurt[0], "cover").unlink()
    plain = archive.json("verify", code=7)
    for words in ((), ("--processes", "2")):
        swept = archive.json("verify", "--media", *words, code=7)
        for name in ("count", "files", "bytes", "archived", "exit"):
            assert swept[name] == plain[name], name
        assert sorted(map(str, swept["findings"])) == sorted(map(str, plain["findings"]))


def test_options_of_a_sweep_need_one(archive: Archive) -> None:
    """What only a sweep understands is refused elsewhere, in one line."""
    archive.cli("verify", "--processes", "2", code=2).says("--media")
    archive.cli("verify", "--ledger", "--resume", code=2).says("--media")
    archive.cli("verify", "--media", "--resume", "--anew", code=2).says("not both")
    archive.cli("verify", "--media", "--resume", code=2).says("no sweep was stopped")

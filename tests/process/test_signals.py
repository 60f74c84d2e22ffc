"""Signals and closed pipes: a stop in two steps, work given back, no complaint when a reader goes away."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from clipledger.cli.stopping import ECHO_S
from process.harness import Archive, Sim, archive_for, events_of, simulator, wait_until

pytestmark = pytest.mark.slow

GRACE_S = 20.0
SLOW = "slow=1:28"
"""Every answer of the API takes 28 s: longer than the grace of a stop, shorter than the call's own deadline."""


@contextmanager
def at_work(folder: Path, faults: str, *words: str) -> Iterator[tuple[Archive, Sim, subprocess.Popen[bytes]]]:
    """Start a run over a listed world and wait until resolves are under way."""
    with simulator(40) as sim:
        archive = archive_for(folder, sim)
        archive.cli("add", *sim.names())
        archive.cli("run", "--only", "listing", code=3)
        sim.turn(plan=f"{faults},rpm={sim.rpm}")
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with archive.started("--json", *words, **pipes) as process:
            wait_until(lambda: sim.details() >= 4)
            yield archive, sim, process


def ended(process: subprocess.Popen[bytes], within_s: float) -> tuple[list[str], str]:
    """Wait for the end, which must be 130; give the last line of stdout and all of stderr."""
    began = time.monotonic()
    out, err = process.communicate(timeout=within_s)
    assert process.returncode == 130, err.decode()
    assert time.monotonic() - began < within_s and b"Traceback" not in err
    return out.decode().splitlines(), err.decode()


def given_back(archive: Archive, sim: Sim) -> None:
    """Nothing is held or burnt, and the next run completes everything with a reason for each second resolve."""
    assert archive.ids("running") == [] and archive.ids("dead") == []
    assert archive.one("SELECT COALESCE(MAX(attempts), 0) FROM archive_queue WHERE state = 'pending'") == 0
    assert archive.one("SELECT COUNT(*) FROM credits WHERE outcome = 'sent'") == 0
    assert not list((archive.folder / ".clipledger" / "spool").glob("*.part"))
    sim.turn(plan=f"calm,rpm={sim.rpm}")
    archive.finish()
    assert archive.one("SELECT MAX(crashes) FROM archive_queue") == 0
    archive.audited(sim)


def test_sigterm_gives_the_work_back_within_the_grace(tmp_path: Path) -> None:
    """SIGTERM while the API hangs: exit 130 after at most twenty seconds, everything given back, nothing burnt."""
    with at_work(tmp_path / "archive", SLOW, "run") as (archive, sim, process):
        process.send_signal(signal.SIGTERM)
        lines, _ = ended(process, GRACE_S + 4)
        assert '"interrupted"' in lines[-1]
        given_back(archive, sim)


def test_sigterm_lets_what_is_under_way_finish(tmp_path: Path) -> None:
    """SIGTERM while answers take a second: what was bought is saved first, and nothing new is claimed."""
    with at_work(tmp_path / "archive", "slow=1:1", "run") as (archive, sim, process):
        process.send_signal(signal.SIGTERM)
        ended(process, GRACE_S - 2)
        assert 4 <= len(archive.ids()) <= 24
        assert archive.one("SELECT COUNT(*) FROM credits WHERE endpoint = '/post-detail/'") == len(archive.ids())
        given_back(archive, sim)


@pytest.mark.parametrize("words", [("run",), ("run", "--follow")])
def test_a_second_signal_cuts(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Ctrl-C twice while the API hangs: exit 130 at once, and everything is given back all the same."""
    with at_work(tmp_path / "archive", SLOW, *words) as (archive, sim, process):
        process.send_signal(signal.SIGINT)
        stopping = next(event for event in events_of(process.stdout) if event["event"] == "stopping")
        assert stopping["signal"] == "SIGINT"
        time.sleep(ECHO_S * 1.5)
        process.send_signal(signal.SIGINT)
        ended(process, GRACE_S - 8)
        given_back(archive, sim)


def test_a_signal_and_its_echo_are_one(tmp_path: Path) -> None:
    """`timeout` signals the process and its group, so twice: what is under way is finished all the same."""
    with at_work(tmp_path / "archive", "slow=1:1", "run") as (archive, sim, process):
        process.send_signal(signal.SIGTERM)
        time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        lines, _ = ended(process, GRACE_S - 2)
        stopping = [event for line in lines if (event := json.loads(line))["event"] == "stopping"]
        assert [event["how"] for event in stopping] == ["finishing what is under way"]
        assert len(archive.ids()) >= 4
        given_back(archive, sim)


def test_follow_goes_on_until_sigterm(tmp_path: Path) -> None:
    """`run --follow` saves everything, then waits for more, and ends on SIGTERM with 130 and nothing held."""
    with simulator(40) as sim:
        archive = archive_for(tmp_path / "archive", sim)
        archive.cli("add", *sim.names())
        with archive.started("run", "--follow", "-q", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            wait_until(lambda: len(archive.ids()) == 38)
            archive.cli("add", *list(sim.twin().ids())[-2:])  # not in any list yet: deleted from lists or unborn
            wait_until(lambda: not archive.one("SELECT COUNT(*) FROM archive_queue WHERE resolved_at IS NULL"))
            assert process.poll() is None
            process.send_signal(signal.SIGTERM)
            out, _ = process.communicate(timeout=GRACE_S)
            assert process.returncode == 130 and out == b""
        assert archive.ids("running") == [] == archive.ids("stored")


def test_ctrl_c_in_a_short_command_is_130(tmp_path: Path) -> None:
    """Ctrl-C while `add` reads from standard input: exit 130 and one line."""
    archive = archive_for(tmp_path / "archive", on="sqlite")  # whose files show when it is open
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with archive.started("add", "-a", "-", **pipes) as process:
        wait_until(lambda: (archive.folder / "clipledger.db-shm").exists())
        time.sleep(0.3)  # it reads by now; were it earlier still, the promise would be the same
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and b"Traceback" not in err and out == b""


def test_a_reader_that_goes_away_stops_nothing(tmp_path: Path) -> None:
    """`clipledger run --json | head -1`: the run goes on to its end and says nothing about it."""
    with simulator(40) as sim:
        archive = archive_for(tmp_path / "archive", sim)
        archive.cli("add", *sim.names())
        with archive.started("run", "--json", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None and process.stderr is not None
            process.stdout.readline()
            process.stdout.close()
            err = process.stderr.read()
            assert process.wait(60) == 0 and err == b""
        archive.audited(sim)


@pytest.mark.parametrize("words", ["--help", "--json status", "frobnicate --json"])
def test_head_closes_the_pipe_without_a_complaint(tmp_path: Path, words: str) -> None:
    """`clipledger ... | head -1` and `| true` leave no traceback and no exit code of a bug."""
    archive = archive_for(tmp_path / "archive")
    spelt = " ".join(archive.command(*words.split()))
    done = subprocess.run(
        ["bash", "-c", f"{spelt} | true; echo ${{PIPESTATUS[0]}}"], env=archive.env, capture_output=True
    )
    code, err = int(done.stdout), done.stderr.decode()
    assert code == (2 if "frob" in words else 0) and "Traceback" not in err and "BrokenPipe" not in err

"""A fleet of plain processes: the dead are replaced, a stop comes in two steps, a halt ends all, caps hold."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from process.fleets import REPLACED_S, busy_archive, ended, in_flight_of, kill_one, paid_twice, wait_for_workers
from process.harness import archive_for, simulator, stop, wait_until

pytestmark = pytest.mark.slow


def test_a_killed_worker_is_replaced_and_every_row_finishes(tmp_path: Path) -> None:
    """One of three processes is killed -9: another sits in its place within 5 s and does what it held."""
    with simulator(90, "slow=0.5:1", rpm=1200) as sim:
        archive = busy_archive(tmp_path / "archive", sim)
        with archive.started("fleet", "--workers", "3", "--address", "here", "-q", stdout=subprocess.DEVNULL) as fleet:
            victim, name = next(iter(wait_for_workers(archive, 3).items()))
            assert kill_one(archive, victim) < REPLACED_S
            assert in_flight_of(archive, name) == 0, "its leases were released with its death, not with their end"
            assert ended(fleet) == 0
        assert paid_twice(archive) <= 4 + 4, "no more than it had in flight"
        assert not archive.rows("SELECT 1 FROM workers")
        archive.audited(sim)


def test_a_stop_reaches_every_process(tmp_path: Path) -> None:
    """SIGTERM to the fleet has every process finish or give back what it has, and nobody stays behind."""
    with simulator(90, "slow=1:1", rpm=600) as sim:
        archive = busy_archive(tmp_path / "archive", sim)
        words = ("fleet", "--min", "2", "--max", "3", "--address", "here", "--follow", "-q")
        with archive.started(*words, stdout=subprocess.DEVNULL) as fleet:
            wait_for_workers(archive, 2)
            told = archive.json("status")
            assert told["fleet"]["members"] >= 2 and {member["state"] for member in told["members"]} == {"at work"}
            assert told["leases"]["count"] == sum(member["leases"] for member in told["members"])
            stop(fleet, signal.SIGTERM)
            assert ended(fleet) == 130
        assert not archive.rows("SELECT 1 FROM workers")
        assert not archive.rows("SELECT 1 FROM archive_queue WHERE state = 'running'")
        archive.audited(sim, finished=False)


def test_workers_go_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    """A supervisor that is killed -9 leaves nobody behind: its processes see it, give back what they hold and end."""
    with simulator(90, "slow=1:1", rpm=600) as sim:
        archive = busy_archive(tmp_path / "archive", sim)
        with archive.started("fleet", "--workers", "2", "--address", "here", "--follow", "-q") as fleet:
            wait_for_workers(archive, 2)
            fleet.kill()
            fleet.wait()
        wait_until(lambda: not archive.rows("SELECT 1 FROM workers"))
        assert not archive.rows("SELECT 1 FROM archive_queue WHERE state = 'running'")
        assert paid_twice(archive) == 0


def test_a_cap_ends_the_whole_fleet(tmp_path: Path) -> None:
    """Three processes share one daily cap to the credit, and the fleet ends with the cap's own code."""
    with simulator(120, rpm=6000) as sim:
        archive = busy_archive(tmp_path / "archive", sim, CLIPLEDGER_BUDGET__CREDITS_PER_DAY="50")
        archive.cli("fleet", "--workers", "3", "--address", "here", "-q", code=5)
        assert archive.one("SELECT sum(credits) FROM credits") == 50
        archive.audited(sim, finished=False)


def test_a_pause_reaches_every_process_and_names_the_operator(tmp_path: Path) -> None:
    """`pause` ends a fleet that does not follow with code 8, says who did it and why, and `resume` lets it go on."""
    with simulator(90, "slow=1:1", rpm=600) as sim:
        archive = busy_archive(tmp_path / "archive", sim)
        with archive.started("fleet", "--workers", "2", "--address", "here", "-q", stderr=subprocess.PIPE) as fleet:
            wait_for_workers(archive, 2)
            archive.cli("pause", "--reason", "moving the disk")
            assert archive.json("status")["pause"]["reason"] == "moving the disk"
            assert ended(fleet) == 8
            assert fleet.stderr is not None and b"paused by the operator" in fleet.stderr.read()
        archive.cli("run", "-q", code=8).says("paused by the operator", "moving the disk", "clipledger resume")
        assert archive.json("resume")["was_paused"]
        archive.finish()
        archive.audited(sim)


def test_one_worker_can_be_asked_to_stop(tmp_path: Path) -> None:
    """`stop WORKER` ends that process with 130 wherever it runs; a name that nobody has is refused."""
    with simulator(90, "slow=1:1", rpm=600) as sim:
        archive = busy_archive(tmp_path / "archive", sim)
        with archive.started("run", "--follow", "-q") as process:
            ((_, name),) = wait_for_workers(archive, 1).items()
            archive.cli("stop", "nobody", code=2).says("nobody", "no such worker")
            archive.cli("stop", name)
            assert ended(process) == 130
        assert not archive.rows("SELECT 1 FROM archive_queue WHERE state = 'running'")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--address", "here"], "say how many"),
        (["--workers", "2", "--max", "3"], "--workers, or --min and --max"),
        (["--min", "3", "--max", "2"], "--min 3 is more than --max 2"),
        (["--min", "0", "--max", "2"], "--min 0 goes with --follow"),
        (["--workers", "2", "--only", "cooking"], "name roles out of"),
    ],
)
def test_a_fleet_that_makes_no_sense_is_refused(tmp_path: Path, words: list[str], said: str) -> None:
    """What cannot be meant is refused in one line, before anything starts."""
    archive_for(tmp_path / "archive").cli("fleet", *words, code=2).says(said)


def test_without_ray_the_extra_is_named(tmp_path: Path) -> None:
    """Where Ray is not installed, one line names the extra, and what does without."""
    block = tmp_path / "sitecustomize.py"
    block.write_text("import sys\nsys.modules['ray'] = None\n")
    archive = archive_for(tmp_path / "archive")
    ran = archive.cli("fleet", "--workers", "2", code=4, PYTHONPATH=str(tmp_path))
    ran.says("pip install 'clipledger[cluster]'", "--address here")

"""A fleet on Ray: the dead are replaced, several nodes share the work, and the head may die. Loopback only."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from process.fleets import (
    REPLACED_S,
    busy_archive,
    ended,
    in_flight_of,
    kill_one,
    paid_twice,
    wait_for_workers,
    workers_of,
)
from process.harness import simulator, wait_until
from process.ray_cluster import ENVIRONMENT, free_port, ray_cluster

pytest.importorskip("ray", reason="Ray is not installed: pip install 'clipledger[cluster]'")
pytestmark = pytest.mark.slow


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def listeners(pids: set[int]) -> set[str]:
    """List the addresses on which processes listen."""
    told = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True).stdout
    lines = [line for line in told.splitlines() if any(f"pid={pid}," in line for pid in pids)]
    return {line.split()[3].rpartition(":")[0].strip("[]").removeprefix("::ffff:") for line in lines}


def test_four_workers_on_one_machine_and_one_of_them_killed(tmp_path: Path) -> None:
    """Ray starts here, on loopback alone; a killed worker is replaced within 5 s, a killed actor too; all is saved."""
    with simulator(160, "slow=0.6:1", rpm=900) as sim:
        archive = busy_archive(tmp_path / "archive", sim)
        with archive.started("fleet", "--workers", "4", "-q", stdout=subprocess.DEVNULL) as fleet:
            (victim, name), (other, _), *_ = wait_for_workers(archive, 4).items()
            assert listeners({parent_of(pid) for pid in workers_of(archive)}) <= {"127.0.0.1"}
            assert kill_one(archive, victim) < REPLACED_S
            assert in_flight_of(archive, name) == 0
            kill_one(archive, parent_of(other))  # Ray starts an actor first: as fast as it can
            assert ended(fleet) == 0
        assert paid_twice(archive) <= 2 * (4 + 4)
        assert not archive.rows("SELECT 1 FROM workers")
        archive.audited(sim)


def test_two_nodes_share_the_work_and_outlive_the_head(tmp_path: Path) -> None:
    """Workers sit on both nodes; the head is killed -9 and comes back; all is saved and no credit paid twice."""
    with simulator(400, "slow=0.5:1", rpm=900) as sim:
        archive = busy_archive(tmp_path / "archive", sim, **ENVIRONMENT)
        port = free_port()
        words = ("fleet", "--workers", "4", "--address", f"127.0.0.1:{port}", "-q")
        with ray_cluster(port, nodes=2) as cluster, archive.started(*words, stderr=subprocess.PIPE) as fleet:
            first = set(wait_for_workers(archive, 4))
            raylets = {parent_of(parent_of(pid)) for pid in first}
            assert len(raylets) == 2, "one seat after the other: both nodes have some"
            cluster.kill_head()
            saved = len(archive.ids())
            wait_until(lambda: len(archive.ids()) > saved)
            cluster.process.send_signal(signal.SIGTERM)
            cluster.process.wait(30)
            wait_until(lambda: not set(workers_of(archive)) & first)
            with ray_cluster(port, nodes=2):
                wait_for_workers(archive, 4)
                assert ended(fleet) == 0
                assert fleet.stderr is not None and b"Ray is lost" in fleet.stderr.read()
        assert paid_twice(archive) == 0, "who lost its seat stopped in good order"
        archive.audited(sim)


def test_a_cluster_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    """An address where no Ray answers ends the command with one line and the code for a wrong setting."""
    with simulator(20) as sim:
        archive = busy_archive(tmp_path / "archive", sim, **ENVIRONMENT)
        address = f"127.0.0.1:{free_port()}"
        ran = archive.cli("fleet", "--workers", "1", "--address", address, "-q", code=4)
        assert f"no Ray at {address}" in ran.err.splitlines()[-1] and "Traceback" not in ran.err
        archive.cli("add", "7300000000000000001")
        ran = archive.cli("verify", "--media", "--address", address, code=4)
        assert f"no Ray at {address}" in ran.err.splitlines()[-1]


def test_a_sweep_runs_as_tasks_of_ray(tmp_path: Path) -> None:
    """`verify --media --address` reads every file through Ray's nodes, each once, and finds the damage."""
    with simulator(60) as sim:
        archive = busy_archive(tmp_path / "archive", sim)
        archive.finish()
        hurt = archive.ids()[0]
        archive.file_of(hurt).write_bytes(b"not what it was")
        told = archive.json("verify", "--media", "--processes", "2", "--address", "local", code=7)
        assert told["files"] == archive.one("SELECT count(*) FROM files") and told["sweep"]["processes"] == 2
        assert {finding["aweme_id"] for finding in told["findings"]} == {hurt}

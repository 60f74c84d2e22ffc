"""The command lines of the deployments, run for real beside each other: one process a role does the whole work."""

from __future__ import annotations

import signal
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from clipledger.worker import GRACE_S
from deploy.commands import METRICS_PORT, without_coming
from process.harness import archive_for, simulator, stop, wait_until
from tidy.house import ROOT

pytestmark = pytest.mark.slow


def commands() -> list[list[str]]:
    """Read the workers' command lines out of the compose file; each gets a free port, since they share one machine."""
    services = yaml.safe_load((ROOT / "deploy" / "compose" / "compose.yaml").read_text(encoding="utf-8"))["services"]
    found = [service["command"] for service in services.values() if "--follow" in service.get("command", ())]
    return [without_coming(["0" if word == str(METRICS_PORT) else word for word in words]) for words in found]


def test_one_process_a_role_does_the_whole_work(tmp_path: Path) -> None:
    """Listing, capture, metadata and janitor as four services archive everything, stay when idle, end on SIGTERM."""
    assert len(commands()) == 4
    with simulator(40) as sim, ExitStack() as stack:
        archive = archive_for(tmp_path / "archive", sim)
        archive.cli("add", *sim.names())
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        keyless = {name: value for name, value in archive.env.items() if name != "TIKLIVEAPI_KEY"}
        workers = []
        for words in commands():
            env = archive.env if {"listing", "capture"} & set(words) else keyless
            process = subprocess.Popen(archive.command(*words), env=env, **pipes)
            stack.callback(process.wait)
            stack.callback(process.kill)
            workers.append(process)
        wait_until(lambda: bool(archive.ids()) and not any(map(archive.ids, ("pending", "running", "stored"))), 90)
        assert [process.poll() for process in workers] == [None] * 4, "a role ended by itself"
        began = time.monotonic()
        for process in workers:
            stop(process, signal.SIGTERM)
        assert [process.wait(timeout=GRACE_S + 10) for process in workers] == [130] * 4
        assert time.monotonic() - began < GRACE_S
        archive.audited(sim)

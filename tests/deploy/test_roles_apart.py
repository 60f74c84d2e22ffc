"""The command lines of the deployments, run for real beside each other: one process a role does the whole work."""

from __future__ import annotations

import signal
import subprocess
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from clipledger.worker import GRACE_S
from deploy.commands import METRICS_PORT
from postgres import execute, shared_server
from process.harness import PATIENCE_S, Archive, archive_for, simulator, stop
from tidy.house import ROOT

pytestmark = pytest.mark.slow

KEY = "TIKLIVEAPI_KEY"


def commands() -> list[list[str]]:
    """Read the workers' command lines out of the compose file; each gets a free port, since they share one machine."""
    services = yaml.safe_load((ROOT / "deploy" / "compose" / "compose.yaml").read_text(encoding="utf-8"))["services"]
    found = [service["command"] for service in services.values() if "--follow" in service.get("command", ())]
    return [["0" if word == str(METRICS_PORT) else word for word in words] for words in found]


def work_off(archives: list[Archive], is_done: Callable[[], bool]) -> None:
    """Start each role on its archive folder, wait for the work to be done, stop all; the keyless roles get no key."""
    with ExitStack() as stack:
        workers = []
        for archive, words in zip(archives, commands(), strict=True):
            pays = bool({"listing", "capture"} & set(",".join(words).split(",")))
            env = {name: value for name, value in archive.env.items() if pays or name != KEY}
            silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            process = subprocess.Popen(archive.command(*words), env=env, **silent)
            stack.callback(process.wait)
            stack.callback(process.kill)
            workers.append(process)
        deadline = time.monotonic() + PATIENCE_S
        while not is_done():
            assert time.monotonic() < deadline, "waited in vain"
            with suppress(subprocess.TimeoutExpired):
                workers[0].wait(timeout=0.5)  # looking more often would take the processor from them
        assert [process.poll() for process in workers] == [None] * 4, "a role ended by itself"
        began = time.monotonic()
        for process in workers:
            stop(process, signal.SIGTERM)
        assert [process.wait(timeout=GRACE_S + 10) for process in workers] == [130] * 4
        assert time.monotonic() - began < GRACE_S


def test_one_process_a_role_does_the_whole_work(tmp_path: Path) -> None:
    """Four services on one folder, as with compose, archive everything, stay when idle, and end on SIGTERM."""
    with simulator(40) as sim:
        archive = archive_for(tmp_path / "archive", sim)
        archive.cli("add", *sim.names())
        open_states = ("pending", "running", "stored")
        work_off([archive] * 4, lambda: bool(archive.ids()) and not any(map(archive.ids, open_states)))
        archive.audited(sim)


def test_pods_need_no_folder_in_common(tmp_path: Path) -> None:
    """Four pods with an empty folder each: `init` joins them to the archive in PostgreSQL, and they do all the work."""
    server, name = shared_server(), f"deploy_{uuid.uuid4().hex[:12]}"
    execute(server.url(), f"CREATE DATABASE {name}")
    try:
        with simulator(40) as sim:
            pattern = archive_for(tmp_path / "unused", sim, CLIPLEDGER_DATABASE__URL=server.url(name))
            pattern.env["CLIPLEDGER_STORAGE__URL"] = (tmp_path / "store").as_uri()
            pods = [replace(pattern, folder=tmp_path / f"pod{number}") for number in range(4)]
            for pod in pods:
                pod.cli("init")
            assert len({(pod.folder / ".clipledger" / "uuid").read_text() for pod in pods}) == 1
            pods[0].cli("add", *sim.names())

            def states() -> dict[str, int]:
                return dict(execute(server.url(name), "SELECT state, count(*) FROM archive_queue GROUP BY state"))

            work_off(pods, lambda: states().keys() == {"archived"})
            assert sim.details() == states()["archived"] == len(list((tmp_path / "store").rglob("*/*/*/*.json")))
            pods[1].cli("verify")
    finally:
        execute(server.url(), f"DROP DATABASE {name} WITH (FORCE)")

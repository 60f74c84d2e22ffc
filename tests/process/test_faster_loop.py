"""Where uvloop is installed a run uses it, and keeps every promise. All other tests meet Python's own loop."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from clipledger.cli.exits import Exit
from process.harness import Archive, Sim, archive_for, simulator, wait_until

pytestmark = pytest.mark.slow

UVLOOP = Path(sys.executable).parent.parent / "fast"


def _archive(folder: Path, sim: Sim) -> Archive:
    if not (UVLOOP / "uvloop").is_dir():
        pytest.skip(f"NOT TESTED: uvloop is not in {UVLOOP}: `make env` puts it there")
    archive = archive_for(folder, sim, PYTHONPATH=os.pathsep.join([str(UVLOOP), *_given()]))
    archive.cli("add", "-q", *sim.names())
    return archive


def _given() -> list[str]:
    return [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]


def _uses_uvloop(pid: int) -> bool:
    return "uvloop/loop" in Path(f"/proc/{pid}/maps").read_text()


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_run_on_uvloop_survives_what_others_survive(tmp_path: Path, blow: signal.Signals) -> None:
    """Killed or told to stop in the middle, the next run completes everything, and the books balance."""
    with simulator(40, "slow_body=0.1:200000") as sim:
        archive = _archive(tmp_path / "archive", sim)
        with archive.started("run", "-q") as process:
            wait_until(lambda: bool(archive.ids("archived") or archive.ids("stored")))
            assert _uses_uvloop(process.pid)
            process.send_signal(blow)
            assert process.wait(60) == (-blow if blow is signal.SIGKILL else Exit.INTERRUPTED)
        archive.finish()
        archive.audited(sim)

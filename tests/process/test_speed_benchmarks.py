"""The benchmarks of speed run: each of them once, small. What they measure here is not judged."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"

needs_nginx = pytest.mark.skipif(
    not (shutil.which("nginx") or Path("/usr/sbin/nginx").exists()),
    reason="no nginx: apt-get install nginx-light",
)


def measured(tmp_path: Path, name: str, *words: str) -> dict[str, list[dict[str, object]]]:
    """Run a benchmark; give what it wrote down. A missed bound is no failure on a machine that tests."""
    file = tmp_path / "figures.json"
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), *words, "--json", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode in (0, 1) and file.exists(), done.stdout + done.stderr
    return dict(json.loads(file.read_text()).popitem()[1])


@needs_nginx
@pytest.mark.skipif(not shutil.which("aria2c"), reason="no aria2c: apt-get install aria2")
def test_the_races_run(tmp_path: Path) -> None:
    """Ours brings every post, and so do the peers; the ratios are written down."""
    told = measured(tmp_path, "race", "small", "--posts", "40", "--rounds", "1", "--only", "ours,curl -Z,aria2c")
    assert [line["racer"] for line in told["racers"]] == ["ours", "curl -Z", "aria2c"]
    figures = [line["figure"] for line in told["ratios"]]
    assert [figure.rpartition(" ")[2] for figure in figures] == ["aria2c", "-Z", "MB"]
    assert all(float(str(line["measured"])) > 0 for line in told["ratios"])


@needs_nginx
def test_the_race_over_tls_runs(tmp_path: Path) -> None:
    """The details lead to https, whose certificate is trusted because the environment says so."""
    told = measured(tmp_path, "race", "tls-small", "--posts", "20", "--rounds", "1", "--only", "ours,curl -Z")
    assert len(told["racers"]) == 2


def test_the_growth_of_the_queue_is_measured(tmp_path: Path) -> None:
    """Pages and claims are timed among few rows and among many."""
    told = measured(tmp_path, "queue_growth", "--few", "100", "--many", "1000", "--rounds", "3")
    assert len(told["ratios"]) == 2


def test_starts_are_measured(tmp_path: Path) -> None:
    """The bare interpreter and our own starts are timed in turns."""
    told = measured(tmp_path, "startup", "--rounds", "1", "--no-peers")
    assert len(told["ratios"]) == 2


def test_waiting_is_measured(tmp_path: Path) -> None:
    """A run that follows with nothing to do is looked at for a while."""
    told = measured(tmp_path, "idle", "waiting", "--seconds", "1")
    assert len(told["ratios"]) == 2 and os.sysconf("SC_CLK_TCK")

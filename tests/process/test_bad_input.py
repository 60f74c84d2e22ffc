"""Thousands of bad inputs each get a verdict, and nothing outside of the archive changes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from process.harness import plain_environment

HARNESS = Path(__file__).resolve().parents[2] / "benchmarks" / "bad_input.py"


def fed(*words: str, code: int = 0) -> Any:
    told = subprocess.run(
        [sys.executable, str(HARNESS), *words],
        env=plain_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=300,
        check=False,
        text=True,
    )
    assert told.returncode == code, told.stderr[-4000:]
    return json.loads(told.stdout)


@pytest.mark.slow
def test_three_thousand_bad_inputs_each_get_a_verdict() -> None:
    """What is typed, replied, served, listed, edited or damaged is taken safely or refused with a reason, quickly."""
    told = fed("--inputs", "3000", "--seed", "4")
    assert told["inputs"] >= 2900
    assert (told["faults"], told["changed_outside"]) == (0, [])
    assert told["largest_memory_mb"] < 600
    for name, corpus in told["corpora"].items():
        assert corpus["accepted"] + sum(corpus["refused"].values()) == corpus["inputs"] > 0, name
        assert name in ("told",) or corpus["refused"], f"nothing was refused of {name}: these inputs are too kind"
    taken = {name for name, corpus in told["corpora"].items() if corpus["accepted"]}
    assert taken >= {"typed", "replies", "media", "keys", "sidecars", "captured", "media servers", "API servers"}

"""Lines beside the work: nobody waits for whoever does not read them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from clipledger.cli import aside as module
from clipledger.cli.aside import aside


def left_out(count: int) -> str:
    """Say how many lines were left out."""
    return f"{count} left out"


def test_lines_come_in_order_and_all_of_them(tmp_path: Path) -> None:
    """Where somebody reads, or it is a file, every line is there when the program ends, whatever it holds."""
    with (tmp_path / "told").open("w") as out:
        with aside(left_out) as write:
            for nth in range(100):
                write(out, f"line {nth} \U0001f408")
            write(out, "half a character: \ud83d")
            write(None, "to a stream that was closed")
        told = (tmp_path / "told").read_text(encoding="utf-8").splitlines()
    assert told == [*(f"line {nth} \U0001f408" for nth in range(100)), "half a character: \\ud83d"]


def test_nobody_waits_for_a_reader_who_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe that nobody reads holds nothing up; who reads again later is told how many lines are missing."""
    monkeypatch.setattr(module, "PATIENCE_S", 30.0)
    monkeypatch.setattr(module, "KEPT", 10)
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as out, os.fdopen(reading) as reader, aside(left_out) as write:
        for nth in range(5000):
            write(out, f"{nth:064}")
        told = [reader.readline().strip()]
        while told[-1] != f"{4999:064}":
            told.append(reader.readline().strip())
    missing = [int(line.split()[0]) for line in told if line.endswith("left out")]
    assert len(told) - len(missing) + sum(missing) == 5000 and sum(missing) > 0


def test_an_end_does_not_wait_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """The program ends although nobody reads its last lines, and although the reader went away."""
    monkeypatch.setattr(module, "PATIENCE_S", 0.05)
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as out:
        with aside(left_out) as write:
            write(out, "x" * 2**20)
        os.close(reading)
        with aside(left_out) as write:
            write(out, "nobody is there")

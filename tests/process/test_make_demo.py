"""`make demo` as a person types it: on a terminal it serves what it made until Ctrl-C, elsewhere it ends by itself."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """#!{python}
import signal, sys
try:
    print("told:", *sys.argv[1:], flush=True)
    if "--serve" in sys.argv:
        signal.pause()
except KeyboardInterrupt:
    print("in good order")
"""


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """Give the command, with a script in the place of the program: what make does with it is the question."""
    if shutil.which("make") is None:
        pytest.skip("NOT TESTED: make is not installed: apt-get install make")
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "clipledger"
    program.write_text(PROGRAM.format(python=sys.executable), encoding="utf-8")
    program.chmod(0o755)
    (tmp_path / ".runs").touch()
    return ["make", "--no-print-directory", "demo", f"VENV={tmp_path}"]


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])
def test_on_a_terminal_it_serves_until_ctrl_c(command: list[str], shell: str) -> None:
    """It asks for the server, Ctrl-C ends that in good order, and make itself ends with 0."""
    if not Path(shell).exists():
        pytest.skip(f"NOT TESTED: {shell} is not installed")
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(ROOT)
        os.execvp(command[0], [*command, f"SHELL={shell}"])
    told = b""
    while b"--serve" not in told:
        told += os.read(terminal, 4096)
    os.write(terminal, b"\x03")
    try:
        while piece := os.read(terminal, 4096):
            told += piece
    except OSError:
        pass  # how Linux says that the terminal's other side is closed
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0, told
    assert b"told: demo clipledger-demo --serve" in told and b"in good order" in told


def test_elsewhere_it_ends_by_itself(command: list[str]) -> None:
    """In a script or in CI nothing is served."""
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, ended.stdout.strip()) == (0, "told: demo clipledger-demo"), ended.stderr

"""Start the real program in milliseconds: a process that has read every module already, and forks for each command.

What is forked is a process of its own, with its own pid, descriptors and environment, that runs `main` to its end:
it can be killed, traced and starved like any other. Only reading the modules, three quarters of a short command, is
done once. Must not: share anything between commands but those modules.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[2]
_ANSWER_BYTES = 4096
_FDS = 4


class Zygote:
    """One such process. `env` is what it is started with: LD_PRELOAD, say, holds for all that it forks."""

    def __init__(self, **env: str) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        known = {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}", **env}
        command = [sys.executable, "-m", "process.zygote", str(theirs.fileno())]
        self._process = subprocess.Popen(
            command, env=os.environ | known, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, cwd="/"
        )
        theirs.close()
        self._line = ours
        assert ours.recv(_ANSWER_BYTES) == b"ready"
        atexit.register(self.close)

    def start(
        self,
        words: Sequence[str],
        env: Mapping[str, str],
        *,
        out: int,
        err: int,
        limits: Mapping[str, int] | None = None,
    ) -> Forked:
        """Fork one command that waits for `go`; its output goes to these descriptors."""
        gate_in, gate_out = os.pipe()
        try:
            with tempfile.TemporaryFile() as told:
                told.write(json.dumps({"words": list(words), "env": dict(env), "limits": dict(limits or {})}).encode())
                told.flush()
                socket.send_fds(self._line, [b"start"], [gate_in, out, err, told.fileno()])
        finally:
            os.close(gate_in)
        return Forked(self, int(self._line.recv(_ANSWER_BYTES)), gate_out)

    def wait(self, pid: int) -> int:
        """Collect a forked process; give its exit code, negative for a signal."""
        self._line.send(f"wait {pid}".encode())
        return int(self._line.recv(_ANSWER_BYTES))

    def close(self) -> None:
        """End it; again does nothing."""
        self._line.close()
        self._process.wait()


@dataclass(slots=True)
class Forked:
    """A command under way, or waiting for `go`."""

    zygote: Zygote
    pid: int
    gate: int
    code: int | None = None
    stdout: IO[bytes] | None = None
    _opened: bool = field(default=False)

    def go(self) -> None:
        """Let it begin."""
        if not self._opened:
            os.write(self.gate, b"g")
            os.close(self.gate)
            self._opened = True

    def kill(self) -> None:
        """Kill it with SIGKILL; one that ended by itself is not collected yet, so the pid is still its own."""
        if self.code is None:
            os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        """Wait for its end; give its exit code, negative for a signal."""
        self.go()
        if self.code is None:
            self.code = self.zygote.wait(self.pid)
        return self.code


@contextmanager
def forked(
    zygote: Zygote, words: Sequence[str], env: Mapping[str, str], *, go: bool = True, **limits: int
) -> Iterator[Forked]:
    """Run a command inside the block, its stdout in a pipe and its stderr thrown away; it is gone afterwards."""
    read, write = os.pipe()
    with Path(os.devnull).open("wb") as nowhere:
        process = zygote.start(words, env, out=write, err=nowhere.fileno(), limits=limits)
    os.close(write)
    process.stdout = os.fdopen(read, "rb")
    try:
        if go:
            process.go()
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@dataclass(frozen=True, slots=True)
class Ended:
    """How a forked command ended."""

    code: int
    out: str
    err: str


def ran(zygote: Zygote, words: Sequence[str], env: Mapping[str, str], timeout_s: float = 120.0, **limits: int) -> Ended:
    """Run a command to its end; kill it, and say so, when it takes too long."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = zygote.start(words, env, out=out.fileno(), err=err.fileno(), limits=limits)
        late = threading.Timer(timeout_s, process.kill)
        late.start()
        code = process.wait()
        late.cancel()
        out.seek(0)
        err.seek(0)
        return Ended(code, out.read().decode(), err.read().decode())


def _serve(line: socket.socket) -> None:
    """Fork and collect, one request at a time, until the other end is closed."""
    import clipledger.cli.app
    import clipledger.cli.running
    import clipledger.cli.verifying
    import clipledger.db.postgres
    import clipledger.doctor.round
    import clipledger.sim.server
    import clipledger.wiring  # noqa: F401 - read here, so that the forked need not

    for optional in ("clipledger.storage.aws", "clipledger.storage.s3", "aiobotocore.session", "psycopg", "aiohttp"):
        with suppress(ImportError):
            __import__(optional)
    line.send(b"ready")
    alive: set[int] = set()
    while True:
        message, fds, _, _ = socket.recv_fds(line, _ANSWER_BYTES, _FDS)
        if not message:
            break
        if message == b"start":
            alive.add(pid := _fork(line, fds))
            line.send(str(pid).encode())
        else:
            pid, status = os.waitpid(int(message.split()[1]), 0)
            alive.discard(pid)
            line.send(str(os.waitstatus_to_exitcode(status)).encode())
    for pid in alive:  # whoever wanted them is gone; uncollected, their pids are still their own
        os.kill(pid, signal.SIGKILL)


def _fork(line: socket.socket, fds: Sequence[int]) -> int:
    pid = os.fork()
    if pid:
        for descriptor in fds:
            os.close(descriptor)
        return pid
    line.close()
    _become(*fds)
    raise AssertionError


def _become(gate: int, out: int, err: int, told: int) -> None:
    """Be the command, once the gate is opened."""
    os.setsid()
    asked = json.loads(os.pread(told, 2**20, 0))
    os.dup2(out, 1)
    os.dup2(err, 2)
    for descriptor in (out, err, told):
        os.close(descriptor)
    if os.read(gate, 1) != b"g":
        os._exit(99)  # whoever asked is gone
    os.close(gate)
    os.environ.clear()
    os.environ.update(asked["env"])
    _limit(asked["limits"])
    from clipledger.cli.main import main

    code = 70
    try:
        main(asked["words"])
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0
    except BaseException:  # noqa: BLE001 - what an interpreter does with it
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        code = 1
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = code or 6
    os._exit(code)


def _limit(limits: Mapping[str, int]) -> None:
    import resource

    for name, value in limits.items():
        resource.setrlimit(getattr(resource, name), (value, value))


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))

"""Start the real program in milliseconds: a process that has read every module already, and forks for each command.

What is forked is a process of its own, with its own pid, descriptors and environment, that runs `main` to its end:
it can be killed, traced and starved like any other. Only reading the modules, three quarters of a short command, is
done once. Must not: share anything between commands but those modules.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[2]
_ANSWER_BYTES = 4096
_FDS = 5
_OURS = ("CLIPLEDGER_", "TIKLIVEAPI_", "AWS_", "NOTIFY_SOCKET")
"""Variables that are read by the program, not by the interpreter when it starts."""


class Zygote:
    """One such process. `env` is what it is started with: LD_PRELOAD, say, holds for all that it forks."""

    def __init__(self, **env: str) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        known = {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}", **env}
        command = [sys.executable, "-m", "process.zygote", str(theirs.fileno())]
        self._process = subprocess.Popen(
            command,
            env=os.environ | known,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # no terminal, whatever the tests' own is
            cwd="/",
        )
        theirs.close()
        self._line, self._turn = ours, threading.Lock()
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
        stdin: bytes = b"",
    ) -> Forked:
        """Fork one command that waits for `go`, in our working directory; its output goes to these descriptors."""
        asked = {"words": list(words), "env": dict(env), "limits": dict(limits or {}), "cwd": str(Path.cwd())}
        gate_in, gate_out = os.pipe()
        try:
            with _holding(json.dumps(asked).encode()) as told, _holding(stdin) as given, self._turn:
                socket.send_fds(self._line, [b"start"], [gate_in, out, err, told.fileno(), given.fileno()])
                return Forked(self, int(self._line.recv(_ANSWER_BYTES)), gate_out)
        finally:
            os.close(gate_in)

    def wait(self, pid: int) -> int:
        """Wait for a forked process and collect it; give its exit code, negative for a signal."""
        with _pidfd(pid) as fd:
            select.select([fd], [], [])
        with self._turn:
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


@cache
def zygote() -> Zygote:
    """Give this process's own zygote."""
    return Zygote()


def is_plain(env: Mapping[str, str]) -> bool:
    """Tell whether an environment differs from ours in what the program reads itself, and in nothing else."""
    here = os.environ
    changed = {name for name in {*env, *here} if env.get(name) != here.get(name)}
    return all(name.startswith(_OURS) for name in changed)


@contextmanager
def _holding(content: bytes) -> Iterator[IO[bytes]]:
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        yield file


@contextmanager
def _pidfd(pid: int) -> Iterator[int]:
    fd = os.pidfd_open(pid)
    try:
        yield fd
    finally:
        os.close(fd)


def ran(
    zygote: Zygote,
    words: Sequence[str],
    env: Mapping[str, str],
    timeout_s: float = 120.0,
    stdin: bytes = b"",
    **limits: int,
) -> Ended:
    """Run a command to its end; kill it, and say so, when it takes too long."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = zygote.start(words, env, out=out.fileno(), err=err.fileno(), limits=limits, stdin=stdin)
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


def _become(gate: int, out: int, err: int, told: int, given: int) -> None:
    """Be the command, once the gate is opened."""
    os.setsid()
    asked = json.loads(os.pread(told, 2**20, 0))
    os.dup2(given, 0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    for descriptor in (out, err, told, given):
        os.close(descriptor)
    if os.read(gate, 1) != b"g":
        os._exit(99)  # whoever asked is gone
    os.close(gate)
    os.environ.clear()
    os.environ.update(asked["env"])
    os.chdir(asked["cwd"])
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

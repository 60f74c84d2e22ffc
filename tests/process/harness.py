"""Real processes for the tests: a simulator behind a port, the command line in front of an archive, and the judge.

Everything that is started is stopped by its own process id. Must not: reach into a process, or know how one works.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlencode

import psycopg

from clipledger.sim.audit import Evidence, Report, audit
from clipledger.sim.faults import FaultPlan
from clipledger.sim.world import World
from contract.archives import new_database, plain
from postgres import execute
from process.zygote import Ended, Forked, forked, is_plain, zygote
from process.zygote import ran as forked_to_its_end

KEY = "sim-key-4f1d9a7c20"
RPM = 6000
PROGRAM = (sys.executable, "-m", "clipledger")
PATIENCE_S = 120.0
"""How long a command may take before a test gives up on it."""

BRISK = (
    "throttle_429=0.002:1,timeout=0.004:1,slow=0.01:1,stall=0.005:1,slow_body=0.005:60000,endless=0.002:8,burst=none"
)
"""Every wait of a hostile world cut to a second: for tests that want the fault and not the wait."""

ON = os.environ.get("CLIPLEDGER_TEST_DATABASE", "sqlite")
"""Where the tables are of archives whose test does not say: `sqlite` or `postgres`."""

URL = "CLIPLEDGER_DATABASE__URL"
STATES = ("pending", "running", "stored", "archived", "dead", "withheld")


def plain_environment() -> dict[str, str]:
    """Give the environment without anything that is meant for the program."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("CLIPLEDGER_", "TIKLIVEAPI_"))}


@dataclass(slots=True)
class Sim:
    """A simulator in a process of its own."""

    process: Forked
    base_url: str
    seed: int
    posts: int
    faults: str
    rpm: int
    start: float

    def get(self, path: str, **params: object) -> Any:
        """Ask one of the world's own doors."""
        query = f"?{urlencode(params)}" if params else ""
        with urllib.request.urlopen(f"{self.base_url}{path}{query}", timeout=60) as answer:
            return json.load(answer)

    def ledger(self) -> Any:
        """Fetch the world's books."""
        return self.get("/_sim/ledger", calls=1)

    def truth(self) -> Any:
        """Fetch what is true of every post."""
        return self.get("/_sim/world", files=1)

    def turn(self, **switches: object) -> Any:
        """Turn switches of the world."""
        return self.get("/_sim/control", **switches)

    def details(self) -> int:
        """Count the calls to /post-detail/."""
        return int(self.ledger()["endpoints"].get("/post-detail/", 0))

    def twin(self) -> World:
        """Make the same world in this process, to ask for names that no door tells."""
        plan = FaultPlan.parse(self.faults)
        return World(self.seed, self.posts, start=self.start, faults=plan, base_url=self.base_url)

    def names(self) -> list[str]:
        """Name sources that together show every listed post, in several forms."""
        told = self.truth()
        people = [f"@{author['handle']}" for author in told["authors"]]
        return [*people, *(f"#{tag}" for tag in list(told["tags"])[:2]), f"music:{told['sounds'][0]}"]


@contextmanager
def simulator(posts: int = 60, faults: str = "calm", *, seed: int = 7, rpm: int = RPM, key: str = KEY) -> Iterator[Sim]:
    """Start `clipledger sim serve`, and kill it at the end; its key is turned to `key`."""
    words = ("sim", "serve", "--seed", str(seed), "--posts", str(posts), "--faults", faults, "--rpm", str(rpm))
    with forked(zygote(), words, plain_environment()) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        sim = Sim(process, told["base_url"], seed, posts, faults, rpm, told["start"])
        sim.turn(key=key)
        yield sim


@contextmanager
def child(*words: str, env: Mapping[str, str], **more: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Start the program; however the block ends, the process is gone afterwards."""
    process = subprocess.Popen([*PROGRAM, *words], env=dict(env), **more)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


@dataclass(frozen=True, slots=True)
class Ran:
    """How one command ended."""

    words: tuple[str, ...]
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Read the one document on stdout."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """Read the JSON lines on stdout."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def summary(self) -> Any:
        """Read the last JSON line."""
        return self.lines[-1]

    def says(self, *words: str) -> None:
        """Check that stderr is one clear line with these words, and no traceback.

        Commands that it proposes name the archive, as every command here does; the words leave that out.
        """
        assert "Traceback" not in self.err, self.err
        assert self.err.count("\n") == 1 and self.err.startswith("clipledger: "), f"{self.words}: {self.err!r}"
        told = re.sub(r"`clipledger --archive \S+ ", "`clipledger ", self.err)
        for word in words:
            assert word in told, f"{self.words}: {word!r} is not in {self.err!r}"


def _from_nothing(command: list[str], env: Mapping[str, str], stdin: bytes) -> Ended:
    done = subprocess.run(command, env=env, input=stdin, capture_output=True, timeout=PATIENCE_S, check=False)
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


@dataclass(slots=True)
class Archive:
    """An archive and the environment of its commands."""

    folder: Path
    env: dict[str, str] = field(default_factory=plain_environment)

    def command(self, *words: str) -> list[str]:
        """Spell a command line out."""
        return [*PROGRAM, "--archive", str(self.folder), *words]

    def cli(self, *words: str, code: int | None = 0, stdin: bytes = b"", wrap: tuple[str, ...] = (), **env: str) -> Ran:
        """Run a command; `code` is what it must end with, None for anything.

        It is forked from an interpreter that has read the modules already; one that is wrapped, or given what an
        interpreter reads when it starts, is started from nothing.
        """
        env, command = self.env | env, self.command(*words)
        if wrap or not is_plain(env):
            ended = _from_nothing([*wrap, *command], env, stdin)
        else:
            ended = forked_to_its_end(zygote(), command[len(PROGRAM) :], env, PATIENCE_S, stdin)
        ran = Ran(words, ended.code, ended.out, ended.err)
        assert code is None or ran.code == code, f"{words} ended with {ran.code}, not {code}: {ran.out}\n{ran.err}"
        return ran

    def json(self, *words: str, code: int | None = 0, **env: str) -> Any:
        """Run a command with --json and read its one document."""
        return self.cli("--json", *words, code=code, **env).json

    @contextmanager
    def started(self, *words: str, **more: Any) -> Iterator[subprocess.Popen[bytes]]:
        """Start a command and leave it running inside the block."""
        with child("--archive", str(self.folder), *words, env=self.env, **more) as process:
            yield process

    def finish(self, runs: int = 6, **env: str) -> Any:
        """Run until nothing waits; give the last summary."""
        for _ in range(runs):
            told = self.cli("run", "--json", "-q", code=None, **env)
            assert told.code in (0, 3), f"{told.code}: {told.out[-2000:]}\n{told.err}"
            states = told.summary["states"]
            if not states["pending"] + states["running"] + states["stored"]:
                return told.summary
        raise AssertionError(f"after {runs} runs something waits still: {told.summary}")

    @property
    def database(self) -> str | None:
        """Give the URL of the server's database; None for the file in the folder."""
        return self.env.get(URL)

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Ask the database, reading only."""
        if self.database:
            return [tuple(map(plain, row)) for row in execute(self.database, _for_psycopg(sql, values), *values)]
        with closing(sqlite3.connect(f"file:{self.folder / 'clipledger.db'}?mode=ro", uri=True)) as db:
            return db.execute(sql, values).fetchall()

    def change(self, sql: str, *values: object) -> int:
        """Do something to the database behind the program's back; give how many rows it hit."""
        if self.database:
            with closing(psycopg.connect(self.database, autocommit=True)) as server:
                return server.execute(_for_psycopg(sql, values), values or None).rowcount  # type: ignore[arg-type]
        with closing(sqlite3.connect(self.folder / "clipledger.db")) as db, db:
            return db.execute(sql, values).rowcount

    def one(self, sql: str, *values: object) -> Any:
        """Ask the database for one value."""
        return self.rows(sql, *values)[0][0]

    def ids(self, state: str = "archived") -> list[str]:
        """List the ids in a state."""
        return [row[0] for row in self.rows("SELECT aweme_id FROM archive_queue WHERE state = ? ORDER BY 1", state)]

    def file_of(self, aweme_id: str, kind: str = "video") -> Path:
        """Give the path of a stored file."""
        sql = "SELECT storage_key FROM files WHERE aweme_id = ? AND kind = ?"
        return self.folder / self.one(sql, aweme_id, kind)

    def media(self) -> dict[str, tuple[int, int, int]]:
        """Note every stored file's inode, size and time of change."""
        return {
            str(path.relative_to(self.folder)): (stat.st_ino, stat.st_size, stat.st_mtime_ns)
            for kind in ("videos", "photos", "covers")
            for path in (self.folder / kind).rglob("*")
            if (stat := path.stat()) and path.is_file()
        }

    def audited(self, sim: Sim, *, finished: bool = True) -> Report:
        """Hold the archive against the world and demand that the judge is content."""
        evidence = Evidence(sim.ledger(), sim.truth(), KEY, sim.rpm)
        report = audit(self.folder, evidence, finished=finished, database=self.database)
        assert report.findings == [], "\n".join(report.findings[:20])
        assert evidence.ledger["key_leaks"] == 0
        return report


def archive_for(folder: Path, sim: Sim | None = None, *, on: str = ON, **env: str) -> Archive:
    """Make an archive on a database whose commands know the simulator; a copy of a new one, since `init` is slow."""
    return copy_of(_new_archive(on), folder, sim, **env)


def copy_of(archive: Archive, folder: Path, sim: Sim | None = None, **env: str) -> Archive:
    """Copy an archive at rest, its database on a server too, for commands that know the simulator."""
    known = plain_environment() | {"TIKLIVEAPI_KEY": KEY, "CLIPLEDGER_QUEUE__RETRY_BASE_S": "0.2"}
    if sim is not None:
        known |= {
            "CLIPLEDGER_API__BASE_URL": sim.base_url,
            "CLIPLEDGER_API__REQUESTS_PER_MINUTE": str(sim.rpm),
            "CLIPLEDGER_CDN__ALLOW_INSECURE": "true",
            "CLIPLEDGER_LISTING__SHORT_LINK_URL": sim.base_url,
        }
    shutil.copytree(archive.folder, folder)
    if archive.database and URL not in env:
        known[URL] = new_database(archive.database.rsplit("/", 1)[-1])
    return Archive(folder, known | env)


@cache
def _new_archive(on: str) -> Archive:
    folder = Path(tempfile.mkdtemp(prefix="clipledger-new-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    archive = Archive(folder, plain_environment() | ({URL: new_database()} if on == "postgres" else {}))
    archive.cli("init", "-q")
    return archive


@cache
def _finished() -> Archive:
    """Play one small archive to its end, once a process; give its folder and its environment."""
    folder = Path(tempfile.mkdtemp(prefix="clipledger-finished-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with simulator(60, "deleted=0.2") as sim:
        archive = archive_for(folder / "archive", sim)
        told = sim.truth()["posts"]
        gone = [post["id"] for post in told if post["why"] == "deleted"][:3]
        archive.cli("add", *sim.names(), *gone)
        archive.finish()
        archive.audited(sim)
        assert len(archive.ids("archived")) > 20 and archive.ids("dead")
    return archive


def finished_archive(folder: Path) -> Archive:
    """Copy an archive whose work is done: some forty posts saved, a few dead."""
    done = _finished()
    return copy_of(done, folder, **{name: value for name, value in done.env.items() if name != URL})


def _for_psycopg(sql: str, values: tuple[object, ...]) -> str:
    return sql.replace("%", "%%").replace("?", "%s") if values else sql


def wait_until(holds: Callable[[], bool], seconds: float = PATIENCE_S) -> None:
    """Look every few milliseconds until something holds; fail when it does not in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def events_of(stream: IO[bytes] | None) -> Iterator[Any]:
    """Read JSON lines as they come."""
    assert stream is not None
    for line in stream:
        yield json.loads(line)


def stop(process: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> None:
    """Send one signal to one process."""
    process.send_signal(number)


def sha256(path: Path) -> str:
    """Digest a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()

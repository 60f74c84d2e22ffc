"""Archives for tests of the database layer, on either database, and a loop whose time only moves when all wait."""

from __future__ import annotations

import asyncio
import atexit
import functools
import shutil
import sqlite3
import tempfile
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, event

from clipledger.core.lifecycle import CallReason
from clipledger.core.model import AwemeId, Counters, Job, Post
from clipledger.core.passes import SourceProgress
from clipledger.db import schema
from clipledger.db.credits import CallIn
from clipledger.db.database import Database
from clipledger.db.intake import PageIn
from postgres import execute, shared_server

on_sqlite = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
on_postgres = pytest.mark.parametrize("backend", ["postgres"], indirect=True)

NOW = 1_780_000_000.0
"""2026-05-28T20:26:40Z."""


def vid(number: int) -> AwemeId:
    """Make an id of the usual length; a higher number is a newer post."""
    return AwemeId(str(7_300_000_000_000_000_000 + number))


@functools.cache
def _template() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="clipledger-test-"))
    atexit.register(shutil.rmtree, folder)
    path = folder / "template.db"
    schema.create(path, now=NOW, archive_uuid="0f0e")
    return path


_on = "sqlite"
_databases: dict[Path, str] = {}


@contextmanager
def on(backend: str) -> Iterator[None]:
    """Have the archives made meanwhile on `sqlite` or `postgres`; drop those of a server afterwards."""
    global _on
    before, _on = _on, backend
    try:
        yield
    finally:
        _on = before
        for url in _databases.values():
            drop_database(url)
        _databases.clear()


def is_postgres() -> bool:
    """Say whether archives are made on PostgreSQL now."""
    return _on == "postgres"


def new_archive(folder: Path) -> Path | str:
    """Lay down an empty archive's database: in `folder`, or on the server in its name."""
    if not is_postgres():
        return Path(shutil.copy(_template(), folder / "clipledger.db"))
    _databases[folder] = new_database(template_database())
    return _databases[folder]


def archive_at(folder: Path) -> Path | str:
    """Tell where `new_archive` laid it."""
    return _databases[folder] if is_postgres() else folder / "clipledger.db"


def remove_archive(folder: Path) -> None:
    """Drop what `new_archive` made on the server for `folder`."""
    if is_postgres():
        drop_database(_databases.pop(folder))


def is_made(folder: Path) -> bool:
    """Say whether `new_archive` laid one down for `folder`."""
    return folder in _databases if is_postgres() else (folder / "clipledger.db").exists()


def raw(folder: Path, sql: str, *values: object) -> list[tuple[object, ...]]:
    """Run SQL past our own code; `?` stands for a value. Times are told as SQLite holds them, truths as 0 and 1."""
    if is_postgres():
        return [tuple(map(plain, row)) for row in execute(_databases[folder], sql.replace("?", "%s"), *values)]
    with closing(sqlite3.connect(folder / "clipledger.db")) as connection, connection:
        return connection.execute(sql, values).fetchall()


def judge_at_commit() -> tuple[str, ...]:
    """Say what makes a foreign key be judged at COMMIT, not at the statement."""
    if not is_postgres():
        return ("PRAGMA defer_foreign_keys = ON",)
    name = "source_cursors_source_fkey"
    return (f"ALTER TABLE source_cursors ALTER CONSTRAINT {name} DEFERRABLE INITIALLY DEFERRED",)


def plain(value: object) -> object:
    """Tell a value of PostgreSQL's as SQLite holds it."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return int(value) if isinstance(value, bool) else value


@functools.cache
def template_database() -> str:
    """Make the empty archive on the server that all others are copied from; give its name."""
    name = f"template_{uuid.uuid4().hex}"
    execute(shared_server().url(), f"CREATE DATABASE {name}")
    schema.create(shared_server().url(name), now=NOW, archive_uuid="0f0e")
    return name


def new_database(template: str = "template1") -> str:
    """Make a database on the session's server; give its URL."""
    name = f"test_{uuid.uuid4().hex}"
    execute(shared_server().url(), f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    return shared_server().url(name)


def drop_database(url: str) -> None:
    """Drop a database, whoever is still connected."""
    execute(shared_server().url(), f"DROP DATABASE {url.rsplit('/', 1)[-1].split('?')[0]} WITH (FORCE)")


def in_archive(folder: Path, act: Callable[[Database], Awaitable[None]]) -> None:
    """Run `act` on a new archive in `folder`, on the ordinary loop with real threads."""

    async def main() -> None:
        async with Database.open(new_archive(folder)) as db:
            await act(db)

    asyncio.run(main())


@contextmanager
def commits() -> Iterator[list[int]]:
    """Count the commits of writing transactions; the list's length is the count."""
    seen: list[int] = []

    def note(connection: Connection) -> None:
        if connection.get_execution_options().get("clipledger_writes"):
            seen.append(1)

    event.listen(Engine, "commit", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "commit", note)


def call_of(job: Job, worker: str = "w") -> CallIn:
    """Describe the paid resolve of a job."""
    return CallIn("/post-detail/", job.aweme_id, job.source, CallReason(job.call_reason), worker, job.token)


def page_of(
    posts: list[Post],
    *,
    source: str = "@a",
    token: int = 1,
    now: float = NOW,
    used: str | None = None,
    following: str | None = None,
    end: str | None = None,
    lease_until: float | None = None,
    **more: object,
) -> PageIn:
    """Make a page whose pass goes on, or ends with `end`."""

    def decide(new: int, seen: bool) -> SourceProgress:
        word = "loop" if seen else end
        return SourceProgress(None if word else following, 1, new, 0 if new else 1, word, now + 60, None)

    return PageIn(source, token, posts, now, used, following, decide, lease_until=lease_until, **more)  # type: ignore[arg-type]


def post(number: int, *counters: int | None, **more: object) -> Post:
    """Make a list item; counters in the order play, digg, comment, share, download, collect."""
    return Post(vid(number), counters=Counters(*counters), **more)  # type: ignore[arg-type]


class JumpingLoop(asyncio.SelectorEventLoop):
    """A loop that jumps to the next timer when nothing is ready, and runs SQL in line."""

    def __init__(self) -> None:
        super().__init__()
        self._at = 0.0

    def time(self) -> float:
        """Tell the loop's own time, seconds from 0."""
        return self._at

    def run_in_executor(self, _executor: object, func: Callable[..., object], *args: object) -> asyncio.Future[object]:
        """Run `func` now."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 carried to whoever awaits, as a real executor does
            future.set_exception(error)
        return future

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:
            self._at = max(self._at, self._scheduled[0].when())
        super()._run_once()


class LoopClock:
    """The clock of a `JumpingLoop`."""

    def now(self) -> float:
        """Tell unix seconds."""
        return NOW + asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        """Sleep in the loop's time."""
        await asyncio.sleep(seconds)


def in_jumping_time(main: Awaitable[None]) -> None:
    """Run `main` in jumping time."""
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(main)  # type: ignore[arg-type]

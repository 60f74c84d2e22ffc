"""Opening a database on a server: what is wrong is said in one clear line, without a secret."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from alembic import command
from alembic.config import Config

from clipledger.core.errors import ClipledgerError, Misconfigured, StorageUnavailable
from clipledger.db import postgres, schema
from clipledger.db.clock import SharedClock
from clipledger.db.database import Database
from clipledger.db.engine import backend_of
from contract.archives import NOW, LoopClock, drop_database, new_archive, new_database, on
from postgres import execute, free_port, shared_server

_SECRET = "s3cr%40t"


@pytest.fixture
def url() -> Iterator[str]:
    """Give a database with nothing in it."""
    made = new_database()
    yield made
    drop_database(made)


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[str]:
    """Give an empty archive's database."""
    with on("postgres"):
        yield str(new_archive(tmp_path))


async def _open(url: str) -> None:
    async with Database.open(url, patience_s=0.0):
        pass


def _refused(url: str, kind: type[ClipledgerError] = Misconfigured) -> str:
    with pytest.raises(kind) as caught:
        asyncio.run(_open(url))
    assert type(caught.value) is kind or kind is StorageUnavailable
    line = caught.value.detail
    assert "\n" not in line and "s3cr" not in line and _SECRET not in line
    return line


def _as_guarded(url: str, password: str) -> str:
    return url.replace("tester@", f"guarded:{password}@")


def test_two_machines_join_one_archive(url: str) -> None:
    """Of machines that run `init` at the same moment one makes the archive and the others join it."""
    with ThreadPoolExecutor(4) as machines:
        made = [machines.submit(schema.create, url, now=NOW, archive_uuid=f"uuid-{n}") for n in range(4)]
        known = {each.result() for each in made}
    assert len(known) == 1
    schema.migrate(url)
    asyncio.run(_open(url))
    assert schema.create(url, now=NOW, archive_uuid="late") in known


def test_an_empty_database_is_no_archive(url: str) -> None:
    """A database without tables is refused, and stays empty."""
    assert _refused(url) == "not a clipledger archive: its database holds no schema version"
    with pytest.raises(Misconfigured, match="not a clipledger archive"):
        schema.migrate(url)
    assert execute(url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


def test_another_programs_database_is_left_alone(url: str) -> None:
    """A database that another program migrates with the same tool is not taken for ours, nor changed."""
    execute(url, "CREATE TABLE alembic_version(version_num varchar(32))")
    execute(url, "INSERT INTO alembic_version VALUES ('ae1027a6acf')")
    assert _refused(url) == "not a clipledger archive: its database is another program's"
    with pytest.raises(Misconfigured, match="another program's"):
        schema.create(url, now=NOW, archive_uuid="u")
    assert execute(url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(1,)]


@pytest.mark.parametrize(("version", "words"), [("0001", "run clipledger db migrate"), ("9999", "newer clipledger")])
def test_another_schema_is_refused(archive: str, version: str, words: str) -> None:
    """An archive of an older or newer schema is refused, with what to do."""
    execute(archive, "UPDATE alembic_version SET version_num = %s", version)
    assert words in _refused(archive)


def _made_by_the_first_release(url: str) -> None:
    engines = backend_of(url).engines()
    with engines.writing.begin() as connection:
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(schema.MIGRATIONS))
        config.set_main_option("path_separator", "os")
        command.upgrade(config, "0001")
        connection.exec_driver_sql("INSERT INTO meta VALUES ('archive_uuid', 'kept')")
    engines.dispose()


def test_an_archive_of_the_first_schema_is_brought_up(url: str) -> None:
    """`db migrate` takes an archive of the schema before to this one, and leaves its rows alone."""
    _made_by_the_first_release(url)
    assert "run clipledger db migrate" in _refused(url)
    schema.migrate(url)
    asyncio.run(_open(url))
    told = execute(url, "SELECT reloptions::text FROM pg_class WHERE relname = 'archive_queue'")
    assert "fillfactor=80" in str(told) and "autovacuum_vacuum_scale_factor=0.01" in str(told)
    assert schema.create(url, now=NOW, archive_uuid="other") == "kept"


def test_a_missing_database_is_named() -> None:
    """A database that is not there is named in the line."""
    line = _refused(_as_guarded(shared_server().url("nothere"), _SECRET))
    assert line.endswith('database "nothere" does not exist')
    assert f"postgresql://guarded@127.0.0.1:{shared_server().port}/nothere" in line


@pytest.mark.parametrize("password", ["s3cr-wrong", "s3cr%40"])
def test_a_refused_password_is_not_shown(archive: str, password: str) -> None:
    """A wrong password is said to be wrong, and shown nowhere."""
    assert 'password authentication failed for user "guarded"' in _refused(_as_guarded(archive, password))


def test_a_right_password_opens(archive: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The password is taken from the URL, from PGPASSWORD, or from a password file."""
    execute(archive, "GRANT pg_read_all_data, pg_write_all_data TO guarded")
    asyncio.run(_open(_as_guarded(archive, _SECRET)))
    bare = archive.replace("tester@", "guarded@")
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "none"))
    assert "no password supplied" in _refused(bare)
    (tmp_path / "pgpass").write_text("*:*:*:guarded:s3cr@t\n")
    (tmp_path / "pgpass").chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "pgpass"))
    asyncio.run(_open(bare))
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "none"))
    monkeypatch.setenv("PGPASSWORD", "s3cr@t")
    asyncio.run(_open(bare))


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:s3cr@t@h/db",  # @ in a password must be %40
        "postgresql://u:s3cr/t@h/db",
        "postgresql://u:s3cr%zz@h/db",
        "postgresql://u:s3cr@h:port/db",
        "postgresql://u:s3cr@h/db?nonsense=1",
        "postgresql:///user=g password=s3cr",
        "postgresql://u%3As3cr@h/db",
    ],
)
def test_a_url_that_cannot_be_read_is_not_shown(url: str) -> None:
    """A URL that is not understood may hold a password anywhere: nothing of it is shown."""
    assert _refused(url).startswith("database.url is not a URL that PostgreSQL understands: write postgresql://")


def test_a_forgotten_host_does_not_show_the_password() -> None:
    """USER:PASSWORD without @HOST looks like HOST:PORT/NAME: neither port nor name is shown."""
    assert "s3cr" not in backend_of("postgresql://u:8/s3cr").shown
    assert backend_of("postgresql://h/clips").shown == "postgresql://h/clips"
    assert backend_of("postgresql://u@h:8/clips").shown == "postgresql://u@h:8/clips"


def test_an_unreachable_server_is_an_outage() -> None:
    """A server that does not answer is named; the exit code is that of storage, since trying again may help."""
    port = free_port()
    line = _refused(f"postgresql://u:{_SECRET}@127.0.0.1:{port},127.0.0.1:{port}/db", StorageUnavailable)
    assert line.startswith(f"the database postgresql://u@127.0.0.1:{port},127.0.0.1:{port}/db cannot be reached: ")
    assert "refused" in line


def test_a_database_that_is_not_utf8_is_refused() -> None:
    """A database that could not hold every title is refused before anything is written."""
    name = f"test_{uuid.uuid4().hex}"
    execute(shared_server().url(), f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    try:
        assert "encoding is LATIN1" in _refused(shared_server().url(name))
    finally:
        drop_database(shared_server().url(name))


def test_an_old_server_is_refused(archive: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server older than we know is refused with its version and the one it takes."""
    monkeypatch.setattr(postgres, "OLDEST", 99)
    assert "99 or newer is needed" in _refused(archive)


def test_nothing_is_left_in_a_session(archive: str) -> None:
    """Nothing outlives a transaction: no setting, no prepared statement, no lock; a pooler may hand the session on."""

    async def main() -> None:
        async with Database.open(archive) as db:
            for _ in range(8):
                await db.write(lambda connection: connection.exec_driver_sql("SELECT count(*) FROM meta").scalar())
            left = "SELECT (SELECT count(*) FROM pg_prepared_statements), current_setting('lock_timeout')"
            assert await db.read(lambda c: tuple(c.exec_driver_sql(left).one())) == (0, "0")
            held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
            assert await db.read(lambda c: c.exec_driver_sql(held).scalar_one()) == 0

    asyncio.run(main())


def test_a_commit_is_never_asynchronous(archive: str) -> None:
    """A server told to answer before a commit is durable is overruled for our writes."""
    name = urlsplit(archive).path[1:]
    execute(archive, f"ALTER DATABASE {name} SET synchronous_commit = off")

    async def main() -> None:
        async with Database.open(archive) as db:
            asked = (
                "SELECT current_setting('synchronous_commit'), current_setting('idle_in_transaction_session_timeout')"
            )
            assert await db.write(lambda c: tuple(c.exec_driver_sql(asked).one())) == ("on", "30s")

    asyncio.run(main())


def test_every_machine_keeps_the_servers_time(archive: str) -> None:
    """A machine whose clock is a little off works by the server's; one that is far off is refused."""

    class Off(LoopClock):
        def __init__(self, by_s: float) -> None:
            self._by_s = by_s

        def now(self) -> float:
            return (
                float(str(execute(archive, "SELECT extract(epoch FROM clock_timestamp())::float8")[0][0])) + self._by_s
            )

    async def main() -> None:
        async with Database.open(archive) as db:
            shared = SharedClock(Off(5.0))
            await shared.set_by(db)
            assert abs(shared.skew.ahead_s + 5.0) < 0.5 and abs(shared.now() - Off(0.0).now()) < 0.5
            for by_s, words in ((40.0, "ahead of"), (-40.0, "behind")):
                with pytest.raises(Misconfigured, match=rf"clock is (39|40|41) s {words} the database server's"):
                    await SharedClock(Off(by_s)).set_by(db)

    asyncio.run(main())


def _cli(folder: Path, url: str, *words: str) -> subprocess.CompletedProcess[str]:
    environ = os.environ | {"CLIPLEDGER_DATABASE__URL": url}
    told = [sys.executable, "-m", "clipledger", "--archive", str(folder), *words]
    return subprocess.run(told, capture_output=True, text=True, env=environ)


@pytest.mark.slow
def test_a_second_machine_joins_by_init(tmp_path: Path, url: str) -> None:
    """`init` on a second machine joins the archive; `db check` says what is there; each folder holds no database."""
    for name in ("one", "two"):
        assert _cli(tmp_path / name, url, "init", str(tmp_path / name)).returncode == 0
        assert not list((tmp_path / name).glob("*.db"))
    uuids = {(tmp_path / name / ".clipledger" / "uuid").read_text() for name in ("one", "two")}
    assert len(uuids) == 1
    assert _cli(tmp_path / "one", url, "add", "@alice").returncode == 0
    assert "@alice" in _cli(tmp_path / "two", url, "--json", "sources").stdout
    checked = _cli(tmp_path / "two", url, "--json", "db", "check")
    assert (
        checked.returncode == 0 and '"missing_indexes": []' in checked.stdout and uuids.pop().strip() in checked.stdout
    )
    assert _cli(tmp_path / "two", url, "db", "migrate").returncode == 0


@pytest.mark.slow
def test_exit_codes_tell_a_mistake_from_an_outage(tmp_path: Path, url: str) -> None:
    """A wrong password or database ends with 4, a server that is away with 6; one line, no traceback, no secret."""
    assert _cli(tmp_path, url, "init", str(tmp_path)).returncode == 0
    away = f"postgresql://u:{_SECRET}@127.0.0.1:{free_port()}/db?connect_timeout=1"
    for wrong, code in ((_as_guarded(url, "s3cr-no"), 4), (shared_server().url("nothere"), 4), (away, 6)):
        told = _cli(tmp_path, wrong, "status")
        assert told.returncode == code, told.stderr
        assert len(told.stderr.strip().splitlines()) == 1 and told.stderr.startswith("clipledger: ")
        assert "s3cr" not in told.stdout + told.stderr

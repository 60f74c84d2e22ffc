"""Opening a database: what is not an archive, or not of this schema, is refused in one clear line."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from clipledger.archive import database_at
from clipledger.core.errors import Misconfigured
from clipledger.db import schema
from clipledger.db.database import Database
from clipledger.db.engine import backend_of
from clipledger.db.meta import Meta
from clipledger.db.tables import SCHEMA_VERSION
from clipledger.doctor import wishes
from clipledger.settings import Settings
from contract.archives import new_archive


async def _open(path: Path) -> None:
    async with Database.open(path):
        pass


def _refused(path: Path) -> str:
    with pytest.raises(Misconfigured) as caught:
        asyncio.run(_open(path))
    assert "\n" not in caught.value.detail
    return caught.value.detail


def test_a_missing_file_is_not_made(tmp_path: Path) -> None:
    """Opening where no archive is says so and leaves no empty file behind."""
    assert "none.db is not there" in _refused(tmp_path / "none.db")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    """A database file that is something else is refused in one clear line."""
    path = tmp_path / "clipledger.db"
    path.write_bytes(b"this is a letter to my aunt, not a database" * 100)
    assert "not a database" in _refused(path)


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    """A database of some other program is left alone."""
    path = tmp_path / "clipledger.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE recipes(name)")
    other.close()
    assert _refused(path).startswith("not a clipledger archive")


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("0000", f"schema 0000, this program needs {SCHEMA_VERSION}: run clipledger db migrate"),
        ("9999", f"made by a newer clipledger: schema 9999, this program knows {SCHEMA_VERSION}"),
    ],
)
def test_another_schema_is_refused(tmp_path: Path, version: str, words: str) -> None:
    """An archive of an older or newer schema is refused, with what to do."""
    path = new_archive(tmp_path)
    with sqlite3.connect(path) as other:
        other.execute("UPDATE alembic_version SET version_num = ?", (version,))
    other.close()
    assert _refused(path) == words


def test_a_lost_table_is_noticed(tmp_path: Path) -> None:
    """An archive whose database lost a table is refused at once, by the table's name."""
    path = new_archive(tmp_path)
    with sqlite3.connect(path) as other:
        other.execute("DROP TABLE posts")
    other.close()
    assert _refused(path) == "not a clipledger archive: table posts is missing from its database"


@pytest.mark.parametrize("url", ["mysql://x/y", "sqlite:///:memory:", "://"])
def test_an_unknown_database_url_is_refused(url: str) -> None:
    """A database URL we cannot use is a setting to be corrected."""
    with pytest.raises(Misconfigured, match=r"database\.url"):
        Database(url)


@pytest.mark.parametrize(
    "url",
    [
        "user=g password=hunter2 host=127.0.0.1",
        "postgresql:/u:hunter2@h/x",
        "postgresql//hunter2/x",
        "Postgresql://u:hunter2@h/x",
        "host%3Dh password%3Dhunter2",
        "u:hunter2",
        "sqlite://u:hunter2@h/x",
        "sqlite:/hunter2",
        "sqlite:///postgresql://u:hunter2@h/x",
        "",
    ],
)
def test_a_server_written_wrongly_is_no_file(url: str, tmp_path: Path) -> None:
    """What may be a server with a password is refused without a word of it, and no file is made of it."""
    for read in (backend_of, lambda url: database_at(tmp_path, url)):
        with pytest.raises(Misconfigured, match=r"^database\.url") as caught:
            read(url)
        assert "hunter2" not in caught.value.detail
    told = wishes._shown(Settings.model_validate({"database": {"url": url}}), "database.url")
    assert "hunter2" not in told
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("clips.db", "clips.db"),
        ("my clips/a.db", "my clips/a.db"),
        ("sqlite:///a=b@c.db", "a=b@c.db"),
        ("sqlite:////srv/a.db", "/srv/a.db"),
        ("/srv/a.db", "/srv/a.db"),
    ],
)
def test_a_relative_file_is_in_the_archive_folder(url: str, file: str, tmp_path: Path) -> None:
    """A bare path means the same file as `sqlite:///` with it: in the archive folder unless it is absolute."""
    assert database_at(tmp_path, url) == tmp_path.resolve() / file


def test_creating_twice_changes_nothing(tmp_path: Path) -> None:
    """`init` on an existing archive keeps its UUID and its rows."""
    path = tmp_path / "clipledger.db"
    assert schema.create(path, now=1.0, archive_uuid="first") == "first"
    assert schema.create(f"sqlite:///{path}", now=2.0, archive_uuid="second") == "first"
    schema.migrate(path)

    async def main() -> None:
        async with Database.open(path) as db:
            assert await Meta(db).get("archive_uuid") == "first"
            assert await Meta(db).get("created_at") == "1970-01-01T00:00:01.000Z"
            assert await Meta(db).get("nothing") is None
            await Meta(db).set("regions", "1")
            await Meta(db).set("regions", "2")
            assert await Meta(db).get("regions") == "2"

    asyncio.run(main())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("UPDATE alembic_version SET version_num = '9999'", "made by a newer clipledger: schema 9999"),
        ("UPDATE alembic_version SET version_num = '0000'", "the schema cannot be brought up to date"),
        ("DELETE FROM alembic_version", "alembic_version is empty"),
        ("DELETE FROM meta", "UUID is missing"),
    ],
)
def test_migrating_what_cannot_be_migrated_is_refused(tmp_path: Path, change: str, words: str) -> None:
    """`db migrate` on a newer or damaged archive is one clear line, and changes nothing."""
    path = new_archive(tmp_path)
    with sqlite3.connect(path) as other:
        other.execute(change)
    other.close()
    with pytest.raises(Misconfigured, match=words) as caught:
        schema.migrate(path)
    assert "\n" not in caught.value.detail


def test_an_archive_that_holds_no_version_is_refused(tmp_path: Path) -> None:
    """Without a schema version nobody is sent to `db migrate`, which could not help."""
    path = new_archive(tmp_path)
    with sqlite3.connect(path) as other:
        other.execute("DELETE FROM alembic_version")
    other.close()
    assert "alembic_version is empty" in _refused(path)

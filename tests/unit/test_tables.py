"""The schema: what the migrations make is what the program reads and writes."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, select
from sqlalchemy.dialects import postgresql, sqlite

from clipledger.db import schema
from clipledger.db.tables import SCHEMA_VERSION, UtcTime, meta, metadata

_GUIDE = {
    "archive_queue": "aweme_id source state attempts added_at resolved_at",
    "posts": "aweme_id author_id author_handle title region duration create_time play_count digg_count comment_count "
    "share_count download_count collect_count music_id storage_key bytes sha256 archived_at",
    "post_metrics_history": "aweme_id observed_at play_count digg_count comment_count share_count download_count "
    "collect_count",
    "dead_letters": "aweme_id reason detail attempts died_at",
    "sightings": "source aweme_id seen_at",
    "credits": "at endpoint aweme_id source reason outcome credits",
    "files": "aweme_id kind storage_key bytes sha256",
}


def _statements(path: Path) -> dict[str, str]:
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    connection.close()
    return {name: _parts(re.sub(r"\s+", " ", sql)) for name, sql in rows if name != "alembic_version"}


def _parts(statement: str) -> str:
    """Sort what a statement lists: a migration puts a column behind the constraints."""
    head, _, body = statement.removesuffix(")").partition("(")
    return f"{head.strip()} {sorted(part.strip() for part in re.split(r',(?![^(]*[)])', body))}"


def _is_ordinary(name: str | None, kind: str, _parents: object) -> bool:
    """The search index is a virtual table, which alembic does not know; the test above compares it."""
    return not (kind == "table" and str(name).startswith("post_search"))


def test_migrations_make_the_tables_the_program_knows(tmp_path: Path) -> None:
    """A new archive's tables, columns and indexes are exactly those the program was written for."""
    migrated, declared = tmp_path / "migrated.db", tmp_path / "declared.db"
    schema.create(migrated, now=0.0, archive_uuid="u")
    engine = create_engine(f"sqlite:///{declared}")
    metadata.create_all(engine)
    engine.dispose()
    assert _statements(migrated) == _statements(declared)


def test_an_archive_of_the_first_schema_is_brought_up_to_date(tmp_path: Path) -> None:
    """`db migrate` brings an archive of the first release to the present schema, and its rows keep what they hold."""
    path = tmp_path / "clipledger.db"
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(schema.MIGRATIONS))
        config.set_main_option("path_separator", "os")
        command.upgrade(config, "0001")
        connection.exec_driver_sql(
            "INSERT INTO archive_queue(aweme_id, source, state, added_at, due_at) VALUES ('7', '@a', 'dead', 'x', '')"
        )
        connection.exec_driver_sql("INSERT INTO meta VALUES ('archive_uuid', 'u')")
    engine.dispose()
    schema.migrate(path)
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT aweme_id, added_at, throttles, first_died_at FROM archive_queue").fetchall() == [
            ("7", "x", 0, None)
        ]
    db.close()


def test_alembic_sees_no_difference(tmp_path: Path) -> None:
    """Whoever writes the next migration starts from a schema without differences."""
    path = tmp_path / "clipledger.db"
    schema.create(path, now=0.0, archive_uuid="u")
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_name": _is_ordinary})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_the_last_migration_is_the_version_the_program_asks_for() -> None:
    """A migration without its version, or a version without its migration, never ships."""
    config = Config()
    config.set_main_option("script_location", str(schema.MIGRATIONS))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_heads() == [SCHEMA_VERSION]


def test_the_contracts_columns_are_there() -> None:
    """Every table and column that the outside contract names exists under that name."""
    for table, columns in _GUIDE.items():
        assert set(columns.split()) <= set(metadata.tables[table].c.keys())


@pytest.mark.slow
def test_opening_does_not_load_alembic() -> None:
    """Everyday commands do not pay for loading the migration tool."""
    program = "import sys, clipledger.db.queue, clipledger.db.schema; sys.exit('alembic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@given(st.integers(0, 4_000_000_000_000).map(lambda ms: ms / 1000))
def test_times_come_back_as_they_went_in(at: float) -> None:
    """A moment read from the database is the moment that was written, to the millisecond."""
    column = UtcTime()
    for dialect in (sqlite.dialect(), postgresql.dialect()):
        stored = column.process_bind_param(at, dialect)
        assert column.process_result_value(stored, dialect) == at


@given(st.floats(0, 4e9), st.floats(0, 4e9))
def test_times_sort_as_text(one: float, other: float) -> None:
    """Times in the SQLite file sort as text in the order of time."""
    column, dialect = UtcTime(), sqlite.dialect()
    texts = [column.process_bind_param(at, dialect) for at in sorted((one, other))]
    assert texts == sorted(texts)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text) for text in texts)


def test_no_time_stays_no_time() -> None:
    """A moment that has not come is null, not 1970."""
    column = UtcTime()
    assert column.process_bind_param(None, sqlite.dialect()) is None
    assert column.process_result_value(None, sqlite.dialect()) is None


def test_a_crash_while_creating_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An `init` that was killed half-way can simply be run again."""
    path = tmp_path / "clipledger.db"

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(schema, "iso_time", die)
        with pytest.raises(KeyboardInterrupt):
            schema.create(path, now=0.0, archive_uuid="first")
    assert _statements(path) == {}
    schema.create(path, now=0.0, archive_uuid="second")
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        assert connection.execute(select(meta.c.value).where(meta.c.key == "archive_uuid")).scalar() == "second"
    engine.dispose()

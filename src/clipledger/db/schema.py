"""Make the archive's tables, bring them up to date, and refuse a database that is not ours.

Alembic is slow to import, so only `create` and `migrate` load it: opening looks at the version
with plain SQL. Must not: be called from the event loop, but for the two checks, which only read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, Connection, Text, column, inspect, select, table

from clipledger.core.errors import Misconfigured
from clipledger.core.times import iso_time
from clipledger.db.engine import WRITES, database_url, open_engine, per_dialect, storage_errors
from clipledger.db.tables import SCHEMA_VERSION, meta, metadata

MIGRATIONS = Path(__file__).parent / "migrations"

_VERSION = select(column("version_num", Text)).select_from(table("alembic_version"))
_REMEMBER = per_dialect(lambda insert: insert(meta).on_conflict_do_nothing())


def create(where: str | Path, *, now: float, archive_uuid: str) -> str:
    """Create the schema in a new database file; a database that has one is left alone, a foreign one refused.

    One transaction: a crash leaves an empty file, which the next call fills. Returns the archive's
    UUID: the one given, or the one that stood there before.
    """
    with _writing(database_url(where)) as connection:
        present = inspect(connection).get_table_names()
        if present and not {"alembic_version", "archive_queue"} <= set(present):
            raise Misconfigured(f"{where} is a database of another program (table {present[0]}): name another folder")
        if not present:
            _upgrade(connection)
            facts = {"archive_uuid": archive_uuid, "created_at": iso_time(now)}
            connection.execute(_REMEMBER(connection), [{"key": key, "value": value} for key, value in facts.items()])
        known: str = connection.execute(select(meta.c.value).where(meta.c.key == "archive_uuid")).scalar_one()
        return known


def migrate(where: str | Path) -> None:
    """Bring an existing archive's schema up to date, in one transaction; idempotent."""
    url = database_url(where)
    check_file(url)
    with _writing(url) as connection:
        _upgrade(connection)


def check_file(url: URL) -> None:
    """Raise Misconfigured when there is no database file; connecting would make an empty one."""
    if not Path(url.database or "").is_file():
        raise Misconfigured(f"the archive's database {url.database} is not there: restore it from a backup")


def check(connection: Connection) -> None:
    """Raise Misconfigured when the database is not an archive of this program's schema."""
    present = set(inspect(connection).get_table_names())
    if "alembic_version" not in present:
        raise Misconfigured("not a clipledger archive: its database holds no schema version")
    version = connection.execute(_VERSION).scalar() or "0000"
    if version > SCHEMA_VERSION:
        raise Misconfigured(f"made by a newer clipledger: schema {version}, this program knows {SCHEMA_VERSION}")
    if version < SCHEMA_VERSION:
        raise Misconfigured(f"schema {version}, this program needs {SCHEMA_VERSION}: run clipledger db migrate")
    if missing := sorted(set(metadata.tables) - present):
        raise Misconfigured(f"not a clipledger archive: table {missing[0]} is missing from its database")


@contextmanager
def _writing(url: URL) -> Iterator[Connection]:
    engine = open_engine(url)
    try:
        with storage_errors(), engine.execution_options(**WRITES).begin() as connection:
            yield connection
    finally:
        engine.dispose()


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    command.upgrade(config, "head")

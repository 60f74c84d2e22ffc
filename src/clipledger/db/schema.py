"""Make the archive's tables, bring them up to date, and refuse a database that is not ours.

Alembic is slow to import, so only `create` and `migrate` load it: opening looks at the version
with plain SQL. Must not: be called from the event loop, but for the two checks, which only read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Text, column, inspect, select, table

from clipledger.core.chain import Act, Entry, Who
from clipledger.core.errors import Misconfigured
from clipledger.core.times import iso_time
from clipledger.db import access_tables as access_tables  # its tables are of the same metadata
from clipledger.db import audit
from clipledger.db import care_tables as care_tables  # and these
from clipledger.db import custody_tables as custody_tables  # and these
from clipledger.db import export_tables as export_tables  # and these
from clipledger.db import index_tables as index_tables  # and these
from clipledger.db.backend import Backend
from clipledger.db.engine import backend_of, per_dialect, storage_errors
from clipledger.db.tables import SCHEMA_VERSION, meta, metadata

MIGRATIONS = Path(__file__).parent / "migrations"

_OURS = {"meta", "archive_queue"}
_VERSION = select(column("version_num", Text)).select_from(table("alembic_version"))
_REMEMBER = per_dialect(lambda insert: insert(meta).on_conflict_do_nothing())


def create(where: str | Path, *, now: float, archive_uuid: str, who: Who | None = None) -> str:
    """Create the schema in a new database; an archive's, of whatever version, is left alone, a foreign one refused.

    One transaction: a crash leaves an empty database, which the next call fills. `who` makes it stands in the
    audit log. Returns the archive's
    UUID: the one given, or the one that stood there before.
    """
    with _changing(backend_of(where)) as connection:
        present = inspect(connection).get_table_names()
        if present and not {"alembic_version", "archive_queue"} <= set(present):
            raise Misconfigured(f"the database is another program's (table {present[0]}): name another one")
        if not present:
            lay_tables(connection)
            facts = {"archive_uuid": archive_uuid, "created_at": iso_time(now)}
            connection.execute(_REMEMBER(connection), [{"key": key, "value": value} for key, value in facts.items()])
            if who is not None:
                audit.append(connection, who, now, Entry(Act.INIT, archive_uuid, detail=f"schema {SCHEMA_VERSION}"))
        return identity(connection)


def migrate(where: str | Path, *, now: float = 0.0, who: Who | None = None) -> None:
    """Bring an existing archive's schema up to date, in one transaction; idempotent. `who` tells the audit log."""
    backend = backend_of(where)
    backend.check_there()
    with _changing(backend) as connection:
        identity(connection)
        before = _version(connection)
        _refuse_newer(before)
        lay_tables(connection)
        if who is not None and before != SCHEMA_VERSION:
            audit.append(connection, who, now, Entry(Act.MIGRATE, detail=f"schema {before} to {SCHEMA_VERSION}"))


def identity(connection: Connection) -> str:
    """Give the archive's UUID; Misconfigured where the database is no archive."""
    _check_ours(set(inspect(connection).get_table_names()))
    known: str | None = connection.execute(select(meta.c.value).where(meta.c.key == "archive_uuid")).scalar()
    if known is None:
        raise Misconfigured("the archive's UUID is missing from its database (table meta): restore it from a backup")
    return known


def check(connection: Connection) -> None:
    """Raise Misconfigured when the database is not an archive of this program's schema."""
    present = set(inspect(connection).get_table_names())
    _check_ours(present)
    version = _version(connection)
    _refuse_newer(version)
    if version < SCHEMA_VERSION:
        raise Misconfigured(f"schema {version}, this program needs {SCHEMA_VERSION}: run clipledger db migrate")
    if missing := sorted(set(metadata.tables) - present):
        raise Misconfigured(f"not a clipledger archive: table {missing[0]} is missing from its database")


def _version(connection: Connection) -> str:
    version: str | None = connection.execute(_VERSION).scalar()
    if not version:
        raise Misconfigured("the database holds no schema version (alembic_version is empty): restore it from a backup")
    return version


def _refuse_newer(version: str) -> None:
    if version > SCHEMA_VERSION:
        raise Misconfigured(f"made by a newer clipledger: schema {version}, this program knows {SCHEMA_VERSION}")


def _check_ours(present: set[str]) -> None:
    if "alembic_version" not in present:
        raise Misconfigured("not a clipledger archive: its database holds no schema version")
    if not present >= _OURS:
        raise Misconfigured("not a clipledger archive: its database is another program's")


@contextmanager
def _changing(backend: Backend) -> Iterator[Connection]:
    engines = backend.engines()
    try:
        with storage_errors(), engines.writing.begin() as connection:
            backend.lock_schema(connection)
            yield connection
    finally:
        engines.dispose()


def lay_tables(connection: Connection) -> None:
    """Make the tables in an open transaction, or bring them up to date."""
    from alembic import command
    from alembic.config import Config
    from alembic.util.exc import CommandError

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    try:
        command.upgrade(config, "head")
    except CommandError as error:  # a version that no migration here has
        raise Misconfigured(f"the schema cannot be brought up to date: {' '.join(str(error).split())}") from None

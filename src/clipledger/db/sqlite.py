"""SQLite: pragmas, `BEGIN IMMEDIATE`, and what its driver's errors mean. Must not: know a table."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import URL, Connection, create_engine, event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry as _Record

from clipledger.core.errors import ClipledgerError, Misconfigured, StorageFull, StorageUnavailable
from clipledger.db.backend import BUSY_TIMEOUT_S, CONNECTIONS, WRITES, Engines

_PRAGMAS = (
    f"PRAGMA busy_timeout = {BUSY_TIMEOUT_S * 1000:.0f}",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
)

_NOT_OURS = "the database file is damaged or not a database: restore it from a backup"
_NO_TEXT = "Could not decode to UTF-8"  # the driver's own complaint, which has no code
_FAILURES: dict[int, tuple[type[ClipledgerError], str]] = {
    sqlite3.SQLITE_FULL: (StorageFull, "the disk that holds the database is full"),
    sqlite3.SQLITE_READONLY: (StorageFull, "the database cannot be written: it is read-only"),
    sqlite3.SQLITE_IOERR: (StorageFull, "the disk that holds the database fails"),
    sqlite3.SQLITE_CANTOPEN: (
        StorageFull,
        "the database cannot be opened: check the folder's rights, free space and `ulimit -n`; one that was copied "
        "while it was open is read only where its folder can be written",
    ),
    sqlite3.SQLITE_BUSY: (StorageUnavailable, "another process keeps the database locked"),
    sqlite3.SQLITE_LOCKED: (StorageUnavailable, "another process keeps the database locked"),
    sqlite3.SQLITE_PROTOCOL: (
        Misconfigured,
        "the database lies on a file system without locks: keep it on a local disk",
    ),
    sqlite3.SQLITE_NOTADB: (Misconfigured, _NOT_OURS),
    sqlite3.SQLITE_CORRUPT: (Misconfigured, _NOT_OURS),
}


@dataclass(frozen=True, slots=True)
class Sqlite:
    """A database file."""

    file: str

    @property
    def shown(self) -> str:
        """Name the file."""
        return self.file

    @property
    def is_server(self) -> bool:
        """Say no: the library is in this process."""
        return False

    def engines(self) -> Engines:
        """Make the engines. Transactions that write take the write lock at once."""
        engine = create_engine(
            URL.create("sqlite", database=self.file),
            creator=self._connect,
            pool_size=CONNECTIONS,
            max_overflow=0,
        )
        event.listen(engine, "connect", _prepare)
        event.listen(engine, "connect", self._note_state)
        event.listen(engine, "checkout", self._check_state)
        event.listen(engine, "begin", _begin)
        return Engines(engine, engine.execution_options(**WRITES))

    def _connect(self) -> sqlite3.Connection:
        """Connect. The pool hands a connection to one thread at a time, so the driver need not check it."""
        if not self._is_still:
            return sqlite3.connect(self.file, check_same_thread=False)
        return sqlite3.connect(f"file:{quote(self.file)}?immutable=1", uri=True, check_same_thread=False)

    @property
    def _is_still(self) -> bool:
        """Say whether the file lies where nobody can write, and nobody has it open: a snapshot, a backup, a disc.

        Beside a file that may change SQLite makes two more before it reads; there it could not.
        """
        file = Path(self.file)
        return file.is_file() and not os.access(file.parent, os.W_OK) and not Path(f"{file}-wal").exists()

    def _note_state(self, _connection: object, record: _Record) -> None:
        if self._is_still:
            record.info["stood"] = self._state()

    def _check_state(self, _connection: object, record: _Record, _proxy: object) -> None:
        """Have a new connection made when the file that nobody could write from here was written all the same.

        Another machine may, or another mount; and what SQLite holds of an immutable file it never looks at again.
        """
        if "stood" in record.info and not (self._is_still and record.info["stood"] == self._state()):
            raise DisconnectionError("the file was written elsewhere")

    def _state(self) -> tuple[int, int, int]:
        found = Path(self.file).stat()
        return found.st_ino, found.st_size, found.st_mtime_ns

    def check_there(self) -> None:
        """Raise Misconfigured when there is no file; connecting would make an empty one."""
        if not Path(self.file).is_file():
            raise Misconfigured(
                f"the archive's database {self.file} is not there: restore it from a backup, or `clipledger rebuild` it"
            )

    def lock_schema(self, connection: Connection) -> None:
        """Do nothing: the transaction began with the only write lock there is."""

    def size_bytes(self) -> int:
        """Tell the size of the file."""
        return Path(self.file).stat().st_size

    def scrub(self, connection: Connection) -> bool:
        """Rewrite the file, then empty the write-ahead log: both keep what was deleted until something needs the room.

        False when a reader of another process keeps the log.
        """
        cursor = connection.connection.cursor()  # the driver's: SQLAlchemy would begin a transaction
        cursor.execute("VACUUM")
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        told = cursor.fetchone()
        cursor.close()
        return told is not None and told[0] == 0

    def go_on_counting(self, connection: Connection, table: str, column: str) -> None:
        """Do nothing: the next number is always one above the highest."""


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # `_begin` opens transactions; the driver must not
    for pragma in _PRAGMAS:
        connection.execute(pragma)


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("clipledger_writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def failure(cause: sqlite3.Error) -> ClipledgerError | None:
    """Name a failure of disk, lock or file; None for one of the statement's own."""
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF  # the low byte: extended codes refine it
    if str(cause).startswith(_NO_TEXT):
        code = sqlite3.SQLITE_CORRUPT
    if code not in _FAILURES:
        return None
    kind, detail = _FAILURES[code]
    return kind(detail)

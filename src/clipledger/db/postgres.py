"""PostgreSQL: how it is reached, and which of its failures pass.

Everything libpq understands may stand in the URL or the environment: several hosts, `sslmode`,
`service`, PGPASSFILE. Nothing here outlives a transaction, so a pooler that hands out connections by
transaction (pgbouncer) does: no prepared statements, `SET LOCAL` only, no session locks, no LISTEN.
Must not: know a table, load the driver before it is needed, or show a secret.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, create_engine, event, text

from clipledger.core.errors import ClipledgerError, Misconfigured, StorageFull
from clipledger.db.backend import BUSY_TIMEOUT_S, CONNECTIONS, WRITES, Engines, Passing

if TYPE_CHECKING:
    import psycopg

SCHEMES = ("postgresql://", "postgres://", "postgresql+psycopg://")

OLDEST = 15
"""The oldest server that is tried: what Debian 12 ships."""

VANISHED_S = 30
"""A transaction whose client fell silent is ended by the server after this: its locks stand in everybody's way."""

_DEFAULTS = {
    "application_name": "clipledger",
    "client_encoding": "utf8",
    "target_session_attrs": "read-write",  # of several hosts the one that takes writes
    "connect_timeout": "5",  # seconds, for each host
    # A peer that died without a word is noticed after 5 + 2 * 3 s, or when what was sent stays unanswered for 10 s.
    "keepalives": "1",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
}

_MISPLACED = {"host": "[@=]", "dbname": "[@=]", "user": "[:=]"}
"""What shows, in a part that is shown, that a password ended up there."""

_MIGRATING = 0x636C6970_6C656467
"""The key of the advisory lock: "clipledg"."""

# Sent as one message, not as the driver's BEGIN and a question: a way to the server and back is most of what a small
# transaction costs. Asynchronous commits are refused, stronger settings than `on` stay.
_BEGIN_READING = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_BEGIN_WRITING = (
    f"BEGIN ISOLATION LEVEL READ COMMITTED; SELECT set_config('lock_timeout', '{BUSY_TIMEOUT_S:.0f}s', true),"
    f" set_config('idle_in_transaction_session_timeout', '{VANISHED_S}s', true),"
    " set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on'"
    " ELSE current_setting('synchronous_commit') END, true)"
)
_LOCK_SCHEMA = text("SELECT pg_advisory_xact_lock(:key)")

_URL = "database.url is not a URL that PostgreSQL understands: write postgresql://USER@HOST/NAME, with what is not a"
_URL += " letter or digit in a name or password as %XX, or leave the password to PGPASSWORD or ~/.pgpass"

# What the server, or libpq, says when trying again cannot help. A refused connection carries no SQLSTATE.
_REFUSALS = re.compile(
    r"authentication failed|no password supplied|no pg_hba\.conf entry|permission denied|is not permitted to log in"
    r"|database \S+ does not exist|no such database|role \S+ does not exist|no such user"
    r"|SSL|certificate|definition of service|service file|invalid (?:sslmode|value|integer|channel|port)",
    re.I,
)

_PASSING: Mapping[str, str] = {
    "40001": "the database could not order this transaction among others",
    "40003": "it is not known whether the database completed a transaction",
    "40P01": "the database broke a deadlock",
    "55P03": "another process keeps the database locked",
    "57014": "the database cancelled a statement",
    "53000": "the database server is short of resources",
    "53200": "the database server is out of memory",
    "53300": "the database server has no connection left",
}
_GONE = re.compile("08...|57P0.|25P0[345]")
_FULL: Mapping[str, str] = {
    "53100": "the disk that holds the database is full",
    "58030": "the disk that holds the database fails",
}
_WRONG: Mapping[str, str] = {
    "28000": "the database refuses the user",
    "28P01": "the database refuses the password",
    "3D000": "there is no such database",
    "42501": "the database's user lacks a right",
    "XX001": "the database is damaged: restore it from a backup",
    "XX002": "an index of the database is damaged: run REINDEX",
}


@dataclass(frozen=True, slots=True)
class Postgres:
    """A database on a server, or on the first of several that takes writes."""

    conninfo: str = field(repr=False)
    shown: str
    secret: str = field(repr=False)

    @classmethod
    def read(cls, url: str) -> Postgres:
        """Read a URL; Misconfigured, without a word of it, when libpq does not understand it."""
        driver = _driver()
        plain = "postgresql://" + url.split("://", 1)[1]
        try:
            said = driver.conninfo.conninfo_to_dict(plain)
        except driver.Error:
            raise Misconfigured(_URL) from None
        told = {key: str(value) for key, value in said.items() if value is not None}
        # A password with @, / or : in it that was not written as %XX ends up in the wrong part.
        ports = told.get("port", "").split(",")
        if any(re.search(signs, told.get(key, "")) for key, signs in _MISPLACED.items()) or not all(
            port.isdigit() or not port for port in ports
        ):
            raise Misconfigured(_URL)
        # USER:PASSWORD whose @HOST was forgotten looks like HOST:PORT/NAME.
        shown = _shown(told, ports) if "@" in plain or not any(ports) else "postgresql://***"
        return cls(driver.conninfo.make_conninfo("", **(_DEFAULTS | told)), shown, told.get("password", ""))

    @property
    def is_server(self) -> bool:
        """Say yes."""
        return True

    def engines(self) -> Engines:
        """Make the engines: reads see one snapshot, writes see what others committed and lock what they change."""
        _driver()
        engine = create_engine(
            "postgresql+psycopg://",
            creator=self._connect,
            pool_size=CONNECTIONS,
            max_overflow=0,
            use_native_hstore=False,
        )
        event.listen(engine, "begin", _begin)
        return Engines(engine, engine.execution_options(**WRITES))

    def check_there(self) -> None:
        """Do nothing: connecting to a database that is not there makes none."""

    def lock_schema(self, connection: Connection) -> None:
        """Wait for whoever changes the schema, on any machine; the lock ends with the transaction."""
        connection.execute(_LOCK_SCHEMA, {"key": _MIGRATING})

    def size_bytes(self) -> int:
        """Say 0: nothing is rewritten."""
        return 0

    def scrub(self, connection: Connection) -> bool:
        """Do nothing: what is deleted is in no answer and no dump; its pages are the server's to clean."""
        return True

    def go_on_counting(self, connection: Connection, table: str, column: str) -> None:
        """Set the column's sequence past its highest number."""
        highest = text(
            f"SELECT setval(pg_get_serial_sequence(:t, :c), max({column})) FROM {table}"
        )  # both our own names
        connection.execute(highest, {"t": table, "c": column})

    def _connect(self) -> psycopg.Connection[Any]:
        driver = _driver()
        try:
            connection: psycopg.Connection[Any] = driver.connect(self.conninfo, prepare_threshold=None, autocommit=True)
        except driver.OperationalError as error:
            line = self._line(error)
            if _REFUSALS.search(line):
                raise Misconfigured(f"database.url: {self.shown}: {line}") from None
            raise driver.OperationalError(f"the database {self.shown} cannot be reached: {line}") from None
        if refusal := _unfit(connection):
            connection.close()
            raise Misconfigured(f"database.url: {self.shown}: {refusal}")
        return connection

    def _line(self, error: psycopg.Error) -> str:
        """Give the last attempt's reason, one line, without the password."""
        lines = [line.strip(" -\t") for line in str(error).splitlines() if line.strip()]
        told = next((line for line in lines if "FATAL" in line), lines[0] if lines else type(error).__name__)
        told = told.rsplit("FATAL:", 1)[-1].removeprefix("connection failed: ").strip()
        return told.replace(self.secret, "***") if self.secret else told


def is_ours(error: BaseException | None) -> bool:
    """Say whether the driver raised it."""
    return any(kind.__module__.startswith("psycopg") for kind in type(error).__mro__)


def failure(cause: BaseException | None) -> ClipledgerError | None:
    """Name a failure of the server or of the way to it; None for one of the statement's own."""
    state: str | None = getattr(cause, "sqlstate", None)
    if state is None:
        lost = isinstance(cause, (_driver().OperationalError, _driver().InterfaceError))
        return Passing(_first_line(cause), reconnect=True) if lost else None
    if state == "25006":
        return Passing("the database takes no writes: it is a standby, or was made read-only", reconnect=True)
    if _GONE.fullmatch(state):
        return Passing(f"the connection to the database was lost: {_first_line(cause)}", reconnect=True)
    if state not in _WRONG and state.startswith("XX"):
        return Misconfigured(f"the database is damaged, or its server is: {_first_line(cause)}")
    if state not in _FULL and state.startswith("58"):
        return StorageFull(f"the disk that holds the database fails: {_first_line(cause)}")
    for kind, told in ((Passing, _PASSING), (StorageFull, _FULL), (Misconfigured, _WRONG)):
        if state in told:
            return kind(f"{told[state]}: {_first_line(cause)}")
    return None


def _first_line(cause: BaseException | None) -> str:
    return next(iter(str(cause).strip().splitlines()), type(cause).__name__)


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("clipledger_writes")
    connection.exec_driver_sql(_BEGIN_WRITING if writes else _BEGIN_READING)


def _unfit(connection: psycopg.Connection[Any]) -> str | None:
    told = connection.info
    if told.server_version < OLDEST * 10_000:
        return f"the server is PostgreSQL {told.server_version // 10_000}; {OLDEST} or newer is needed"
    encoding = told.parameter_status("server_encoding")
    if encoding != "UTF8":
        return f"the database's encoding is {encoding}: make it anew with ENCODING 'UTF8' TEMPLATE template0"
    return None


def _shown(told: Mapping[str, str], ports: list[str]) -> str:
    hosts = told.get("host", told.get("hostaddr", "")).split(",")
    ports = ports if len(ports) == len(hosts) else ports * len(hosts)
    places = ",".join(f"{host}:{port}" if port else host for host, port in zip(hosts, ports, strict=False))
    user = f"{told['user']}@" if told.get("user") else ""
    return f"postgresql://{user}{places}/{told.get('dbname', '')}"


def _driver() -> Any:
    try:
        import psycopg
    except ImportError as error:
        why = "" if isinstance(error, ModuleNotFoundError) and error.name == "psycopg" else f" ({_first_line(error)})"
        raise Misconfigured(f"PostgreSQL needs an extra: pip install 'clipledger[postgres]'{why}") from None
    return psycopg

"""Connections and transactions of the service's database, on SQLite or PostgreSQL.

SQLite is for one machine: a file in WAL mode, synced at every commit, whose writers queue behind BEGIN
IMMEDIATE. It is not safe on a network file system. PostgreSQL is for several: its writers lock rows or,
where a transaction names one, a lock of the whole database.
"""

import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, IntegrityError, NoSuchModuleError, ProgrammingError, SQLAlchemyError
from sqlalchemy.pool import NullPool

BUSY_TIMEOUT_S = 30.0
"""How long a call waits for another one that writes."""
MAX_NUM_CONNECTIONS = 20
"""Most connections of one process to PostgreSQL; further calls wait for one of them."""
_SQLITE_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_LOCK_NOT_AVAILABLE = "55P03"
"""PostgreSQL's code of a lock that was not free within `lock_timeout`."""


class DatabaseError(Exception):
    """The database cannot be read or written; a later call may succeed."""


class DatabaseBusyError(DatabaseError):
    """Another process has held what a call needs for too long."""


class Database:
    """The service's database, whose tables are up to date; see `open_database`.

    Threads may share it; a child process opens its own.
    """

    def __init__(self, url: URL, busy_timeout_s: float) -> None:
        self.url = url
        self.is_sqlite = url.get_backend_name() == "sqlite"
        self._busy_timeout_s = busy_timeout_s
        self._engine = (_sqlite_engine if self.is_sqlite else _postgresql_engine)(url, busy_timeout_s)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Read in one transaction.

        Raises:
            DatabaseError: the database cannot be read; so may every statement of the block.
        """
        with self._explaining(), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self, lock: str | None = None) -> Iterator[Connection]:
        """Write in one transaction, committed at the end of the block and rolled back if it raises.

        Args:
            lock: name of a lock held until the end, where a transaction decides by rows that others may add.
                SQLite lets one transaction write at a time anyway.

        Raises:
            DatabaseError: the database cannot be written; so may every statement of the block.
        """
        with (
            self._explaining(),
            self._engine.connect().execution_options(is_writing=True) as connection,
            connection.begin(),
        ):
            if lock is not None and not self.is_sqlite:
                key = zlib.crc32(lock.encode())
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})
            yield connection

    def close(self) -> None:
        """Close the connections that wait for the next call."""
        self._engine.dispose()

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            yield
        except (IntegrityError, ProgrammingError):
            # Our own mistakes, which trying again does not mend.
            raise
        except SQLAlchemyError as error:
            raise self._explained(error) from None

    def _explained(self, error: SQLAlchemyError) -> DatabaseError:
        cause = getattr(error, "orig", None) or error
        named = self.url.database if self.is_sqlite else self.url.render_as_string(hide_password=True)
        # The lowest byte is SQLite's primary code; the others say which variety it is.
        is_busy = getattr(cause, "sqlite_errorcode", 0) & 0xFF in _SQLITE_BUSY
        if is_busy or getattr(cause, "sqlstate", None) == _LOCK_NOT_AVAILABLE:
            remedy = "find it with `fuser`" if self.is_sqlite else "find it in `pg_stat_activity`"
            return DatabaseBusyError(
                f"got no access to {named} within {self._busy_timeout_s:g} s, since another process "
                f"writes to it; {remedy} and stop it, or try again"
            )
        reason = " ".join(str(cause).split())
        if self.is_sqlite:
            return DatabaseError(
                f"got `{reason}` from SQLite for {named}, which must be a readable and writable database "
                "with space on its disk; mend the disk or restore the file"
            )
        return DatabaseError(
            f"got `{reason}` from {named}, which must be a PostgreSQL server that accepts connections; start "
            "it, or mend the address in serve.database or LIA_DATABASE_URL"
        )


def open_database(url: str, busy_timeout_s: float = BUSY_TIMEOUT_S) -> Database:
    """Open the database at `url`, and bring its tables up to date; several processes may do so at once.

    Args:
        url: SQLAlchemy's, of SQLite (`sqlite:///file`, created if missing) or PostgreSQL
            (`postgresql://user:password@host/name`).
        busy_timeout_s: how long a call waits for another one that writes.

    Raises:
        DatabaseError: the database cannot be read or written.
        ValueError: the URL is of another kind, or the tables are of a newer version of this program.
    """
    from lia_model.serving.database.upgrade import upgrade

    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite":
        Path(str(parsed.database)).parent.mkdir(parents=True, exist_ok=True)
    database = Database(parsed, busy_timeout_s)
    try:
        with database.writing("upgrade") as connection:
            upgrade(connection)
    except BaseException:
        database.close()
        raise
    return database


def parse_url(url: str) -> URL:
    """Return the parts of a database's URL.

    Raises:
        ValueError: it is neither of a SQLite file nor of PostgreSQL.
    """
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
        has_driver = parsed.get_dialect().driver in ("pysqlite", "psycopg")
    except (ArgumentError, NoSuchModuleError, ImportError):
        parsed, backend, has_driver = None, None, False
    if parsed is None or backend not in ("sqlite", "postgresql") or not has_driver:
        # Not the URL itself, which may hold a password.
        raise ValueError(
            f"got the database URL of {backend or 'an unknown kind'}; allowed are sqlite:///FILE and "
            "postgresql://USER:PASSWORD@HOST/NAME: give one of these"
        )
    if backend == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise ValueError("got a SQLite URL without a file; processes share it: give sqlite:///FILE")
    return parsed


def sqlite_url(path: Path) -> str:
    """Return the URL of a SQLite file."""
    return URL.create("sqlite", database=str(path)).render_as_string()


def _sqlite_engine(url: URL, busy_timeout_s: float) -> Engine:
    # A connection a call is safe for threads and processes, and opening one takes microseconds.
    engine = create_engine(url, poolclass=NullPool)

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _: object) -> None:
        # The driver itself would begin transactions late, and commit before a change of the schema.
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout = {round(1000 * busy_timeout_s)}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # IMMEDIATE waits for another writer; a transaction that reads first would fail instead.
        is_writing = connection.get_execution_options().get("is_writing", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writing else "BEGIN")

    return engine


def _postgresql_engine(url: URL, busy_timeout_s: float) -> Engine:
    arguments: dict[str, Any] = {"application_name": "lia"}
    if "options" not in url.query:
        arguments["options"] = f"-c lock_timeout={round(1000 * busy_timeout_s)}"
    if "connect_timeout" not in url.query:
        arguments["connect_timeout"] = max(2, round(busy_timeout_s))
    return create_engine(
        url,
        connect_args=arguments,
        # A server that was restarted has closed its connections.
        pool_pre_ping=True,
        pool_size=5,
        max_overflow=MAX_NUM_CONNECTIONS - 5,
        pool_timeout=busy_timeout_s,
    )

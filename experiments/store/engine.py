"""Opening the database: one place that knows how SQLite and PostgreSQL want to be treated."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine, make_url

from experiments.errors import InputError

BUSY_TIMEOUT_MS = 30_000
"""How long a SQLite writer waits for another one before it gives up."""
CONNECT_TIMEOUT_S = 5
"""How long opening a PostgreSQL connection may take: a hanging server must not hang us."""

_READ_ONLY = "equipoise_read_only"


class StoreError(InputError):
    """The database cannot be used as asked; the message says why and what to do."""


@dataclass(frozen=True)
class Store:
    """An open database.

    ``begin`` is for changes, ``read`` for a consistent look. On SQLite every transaction takes the write lock when it
    begins, except those of ``read``: a transaction that reads first and writes later would otherwise fail at once
    when another process wrote in between, whatever the busy timeout.
    """

    engine: Engine
    url: str

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self.engine.dialect.name

    @contextlib.contextmanager
    def begin(self) -> Iterator[Connection]:
        """Open a transaction for changes: committed at the end, rolled back when the block raises."""
        with self.engine.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction that only reads: it sees one state of the database and waits for no writer."""
        options: dict[str, Any] = {_READ_ONLY: True}
        if self.dialect == "postgresql":
            options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with self.engine.connect().execution_options(**options) as connection:
            yield connection

    def close(self) -> None:
        """Close all connections; the next use opens new ones.

        To be called before another SQLite library, such as that of DuckDB's scanner, opens the same file in this
        process: POSIX locks belong to the process, so when it closes the file, connections that are open here lose
        theirs, and another process may then remove the write-ahead log under them
        (sqlite.org/howtocorrupt.html, 2.2.1).
        """
        self.engine.dispose()


def open_store(url: str) -> Store:
    """Open the database at ``url``, creating the folder of an SQLite file; no connection is made yet.

    Args:
        url: SQLAlchemy address, ``sqlite:///path/file.sqlite`` or ``postgresql+psycopg://…``.

    Raises:
        StoreError: for an address that is neither.

    >>> open_store("mysql://localhost/x")
    Traceback (most recent call last):
    experiments.store.engine.StoreError: database address 'mysql://localhost/x' is neither sqlite:///FILE nor postgresql://…
    """
    try:
        parsed = make_url(url)
    except sa.exc.ArgumentError:
        raise StoreError(f"database address {url!r} is not an address: give sqlite:///FILE or postgresql://…") from None
    backend = parsed.get_backend_name()
    if backend == "postgres" or (backend == "postgresql" and parsed.drivername == "postgresql"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() == "postgresql":
        engine = _postgres_engine(parsed)
    elif backend == "sqlite":
        engine = _sqlite_engine(parsed)
    else:
        shown = parsed.render_as_string(hide_password=True)
        raise StoreError(f"database address {shown!r} is neither sqlite:///FILE nor postgresql://…")
    return Store(engine=engine, url=parsed.render_as_string(hide_password=False))


def _postgres_engine(url: URL) -> Engine:
    return sa.create_engine(
        url,
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_S,
            "application_name": "equipoise",
            # A server that vanished without a word is noticed within half a minute, not after two hours.
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 4,
            "tcp_user_timeout": 30_000,
        },
    )


def _sqlite_engine(url: URL) -> Engine:
    if not url.database or url.database == ":memory:":
        raise StoreError("an SQLite database needs a file that several connections can share: give sqlite:///FILE")
    folder = Path(url.database).absolute().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot create folder {folder} for the database: {error.strerror}") from None
    engine = sa.create_engine(url)
    sa.event.listen(engine, "connect", _configure_sqlite)
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _configure_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # Transactions are begun by _begin_sqlite: the driver's own habit leaves DDL and SELECT outside of them.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    _switch_to_wal(cursor)
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _switch_to_wal(cursor: sqlite3.Cursor) -> None:
    """Switch a new file to write-ahead logging; SQLite does not wait for others here, so this does."""
    deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            if cursor.execute("PRAGMA journal_mode=WAL").fetchone()[0] == "wal":
                return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
        time.sleep(0.01)


def _begin_sqlite(connection: Connection) -> None:
    read_only = connection.get_execution_options().get(_READ_ONLY, False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

"""Opening the database: one place that knows how SQLite and PostgreSQL want to be treated."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine, make_url

from experiments.errors import InputError
from experiments.store.patience import WORK, Patience

BUSY_TIMEOUT_MS = 30_000
"""How long a SQLite writer waits for another one before it gives up."""
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
    url: str = field(repr=False)
    """With its password."""

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


def open_store(url: str, patience: Patience = WORK) -> Store:
    """Open the database at ``url``, creating the folder of an SQLite file; no connection is made yet.

    Args:
        url: SQLAlchemy address, ``sqlite:///path/file.sqlite`` or ``postgresql+psycopg://…``.
        patience: how long a PostgreSQL server is waited for.

    Raises:
        StoreError: for an address that is neither.

    >>> open_store("mysql://localhost/x")
    Traceback (most recent call last):
    experiments.store.engine.StoreError: database address 'mysql://localhost/x' is neither sqlite:///FILE nor postgresql://…
    """
    try:
        parsed = make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        shown = without_password(url)
        raise StoreError(
            f"database address {shown!r} is not an address: give sqlite:///FILE or postgresql://USER@HOST:PORT/NAME"
        ) from None
    backend = parsed.get_backend_name()
    if backend == "postgres" or (backend == "postgresql" and parsed.drivername == "postgresql"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() == "postgresql":
        # Imported where it is used: the driver is half of what opening an embedded database would load.
        from experiments.store.postgres import postgres_engine

        engine = postgres_engine(parsed, patience)
    elif backend == "sqlite":
        engine = _sqlite_engine(parsed)
    else:
        shown = without_password(url)
        raise StoreError(f"database address {shown!r} is neither sqlite:///FILE nor postgresql://…")
    return Store(engine=engine, url=parsed.render_as_string(hide_password=False))


def without_password(text: str) -> str:
    """Return a database address, or text that has one in it, fit to be shown.

    >>> without_password("postgresql://eq:s3:c@ret@db/eq?password=x&sslmode=require")
    'postgresql://eq:***@db/eq?password=***&sslmode=require'
    >>> without_password("cannot connect to host='db' password='s3cret' user='eq'")
    "cannot connect to host='db' password=*** user='eq'"
    """
    text = re.sub(r"((?:^|//)[^:/@\s]*):(?!//)\S*@", r"\1:***@", text)
    return re.sub(r"(?i)\b(\w*password\s*=\s*)('(?:\\.|[^'\\])*'|[^&\s'\"]*)", r"\1***", text)


def failure(error: BaseException) -> str:
    """Return one line on why the database failed, fit for a log: no password, no parameters, nothing out of a row.

    >>> failure(StoreError("cannot use the database postgresql://eq:secret@db/eq: refused"))
    'cannot use the database postgresql://eq:***@db/eq: refused'
    >>> failure(ValueError("m-1 is wrong"))
    'ValueError'
    """
    if isinstance(error, StoreError):
        text = str(error)
    elif isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError):
        text = str(error.orig)  # what the server or driver says of the connection, a lock or a limit
    else:
        original = getattr(error, "orig", None) or error
        code = getattr(original, "sqlstate", None) or getattr(original, "sqlite_errorname", None)
        return f"{type(original).__name__} ({code})" if code else type(original).__name__
    lines = without_password(text).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


def _sqlite_engine(url: URL) -> Engine:
    if not url.database or url.database == ":memory:":
        raise StoreError("an SQLite database needs a file that several connections can share: give sqlite:///FILE")
    folder = Path(url.database).absolute().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot create folder {folder} for the database: {error.strerror}") from None
    engine = sa.create_engine(url, hide_parameters=True)  # they may be ids of members, and errors are logged
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

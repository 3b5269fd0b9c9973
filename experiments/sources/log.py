"""The log as Ibis tables: the service's own database read by DuckDB's scanners, or any Ibis connection that has it.

DuckDB reading SQLite or PostgreSQL beats either at its own data fourfold (serving guide, analysis). Both extensions
come as PyPI packages and are loaded straight from their file, so nothing is downloaded and no home directory is needed.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.engine import make_url

from experiments.errors import InputError
from experiments.sources.duck import connect, listed, materialise
from experiments.store.engine import without_password

SCANNERS = {"sqlite": "sqlite_scanner", "postgresql": "postgres_scanner"}


@dataclass(frozen=True)
class LogTables:
    """What is measured: the tables of the log, and the decisions that contradicted an earlier one."""

    connection: Any
    """Ibis connection that holds them."""
    decisions: Any
    events: Any
    conflicts: Any
    identities: Any = None
    """Ids that are known to be one unit with others; ``None`` where the connection has no such table."""

    @property
    def dialect(self) -> str:
        """The engine's name, as `allocation.dialects` knows it."""
        return {"pyspark": "spark"}.get(self.connection.name, str(self.connection.name))

    def keep(self, expression: Any, name: str, *, whole: Sequence[str] = ()) -> Any:
        """Compute an expression once, into a temporary table of the engine; see `duck.materialise`."""
        return materialise(self.connection, expression, name, whole=whole)

    def listed(self, units: Sequence[str], name: str) -> Any:
        """Return unit ids as a table of the engine with one column ``unit``; see `duck.listed`."""
        return listed(self.connection, {"unit": list(units)}, name)


def log_tables(connection: Any, *, database: Any = None) -> LogTables:
    """Return the log in any Ibis connection that has tables ``decisions``, ``events`` and ``conflicts``.

    A table ``identities`` is used where there is one.
    """
    names = ["decisions", "events", "conflicts"]
    if "identities" in connection.list_tables(like="^identities$", database=database):
        names.append("identities")
    return LogTables(connection, *(connection.table(name, database=database) for name in names))


@contextlib.contextmanager
def open_log(url: str) -> Iterator[LogTables]:
    """Open the log of the service's own database, read-only, all of it as it stands at one moment.

    Args:
        url: SQLAlchemy address of the store, ``sqlite:///…`` or ``postgresql+psycopg://…``.

    Raises:
        InputError: when the database cannot be read.
    """
    import duckdb

    parsed = make_url(url)
    kind = parsed.get_backend_name()
    with tempfile.TemporaryDirectory(prefix="equipoise-") as scratch, connect(scratch, keep_order=False) as connection:
        connection.raw_sql(f"LOAD '{_quoted(str(scanner(SCANNERS[kind])))}'")
        try:
            if kind == "sqlite":
                target, schema = str(Path(parsed.database or "").absolute()), "main"
                connection.raw_sql(f"ATTACH '{_quoted(target)}' AS log (TYPE sqlite, READ_ONLY)")
            else:
                target, schema = _libpq(parsed), "public"
                connection.raw_sql(f"ATTACH '{_quoted(target)}' AS log (TYPE postgres, READ_ONLY)")
            # One transaction sees one state of the database, however many scans read it.
            connection.raw_sql("BEGIN TRANSACTION")
            yield log_tables(connection, database=("log", schema))
        except duckdb.IOException as error:
            # DuckDB's message repeats what it was given, the password too.
            why = str(error).splitlines()[0].replace(f' at "{target}"', "")
            raise InputError(f"{without_password(url)}: the database cannot be read: {without_password(why)}") from None
        finally:
            with contextlib.suppress(duckdb.Error):
                connection.raw_sql("ROLLBACK")


def scanner(name: str) -> Path:
    """Return the file of a DuckDB extension inside its PyPI package.

    >>> scanner("sqlite_scanner").name
    'sqlite_scanner.duckdb_extension'
    """
    import importlib.util

    import duckdb

    spec = importlib.util.find_spec(f"duckdb_extension_{name}")
    if spec is None or spec.origin is None:
        raise InputError(f"the Python package duckdb-extension-{name.replace('_', '-')} is not installed: install it")
    version = f"v{duckdb.__version__}"
    return Path(spec.origin).parent / "extensions" / version / f"{name}.duckdb_extension"


def _quoted(text: str) -> str:
    return text.replace("'", "''")


def _libpq(url: Any) -> str:
    parts = {
        "host": url.query.get("host") or url.host,
        "port": url.query.get("port") or url.port,
        "dbname": url.database,
        "user": url.username,
        "password": url.password,
    }
    written = []
    for key, value in parts.items():
        if value is not None:
            escaped = str(value).replace("\\", "\\\\").replace("'", "\\'")
            written.append(f"{key}='{escaped}'")
    return " ".join(written)

"""An embedded DuckDB as an Ibis connection that needs no home directory and no network."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

MEMORY_LIMIT = "750MB"
"""More is spilled to the scratch folder, so that a report of a long log fits beside a serving process."""


@contextlib.contextmanager
def connect(scratch: str, *, memory_limit: str = MEMORY_LIMIT, keep_order: bool = True) -> Iterator[Any]:
    """Open an in-memory DuckDB through Ibis; temporary data go to ``scratch``.

    Args:
        scratch: folder for what does not fit into memory.
        memory_limit: of the engine.
        keep_order: whether rows keep the order of their file; without it the engine needs less memory.
    """
    import ibis

    # Ibis 12 still calls old names of duckdb functions; under ``python -W error`` that would end the command.
    warnings.filterwarnings("ignore", "fetch_(arrow_table|record_batch)", DeprecationWarning)
    connection = ibis.duckdb.connect(
        temp_directory=scratch,
        home_directory=scratch,
        extension_directory=scratch,
        memory_limit=memory_limit,
        autoinstall_known_extensions=False,
    )
    try:
        connection.raw_sql("SET enable_progress_bar = false")
        connection.raw_sql(f"SET preserve_insertion_order = {str(keep_order).lower()}")
        yield connection
    finally:
        connection.disconnect()


def materialise(connection: Any, expression: Any, name: str, *, whole: Sequence[str] = ()) -> Any:
    """Compute ``expression`` once, into a temporary table of its own engine, and return that table.

    On DuckDB by CREATE TABLE AS; on any other Ibis connection by Ibis' own cache.

    Args:
        connection: Ibis connection.
        expression: Ibis table.
        name: of the temporary table.
        whole: columns of whole numbers that fit 64 bits. DuckDB widens sums to 128 bits, of which Ibis knows nothing;
            they are narrowed, because everything after is twice as fast then.
    """
    if connection.name != "duckdb":
        return expression.cache()
    sql = connection.compile(expression)
    if whole:
        casts = ", ".join(f'CAST("{column}" AS BIGINT) AS "{column}"' for column in whole)
        sql = f"SELECT * REPLACE ({casts}) FROM ({sql})"  # noqa: S608 - our own names around Ibis' SQL
    connection.raw_sql(f'CREATE OR REPLACE TEMP TABLE "{name}" AS {sql}')
    return connection.table(name)


def listed(connection: Any, columns: dict[str, list[str]], name: str) -> Any:
    """Return columns of text as a table of the engine.

    On DuckDB as a temporary table: what Ibis keeps in memory is registered only when Ibis itself runs an expression,
    and expressions here are run as SQL.

    Args:
        connection: Ibis connection.
        columns: name → values.
        name: of the temporary table.
    """
    import ibis
    import pyarrow as pa

    table = pa.table({column: pa.array(values, pa.string()) for column, values in columns.items()})
    if connection.name != "duckdb":
        return ibis.memtable(table)
    connection.con.register(f"{name}_arrow", table)
    sql = f'CREATE OR REPLACE TEMP TABLE "{name}" AS SELECT * FROM "{name}_arrow"'  # noqa: S608 - our own name
    connection.raw_sql(sql)
    connection.con.unregister(f"{name}_arrow")
    return connection.table(name)


def fetch(expression: Any) -> list[dict[str, Any]]:
    """Compute an Ibis table and return its rows; on DuckDB without loading pandas, which Ibis' own way would."""
    connection = expression.get_backend()
    if connection.name != "duckdb":
        found: list[dict[str, Any]] = expression.to_pyarrow().to_pylist()
        return found
    cursor = connection.raw_sql(connection.compile(expression))
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def fetch_one(expression: Any) -> Any:
    """Compute an Ibis scalar and return it as a Python value."""
    return next(iter(fetch(expression.as_table())[0].values()))

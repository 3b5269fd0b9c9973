"""An embedded DuckDB as an Ibis connection that needs no home directory and no network."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

MEMORY_LIMIT = "800MB"
"""More is spilled to the scratch folder, so that a report of a long log fits beside a serving process."""


@contextlib.contextmanager
def connect(scratch: str, *, memory_limit: str = MEMORY_LIMIT) -> Iterator[Any]:
    """Open an in-memory DuckDB through Ibis; temporary data go to ``scratch``."""
    import ibis

    connection = ibis.duckdb.connect(
        temp_directory=scratch,
        home_directory=scratch,
        extension_directory=scratch,
        memory_limit=memory_limit,
        autoinstall_known_extensions=False,
    )
    try:
        connection.raw_sql("SET enable_progress_bar = false")
        yield connection
    finally:
        connection.disconnect()


def materialise(connection: Any, expression: Any, name: str) -> Any:
    """Compute ``expression`` once, into a temporary table of its own engine, and return that table.

    On DuckDB by CREATE TABLE AS; on any other Ibis connection by Ibis' own cache.
    """
    if connection.name != "duckdb":
        return expression.cache()
    connection.raw_sql(f'CREATE OR REPLACE TEMP TABLE "{name}" AS {connection.compile(expression)}')
    return connection.table(name)

"""The clock of the database: the one that processes on several hosts agree on."""

from __future__ import annotations

import time

import sqlalchemy as sa
from sqlalchemy.engine import Connection

_POSTGRES = sa.text("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")


def database_now(connection: Connection) -> int:
    """Return the time in microseconds since 1970 UTC: the server's on PostgreSQL, the host's for an SQLite file.

    >>> from experiments.store import open_store
    >>> import tempfile, time
    >>> with tempfile.TemporaryDirectory() as folder, open_store(f"sqlite:///{folder}/x").read() as connection:
    ...     abs(database_now(connection) - time.time_ns() // 1000) < 60_000_000
    True
    """
    if connection.dialect.name == "postgresql":
        return int(connection.execute(_POSTGRES).scalar_one())
    return time.time_ns() // 1000

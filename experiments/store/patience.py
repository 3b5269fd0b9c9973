"""How long a database server is waited for: requests give up in time, work goes on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Patience:
    """How long a PostgreSQL server is waited for."""

    connect_s: int
    lock_s: float | None
    """For another transaction's lock; ``None`` is without limit."""
    statement_s: float | None
    """For one statement; ``None`` is without limit."""


REQUEST = Patience(connect_s=3, lock_s=4, statement_s=8)
"""For a request that somebody waits for."""
WORK = Patience(connect_s=5, lock_s=None, statement_s=None)
"""For imports, loading, migrations and publishing, whose statements may rightly take long."""

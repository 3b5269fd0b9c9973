"""PostgreSQL connections that give up in time: what waits for a person must not hang with the server.

A server's own ``statement_timeout`` helps while it works. One that is stopped, frozen or swapped out answers nothing at
all, while its kernel goes on acknowledging packets, so that TCP keepalive finds nothing wrong either. So the client
keeps time as well.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, TypeVar

import psycopg
import sqlalchemy as sa
from psycopg.abc import PQGen
from sqlalchemy.engine import URL, Engine

from experiments.store.patience import Patience

T = TypeVar("T")

PING_S = 2.0
"""How long a connection that lay in the pool may take to show that it is alive."""
GRACE_S = 2.0
"""How much longer than the server's own limit the client waits: the server's answer says more."""


class TimedConnection(psycopg.Connection[Any]):
    """A connection whose every wait for the server has an end; after that it is closed."""

    limit_s: float | None = None

    def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        """Wait as psycopg does, at most ``limit_s`` seconds.

        Raises:
            psycopg.OperationalError: when the server has not answered by then; the connection is closed.
        """
        if timeout is not None or self.limit_s is None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, self.limit_s)
        except psycopg.OperationalError as error:
            if type(error).__name__ != "_WaitTimeout":
                raise
            self.pgconn.finish()
            raise psycopg.OperationalError(f"the server has not answered for {self.limit_s:.0f} s") from None


def postgres_engine(url: URL, patience: Patience) -> Engine:
    """Return an engine for a PostgreSQL address; no connection is made yet."""
    engine = sa.create_engine(
        url,
        hide_parameters=True,  # they may be ids of members, and errors are logged
        connect_args={
            "connect_timeout": patience.connect_s,
            "application_name": "equipoise",
            # A server that vanished without a word is noticed within half a minute, not after two hours.
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 4,
            "tcp_user_timeout": 30_000,
        },
    )
    limit_s = None if patience.statement_s is None else patience.statement_s + GRACE_S
    sa.event.listen(engine, "do_connect", _connect)
    sa.event.listen(engine, "connect", _limits(patience, limit_s))
    sa.event.listen(engine, "checkout", _ping(limit_s))
    return engine


def _connect(_dialect: object, _record: object, arguments: list[Any], options: dict[str, Any]) -> TimedConnection:
    return TimedConnection.connect(*arguments, **options)


def _limits(patience: Patience, limit_s: float | None) -> Callable[[TimedConnection, object], None]:
    def set_limits(connection: TimedConnection, _record: object) -> None:
        connection.limit_s = limit_s
        for name, seconds in (("lock_timeout", patience.lock_s), ("statement_timeout", patience.statement_s)):
            if seconds is not None:
                connection.execute(f"SET {name} = {round(seconds * 1000)}".encode())
        connection.commit()

    return set_limits


def _ping(limit_s: float | None) -> Callable[[TimedConnection, object, object], None]:
    def ping(connection: TimedConnection, _record: object, _proxy: object) -> None:
        """Have the pool replace a connection whose server went away meanwhile."""
        connection.limit_s = PING_S if limit_s is not None else None
        try:
            connection.execute("SELECT 1")
            connection.rollback()
        except psycopg.Error as error:
            with contextlib.suppress(psycopg.Error):
                connection.close()
            raise sa.exc.DisconnectionError(str(error)) from None
        connection.limit_s = limit_s

    return ping

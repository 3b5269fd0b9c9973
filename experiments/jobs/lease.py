"""A lease: the right to do a kind of work, held by one process at a time, lost by itself when the holder dies.

The row in the database is kept by the database's clock. The holder also keeps its own, counted from *before* it asked:
one that was suspended, or whose network hung, knows that it is a former holder before it does anything else.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Callable

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from experiments.store import Store
from experiments.store.clock import database_now
from experiments.store.job_tables import leases

LASTS_S = 12.0
"""How long a holder that says nothing keeps a lease."""


class LeaseLostError(RuntimeError):
    """Somebody else may hold the lease by now: what was about to be done must not be done."""


def holder_name() -> str:
    """Return a name for this process that no other one has: host, process number, and something random.

    >>> holder_name() == holder_name()
    False
    """
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


def uptime_s() -> float:
    """Return a clock in seconds that no one sets and that goes on while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Lease:
    """One process's view of a lease."""

    def __init__(
        self,
        store: Store,
        name: str,
        holder: str,
        *,
        lasts_s: float = LASTS_S,
        clock: Callable[[], float] = uptime_s,
    ) -> None:
        """Describe it; nothing is acquired yet.

        Args:
            store: where leases are kept.
            name: of the kind of work.
            holder: this process, from :func:`holder_name`.
            lasts_s: how long it is kept without being renewed.
            clock: seconds, from anywhere.
        """
        self._store = store
        self.name = name
        self.holder = holder
        self._lasts_s = lasts_s
        self._clock = clock
        self._until = float("-inf")

    @property
    def held(self) -> bool:
        """Whether this process surely holds it now; asks nobody."""
        return self._clock() < self._until

    def acquire(self) -> bool:
        """Take the lease, or renew it; tell whether it is held.

        A lease that ends implausibly late, because a clock was set back meanwhile, counts as over.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: when the database cannot be asked; ``held`` then runs out by itself.
        """
        asked_at = self._clock()
        c = leases.c
        with self._store.begin() as connection:
            now = database_now(connection)
            lasts_us = round(self._lasts_s * 1e6)
            free = sa.or_(c.expires_at <= now, c.expires_at > now + 2 * lasts_us)
            taken = connection.execute(
                sa.update(leases)
                .where(c.name == self.name, sa.or_(c.holder == self.holder, free))
                .values(
                    holder=self.holder,
                    expires_at=now + lasts_us,
                    token=sa.case((c.holder == self.holder, c.token), else_=c.token + 1),
                )
            ).rowcount
            if not taken:
                insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
                row = {"name": self.name, "holder": self.holder, "expires_at": now + lasts_us, "token": 1}
                statement = insert(leases).values(row).on_conflict_do_nothing().returning(c.token)
                taken = len(connection.execute(statement).all())
        self._until = asked_at + self._lasts_s if taken else float("-inf")
        return bool(taken)

    def release(self) -> None:
        """Give it back, so that the next one need not wait; without effect where it is not held."""
        self._until = float("-inf")
        with self._store.begin() as connection:
            connection.execute(
                sa.update(leases).where(leases.c.name == self.name, leases.c.holder == self.holder).values(expires_at=0)
            )

    def check(self, connection: Connection) -> None:
        """Make sure, inside a transaction, that this process holds it: nobody takes it before the transaction ends.

        Raises:
            LeaseLostError: when it does not.
        """
        query = sa.select(leases.c.expires_at).where(leases.c.name == self.name, leases.c.holder == self.holder)
        expires_at = connection.execute(query.with_for_update(read=True)).scalar()
        if expires_at is None or expires_at <= database_now(connection) or not self.held:
            raise LeaseLostError(f"the lease {self.name} has passed to another process")

"""What is noticed by looking now and then, and told to webhooks once: keys that expire soon, many refused events."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from experiments.store import Store
from experiments.store.clock import database_now
from experiments.store.log_tables import dead_letters
from experiments.store.security_tables import api_keys
from experiments.webhooks.events import announce, iso

HOUR_US = 3_600_000_000
EXPIRING_US = 7 * 24 * HOUR_US
MANY_DEAD_LETTERS = 100
"""So many refused events within an hour are told of."""


@dataclass(frozen=True)
class Noticed:
    """Something to tell, and what makes it one of a kind."""

    event: str
    data: dict[str, Any]
    once: str


def look(store: Store, now: int | None = None) -> int:
    """Announce what is worth telling; the same thing is told once. Return how many things that are.

    Args:
        store: to look at. Nothing is locked while looking.
        now: microseconds since 1970 UTC; by default the database's.
    """
    with store.read() as connection:
        at = database_now(connection) if now is None else now
        noticed = [*_many_dead_letters(connection, at), *_expiring_keys(connection, at)]
    if noticed:
        with store.begin() as connection:
            for each in noticed:
                announce(connection, each.event, each.data, once=each.once)
    return len(noticed)


def _many_dead_letters(connection: Connection, at: int) -> Iterator[Noticed]:
    c = dead_letters.c
    recent = sa.select(c.reason, sa.func.count().label("count")).where(c.received_at > at - HOUR_US)
    by_reason = {row[0]: int(row[1]) for row in connection.execute(recent.group_by(c.reason).order_by(c.reason))}
    total = sum(by_reason.values())
    if total >= MANY_DEAD_LETTERS:
        yield Noticed("dead_letters.many", {"last_hour": total, "by_reason": by_reason}, str(at // HOUR_US))


def _expiring_keys(connection: Connection, at: int) -> Iterator[Noticed]:
    c = api_keys.c
    soon = sa.select(c.selector, c.name, c.expires_at).where(
        c.revoked_at.is_(None), c.expires_at > at, c.expires_at <= at + EXPIRING_US
    )
    for key in connection.execute(soon):
        data = {"key": key.selector, "name": key.name, "expires_at": iso(key.expires_at)}
        yield Noticed("key.expiring", data, f"{key.selector}:{key.expires_at}")

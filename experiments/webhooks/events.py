"""What webhooks tell of: the names of the events, and putting one into the outbox with the change that it tells of.

No payload has an id of a member in it.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from experiments.store.clock import database_now
from experiments.store.webhook_tables import webhook_deliveries, webhooks

EVENTS: dict[str, str] = {
    "experiment.transitioned": "an experiment moved to another state",
    "report.reading_changed": "a report says to do something else than the one before",
    "report.srm_failed": "members are not split as planned: the effects cannot be read",
    "report.underpowered": "the planned sample and days are reached and nothing is decided",
    "policy.live": "a version of a policy draws for everybody",
    "policy.waiting": "a version of a policy has passed the gate and waits for approval",
    "policy.blocked": "the gate has blocked a version of a policy",
    "policy.rolled_back": "a version of a policy was taken back",
    "variant.masked": "a variant was taken out of a policy's draw",
    "assignments.finished": "a list has been assigned, or could not be",
    "key.created": "an API key was made",
    "key.revoked": "an API key was revoked",
    "key.expiring": "an API key expires within seven days",
    "dead_letters.many": "many events were refused within an hour",
    "webhook.ping": "somebody tries whether messages arrive",
}
"""Each event and when it is sent."""


def announce(
    connection: Connection,
    event: str,
    data: Mapping[str, Any],
    *,
    once: str | None = None,
    only: str | None = None,
    now: int | None = None,
) -> list[str]:
    """Put an event into the outbox of every active webhook that wants it, in the transaction of what it tells of.

    Args:
        connection: inside ``store.begin()``.
        event: one of ``EVENTS``.
        data: what to tell, as JSON can say it, without ids of members.
        once: what makes the event one of a kind; told again, it is not sent again.
        only: the id of the one webhook to tell, whether or not it wants the event.
        now: microseconds since 1970 UTC; by default the database's.

    Returns:
        The ids of the messages.

    Raises:
        ValueError: for an event that is not in ``EVENTS``.
    """
    if event not in EVENTS:
        raise ValueError(f"no event {event!r}")
    query = sa.select(webhooks.c.id, webhooks.c.events).where(webhooks.c.active.is_(True)).order_by(webhooks.c.id)
    if only is not None:
        query = query.where(webhooks.c.id == only)
    at = database_now(connection) if now is None else now
    payload = json.dumps({"type": event, "timestamp": iso(at), "data": data}, ensure_ascii=False, separators=(",", ":"))
    rows = [
        {
            "id": _message_id(row.id, event, once), "webhook": row.id, "type": event, "payload": payload,
            "state": "pending", "attempts": 0, "created_at": at, "next_at": at,
        }
        for row in connection.execute(query)
        if only is not None or event in (json.loads(row.events) or EVENTS)
    ]  # fmt: skip
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    for row in rows:
        connection.execute(insert(webhook_deliveries).values(row).on_conflict_do_nothing())
    return [row["id"] for row in rows]


def iso(at: int) -> str:
    """Return microseconds since 1970 UTC as text.

    >>> iso(1_772_524_800_000_000)
    '2026-03-03T08:00:00Z'
    """
    return datetime.fromtimestamp(at / 1e6, UTC).isoformat().replace("+00:00", "Z")


def _message_id(webhook: str, event: str, once: str | None) -> str:
    unique = secrets.token_hex(16) if once is None else once
    return "msg_" + hashlib.sha256(json.dumps([webhook, event, unique]).encode()).hexdigest()[:32]

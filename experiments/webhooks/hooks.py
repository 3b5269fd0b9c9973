"""Webhooks as people set them: made, changed, paused, given a new secret, deleted; each change in the audit trail.

A secret is shown once, when it is made. Nothing returned here has one in it but what ``create`` and ``rotate`` return.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from experiments.errors import InputError, unknown_name
from experiments.keeping import audit
from experiments.keeping.heads import StaleVersionError
from experiments.store import Store
from experiments.store.clock import database_now
from experiments.store.webhook_tables import webhook_deliveries, webhooks
from experiments.webhooks.addresses import parsed
from experiments.webhooks.events import EVENTS, announce
from experiments.webhooks.signing import new_secret

OVERLAP_S = 86_400
"""How long the secret before goes on signing beside a new one."""
MOST_WEBHOOKS = 100


class UnknownWebhookError(InputError):
    """There is no webhook, or no message, with this id."""


@dataclass(frozen=True)
class Webhook:
    """An address that is told of events; times are microseconds since 1970 UTC."""

    id: str
    url: str
    events: tuple[str, ...]
    """Names of events; empty for all."""
    active: bool
    created_at: int
    created_by: str
    updated_at: int
    disabled_reason: str | None
    """Why the service itself paused it."""
    version_id: int


@dataclass(frozen=True)
class Message:
    """One message to one webhook."""

    id: str
    """Its ``webhook-id``, the same at every attempt."""
    webhook: str
    type: str
    payload: str
    state: str
    """pending | delivered | failed"""
    attempts: int
    created_at: int
    next_at: int | None
    last_at: int | None
    last_status: int | None
    last_error: str | None


def create(
    store: Store, url: str, events: Sequence[str] = (), *, actor: str, allow_private: bool = False
) -> tuple[Webhook, str]:
    """Make a webhook and return it with its secret, which is not shown again.

    Raises:
        InputError: for an address or an event that cannot be; or when there are a hundred already.
    """
    parsed(url, allow_private=allow_private)
    chosen, secret = _known(events), new_secret()
    with store.begin() as connection:
        audit.lock(connection)
        if (connection.scalar(sa.select(sa.func.count()).select_from(webhooks)) or 0) >= MOST_WEBHOOKS:
            raise InputError(f"there are {MOST_WEBHOOKS} webhooks already; delete one that is not needed")
        at = database_now(connection)
        hook = Webhook("wh_" + secrets.token_hex(8), url, chosen, True, at, actor, at, None, 1)
        row = hook.__dict__ | {"events": json.dumps(chosen), "secrets": json.dumps([[secret, None]])}
        connection.execute(webhooks.insert().values(row))
        _record(connection, hook, "created", actor, {"events": list(chosen)}, at)
    return hook, secret


def listed(store: Store) -> list[Webhook]:
    """Return all webhooks, oldest first."""
    with store.read() as connection:
        query = sa.select(webhooks).order_by(webhooks.c.created_at, webhooks.c.id)
        return [_webhook(row) for row in connection.execute(query).mappings()]


def get(store: Store, webhook_id: str) -> Webhook:
    """Return a webhook.

    Raises:
        UnknownWebhookError: when there is none of this id.
    """
    with store.read() as connection:
        return _webhook(_row(connection, webhook_id))


def update(
    store: Store,
    webhook_id: str,
    *,
    actor: str,
    url: str | None = None,
    events: Sequence[str] | None = None,
    active: bool | None = None,
    version_id: int | None = None,
    allow_private: bool = False,
) -> Webhook:
    """Change what is given; a webhook that is made active again begins with a clean slate.

    Args:
        store: where it is kept.
        webhook_id: which.
        actor: who changes it.
        url: the new address.
        events: the new events; empty for all.
        active: whether it is told of events.
        version_id: the version that was read, when somebody decided on it.
        allow_private: whether the address may be private.

    Raises:
        UnknownWebhookError: when there is none of this id.
        StaleVersionError: when it is at another version.
        InputError: for an address or an event that cannot be.
    """
    values: dict[str, Any] = {}
    if url is not None:
        parsed(url, allow_private=allow_private)
        values["url"] = url
    if events is not None:
        values["events"] = json.dumps(_known(events))
    if active is not None:
        values |= {"active": active, "disabled_reason": None}
    with store.begin() as connection:
        audit.lock(connection)
        row = _fresh(connection, webhook_id, version_id)
        changed = {name: value for name, value in values.items() if row[name] != value}
        if not changed:
            return _webhook(row)
        at = database_now(connection)
        _change(connection, row, changed, at)
        hook = _webhook(_row(connection, webhook_id))
        detail = {name: getattr(hook, name) for name in ("events", "active") if name in changed}
        _record(connection, hook, "revised", actor, detail | ({"url": "changed"} if "url" in changed else {}), at)
        return hook


def rotate(
    store: Store, webhook_id: str, *, actor: str, overlap_s: int = OVERLAP_S, version_id: int | None = None
) -> tuple[Webhook, str]:
    """Give a webhook a new secret and return both; the one before goes on signing beside it for a while.

    Args:
        store: where it is kept.
        webhook_id: which.
        actor: who changes it.
        overlap_s: how long the secret before goes on signing; 0 where it has leaked.
        version_id: the version that was read, when somebody decided on it.

    Raises:
        UnknownWebhookError: when there is none of this id.
        StaleVersionError: when it is at another version.
    """
    secret = new_secret()
    with store.begin() as connection:
        audit.lock(connection)
        row = _fresh(connection, webhook_id, version_id)
        at = database_now(connection)
        current = json.loads(row["secrets"])[0][0]
        kept = [[current, at + overlap_s * 1_000_000]] if overlap_s > 0 else []
        _change(connection, row, {"secrets": json.dumps([[secret, None], *kept])}, at)
        hook = _webhook(_row(connection, webhook_id))
        _record(connection, hook, "secret_rotated", actor, {"overlap_s": overlap_s}, at)
        return hook, secret


def delete(store: Store, webhook_id: str, *, actor: str, version_id: int | None = None) -> None:
    """Delete a webhook and its messages.

    Raises:
        UnknownWebhookError: when there is none of this id.
        StaleVersionError: when it is at another version.
    """
    with store.begin() as connection:
        audit.lock(connection)
        hook = _webhook(_fresh(connection, webhook_id, version_id))
        connection.execute(sa.delete(webhook_deliveries).where(webhook_deliveries.c.webhook == webhook_id))
        connection.execute(sa.delete(webhooks).where(webhooks.c.id == webhook_id))
        _record(connection, hook, "deleted", actor, {}, database_now(connection))


def ping(store: Store, webhook_id: str) -> Message:
    """Send a message that says nothing, to see whether messages arrive.

    Raises:
        UnknownWebhookError: when there is none of this id.
        InputError: when it is paused.
    """
    with store.begin() as connection:
        if not _row(connection, webhook_id)["active"]:
            raise InputError(f"webhook {webhook_id} is paused; make it active first")
        ids = announce(connection, "webhook.ping", {"webhook": webhook_id}, only=webhook_id)
        return _message(connection, webhook_id, ids[0])


def messages(
    store: Store,
    webhook_id: str,
    *,
    state: str | None = None,
    before: tuple[int, str] | None = None,
    limit: int = 100,
) -> list[Message]:
    """Return the messages of a webhook, newest first.

    Args:
        store: where they are kept.
        webhook_id: which.
        state: only those in this state.
        before: ``(created_at, id)`` of the last one seen, to go on after it.
        limit: how many at most.

    Raises:
        UnknownWebhookError: when there is no webhook of this id.
    """
    c = webhook_deliveries.c
    query = sa.select(webhook_deliveries).where(c.webhook == webhook_id)
    query = query.order_by(c.created_at.desc(), c.id.desc()).limit(limit)
    if state is not None:
        query = query.where(c.state == state)
    if before is not None:
        query = query.where(sa.tuple_(c.created_at, c.id) < sa.tuple_(*map(sa.literal, before)))
    with store.read() as connection:
        _row(connection, webhook_id)
        return [Message(**row) for row in connection.execute(query).mappings()]


def redeliver(store: Store, webhook_id: str, message_id: str) -> Message:
    """Send a message again, with its schedule of attempts from the beginning; its id stays.

    Raises:
        UnknownWebhookError: when there is no such webhook or message.
        InputError: when the webhook is paused.
    """
    c = webhook_deliveries.c
    with store.begin() as connection:
        if not _row(connection, webhook_id)["active"]:
            raise InputError(f"webhook {webhook_id} is paused; make it active first")
        connection.execute(
            sa.update(webhook_deliveries)
            .where(c.id == message_id, c.webhook == webhook_id)
            .values(state="pending", attempts=0, next_at=database_now(connection))
        )
        return _message(connection, webhook_id, message_id)


def _known(events: Sequence[str]) -> tuple[str, ...]:
    for event in events:
        if event not in EVENTS:
            raise unknown_name("event", event, list(EVENTS), "that webhooks tell of")
    return tuple(sorted(set(events)))


def _row(connection: Connection, webhook_id: str) -> RowMapping:
    row = connection.execute(sa.select(webhooks).where(webhooks.c.id == webhook_id)).mappings().first()
    if row is None:
        raise UnknownWebhookError(f"no webhook {webhook_id[:80]!r}; look at the list of webhooks")
    return row


def _fresh(connection: Connection, webhook_id: str, version_id: int | None) -> RowMapping:
    row = _row(connection, webhook_id)
    if version_id is not None and version_id != row["version_id"]:
        raise StaleVersionError(
            f"webhook {webhook_id} was changed meanwhile (you read version {version_id}), "
            f"it is at version {row['version_id']}; read it again and repeat"
        )
    return row


def _change(connection: Connection, row: RowMapping, values: dict[str, Any], at: int) -> None:
    changed = {**values, "updated_at": at, "version_id": row["version_id"] + 1}
    connection.execute(sa.update(webhooks).where(webhooks.c.id == row["id"]).values(changed))


def _record(connection: Connection, hook: Webhook, action: str, actor: str, detail: dict[str, Any], at: int) -> None:
    # The path and query of an address often are a secret of the receiver: the trail has its host.
    told = {"host": parsed(hook.url, allow_private=True).hostname, **detail}
    audit.append(connection, at=at, actor=actor, action=action, kind="webhook", key=hook.id, detail=told)


def _message(connection: Connection, webhook_id: str, message_id: str) -> Message:
    c = webhook_deliveries.c
    query = sa.select(webhook_deliveries).where(c.id == message_id, c.webhook == webhook_id)
    row = connection.execute(query).mappings().first()
    if row is None:
        raise UnknownWebhookError(f"no message {message_id[:80]!r} to webhook {webhook_id}")
    return Message(**row)


def _webhook(row: RowMapping) -> Webhook:
    values = {name: value for name, value in row.items() if name != "secrets"}
    return Webhook(**{**values, "events": tuple(json.loads(row["events"]))})

"""The tables of webhooks: who is told, and what is to be told, was told, or could not be.

Times are microseconds since 1970 UTC by the database's clock; JSON is text.
"""

from __future__ import annotations

import sqlalchemy as sa

from experiments.store.metadata import KeyText, metadata

webhooks = sa.Table(
    "webhooks",
    metadata,
    sa.Column("id", KeyText, primary_key=True),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("events", sa.Text, nullable=False),
    sa.Column("secrets", sa.Text, nullable=False),
    sa.Column("active", sa.Boolean, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("created_by", KeyText, nullable=False),
    sa.Column("updated_at", sa.BigInteger, nullable=False),
    sa.Column("disabled_reason", sa.Text),
    sa.Column("version_id", sa.BigInteger, nullable=False),
)
"""Addresses that are told of events. ``events`` is a JSON array of names (empty: all). ``secrets`` is a JSON array of
``[secret, until when it signs beside the newest or null]``, newest first: whoever signs must know them, so they stand
here as they are."""

webhook_deliveries = sa.Table(
    "webhook_deliveries",
    metadata,
    sa.Column("id", KeyText, primary_key=True),
    sa.Column("webhook", KeyText, nullable=False),
    sa.Column("type", KeyText, nullable=False),
    sa.Column("payload", sa.Text, nullable=False),
    sa.Column("state", KeyText, nullable=False),
    sa.Column("attempts", sa.BigInteger, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("next_at", sa.BigInteger),
    sa.Column("last_at", sa.BigInteger),
    sa.Column("last_status", sa.BigInteger),
    sa.Column("last_error", sa.Text),
    sa.Index(None, "state", "next_at"),
)
"""One message to one webhook; ``id`` is its ``webhook-id``, the same at every attempt. ``state`` is pending, delivered
or failed."""

"""The table of API keys. Times are microseconds since 1970 UTC. Rows are never removed."""

from __future__ import annotations

import sqlalchemy as sa

from experiments.store.metadata import KeyText, metadata

api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("selector", KeyText, primary_key=True),
    sa.Column("name", KeyText, nullable=False),
    sa.Column("environment", KeyText, nullable=False),
    sa.Column("verifier", KeyText, nullable=False),
    sa.Column("scopes", KeyText, nullable=False),
    sa.Column("ack", KeyText, nullable=False),
    sa.Column("source", KeyText, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("created_by", KeyText, nullable=False),
    sa.Column("expires_at", sa.BigInteger),
    sa.Column("revoked_at", sa.BigInteger),
    sa.Column("replaces", KeyText),
    sa.Column("last_used_at", sa.BigInteger),
)
"""Every API key there ever was. ``verifier`` is the SHA-256 of its secret, which is kept nowhere; ``scopes`` are words
separated by spaces; ``replaces`` is the selector of the key that a rotation put this one beside."""

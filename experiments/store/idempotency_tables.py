"""The table of requests that may be sent again: what was asked under a caller's key, and what was answered."""

from __future__ import annotations

import sqlalchemy as sa

from experiments.store.metadata import KeyText, metadata

idempotency_keys = sa.Table(
    "idempotency_keys",
    metadata,
    sa.Column("caller", KeyText, primary_key=True),
    sa.Column("method", KeyText, primary_key=True),
    sa.Column("path", KeyText, primary_key=True),
    sa.Column("key", KeyText, primary_key=True),
    sa.Column("fingerprint", KeyText, nullable=False),
    sa.Column("attempt", KeyText, nullable=False),
    sa.Column("locked_until", sa.BigInteger, nullable=False),
    sa.Column("status", sa.BigInteger),
    sa.Column("headers", sa.Text),
    sa.Column("body", sa.Text),
    sa.Column("created_at", sa.BigInteger, nullable=False),
)
"""One row for each ``Idempotency-Key`` of a caller at an address. ``status`` is null while the first request is under
way; ``attempt`` says whose turn it is, and ``locked_until`` when it is over, should that process have died."""

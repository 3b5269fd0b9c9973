"""The tables of targeting: recommendations of who should get which offer, and the audiences made from them."""

from __future__ import annotations

import sqlalchemy as sa

from experiments.store.metadata import KeyText, metadata

recommendations = sa.Table(
    "recommendations",
    metadata,
    sa.Column("experiment", KeyText, primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("computed_at", sa.BigInteger, nullable=False),
    sa.Column("content_hash", KeyText, nullable=False),
    sa.Column("recommended", KeyText),
    sa.Column("document", sa.Text, nullable=False),
)
"""Recommendations from an experiment, numbered from 1, never changed; ``document`` is
`experiments.uplift.document.Recommendation` as JSON, ``recommended`` the code of the policy that it recommends."""

audiences = sa.Table(
    "audiences",
    metadata,
    sa.Column("id", KeyText, primary_key=True),
    sa.Column("experiment", KeyText),
    sa.Column("recommendation", sa.BigInteger),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("created_by", KeyText, nullable=False),
    sa.Column("sha256", KeyText, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("document", sa.Text, nullable=False),
)
"""Frozen lists of who is to get which offer. ``id`` is that of the job that made it, whose file it is; ``document``
is `experiments.targeting.document.Audience` as JSON."""

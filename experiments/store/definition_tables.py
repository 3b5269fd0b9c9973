"""The tables of the domain: immutable revisions of definitions, where each experiment stands, phases, the audit trail.

Nothing here is ever deleted. ``definition_heads`` and ``experiment_states`` are the only rows that change; every other
table is append-only (a phase is closed once). Times are microseconds since 1970 UTC; JSON is canonical text.
"""

from __future__ import annotations

import sqlalchemy as sa

from experiments.store.metadata import KeyText, metadata

definition_revisions = sa.Table(
    "definition_revisions",
    metadata,
    sa.Column("kind", KeyText, primary_key=True),
    sa.Column("key", KeyText, primary_key=True),
    sa.Column("revision", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("content_hash", KeyText, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("created_by", KeyText, nullable=False),
)
"""Every revision of every definition as canonical JSON; never changed."""

definition_heads = sa.Table(
    "definition_heads",
    metadata,
    sa.Column("kind", KeyText, primary_key=True),
    sa.Column("key", KeyText, primary_key=True),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("version_id", sa.BigInteger, nullable=False),
    sa.Column("salt", KeyText),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("updated_at", sa.BigInteger, nullable=False),
)
"""The current revision of each definition. ``version_id`` grows with each change, of content or of state: whoever
changes says which one was read, and loses when it has grown. ``salt`` is made once, at creation."""

experiment_states = sa.Table(
    "experiment_states",
    metadata,
    sa.Column("experiment", KeyText, primary_key=True),
    sa.Column("state", KeyText, nullable=False),
    sa.Column("pinned", sa.Text),
    sa.Column("started_at", sa.BigInteger),
    sa.Column("paused_at", sa.BigInteger),
    sa.Column("ended_at", sa.BigInteger),
    sa.Column("decided_at", sa.BigInteger),
)
"""Where an experiment stands. ``pinned`` is what its launch froze: currency, time zone, stickiness, holdouts, and the
revisions of its offers, metrics and segment."""

experiment_phases = sa.Table(
    "experiment_phases",
    metadata,
    sa.Column("experiment", KeyText, primary_key=True),
    sa.Column("phase", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("salt", KeyText, nullable=False),
    sa.Column("carry", KeyText, nullable=False),
    sa.Column("traffic", KeyText, nullable=False),
    sa.Column("weights", sa.Text, nullable=False),
    sa.Column("opened_at", sa.BigInteger, nullable=False),
    sa.Column("closed_at", sa.BigInteger),
)
"""Periods with one split. Raising the traffic changes ``traffic`` in place, because it moves nobody."""

audit_log = sa.Table(
    "audit_log",
    metadata,
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("actor", KeyText, nullable=False),
    sa.Column("action", KeyText, nullable=False),
    sa.Column("kind", KeyText, nullable=False),
    sa.Column("key", KeyText, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("previous_hash", KeyText, nullable=False),
    sa.Column("hash", KeyText, nullable=False),
)
"""Who changed what, in the transaction of the change. Each row holds the hash of the one before it, so a removed or
altered row shows."""

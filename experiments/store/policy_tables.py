"""The tables of policies that learn: their versions, what each one went through, and variants taken out."""

from __future__ import annotations

import sqlalchemy as sa

from experiments.store.metadata import KeyText, metadata

policies = sa.Table(
    "policies",
    metadata,
    sa.Column("experiment", KeyText, primary_key=True),
    sa.Column("version", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("state", KeyText, nullable=False),
    sa.Column("share", KeyText, nullable=False),
    sa.Column("sha256", KeyText, nullable=False),
    sa.Column("policy", KeyText, nullable=False),
    sa.Column("origin", KeyText, nullable=False),
    sa.Column("trained_at", sa.BigInteger, nullable=False),
    sa.Column("data_until", sa.BigInteger, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("about", sa.Text, nullable=False),
    sa.Column("gate", sa.Text, nullable=False),
    sa.Column("changed_at", sa.BigInteger, nullable=False),
)
"""Each version of each experiment's policy, never deleted. ``state`` is one of `experiments.learning.versions`,
``share`` that of the members it draws for while it is ramped up. ``origin`` says where it is from: ``learned`` or
``mabwiser``. ``data_until`` is the last microsecond of a decision that it may have learned from, ``about`` a JSON
object of how it was learned (settings, counts), ``gate`` one of what the gate found."""

policy_files = sa.Table(
    "policy_files",
    metadata,
    sa.Column("sha256", KeyText, primary_key=True),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
)
"""The immutable files of policies by their SHA-256; hosts copy them beside their snapshots."""

policy_masks = sa.Table(
    "policy_masks",
    metadata,
    sa.Column("experiment", KeyText, primary_key=True),
    sa.Column("variant", KeyText, primary_key=True),
    sa.Column("since", sa.BigInteger, nullable=False),
    sa.Column("actor", KeyText, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
)
"""Variants that nobody gets any more, because a guardrail broke or somebody took them out, until they are put back."""

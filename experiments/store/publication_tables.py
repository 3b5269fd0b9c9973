"""The tables by which any number of hosts decide alike: what was published, and which host has loaded rows when."""

from __future__ import annotations

import sqlalchemy as sa

from experiments.store.metadata import KeyText, metadata

published_snapshots = sa.Table(
    "published_snapshots",
    metadata,
    sa.Column("version", KeyText, primary_key=True),
    sa.Column("content_digest", KeyText, nullable=False),
    sa.Column("effective_at", sa.BigInteger, nullable=False),
    sa.Column("published_at", sa.BigInteger, nullable=False),
    sa.Column("definitions", sa.BigInteger, nullable=False),
    sa.Column("program", KeyText, nullable=False),
    sa.Column("document", sa.Text, nullable=False),
)
"""The snapshots published last. Whoever publishes holds a lock, so that each content is published once; every host
copies the newest to its own folder, with its version and the moment from which it decides. ``definitions`` is the
number of the newest change that is in it (of ``audit_log``), ``program`` the version of Equipoise that compiled it."""

replicas = sa.Table(
    "replicas",
    metadata,
    sa.Column("replica", KeyText, primary_key=True),
    sa.Column("loaded_at", sa.BigInteger, nullable=False),
)
"""When each host last loaded decisions, or what is said of members: the others then renew their member states."""

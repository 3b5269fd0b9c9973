"""The table of reports: every one that was computed and differed from the one before, never changed."""

from __future__ import annotations

import sqlalchemy as sa

from experiments.store.metadata import KeyText, metadata

reports = sa.Table(
    "reports",
    metadata,
    sa.Column("experiment", KeyText, primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("phase", sa.BigInteger, nullable=False),
    sa.Column("computed_at", sa.BigInteger, nullable=False),
    sa.Column("content_hash", KeyText, nullable=False),
    sa.Column("reading", KeyText),
    sa.Column("document", sa.Text, nullable=False),
)
"""Reports of an experiment, numbered from 1; ``document`` is the Report as JSON, ``reading`` its decision's code, for
lists of reports."""

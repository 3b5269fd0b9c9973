"""The tables of lifecycle stages: who is in which stage since when, and each time the stages were computed."""

from __future__ import annotations

import sqlalchemy as sa

from experiments.store.metadata import KeyText, metadata

stage_history = sa.Table(
    "stage_history",
    metadata,
    sa.Column("rule", KeyText, primary_key=True),
    sa.Column("unit_type", KeyText, primary_key=True),
    sa.Column("unit", KeyText, primary_key=True),
    sa.Column("since", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("stage", KeyText),
    sa.Column("revision", sa.BigInteger, nullable=False),
)
"""One row each time a unit's stage was found to be another than before; ``stage`` NULL: in none. ``revision`` is that
of the rule."""

stage_runs = sa.Table(
    "stage_runs",
    metadata,
    sa.Column("rule", KeyText, primary_key=True),
    sa.Column("at", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("units", sa.BigInteger, nullable=False),
    sa.Column("changed", sa.BigInteger, nullable=False),
    sa.Column("counts", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
)
"""Each time the stages of a rule were computed: as of when, of how many units, how many moved, and a JSON object of how
many were in each stage. ``detail`` is `experiments.stages.document.Detail` as JSON: who moved where in the week, and
the grid of recency and frequency."""

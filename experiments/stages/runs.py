"""Each time the stages of a rule were computed, as the store keeps it."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from experiments.log.store_rows import replace
from experiments.stages.document import Detail, Run
from experiments.store.stage_tables import stage_history, stage_runs


def latest(connection: Connection, rule: str) -> Run | None:
    """Return the last run of a rule, as of the latest moment; ``None`` where there is none."""
    c = stage_runs.c
    query = sa.select(stage_runs).where(c.rule == rule).order_by(c.at.desc()).limit(1)
    row = connection.execute(query).mappings().first()
    return None if row is None else _run(row)


def since(connection: Connection, rule: str, at: int) -> list[Run]:
    """Return the runs of a rule as of a moment and later, the latest first."""
    c = stage_runs.c
    query = sa.select(stage_runs).where(c.rule == rule, c.at >= at).order_by(c.at.desc())
    return [_run(row) for row in connection.execute(query).mappings()]


def before(connection: Connection, rule: str, at: int) -> bool:
    """Return whether the rule was computed as of an earlier moment."""
    c = stage_runs.c
    return connection.execute(sa.select(c.at).where(c.rule == rule, c.at < at).limit(1)).first() is not None


def keep(connection: Connection, run: Run) -> None:
    """Keep a run, in place of one as of the same moment."""
    counts, detail = (msgspec.json.encode(part, order="sorted").decode() for part in (run.counts, run.detail))
    replace(connection, stage_runs, [(run.rule, run.at, run.revision, run.units, run.changed, counts, detail)])


def history_of(connection: Connection, rule: str, unit: str) -> list[tuple[int, str | None, int]]:
    """Return (since, stage, revision of the rule) of one unit, the latest first."""
    c = stage_history.c
    query = sa.select(c.since, c.stage, c.revision).where(c.rule == rule, c.unit == unit).order_by(c.since.desc())
    return [(row.since, row.stage, row.revision) for row in connection.execute(query)]


def _run(row: RowMapping) -> Run:
    counts = msgspec.json.decode(row["counts"], type=dict[str, int])
    detail = msgspec.json.decode(row["detail"], type=Detail)
    return Run(**{**row, "counts": counts, "detail": detail})

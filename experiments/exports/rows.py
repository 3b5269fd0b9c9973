"""What is exported, read as a stream: the rows of some days in the order of their keys, few of them in memory.

The database sorts, on its disk where it must. Within one call all rows are of one moment.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import msgspec
import sqlalchemy as sa

from experiments.exports.schema import TABLES
from experiments.log.rows import DAY_US
from experiments.report.document import Comparison, Estimate, MetricResult, Report
from experiments.store import Store
from experiments.store.log_tables import decisions, events
from experiments.store.report_tables import reports

Row = tuple[Any, ...]

_DAYS: dict[str, sa.ColumnElement[int]] = {
    "decisions": decisions.c.at // DAY_US,
    "events": events.c.day,
    "reports": reports.c.computed_at // DAY_US,
}
_TABLES = {"decisions": decisions, "events": events, "reports": reports}
_KEYS = {
    "decisions": [decisions.c.decision_id],
    "events": [events.c.source, events.c.event_id],
    "reports": [reports.c.experiment, reports.c.number],
}


def counts(store: Store, table: str, first: int, last: int) -> dict[int, int]:
    """Return how many rows of the store's table there are for each UTC day, of those that have any.

    Args:
        store: where they are.
        table: ``decisions``, ``events`` or ``reports`` (reports, not their lines).
        first: day since 1970.
        last: day since 1970, included.
    """
    day = _DAYS[table]
    query = sa.select(day, sa.func.count()).select_from(_TABLES[table]).where(day.between(first, last)).group_by(day)
    with store.read() as connection:
        return {int(number): int(count) for number, count in connection.execute(query.order_by(day))}


def stream(store: Store, table: str, first: int, last: int) -> Generator[tuple[int, Row], None, None]:
    """Yield ``(day, row)`` of some days, day after day, in the order of the table's exported columns.

    A row of the store is one row, but for reports: a report is yielded whole, as a tuple of its lines.

    Args:
        store: where they are.
        table: ``decisions``, ``events`` or ``reports``.
        first: day since 1970.
        last: day since 1970, included.
    """
    day = _DAYS[table].label("exported_day")
    source = _TABLES[table]
    # The unary plus keeps SQLite from walking the key's index, which would fetch every row from another place.
    query = sa.select(day, *_columns(table)).where(_DAYS[table].between(first, last))
    unindexed: list[Any] = [sa.literal_column(f"+{column.table.name}.{column.name}") for column in _KEYS[table]]
    query = query.order_by(day, *(unindexed if store.dialect == "sqlite" else _KEYS[table])).select_from(source)
    with store.read() as connection:
        streaming = connection.execution_options(stream_results=True, max_row_buffer=10_000)
        for row in streaming.execute(query):
            if table == "reports":
                yield row[0], tuple(lines(row[1], row[2], msgspec.json.decode(row[3], type=Report)))
            else:
                yield row[0], tuple(row[1:])


def _columns(table: str) -> list[sa.Column[Any]]:
    if table == "reports":
        return [reports.c.number, reports.c.computed_at, reports.c.document]
    return [_TABLES[table].c[column.name] for column in TABLES[table]]


def lines(number: int, computed_at: int, report: Report) -> Iterator[Row]:
    """Yield a line for each metric and compared variant of a report, as the columns of ``reports`` are ordered."""
    verdict = report.verdict
    head = (
        report.plan.experiment, number, report.plan.phase or 1, computed_at, report.content_hash,
        None if verdict is None else verdict.code, None if verdict is None else verdict.variant,
        report.srm.status, report.srm.p_value, report.population.assigned, report.population.analysed,
    )  # fmt: skip
    for metric in report.metrics:
        currency = report.plan.currency if metric.unit == "money" else None
        for comparison in metric.comparisons:
            yield (*head, metric.name, metric.role, metric.unit, currency, *_line(metric, comparison))


def _line(metric: MetricResult, comparison: Comparison) -> Row:
    by_name = {summary.variant: summary for summary in metric.variants}
    control, variant = by_name.get(metric.control), by_name.get(comparison.variant)
    return (
        metric.control, comparison.variant,
        *(None if each is None else each.n for each in (control, variant)),
        *(None if each is None else each.mean for each in (control, variant)),
        *_estimate(comparison.effect), *_estimate(comparison.relative),
        comparison.p_value, comparison.p_value_adjusted, comparison.reading, comparison.readable, comparison.why,
        comparison.method,
    )  # fmt: skip


def _estimate(estimate: Estimate) -> Row:
    return (
        estimate.estimate, estimate.ci_low, estimate.ci_high, estimate.ci_low_adjusted, estimate.ci_high_adjusted,
    )  # fmt: skip

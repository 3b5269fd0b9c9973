"""A metric day by day after entry: the same parts with shorter windows, all in one pass.

For a list that is sent once, everybody enters at the same time, and the effect grows as the days after the send go by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from experiments.measure.cells import Cells, ColumnGroup, compute_cells
from experiments.measure.days import DAY_US
from experiments.measure.facts import Facts
from experiments.measure.parts import MeasuredMetric, Part
from experiments.measure.scan import scan_columns

MAX_POINTS = 14


def days_shown(window_us: int, start_us: int, complete_us: int) -> list[int]:
    """Return the whole days after entry at which a curve has points: at most 14, the last one the window's end.

    Args:
        window_us: end of the metric's window.
        start_us: its start.
        complete_us: age of the unit that entered last; a later day is not complete for everyone.

    >>> days_shown(28 * DAY_US, 0, 100 * DAY_US)
    [2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28]
    """
    last = min(window_us, complete_us) // DAY_US
    first = start_us // DAY_US + 1
    if last < first:
        return []
    step = -(-(last - first + 1) // MAX_POINTS)
    return sorted(range(last, first - 1, -step))


def cells_by_member_day(
    facts: Facts, metric: MeasuredMetric, days: Sequence[int], unit_table: Any, variants: Sequence[str]
) -> list[Cells]:
    """Return the moments of one metric for each number of days after entry.

    Args:
        facts: where the events are; their parts are replaced.
        metric: which metric.
        days: numbers of days.
        unit_table: makes the full table out of facts and parts: ``(facts, metrics) → (table, minor)``.
        variants: control first.
    """
    by_day = [_shortened(metric, day) for day in days]
    parts = tuple({p.column: p for m in by_day for p in m.parts}.values())
    table, minor = unit_table(replace(facts, parts=parts), by_day)
    whole = [p.column for p in parts if not table[p.column].type().is_floating()]
    table = facts.log.keep(table.filter(table.variant.isin(list(variants))), "equipoise_member_days", whole=whole)
    winsorise = {column: q for m in by_day for column, q in m.winsorise.items()}
    scans = scan_columns(table, [p.column for p in parts], winsorise=winsorise, minor=minor)
    groups = [ColumnGroup(f"day_{day}", m.spec.columns) for day, m in zip(days, by_day, strict=True)]
    together = compute_cells(table, groups, scans, variant="variant", variants=variants)
    return [replace(together, groups={}, totals={metric.spec.name: together.totals[f"day_{day}"]}) for day in days]


def _shortened(metric: MeasuredMetric, day: int) -> MeasuredMetric:
    """Return the metric with its window cut at a day; covariates stay as they are."""

    def name(column: str) -> str:
        return column if "_before" in column else f"{column}_day_{day}"

    def cut(part: Part) -> Part:
        if part.is_before:
            return part
        return replace(part, column=name(part.column), end_us=min(part.end_us, day * DAY_US))

    spec = metric.spec
    return replace(
        metric,
        parts=tuple(cut(p) for p in metric.parts),
        spec=replace(spec, value=name(spec.value), denominator=name(spec.denominator) if spec.denominator else None),
        winsorise={name(c): q for c, q in metric.winsorise.items()},
        minor={name(c): e for c, e in metric.minor.items()},
    )

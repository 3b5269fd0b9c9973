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
MOST_COLUMNS = 64


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
    facts: Facts,
    wanted: Sequence[tuple[MeasuredMetric, Sequence[int]]],
    unit_table: Any,
    variants: Sequence[str],
    *,
    stratum: str | None = None,
) -> list[dict[int, Cells]]:
    """Return the moments of each metric for each number of days after entry, all in one pass.

    Args:
        facts: where the events are; their parts are replaced.
        wanted: metrics, each with its numbers of days.
        unit_table: makes the full table out of facts and parts: ``(facts, metrics) → (table, minor)``.
        variants: control first.
        stratum: column of that table with the stratum, if any.
    """
    cut = [(metric, day, _shortened(metric, day)) for metric, days in wanted for day in days]
    if not cut:
        return [{} for _ in wanted]
    shortened = [m for _, _, m in cut]
    parts = tuple({p.column: p for m in shortened for p in m.parts}.values())
    table, minor = unit_table(replace(facts, parts=parts), shortened)
    whole = [p.column for p in parts if not table[p.column].type().is_floating()]
    table = facts.log.keep(table.filter(table.variant.isin(list(variants))), "equipoise_member_days", whole=whole)
    winsorise = {column: q for m in shortened for column, q in m.winsorise.items()}
    scans = scan_columns(table, [p.column for p in parts], winsorise=winsorise, minor=minor)
    names = [f"{i}" for i in range(len(cut))]
    groups = [ColumnGroup(name, m.spec.columns) for name, m in zip(names, shortened, strict=True)]
    together = compute_cells(table, groups, scans, variant="variant", variants=variants, stratum=stratum)
    found: dict[str, dict[int, Cells]] = {metric.spec.name: {} for metric, _ in wanted}
    for name, (metric, day, _) in zip(names, cut, strict=True):
        key = metric.spec.name
        moments, totals = {key: together.groups[name]}, {key: together.totals[name]}
        found[key][day] = replace(together, groups=moments if stratum else {}, totals=totals)
    return [found[metric.spec.name] for metric, _ in wanted]


def batches(wanted: Sequence[tuple[MeasuredMetric, Sequence[int]]]) -> list[list[tuple[MeasuredMetric, Sequence[int]]]]:
    """Cut the metrics into passes of about `MOST_COLUMNS`: a pass costs a scan, a column memory for every unit."""
    result: list[list[tuple[MeasuredMetric, Sequence[int]]]] = []
    room = 0
    for metric, days in wanted:
        columns = len(metric.parts) * len(days)
        if columns > room or not result:
            result.append([])
            room = MOST_COLUMNS
        result[-1].append((metric, days))
        room -= columns
    return result


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

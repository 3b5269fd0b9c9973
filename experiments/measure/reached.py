"""Whom the offer really reached: units with an event that says so, from entry to the end of the longest window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from experiments.measure.cells import Cells, ColumnGroup, compute_cells
from experiments.measure.experiment import MeasuredExperiment
from experiments.measure.facts import relevant
from experiments.measure.scan import scan_columns
from experiments.measure.unit_rows import UnitRows
from experiments.report.estimates import MetricSpec

REACHED = "reached"
"""Column of 1 where the offer reached the unit."""


def cells_with_reached(measured: MeasuredExperiment, event: str, experiment: str, specs: Sequence[MetricSpec]) -> Cells:
    """Return the moments of some metrics, each together with the column `REACHED`, by variant.

    Args:
        measured: the experiment.
        event: says that the offer reached the unit; one that names another experiment does not count.
        experiment: this one's key.
        specs: the metrics.
    """
    facts = measured.facts
    end = max((m.window_us for m in measured.metrics), default=0)
    e = relevant(facts)
    e = e.filter(e.name == event, e.experiment.isnull() | (e.experiment == experiment)).select("unit", "at")
    joined = e.join(facts.units.select("u", "unit", "t0"), "unit")
    hit = joined.filter(joined["at"] >= joined.t0, joined["at"] < joined.t0 + end).select("u").distinct()
    table = measured.table.left_join(hit.mutate(hit=1), "u").drop("u_right")
    table = table.mutate(**{REACHED: table.hit.fill_null(0).cast("int64")}).drop("hit")
    table = facts.log.keep(table, "equipoise_reached", whole=[REACHED])
    scans = {**measured.scans, **scan_columns(table, [REACHED])}
    return cells_beside(replace(measured.rows, table=table, scans=scans), REACHED, specs)


def cells_beside(rows: UnitRows, reached: str, specs: Sequence[MetricSpec]) -> Cells:
    """Return the moments of some metrics by variant, each together with the column ``reached`` of 0 and 1."""
    groups = [ColumnGroup(s.name, tuple(dict.fromkeys((*s.columns, reached)))) for s in specs]
    return compute_cells(rows.table, groups, rows.scans, variant=rows.variant, variants=rows.variants)

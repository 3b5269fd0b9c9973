"""Other experiments that share units with this one, and this one's figures within each of their variants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from experiments.measure.cells import Cells, ColumnGroup, compute_cells
from experiments.measure.experiment import MeasuredExperiment
from experiments.report.estimates import MetricSpec
from experiments.sources.duck import fetch

MOST = 3
"""Experiments that are looked into: those with most units in common."""
LEAST_UNITS = 100
"""In common; fewer say nothing about an interaction."""
MAX_VARIANTS = 10


@dataclass(frozen=True)
class Overlap:
    """Another experiment and the moments of this one's metrics within each of its variants (the strata)."""

    experiment: str
    units: int
    """In both; those that were seen in two of its variants are left out."""
    cells: Cells


def overlaps(measured: MeasuredExperiment, experiment: str, specs: Sequence[MetricSpec]) -> list[Overlap]:
    """Return the experiments with most units in common.

    Args:
        measured: the experiment.
        experiment: its key.
        specs: the metrics that are looked at.
    """
    facts = measured.facts
    d = facts.log.decisions
    d = d.filter(
        d.experiment != experiment, d.unit_type == facts.unit_type, d.kind == "enrolled", d["at"] <= facts.now_us
    ).select("experiment", "unit", other="variant")
    shared = d.join(facts.units.select("u", "unit"), "unit")
    by_unit = shared.group_by("experiment", "u").aggregate(other=shared.other.min(), last=shared.other.max())
    by_unit = facts.log.keep(by_unit.filter(by_unit.other == by_unit["last"]).drop("last"), "equipoise_overlaps")
    counted = by_unit.group_by("experiment").aggregate(n=by_unit.count(), variants=by_unit.other.nunique())
    counted = counted.filter(counted.n >= LEAST_UNITS, counted.variants > 1, counted.variants <= MAX_VARIANTS)
    largest = sorted(fetch(counted), key=lambda r: (-r["n"], r["experiment"]))[:MOST]
    return [_overlap(measured, by_unit, row, specs) for row in largest]


def _overlap(measured: MeasuredExperiment, by_unit: Any, row: dict[str, Any], specs: Sequence[MetricSpec]) -> Overlap:
    other = by_unit.filter(by_unit.experiment == row["experiment"]).select("u", "other")
    table = measured.table.join(other, "u")
    groups = [ColumnGroup(s.name, s.columns) for s in specs]
    cells = compute_cells(table, groups, measured.scans, variant="variant", variants=measured.variants, stratum="other")
    return Overlap(row["experiment"], int(cells.units.sum()), cells)

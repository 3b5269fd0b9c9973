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
    """Return the experiments with most units in common, of those that ran at the same time.

    An experiment did if it decided for anybody between one outcome window before the first unit entered here and the
    end of the last unit's window. What it gave a unit after that unit's own window had ended does not count.

    Args:
        measured: the experiment.
        experiment: its key.
        specs: the metrics that are looked at.
    """
    facts, units = measured.facts, measured.units
    if units.first_us is None or units.last_us is None:
        return []
    window_us = max((m.window_us for m in measured.metrics), default=0)
    d = facts.log.decisions
    d = d.filter(
        d.experiment != experiment, d.unit_type == facts.unit_type, d.kind == "enrolled", d["at"] <= facts.now_us
    )
    # The log has no index by unit: which experiments matter at all is asked first, of no column but the time.
    spans = fetch(d.group_by("experiment").aggregate(first=d["at"].min(), last=d["at"].max()))
    begin, end = units.first_us - window_us, units.last_us + window_us
    together = sorted(r["experiment"] for r in spans if r["first"] < end and r["last"] >= begin)
    if not together:
        return []
    d = d.filter(d.experiment.isin(together)).select("experiment", "unit", "at", other="variant")
    shared = d.join(facts.units.select("u", "unit", "t0"), "unit")
    shared = shared.filter(shared["at"] < shared.t0 + window_us).select("experiment", "u", "other")
    shared = facts.log.keep(shared, "equipoise_overlaps")
    counted = shared.group_by("experiment").aggregate(n=shared.u.nunique(), variants=shared.other.nunique())
    counted = counted.filter(counted.n >= LEAST_UNITS, counted.variants > 1, counted.variants <= MAX_VARIANTS)
    largest = sorted(fetch(counted), key=lambda r: (-r["n"], r["experiment"]))[:MOST]
    return [_overlap(measured, shared.filter(shared.experiment == r["experiment"]), r, specs) for r in largest]


def _overlap(measured: MeasuredExperiment, shared: Any, row: dict[str, Any], specs: Sequence[MetricSpec]) -> Overlap:
    by_unit = shared.group_by("u").aggregate(other=shared.other.min(), last=shared.other.max())
    other = by_unit.filter(by_unit.other == by_unit["last"]).select("u", "other")
    table = measured.table.join(other, "u")
    groups = [ColumnGroup(s.name, s.columns) for s in specs]
    cells = compute_cells(table, groups, measured.scans, variant="variant", variants=measured.variants, stratum="other")
    return Overlap(row["experiment"], int(cells.units.sum()), cells)

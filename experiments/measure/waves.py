"""Repeated waves of one test: a unit counts once in every occasion that it was decided for, from that occasion on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from experiments.measure.cells import Cells, ColumnGroup, compute_cells
from experiments.measure.experiment import MeasuredExperiment, unit_table
from experiments.measure.facts import PRICING
from experiments.measure.parts import MeasuredMetric
from experiments.measure.population import PopulationPlan, exposures, met_since
from experiments.measure.scan import scan_columns
from experiments.measure.sends import enrolments
from experiments.sources.duck import fetch, fetch_one
from experiments.sources.log import LogTables

MOST_WAVES = 30
"""The latest ones are taken."""


@dataclass(frozen=True)
class Waves:
    """The moments of some metrics by variant and occasion (the strata)."""

    occasions: tuple[str, ...]
    """In the order in which they began."""
    left_out: int
    """Earlier occasions beyond `MOST_WAVES`."""
    cells: Cells
    members: int | None = None
    """Different units in these waves, where a unit may be in several."""


def measure_waves(
    measured: MeasuredExperiment, plan: PopulationPlan, metrics: Sequence[MeasuredMetric]
) -> Waves | None:
    """Measure every wave of one phase; ``None`` where nobody was decided for.

    Args:
        measured: the experiment: its units, without those that are left out, and its log.
        plan: who counts, and from when on.
        metrics: those that are pooled.
    """
    import ibis

    log = measured.facts.log
    rows = log.keep(_entries(log, plan, measured.facts.units), "equipoise_wave_entries")
    begun = fetch(rows.group_by("occasion").aggregate(first=rows.t0.min()))
    order = [r["occasion"] for r in sorted(begun, key=lambda r: (r["first"], r["occasion"]))]
    chosen = order[-MOST_WAVES:]
    if not chosen:
        return None
    rows = rows.filter(rows.occasion.isin(chosen))
    rows = rows.mutate(u=ibis.row_number().over(order_by=["unit", "occasion"]).cast("int32"), day=0)
    units = log.keep(rows, "equipoise_waves")
    parts = tuple(part for metric in metrics for part in metric.parts)
    facts = replace(measured.facts, units=units, parts=parts)
    table, minor = unit_table(facts, measured.census, metrics)
    whole = [p.column for p in parts if not table[p.column].type().is_floating()]
    table = log.keep(table.filter(table.variant.isin(list(measured.variants))), "equipoise_wave_table", whole=whole)
    winsorise = {column: q for m in metrics for column, q in m.winsorise.items()}
    scans = scan_columns(table, [p.column for p in parts], winsorise=winsorise, minor=minor)
    groups = [ColumnGroup(m.spec.name, m.spec.columns) for m in metrics]
    cells = compute_cells(table, groups, scans, variant="variant", variants=measured.variants, stratum="occasion")
    members = fetch_one(units.filter(units.variant.isin(list(measured.variants))).unit.nunique())
    return Waves(tuple(chosen), len(order) - len(chosen), cells, int(members))


def _entries(log: LogTables, plan: PopulationPlan, units: Any) -> Any:
    """Return unit, variant, occasion, t0 and contacts: one row for each unit and occasion."""
    import ibis

    own = tuple(name for name in PRICING if name in units.columns)
    d = enrolments(log, plan)
    entered = d.group_by("unit", "occasion").aggregate(
        entered_at=d["at"].min(), send_at=d.send_at.min(), contacts=d.count()
    )
    rows = entered.join(units.select("unit", "variant", *own), "unit")
    if plan.kind == "exposed":
        until = rows.entered_at.lead().over(group_by="unit", order_by=["entered_at", "occasion"])
        rows = rows.mutate(until=until.fill_null(plan.now_us + 1))
        e = exposures(log, plan).select("unit", "at", "experiment")
        met = e.join(rows.select("unit", "occasion", "entered_at", "until"), "unit")
        met = met_since(met.filter(met["at"] < met.until))
        first = met.group_by("unit", "occasion").aggregate(t0=ibis.greatest(met["at"], met.entered_at).min())
        rows = rows.join(first, ["unit", "occasion"])
    elif plan.send_event is not None:
        e = log.events
        e = e.filter(e.name == plan.send_event, e["at"] <= plan.now_us, e.decision_id.notnull())
        named = e.select("decision_id", sent="at").join(d.select("decision_id", "unit", "occasion"), "decision_id")
        sent = named.group_by("unit", "occasion").aggregate(sent_at=named.sent.min())
        rows = rows.left_join(sent, ["unit", "occasion"]).drop("unit_right", "occasion_right")
        planned = ibis.greatest(rows.send_at.fill_null(rows.entered_at), rows.entered_at)
        rows = rows.mutate(t0=ibis.greatest(rows.sent_at.fill_null(planned), rows.entered_at))
    else:
        rows = rows.mutate(t0=rows.entered_at)
    return rows.select("unit", "variant", "occasion", "t0", "contacts", *own)

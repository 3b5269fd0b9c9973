"""An experiment's figures from the log: the units, their metrics in one table, and the moments of that table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from experiments.measure.cells import Cells, ColumnGroup, compute_cells
from experiments.measure.days import DAY_US
from experiments.measure.facts import PRICING, Census, Facts, take_census
from experiments.measure.linked import LinkedUnits, resolve
from experiments.measure.member_days import batches, cells_by_member_day, days_shown
from experiments.measure.parts import MeasuredMetric, Part
from experiments.measure.population import PopulationPlan, Units, select_units
from experiments.measure.redemption import Costs
from experiments.measure.scan import ColumnScan, scan_columns
from experiments.measure.unit_rows import UnitRows
from experiments.measure.unit_table import unit_columns
from experiments.report.estimates import MetricSpec
from experiments.sources.duck import fetch_one
from experiments.sources.log import LogTables

MAX_STRATA = 200
"""Combinations of levels; more of them than this are not stratified by."""
BETWEEN = " · "
"""Between the levels of a combination."""


@dataclass(frozen=True)
class MeasuredExperiment:
    """Everything that a report of one phase is computed from."""

    units: Units
    census: Census
    table: Any
    """Ibis table, one row per unit: u, variant, day, levels, stratum, and a column per part."""
    metrics: tuple[MeasuredMetric, ...]
    facts: Facts
    scans: Mapping[str, ColumnScan]
    variants: tuple[str, ...]
    """Control first."""
    cells: Cells
    """By variant and day of entry."""
    immature: int
    """Units whose longest window is not over at ``now``."""
    matured_at_us: int | None
    """When the last unit's longest window is over."""
    linked: LinkedUnits
    """Units that are known by several ids."""
    strata: tuple[str, ...] = ()
    """Attributes whose levels, combined, are the strata of ``cells``."""
    too_many_strata: int | None = None
    """How many combinations there are where they are too many to stratify by."""
    beside: tuple[MeasuredMetric, ...] = ()
    """Columns of the table for figures that are no metrics."""

    @property
    def specs(self) -> list[MetricSpec]:
        """The metrics as the report needs them."""
        return [m.spec for m in self.metrics]

    @property
    def rows(self) -> UnitRows:
        """The units as rows."""
        return UnitRows(self.table, self.scans, self.variants)

    @property
    def simple(self) -> list[MeasuredMetric]:
        """The primary metrics that moments alone tell everything about."""
        return [m for m in self.metrics if m.spec.role == "primary" and not m.needs_rows]

    def cells_by(self, attribute: str, specs: Sequence[MetricSpec], *, by_day: bool = False) -> Cells:
        """Return the moments of some metrics by variant and level of a frozen attribute, and by day where asked."""
        return compute_cells(
            self.table,
            [ColumnGroup(s.name, s.columns) for s in specs],
            self.scans,
            variant="variant",
            variants=self.variants,
            stratum=self.units.levels[attribute],
            day="day" if by_day else None,
        )


def member_day_cells(
    measured: MeasuredExperiment, metrics: Sequence[MeasuredMetric], now_us: int
) -> list[dict[int, Cells]]:
    """Return each metric's moments by whole days after entry; empty before everyone's first day is over."""
    if measured.units.last_us is None:
        return [{} for _ in metrics]
    age = now_us - measured.units.last_us
    wanted = []
    for metric in metrics:
        start = min(p.start_us for p in metric.parts if not p.is_before)
        wanted.append((metric, days_shown(metric.window_us, start, age)))

    def table(facts: Facts, shortened: Sequence[MeasuredMetric]) -> tuple[Any, dict[str, int]]:
        found, minor = unit_table(facts, measured.census, shortened)
        return _with_stratum(found, measured.units, measured.strata), minor

    stratum = "stratum" if measured.strata else None
    return [
        cells
        for batch in batches(wanted)
        for cells in cells_by_member_day(measured.facts, batch, table, measured.variants, stratum=stratum)
    ]


def measure_experiment(
    log: LogTables,
    population: PopulationPlan,
    metrics: Sequence[MeasuredMetric],
    costs: Costs,
    variants: Sequence[str],
    *,
    strata: Sequence[str] = (),
    beside: Sequence[MeasuredMetric] = (),
) -> MeasuredExperiment:
    """Measure one phase of an experiment.

    Args:
        log: where the rows lie.
        population: who counts.
        metrics: what is measured.
        costs: what offers and contacts cost (profit metrics).
        variants: control first; units of other variants are left out.
        strata: frozen attributes over whose combined levels effects are post-stratified.
        beside: columns that the same pass brings along, for figures that are no metrics.
    """
    log, population, linked = resolve(log, population)
    units = select_units(log, population)
    together = (*metrics, *beside)
    parts = tuple(part for metric in together for part in metric.parts)
    facts = Facts(log, units.table, parts, costs, population.unit_type, population.now_us)
    census = take_census(facts)
    table, minor = unit_table(facts, census, together)
    table = _with_stratum(table, units, strata)
    table = log.keep(table.filter(table.variant.isin(list(variants))), "equipoise_measured", whole=_whole(table, parts))
    winsorise = {column: q for m in together for column, q in m.winsorise.items()}
    columns = [p.column for p in parts] + [contact_column(p) for p in parts if p.measure == "redemption"]
    scans = scan_columns(table, columns, winsorise=winsorise, minor=minor)
    groups = [ColumnGroup(m.spec.name, m.spec.columns) for m in metrics]
    number = int(fetch_one(table.stratum.nunique())) if strata else 0
    stratum = "stratum" if strata and number <= MAX_STRATA else None
    cells = compute_cells(table, groups, scans, variant="variant", variants=variants, stratum=stratum, day="day")
    window_us = max((m.window_us for m in metrics), default=0)
    immature = fetch_one(table.filter(table.t0 + window_us > population.now_us).count())
    last = None if units.last_us is None else units.last_us + window_us
    return MeasuredExperiment(
        units,
        census,
        table,
        tuple(metrics),
        facts,
        scans,
        tuple(variants),
        cells,
        int(immature),
        last,
        linked,
        strata=tuple(strata) if stratum else (),
        too_many_strata=number if strata and not stratum else None,
        beside=tuple(beside),
    )


def _with_stratum(table: Any, units: Units, strata: Sequence[str]) -> Any:
    """Return the table with a column of combined levels, where there are strata."""
    if not strata:
        return table
    levels = [table[units.levels[name]].fill_null("") for name in strata]
    return table.mutate(stratum=reduce(lambda all_, level: all_ + BETWEEN + level, levels))


def contact_column(part: Part) -> str:
    """Return the column with the cost of a unit's contacts, beside that of the cost of its redemptions."""
    return f"{part.column}_contact"


def _whole(table: Any, parts: Sequence[Part]) -> list[str]:
    return [part.column for part in parts if not table[part.column].type().is_floating()]


def unit_table(facts: Facts, census: Census, metrics: Sequence[MeasuredMetric]) -> tuple[Any, dict[str, int]]:
    """Return every unit with its columns and the columns that hold minor units.

    A time to event becomes the days that the unit was followed (``…_us``: the same in microseconds) and whether the
    event ended them (``…_event``); beside the cost of redemptions stands that of contacts (``…_contact``).
    """
    import ibis

    joined = unit_columns(facts, census)
    minor = {column: exponent for m in metrics for column, exponent in m.minor.items()}
    filled: dict[str, Any] = {}
    decimals = facts.costs.fraction_decimals()
    for part in facts.parts:
        value = joined[part.column]
        if part.measure in ("profit", "redemption") and not part.is_before:
            own = joined.own_offer if facts.has_own_offers else None
            contacts = facts.costs.contact_expression(joined.variant, joined.contacts, decimals, own)
            if part.measure == "redemption":
                filled[contact_column(part)] = contacts
                minor[contact_column(part)] = minor[part.column] + decimals
            else:
                value = value * 10**decimals - contacts
                minor[part.column] += decimals
        if part.matured_us is not None:
            value = ibis.ifelse(joined.t0 + part.matured_us <= facts.now_us, value, ibis.null(value.type()))
        if part.measure == "first":
            followed = ibis.greatest(ibis.least(part.end_us, facts.now_us - joined.t0), ibis.literal(0, type="int64"))
            filled[f"{part.column}_event"] = value.notnull()
            filled[f"{part.column}_us"] = value.fill_null(followed).cast("int64")
            value = filled[f"{part.column}_us"] / float(DAY_US)
        filled[part.column] = value
    kept = [c for c in facts.units.columns if c not in ("unit", "contacts", *PRICING)]
    return joined.select(*kept, **filled), minor

"""Switchback units, places × periods: one row each leaves the engine, for the assignment itself is what is tested."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from experiments.measure.cells import shifted
from experiments.measure.experiment import MeasuredExperiment
from experiments.measure.unit_rows import UnitRows
from experiments.sources.duck import fetch

MAX_UNITS = 20_000


@dataclass(frozen=True)
class PlacePeriods:
    """The units of a switchback, ordered by place and period."""

    place: tuple[str, ...]
    period: tuple[str, ...]
    """What stands behind the ``@`` of the unit; empty where there is none."""
    variant: npt.NDArray[np.int64]
    """Position of the variant, control 0."""
    values: Mapping[str, npt.NDArray[np.float64]]
    """Column → values in the metric's own unit; NaN where missing."""


def place_periods(measured: MeasuredExperiment, columns: tuple[str, ...]) -> PlacePeriods | None:
    """Return the units of a switchback; ``None`` where there are more than `MAX_UNITS`.

    >>> split_unit("store-7@2026-03-01"), split_unit("store-7")
    (('store-7', '2026-03-01'), ('store-7', ''))
    """
    if sum(measured.units.counts.values()) > MAX_UNITS:
        return None
    names = measured.facts.units.select("u", "unit")
    found = fetch(_chosen(measured.rows, columns).join(names, "u"))
    split = [split_unit(r["unit"]) for r in found]
    return _ordered(measured.rows, columns, found, split)


def places_of(rows: UnitRows, place: str, period: str, columns: tuple[str, ...]) -> PlacePeriods:
    """Return the units of a switchback whose place and period have a column each; no more than `MAX_UNITS`."""
    named = {"place": rows.table[place].cast("string"), "period": rows.table[period].cast("string")}
    found = fetch(_chosen(rows, columns, **named))
    return _ordered(rows, columns, found, [(r["place"], r["period"]) for r in found])


def _chosen(rows: UnitRows, columns: tuple[str, ...], **names: Any) -> Any:
    table, scans = rows.table, rows.scans
    values = {f"x{i}": shifted(table[c], scans[c]) for i, c in enumerate(columns)}
    return table.select(u=table[rows.unit], variant=table[rows.variant], **names, **values)


def _ordered(
    rows: UnitRows, columns: tuple[str, ...], found: list[dict[str, Any]], split: list[tuple[str, str]]
) -> PlacePeriods:
    order = sorted(range(len(found)), key=lambda i: split[i])
    found, split, scans = [found[i] for i in order], [split[i] for i in order], rows.scans
    position = {v: i for i, v in enumerate(rows.variants)}

    def value(held: float | None, column: str) -> float:
        scan = scans[column]
        if held is None:
            return float("nan")
        return float(scan.origin + Fraction(held) * scan.step) if scan.is_exact else float(held) + scan.pivot

    return PlacePeriods(
        tuple(place for place, _ in split),
        tuple(period for _, period in split),
        np.array([position[r["variant"]] for r in found], dtype=np.int64),
        {c: np.array([value(r[f"x{i}"], c) for r in found]) for i, c in enumerate(columns)},
    )


def split_unit(unit: str) -> tuple[str, str]:
    """Return a switchback unit's place and period."""
    place, _, period = unit.rpartition("@")
    return (place, period) if place else (period, "")

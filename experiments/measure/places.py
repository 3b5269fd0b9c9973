"""Switchback units, places × periods: one row each leaves the engine, for the assignment itself is what is tested."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from experiments.measure.cells import shifted
from experiments.measure.experiment import MeasuredExperiment
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
    table, scans = measured.table, measured.scans
    names = measured.facts.units.select("u", "unit")
    chosen = table.select("u", "variant", **{f"x{i}": shifted(table[c], scans[c]) for i, c in enumerate(columns)})
    rows = fetch(chosen.join(names, "u"))
    rows.sort(key=lambda r: split_unit(r["unit"]))
    position = {v: i for i, v in enumerate(measured.variants)}
    split = [split_unit(r["unit"]) for r in rows]

    def value(held: float | None, column: str) -> float:
        scan = scans[column]
        if held is None:
            return float("nan")
        return float(scan.origin + Fraction(held) * scan.step) if scan.is_exact else float(held) + scan.pivot

    return PlacePeriods(
        tuple(place for place, _ in split),
        tuple(period for _, period in split),
        np.array([position[r["variant"]] for r in rows], dtype=np.int64),
        {c: np.array([value(r[f"x{i}"], c) for r in rows]) for i, c in enumerate(columns)},
    )


def split_unit(unit: str) -> tuple[str, str]:
    """Return a switchback unit's place and period."""
    place, _, period = unit.rpartition("@")
    return (place, period) if place else (period, "")

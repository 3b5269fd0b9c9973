"""How often each value of a column occurs in each variant: what ranks and resampling need of the rows, and no more."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from experiments.measure.scan import numeric
from experiments.measure.unit_rows import UnitRows
from experiments.sources.duck import fetch, fetch_one

MOST_VALUES = 500_000
"""Different values, of all variants together, that leave the engine."""


@dataclass(frozen=True)
class Histogram:
    """One variant's different values, ascending."""

    values: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]

    @property
    def n(self) -> int:
        """Units with a value."""
        return int(self.counts.sum())

    @property
    def units(self) -> npt.NDArray[np.float64]:
        """One value per unit, ascending: the order of the rows in a file does not matter."""
        return np.repeat(self.values, self.counts)


def histograms(rows: UnitRows, column: str) -> tuple[Histogram, ...] | None:
    """Return the variants' histograms of a column, in their order; ``None`` where there are more than `MOST_VALUES`."""
    table = rows.table.select(variant=rows.table[rows.variant], value=numeric(rows.table[column]))
    grouped = table.filter(table.value.notnull()).group_by("variant", "value").aggregate(n=lambda t: t.count())
    if int(fetch_one(grouped.count())) > MOST_VALUES:
        return None
    found: dict[str, list[tuple[float, int]]] = {v: [] for v in rows.variants}
    for row in fetch(grouped.order_by("variant", "value")):
        found[row["variant"]].append((float(row["value"]), int(row["n"])))
    return tuple(_histogram(found[v]) for v in rows.variants)


def _histogram(listed: list[tuple[float, int]]) -> Histogram:
    return Histogram(
        np.array([value for value, _ in listed], dtype=np.float64), np.array([n for _, n in listed], dtype=np.int64)
    )

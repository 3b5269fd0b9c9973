"""Times to a first event, grouped: for each variant and step of time, how many had the event and how many left.

A unit that has not had the event leaves when its window is over, or now (censored): what happens to it later is not
known. Times are counted in whole steps of at most a thousandth of the window, so that few rows leave the engine however
many units there are; an event and a leaving in the same step count as the event first, as Kaplan and Meier have it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from experiments.measure.days import DAY_US
from experiments.measure.experiment import MeasuredExperiment
from experiments.measure.parts import MeasuredMetric
from experiments.sources.duck import fetch

STEPS = 1000
"""In a window, at least."""


@dataclass(frozen=True)
class EventTimes:
    """One variant's times, in days, ascending: events at each and units that leave at each without it."""

    times: npt.NDArray[np.float64]
    """Middles of the steps; the end of the window for those who stay to it."""
    events: npt.NDArray[np.int64]
    censored: npt.NDArray[np.int64]
    horizon_days: float
    """The window."""

    @property
    def n(self) -> int:
        """Units in all."""
        return int(self.events.sum() + self.censored.sum())


def event_times(measured: MeasuredExperiment, metric: MeasuredMetric) -> dict[str, EventTimes]:
    """Return each variant's times to the metric's event.

    Args:
        measured: the experiment.
        metric: of type time_to_event, one of the experiment's.
    """
    column = metric.parts[0].column
    table = measured.table
    rows = table.select("variant", followed=table[f"{column}_us"], happened=table[f"{column}_event"])
    return grouped_times(rows, measured.variants, metric.window_us, max(1, metric.window_us // STEPS))


def grouped_times(rows: Any, variants: tuple[str, ...], window_us: int, step: int) -> dict[str, EventTimes]:
    """Group the times of some units.

    Args:
        rows: Ibis table with ``variant``, ``followed`` (whole microseconds that the unit was seen for) and ``happened``
            (whether the event ended them).
        variants: those wanted.
        window_us: the longest time that counts.
        step: microseconds that are not told apart; with 1 times are exact.
    """
    whole = rows.followed >= window_us
    rows = rows.select("variant", "happened", place=(rows.followed // step).cast("int64"), whole=whole)
    counted = rows.group_by("variant", "place", "whole").aggregate(
        events=rows.happened.cast("int64").sum(), n=rows.count()
    )
    found: dict[str, list[tuple[float, int, int]]] = {v: [] for v in variants}
    for row in fetch(counted):
        if row["variant"] in found:
            found[row["variant"]].append(_at(row, step, window_us))
    return {v: _times(rows, window_us / DAY_US) for v, rows in found.items()}


def _at(row: dict[str, Any], step: int, window_us: int) -> tuple[float, int, int]:
    middle = window_us if row["whole"] else min(row["place"] * step + (step / 2 if step > 1 else 0), window_us)
    events = int(row["events"])
    return middle / DAY_US, events, int(row["n"]) - events


def _times(rows: list[tuple[float, int, int]], horizon_days: float) -> EventTimes:
    rows = sorted(rows)
    return EventTimes(
        np.array([r[0] for r in rows], dtype=np.float64),
        np.array([r[1] for r in rows], dtype=np.int64),
        np.array([r[2] for r in rows], dtype=np.int64),
        horizon_days,
    )

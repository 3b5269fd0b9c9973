"""Means of scores of decisions, with what each unit contributed: so that any two can be subtracted, clustered by unit.

A unit that decided often is one cluster: its decisions share its tastes, so they say less than as many strangers'.
The variance of a mean is the sum of its units' squared contributions (the cluster-robust variance; Liang & Zeger 1986,
eq. 4, for a mean), and that of a difference is the same of the contributions' difference, whether or not the two share
units.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from experiments.report.bandit.document import Value
from stats.ope.intervals import Estimate
from stats.sequential.mixture import mixture_band, tau2

Floats = npt.NDArray[np.float64]
LEAST_UNITS = 30
"""With fewer units an interval is not given: its error is itself not known."""
N_STAR = 5000.0
"""Units at which an interval that always holds is narrowest; fixed before anything is seen."""


@dataclass(frozen=True)
class Mean:
    """A mean with its units' contributions."""

    value: float
    parts: Floats
    """One number for each unit of the whole log, 0 for those that are not in this mean; they sum to 0."""
    units: int
    """That are in it."""
    rows: int

    @property
    def std_error(self) -> float:
        """Clustered by unit."""
        if self.units < 2:
            return math.nan
        return math.sqrt(self.units / (self.units - 1) * float(np.square(self.parts).sum()))

    def minus(self, other: Mean) -> Mean:
        """Return the difference; ``units`` is the smaller group's, which decides whether it can be judged."""
        return Mean(
            self.value - other.value,
            self.parts - other.parts,
            min(self.units, other.units),
            min(self.rows, other.rows),
        )


def mean_of(scores: Floats, use: npt.NDArray[np.bool_], unit: npt.NDArray[np.int64], units: int) -> Mean | None:
    """Return the mean score of some decisions, ``None`` where there are none.

    Args:
        scores: one a decision, shape (n,).
        use: which decisions count, shape (n,).
        unit: whose they are, codes from 0, shape (n,).
        units: how many units there are.

    >>> found = mean_of(np.array([1.0, 3.0, 9.0]), np.array([True, True, False]), np.array([0, 1, 1]), 2)
    >>> found.value, found.parts.tolist(), round(found.std_error, 6)
    (2.0, [-0.5, 0.5], 1.0)
    """
    rows = int(np.count_nonzero(use))
    if not rows:
        return None
    chosen, whose = scores[use], unit[use]
    value = float(chosen.mean())
    parts = np.asarray(np.bincount(whose, weights=(chosen - value) / rows, minlength=units), np.float64)
    return Mean(value, parts, int(np.unique(whose).size), rows)


def value_of(mean: Mean | None, alpha: float, *, always_valid: bool = False, factor: float = 1.0) -> Value:
    """Return a mean as the document holds it, with its normal interval or with one that always holds.

    Args:
        mean: what was measured.
        alpha: error probability of the interval.
        always_valid: the interval holds at all looks at once (normal mixture, `stats.sequential.mixture`).
        factor: multiplies estimate and interval, such as the number of decisions of a total.
    """
    if mean is None:
        return missing("nothing has matured yet")
    if mean.units < LEAST_UNITS:
        return missing(f"too few units: {mean.units} of {LEAST_UNITS} needed", mean.value * factor)
    error = mean.std_error
    if not math.isfinite(error) or error == 0:
        return missing("all rewards are alike", mean.value * factor)
    half = NormalDist().inv_cdf(1 - alpha / 2) * error
    if always_valid:
        band = mixture_band(mean.value, error, alpha, tau2=tau2(error, mean.units, np.asarray(N_STAR)))
        half = float(band.ci_high - band.ci_low) / 2
    return Value(
        estimate=mean.value * factor,
        std_error=error * factor,
        ci_low=(mean.value - half) * factor,
        ci_high=(mean.value + half) * factor,
    )


def value_from(estimate: Estimate) -> Value:
    """Return an off-policy estimate as the document holds it; an interval of few units is not given."""
    if estimate.std_error is not None and estimate.clusters < LEAST_UNITS:
        return missing(f"too few units: {estimate.clusters} of {LEAST_UNITS} needed", estimate.value)
    return Value(
        estimate=estimate.value,
        std_error=estimate.std_error,
        ci_low=estimate.ci_low,
        ci_high=estimate.ci_high,
        why=estimate.why,
    )


def missing(why: str, estimate: float | None = None) -> Value:
    """Return a figure that has no interval, with the reason."""
    return Value(estimate=estimate, std_error=None, ci_low=None, ci_high=None, why=why)

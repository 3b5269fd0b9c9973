"""What every comparison starts from: each variant's estimate and the variance of one unit's contribution to it.

A mean, a ratio of sums and a covariate-adjusted mean or ratio all become a ``Sample``; one Welch comparison, one
Fieller interval and one non-inferiority test then serve them all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stats.arrays import EPSILON, FloatArray, IntArray, as_float, divide, root
from stats.moments import Moments
from stats.why import Why

Target = str | tuple[str, str]
"""A column (its mean) or a pair of columns (the ratio of their sums)."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Estimates of one metric in every cell of a grid; all arrays have the grid's shape.

    Attributes:
        n: units.
        mean: the estimate (for ratios the ratio), NaN where there is none.
        variance: variance of one unit's contribution (for ratios of the linearised value, after adjustment of the
            residual), NaN where fewer than two units.
        why: ``Why`` codes.
        shift_cov: covariance of the estimate with the adjustment's common shift (0 without covariates).
        shift_var: variance of that shift, shared by all variants; it cancels in differences, not in relative effects.
    """

    n: FloatArray
    mean: FloatArray
    variance: FloatArray
    why: IntArray
    shift_cov: FloatArray
    shift_var: FloatArray

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the grid."""
        return self.mean.shape

    @property
    def variance_of_mean(self) -> FloatArray:
        """Variance of the estimate itself, the common shift included."""
        return divide(self.variance, self.n) + 2 * self.shift_cov + self.shift_var

    @property
    def std_error(self) -> FloatArray:
        """Standard error of the estimate itself, the common shift included."""
        return root(self.variance_of_mean)

    def __getitem__(self, index: Any) -> Sample:
        """Return part of the grid."""
        return Sample(
            *(
                np.asarray(part[index])
                for part in (self.n, self.mean, self.variance, self.why, self.shift_cov, self.shift_var)
            )
        )

    @classmethod
    def of(cls, n: Any, mean: Any, variance: Any) -> Sample:
        """Build from summary figures; a mean or variance that is none (missing, infinite, negative) is said to be.

        >>> sample = Sample.of([1200, 1180], [5.1, 5.3], [11.69, 11.84])
        >>> sample.std_error.round(4)
        array([0.0987, 0.1002])
        """
        count, centre, spread = np.broadcast_arrays(as_float(n), as_float(mean), as_float(variance))
        return _sample(count, centre, spread, np.zeros(centre.shape))


def means(moments: Moments, column: str) -> Sample:
    """Return the mean of a column in every cell.

    Raises:
        KeyError: there is no such column.

    >>> moments = Moments.from_rows(["spend"], [[0.0], [4.0], [2.0]])
    >>> sample = means(moments, "spend")
    >>> float(sample.mean), float(sample.variance)
    (2.0, 4.0)
    """
    return estimate(moments, column)


def ratios(moments: Moments, numerator: str, denominator: str) -> Sample:
    """Return Σ numerator / Σ denominator in every cell, with the delta-method variance of one unit's contribution.

    The unit's contribution is (x − r·y)/ȳ. The unit is what was randomised (a member), not a session or an order.

    Raises:
        KeyError: there is no such column.

    Source: Deng, Knoblich, Lu (2018), Applying the delta method in metric analytics, KDD (arXiv:1803.06336).

    >>> rows = [[2, 8], [1, 4], [3, 4]]
    >>> sample = ratios(Moments.from_rows(["orders", "sessions"], rows), "orders", "sessions")
    >>> float(sample.mean), round(float(sample.variance), 6)
    (0.375, 0.061523)
    """
    return estimate(moments, (numerator, denominator))


def estimate(moments: Moments, target: Target) -> Sample:
    """Return the mean of a column, or the ratio of the sums of a pair, in every cell."""
    value, gradient = linearise(moments, target)
    return _sample(moments.n.astype(np.float64), value, quadratic(moments, gradient), _zero_denominator(moments, value))


def combination(moments: Moments, weights: Mapping[str, float]) -> Sample:
    """Return the mean of a weighted sum of columns in every cell, covariances included.

    Raises:
        KeyError: there is no such column.

    >>> moments = Moments.from_rows(["revenue", "cost"], [[10.0, 1.0], [20.0, 3.0]])
    >>> float(combination(moments, {"revenue": 0.5, "cost": -1.0}).mean)
    5.5
    """
    gradient = np.zeros((*moments.shape, len(moments.columns)))
    for column, weight in weights.items():
        gradient[..., moments.place(column)] += weight
    value = np.where(moments.n > 0, (gradient * moments.mean).sum(axis=-1), np.nan)
    return _sample(moments.n.astype(np.float64), value, quadratic(moments, gradient), np.zeros(value.shape))


def linearise(moments: Moments, target: Target) -> tuple[FloatArray, FloatArray]:
    """Return the estimate in every cell and the weights that make one unit's contribution out of its columns.

    Returns:
        value, shape (cells…), NaN where n is 0 or a ratio's denominator sums to 0; weights, shape (cells…, k), NaN
        alike.
    """
    weights = np.zeros((*moments.shape, len(moments.columns)))
    if isinstance(target, str):
        place = moments.place(target)
        weights[..., place] = 1.0
        return np.where(moments.n > 0, moments.mean[..., place], np.nan), weights
    top, bottom = (moments.place(column) for column in target)
    base = np.where(moments.n > 0, moments.mean[..., bottom], np.nan)
    value = divide(moments.mean[..., top], base)
    weights[..., top] += divide(1.0, base)
    weights[..., bottom] -= divide(value, base)
    return value, weights


def quadratic(moments: Moments, weights: FloatArray, other: FloatArray | None = None) -> FloatArray:
    """Return the sample (co)variance of weighted sums of the columns, shape (cells…).

    A variance that is only the rounding of its own terms is 0, so that nothing is concluded from it.
    """
    second = weights if other is None else other
    value, size = np.zeros(moments.shape), np.zeros(moments.shape)
    k = len(moments.columns)
    # Column by column: a generic contraction over so short axes takes four times as long.
    for i in range(k):
        for j in range(k):
            if other is None and j < i:
                continue
            weight = weights[..., i] * second[..., j] * (1.0 if other is not None or i == j else 2.0)
            term = weight * moments.m2[..., i, j]
            value += term
            if other is None:
                size += np.abs(term)
    freedom = np.where(moments.n > 1, moments.n - 1.0, np.nan)
    if other is None:
        value = np.where(value <= 32 * EPSILON * size, np.where(np.isnan(value), np.nan, 0.0), value)
    return np.asarray(value / freedom)


def _zero_denominator(moments: Moments, value: FloatArray) -> FloatArray:
    return (np.isnan(value) & (moments.n > 0)).astype(np.float64)


def _sample(n: FloatArray, mean: FloatArray, variance: FloatArray, no_denominator: FloatArray) -> Sample:
    # A spread below the spacing of doubles at the mean is rounding, not variation.
    spread = np.where(variance <= np.square(4 * EPSILON * mean), 0.0, variance)
    why = np.select(
        [~(n >= 1), no_denominator > 0, ~np.isfinite(mean), n < 2, ~((variance >= 0) & (variance < np.inf))],
        [
            int(Why.NO_UNITS),
            int(Why.ZERO_DENOMINATOR),
            int(Why.NO_ESTIMATE),
            int(Why.TOO_FEW_UNITS),
            int(Why.NO_VARIANCE),
        ],
        int(Why.DEFINED),
    ).astype(np.int64)
    zero = np.zeros(mean.shape)
    told = np.where((n >= 2) & (variance >= 0), spread, np.nan)
    return Sample(n, np.where(n >= 1, mean, np.nan), told, why, shift_cov=zero, shift_var=zero)


def stack(parts: Sequence[Sample], axis: int = 0) -> Sample:
    """Put samples of equal shape side by side along a new axis, e.g. several metrics of one test."""
    return Sample(
        *(
            np.stack([getattr(part, name) for part in parts], axis=axis)
            for name in ("n", "mean", "variance", "why", "shift_cov", "shift_var")
        )
    )

"""The linear model: what a decision earned, or what a conversion was worth, by hierarchical ridge."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from allocation.bandits.learning.hierarchy import Equations, Groups, Posterior, learn_variances, solve
from allocation.bandits.learning.statistics import LinearStatistics

FloatArray = npt.NDArray[np.float64]

NOISE_ROWS = 20.0
"""The pooled noise counts as so many rows of each variant when the variant's own is estimated."""
LEAST_NOISE = 1e-4
"""A variant's noise variance is at least this share of the outcome's: some always earn exactly nothing."""
UNIT = 0.5
"""First guesses of standard deviations are in logits; in units of the outcome's own they are about half of that."""


@dataclass(frozen=True, eq=False)
class LinearFit:
    """A fitted linear model.

    Attributes:
        posterior: of the coefficients, in units of ``unit``.
        noise: variance of the noise by variant, in units of ``unit``², shape (K,).
        unit: the outcome's pooled standard deviation.
    """

    posterior: Posterior
    noise: FloatArray
    unit: float

    @property
    def coef(self) -> FloatArray:
        """Coefficients in the outcome's own unit, shape (K, P)."""
        return self.posterior.coef * self.unit


def rounds(columns: int) -> int:
    """Return how often variances are renewed. Fixed by the size, so that the result depends smoothly on the data."""
    return 24 if columns <= 120 else 12 if columns <= 400 else 6


def fit_linear(statistics: LinearStatistics, groups: Groups) -> LinearFit:
    """Return the fit to additive statistics. The design's first column is the intercept.

    >>> x = np.column_stack([np.ones(200), np.tile([-1.0, 1.0], 100)])
    >>> variant = np.repeat([0, 1], 100)
    >>> y = np.where(variant == 0, 1.0, 2.0) + np.where(variant == 0, 0.5, -0.5) * x[:, 1]
    >>> groups = Groups(np.array([0, 1]), np.array([5.0, 0.3]), np.array([0.3, 0.3]), np.array([False, False]))
    >>> fit_linear(LinearStatistics.from_rows(x, variant, y, 2), groups).coef.round(2).tolist()
    [[1.0, 0.5], [2.0, -0.5]]
    """
    weight = max(statistics.weight.sum(), 1e-300)
    mean = float(statistics.moment[:, 0].sum() / weight)
    variance = float(statistics.squares.sum() / weight) - mean**2
    unit = float(np.sqrt(max(variance, 0.0)))
    if unit <= 1e-9 * abs(mean) or unit == 0:  # all the same: the pooled mean says it all
        unit = abs(mean) or 1.0
    centre = np.zeros(statistics.moment.shape[1])
    centre[0] = mean / unit
    scaled = replace(statistics, moment=statistics.moment / unit, squares=statistics.squares / unit**2)
    smaller = replace(groups, common=groups.common * UNIT, own=groups.own * UNIT)
    smaller.common[0] = groups.common[0]
    prior = smaller.first_prior(centre)
    noise = np.ones(len(statistics.weight))
    posterior = solve(_equations(scaled, noise), prior)
    for _ in range(rounds(len(centre))):
        prior = learn_variances(posterior, smaller)
        noise = _noise(scaled, posterior, noise)
        posterior = solve(_equations(scaled, noise), prior)
    return LinearFit(posterior, noise, unit)


def _equations(statistics: LinearStatistics, noise: FloatArray) -> Equations:
    return Equations(statistics.gram / noise[:, None, None], statistics.moment / noise[:, None])


def _noise(statistics: LinearStatistics, posterior: Posterior, before: FloatArray) -> FloatArray:
    """Return each variant's residual variance, shrunken towards the pooled one (MacKay 1992, equation 4.12)."""
    coef = posterior.coef
    fitted = np.einsum("kp,kpq,kq->k", coef, statistics.gram, coef) - 2 * (coef * statistics.moment).sum(axis=1)
    residual = np.maximum(statistics.squares + fitted, 0.0)
    size = coef.shape[1]
    used = size - np.trace(posterior.own_inverse, axis1=1, axis2=2)
    rows = np.maximum(statistics.weight - used, 0.1 * statistics.weight)
    if rows.sum() <= 0:
        return before
    pooled = max(float(residual.sum() / rows.sum()), LEAST_NOISE)
    noise: FloatArray = np.maximum((residual + NOISE_ROWS * pooled) / (rows + NOISE_ROWS), LEAST_NOISE)
    return noise

"""Variance reduction with covariates measured before the test (CUPED), for means and for ratios.

θ is pooled *within* variants, which is the coefficient of ANCOVA. θ taken over the variants thrown together bends the
effect whenever they differ in the covariate: with an imbalance of half a standard deviation an effect of 2.0 comes out
as 1.88.

References:
    Deng, Xu, Kohavi, Walker (2013), Improving the sensitivity of online controlled experiments by utilizing
    pre-experiment data, WSDM.
    Lin (2013), Agnostic notes on regression adjustments, Annals of Applied Statistics 7(1) (ANCOVA, and its faults).
    Deng, Knoblich, Lu (2018), Applying the delta method in metric analytics, KDD (linearised ratios).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stats.arrays import FloatArray, as_float, divide
from stats.covariates import slopes, weights_and_gaps
from stats.effects.result import Effect
from stats.moments import Moments
from stats.samples import Sample, Target, estimate, linearise, quadratic
from stats.why import Why


@dataclass(frozen=True, slots=True, eq=False)
class Adjusted:
    """Adjusted estimates of every cell.

    Attributes:
        sample: adjusted estimates, the same grid as the moments.
        raw: the unadjusted ones.
        theta: coefficients, shape (cells without the variants' axis…, covariates).
    """

    sample: Sample
    raw: Sample
    theta: FloatArray


def cuped_means(
    moments: Moments,
    metric: str,
    covariates: Sequence[Target],
    *,
    variants_axis: int = 0,
    theta: npt.ArrayLike | None = None,
) -> Adjusted:
    """Adjust the mean of a column by covariates, every variant to the covariates' mean over all variants.

    Args:
        moments: cells with an axis of variants, control among them; complete rows of metric and covariates.
        metric: the column.
        covariates: columns, or pairs of columns for a ratio as covariate. Constant and collinear ones do no harm.
        variants_axis: which axis of the cells is the variants'.
        theta: fixed coefficients, e.g. from an earlier test, shape (…, covariates); estimated by default.

    >>> rows = [[3.0, 1.0], [5.0, 2.0], [4.1, 1.0], [6.0, 2.0], [8.1, 3.0]]
    >>> moments = Moments.from_rows(["spend", "before"], rows, cell=[0, 0, 1, 1, 1])
    >>> adjusted = cuped_means(moments, "spend", ["before"])
    >>> adjusted.theta, adjusted.sample.mean.round(3), adjusted.raw.mean.round(3)
    (array([2.]), array([4.6  , 5.667]), array([4.   , 6.067]))
    """
    return _adjust(moments, metric, covariates, variants_axis, theta)


def cuped_ratios(
    moments: Moments,
    numerator: str,
    denominator: str,
    covariates: Sequence[Target],
    *,
    variants_axis: int = 0,
    theta: npt.ArrayLike | None = None,
) -> Adjusted:
    """Adjust a ratio of sums by covariates: θ is found on the units' linearised contributions.

    Args:
        moments: cells with an axis of variants, control among them.
        numerator: column.
        denominator: column.
        covariates: pairs of columns (the same ratio before the test) or columns.
        variants_axis: which axis of the cells is the variants'.
        theta: fixed coefficients, shape (…, covariates); estimated by default.

    >>> rows = [[2, 8, 1, 4], [1, 4, 1, 5], [3, 4, 2, 4], [2, 5, 0, 3], [4, 5, 2, 5], [1, 3, 1, 4]]
    >>> columns = ["orders", "sessions", "orders_before", "sessions_before"]
    >>> moments = Moments.from_rows(columns, rows, cell=[0, 0, 0, 1, 1, 1])
    >>> adjusted = cuped_ratios(moments, "orders", "sessions", [("orders_before", "sessions_before")])
    >>> adjusted.sample.mean.round(4), adjusted.raw.mean.round(4)
    (array([0.3385, 0.578 ]), array([0.375 , 0.5385]))
    """
    return _adjust(moments, (numerator, denominator), covariates, variants_axis, theta)


def variance_reduction(adjusted: Effect, raw: Effect) -> FloatArray:
    """Return the share of the effect's variance that the covariates removed; negative when they added some."""
    return 1 - divide(np.square(adjusted.std_error), np.square(raw.std_error))


def _adjust(
    moments: Moments,
    target: Target,
    covariates: Sequence[Target],
    variants_axis: int,
    theta: npt.ArrayLike | None,
) -> Adjusted:
    axis = variants_axis % moments.n.ndim
    raw = estimate(moments, target)
    if not covariates:
        return Adjusted(raw, raw, np.zeros((*np.delete(moments.shape, axis), 0)))
    total = moments.sum(axis)
    _, own = linearise(moments, target)
    own = np.where(np.isnan(own), 0.0, own)
    weights, gaps = weights_and_gaps(moments, total, covariates, axis)

    within_xx = np.einsum("...ai,...ij,...bj->...ab", weights, moments.m2, weights).sum(axis=axis)
    within_xy = np.einsum("...ai,...ij,...j->...a", weights, moments.m2, own).sum(axis=axis)
    coefficient = slopes(within_xx, within_xy) if theta is None else np.broadcast_to(as_float(theta), within_xy.shape)
    spread = np.expand_dims(coefficient, axis)

    residual = own - np.einsum("...a,...ai->...i", spread, weights)
    common = np.einsum("...a,...ai->...i", spread, weights)
    count = np.expand_dims(total.n, axis).astype(np.float64)
    variance = quadratic(moments, residual)
    variance = np.where(raw.why == int(Why.DEFINED), variance, np.nan)
    # The common mean of the covariates is itself an estimate: cov(residual mean, θ·X̄) and var(θ·X̄).
    shift_cov = divide(quadratic(moments, residual, common), count)
    shift_var = divide(np.einsum("...a,...ab,...b->...", coefficient, within_xx, coefficient), np.square(total.n))
    sample = Sample(
        n=raw.n,
        mean=raw.mean - np.einsum("...a,...a->...", spread, gaps),
        variance=variance,
        why=raw.why,
        shift_cov=shift_cov,
        shift_var=np.broadcast_to(np.expand_dims(shift_var, axis), raw.mean.shape),
    )
    return Adjusted(sample, raw, np.asarray(coefficient))

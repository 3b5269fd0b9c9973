"""Holm's step-down p-values and the intervals that belong to them.

References:
    Holm (1979), A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6.
    Guilbaud (2008), Simultaneous confidence regions corresponding to Holm's step-down procedure and other
    closed-testing procedures, Biometrical Journal 50(5).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stats.arrays import FloatArray, as_float
from stats.distributions import t_critical


def holm(p_values: npt.ArrayLike) -> FloatArray:
    """Return Holm's adjusted p-values, the same shape; the whole array is one family.

    NaN stays NaN and does not count: what was not computed cannot be rejected.

    >>> holm([0.001, 0.02, 0.03, None])
    array([0.003, 0.04 , 0.04 ,   nan])
    """
    values = as_float(p_values)
    flat = values.ravel()
    defined = np.flatnonzero(~np.isnan(flat))
    order = defined[np.argsort(flat[defined], kind="stable")]
    factors = np.arange(order.size, 0, -1)
    out = np.full(flat.shape, np.nan)
    out[order] = np.minimum(np.maximum.accumulate(flat[order] * factors), 1.0) if order.size else []
    return out.reshape(values.shape)


def interval_alpha(p_values: npt.ArrayLike, alpha: float = 0.05) -> float:
    """Return the alpha of the Bonferroni intervals that ``shorten`` takes: alpha over the comparisons computed.

    >>> interval_alpha([0.001, 0.02, None])
    0.025
    """
    return alpha / max(int((~np.isnan(as_float(p_values))).sum()), 1)


def shorten(
    ci_low: npt.ArrayLike,
    ci_high: npt.ArrayLike,
    p_values: npt.ArrayLike,
    alpha: float = 0.05,
    *,
    estimate: npt.ArrayLike | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Turn Bonferroni intervals into those that agree with Holm: the bound nearer zero moves to 0 where Holm rejects.

    An interval then excludes zero exactly where Holm's p is at most alpha. A bound moved to exactly 0 is an *open*
    end: zero itself is excluded. True zeros are excluded anywhere in the family with probability at most alpha, and
    each interval alone covers at least 1 − alpha. All of them together cover at least 1 − alpha · (1 + share of true
    effects), not 1 − alpha: Holm spends all of alpha on the comparisons not yet rejected, so an outer end of a
    rejected one costs extra (Guilbaud's own regions leave it infinite).

    Args:
        ci_low: lower ends at ``interval_alpha(p_values, alpha)``, of the tests the p-values come from.
        ci_high: upper ends.
        p_values: unadjusted; the whole array is one family.
        alpha: of the family.
        estimate: what the intervals are of: its sign says which end lies nearer zero. Needed for intervals that are
            not symmetric (ratios, quantiles), where the end beyond zero may be the farther one; by default the middle
            of each interval.

    >>> shorten([-0.1, -2.0], [3.0, 1.0], [0.03, 0.5], alpha=0.1)
    (array([ 0., -2.]), array([3., 1.]))
    """
    low, high = as_float(ci_low), as_float(ci_high)
    holm_alone = (holm(p_values) <= alpha) & (low <= 0) & (high >= 0)
    upward = (low + high if estimate is None else as_float(estimate)) > 0
    return np.where(holm_alone & upward, 0.0, low), np.where(holm_alone & ~upward, 0.0, high)


def holm_intervals(
    estimate: npt.ArrayLike,
    std_error: npt.ArrayLike,
    df: npt.ArrayLike,
    p_values: npt.ArrayLike,
    alpha: float = 0.05,
) -> tuple[FloatArray, FloatArray]:
    """Return the intervals that belong to ``holm(p_values)``, for estimates with a Student or normal distribution.

    Other intervals (score, Fieller) are computed at ``interval_alpha`` by their own function and given to ``shorten``.

    Args:
        estimate: effects, one family.
        std_error: their standard errors.
        df: degrees of freedom, ``numpy.inf`` for the normal distribution.
        p_values: the unadjusted two-sided p of the same estimates.
        alpha: of the family.

    Returns:
        Lower and upper ends, NaN where p is.

    >>> low, high = holm_intervals([2.0, 1.0], [0.7, 0.45], np.inf, [0.0043, 0.0263])
    >>> low.round(3), high.round(3)
    (array([0.431, 0.   ]), array([3.569, 2.009]))
    """
    centre = as_float(estimate)
    half = t_critical(df, interval_alpha(p_values, alpha) / 2) * as_float(std_error)
    missing = np.isnan(as_float(p_values))
    low, high = np.where(missing, np.nan, centre - half), np.where(missing, np.nan, centre + half)
    return shorten(low, high, p_values, alpha, estimate=centre)

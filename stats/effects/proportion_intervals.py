"""Closed-form intervals of proportions, for comparing figures with other tools; reports use the score interval.

References:
    Wilson (1927), Probable inference, the law of succession, and statistical inference, JASA 22.
    Newcombe (1998), Interval estimation for the difference between independent proportions: comparison of eleven
    methods, Statistics in Medicine 17 (method 10).
    Agresti, Caffo (2000), Simple and effective confidence intervals for proportions and differences of proportions
    result from adding two successes and two failures, American Statistician 54.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stats.arrays import FloatArray, as_float, divide
from stats.distributions import normal_critical

Ends = tuple[FloatArray, FloatArray]


def wilson(outcomes: npt.ArrayLike, n: npt.ArrayLike, alpha: npt.ArrayLike = 0.05) -> Ends:
    """Return the ends of one proportion's score interval; NaN without units.

    >>> [round(float(end), 6) for end in wilson(480, 10_000)]
    [0.043981, 0.052366]
    """
    x, units = as_float(outcomes), as_float(n)
    square = np.square(normal_critical(as_float(alpha) / 2))
    share = divide(x, units)
    centre = x + square / 2
    reach = np.sqrt(square * (units * np.where(np.isnan(share), 0.0, share * (1 - share)) + square / 4))
    low, high = divide(centre - reach, units + square), divide(centre + reach, units + square)
    # At no outcome, or no miss, the end is exact and rounding must not move it.
    none, every = x == 0, x == units
    return (
        np.where(np.isnan(share), np.nan, np.where(none, 0.0, low)),
        np.where(np.isnan(share), np.nan, np.where(every, 1.0, high)),
    )


def newcombe(
    control_outcomes: npt.ArrayLike,
    control_n: npt.ArrayLike,
    variant_outcomes: npt.ArrayLike,
    variant_n: npt.ArrayLike,
    alpha: npt.ArrayLike = 0.05,
) -> Ends:
    """Return the ends of p1 − p0 joined from the two Wilson intervals.

    Source: Newcombe (1998), method 10.

    >>> [round(float(end), 6) for end in newcombe(480, 10_000, 530, 10_050)]
    [-0.001323, 0.010802]
    """
    p0, p1 = divide(control_outcomes, control_n), divide(variant_outcomes, variant_n)
    (l0, u0), (l1, u1) = wilson(control_outcomes, control_n, alpha), wilson(variant_outcomes, variant_n, alpha)
    difference = p1 - p0
    return np.asarray(difference - np.hypot(p1 - l1, u0 - p0)), np.asarray(difference + np.hypot(u1 - p1, p0 - l0))


def agresti_caffo(
    control_outcomes: npt.ArrayLike,
    control_n: npt.ArrayLike,
    variant_outcomes: npt.ArrayLike,
    variant_n: npt.ArrayLike,
    alpha: npt.ArrayLike = 0.05,
) -> Ends:
    """Return the ends of p1 − p0 by Wald's formula with one outcome and one miss added to each variant.

    Source: Agresti, Caffo (2000).

    >>> [round(float(end), 6) for end in agresti_caffo(480, 10_000, 530, 10_050)]
    [-0.001323, 0.010793]
    """
    n0, n1 = as_float(control_n) + 2, as_float(variant_n) + 2
    p0, p1 = divide(as_float(control_outcomes) + 1, n0), divide(as_float(variant_outcomes) + 1, n1)
    reach = normal_critical(as_float(alpha) / 2) * np.sqrt(p0 * (1 - p0) / n0 + p1 * (1 - p1) / n1)
    return np.asarray(p1 - p0 - reach), np.asarray(p1 - p0 + reach)

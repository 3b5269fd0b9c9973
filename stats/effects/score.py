"""The score statistic of two proportions: their likeliest values under a difference or a ratio, variance, skewness.

References:
    Miettinen, Nurminen (1985), Comparative analysis of two rates, Statistics in Medicine 4.
    Farrington, Manning (1990), Test statistics and sample size formulae for comparative binomial trials, Statistics
    in Medicine 9 (the constrained estimate in closed form).
    Gart, Nam (1990), Approximate interval estimation of the difference in binomial parameters: correction for
    skewness, Biometrics 46.
    Laud (2017), Equal-tailed confidence intervals for comparison of rates, Pharmaceutical Statistics 16.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stats.arrays import EPSILON, BoolArray, FloatArray, as_float, divide

POLISH = 1e-6
"""Longest step that Newton may take from the closed form; a longer one comes from a flat spot, not from lost digits."""
MOST_SKEW = 2.0
"""Largest skewness that is corrected for; with more (a quarter of an outcome expected) the series means nothing."""
CHUNK = 2048
"""Cells worked on together, so that everything in between stays in the processor's cache."""
NEWTON_STEPS = 10
CLOSE = 1e-7
"""Relative step of λ at which one more, along the tangent, is the last."""


def likeliest_with_difference(
    x0: FloatArray, n0: FloatArray, x1: FloatArray, n1: FloatArray, value: FloatArray
) -> FloatArray:
    """Return the likeliest p0 with p1 − p0 = ``value``.

    Source: Farrington, Manning (1990), appendix; two Newton steps restore the digits that arc cosine loses near 1.
    statsmodels up to 0.15 has x0 in the place of n0 in the linear coefficient (its issue 10269), which moves the ends
    of its score interval by some 10⁻⁴ of their size.
    """
    n, x = n0 + n1, x0 + x1
    c2 = (n1 + 2 * n0) * value - n - x
    c1 = (n0 * value - n - 2 * x0) * value + x
    c0 = x0 * value * (1 - value)
    q = (c2 / (3 * n)) ** 3 - c1 * c2 / (6 * n**2) + c0 / (2 * n)
    p = np.where(q < 0, -1.0, 1.0) * np.sqrt(np.maximum((c2 / (3 * n)) ** 2 - c1 / (3 * n), 0.0))
    angle = (np.pi + np.arccos(np.clip(np.where(p == 0, 0.0, divide(q, p**3)), -1.0, 1.0))) / 3
    lowest, highest = np.maximum(0.0, -value), np.minimum(1.0, 1.0 - value)
    base = np.clip(2 * p * np.cos(angle) - c2 / (3 * n), lowest, highest)
    for _ in range(2):
        step = divide(((n * base + c2) * base + c1) * base + c0, (3 * n * base + 2 * c2) * base + c1)
        base = np.clip(np.where(np.abs(step) < POLISH, base - step, base), lowest, highest)
    if ((x0 == 0) | (x0 == n0) | (x1 == 0) | (x1 == n1)).any():
        base = _at_an_edge(x0, n0, x1, n1, value, base, lowest, highest)
    return np.asarray(base)


def _at_an_edge(
    x0: FloatArray,
    n0: FloatArray,
    x1: FloatArray,
    n1: FloatArray,
    value: FloatArray,
    base: FloatArray,
    lowest: FloatArray,
    highest: FloatArray,
) -> FloatArray:
    """Return the edge itself where the likelihood still rises towards it, which a root can miss by its rounding.

    A variant without misses (or outcomes) and far smaller than the other has its whole variance in that rounding.
    """
    for end, rising in ((highest, 1.0), (lowest, -1.0)):
        p, q = end, np.clip(end + value, 0.0, 1.0)
        # Slope of the log likelihood; what nobody has seen adds nothing, however near it is to impossible.
        slope = np.zeros(np.broadcast_shapes(base.shape, end.shape))
        for part, chance in ((x0, p), (n0 - x0, p - 1), (x1, q), (n1 - x1, q - 1)):
            seen = np.where(np.abs(chance) < 4 * EPSILON, -np.inf * rising, divide(part, chance))
            slope = slope + np.where(part > 0, seen, 0.0)
        base = np.where(slope * rising >= 0, end, base)
    return base


def likeliest_with_ratio(
    x0: FloatArray, n0: FloatArray, x1: FloatArray, n1: FloatArray, value: FloatArray
) -> FloatArray:
    """Return the likeliest p0 with p1 / p0 = ``value``.

    Source: Miettinen, Nurminen (1985), the ratio's quadratic, solved without cancellation.
    """
    n, x = n0 + n1, x0 + x1
    a = n * value
    b = n1 * value + x1 + n0 + x0 * value
    return np.asarray(np.clip(divide(2 * x, b + np.sqrt(np.maximum(b**2 - 4 * a * x, 0.0))), 0.0, 1.0))


def variance_at(
    p0: FloatArray, n0: FloatArray, p1: FloatArray, n1: FloatArray, weight: npt.ArrayLike = 1.0, *, correction: bool
) -> FloatArray:
    """Return the variance of the estimate of p1 − weight · p0, times N/(N − 1) where corrected."""
    n = n0 + n1
    spread = p1 * (1 - p1) / n1 + np.square(as_float(weight)) * p0 * (1 - p0) / n0
    return np.asarray(spread * n / (n - 1) if correction else spread)


def score_variance_of_difference(
    x0: FloatArray, n0: FloatArray, x1: FloatArray, n1: FloatArray, value: FloatArray, *, correction: bool = False
) -> FloatArray:
    """Return the variance of p1 − p0 at the likeliest proportions with p1 − p0 = ``value``."""
    base = likeliest_with_difference(x0, n0, x1, n1, value)
    return variance_at(base, n0, np.clip(base + value, 0.0, 1.0), n1, correction=correction)


def score_variance_of_ratio(
    x0: FloatArray, n0: FloatArray, x1: FloatArray, n1: FloatArray, value: FloatArray, *, correction: bool = False
) -> FloatArray:
    """Return the variance of p1 − value·p0 at the likeliest proportions with p1 / p0 = ``value``."""
    base = likeliest_with_ratio(x0, n0, x1, n1, value)
    return variance_at(base, n0, np.clip(base * value, 0.0, 1.0), n1, value, correction=correction)


def skewness_at(
    p0: FloatArray,
    n0: FloatArray,
    p1: FloatArray,
    n1: FloatArray,
    spread: FloatArray,
    weight: npt.ArrayLike = 1.0,
) -> FloatArray:
    """Return the skewness of the estimate of p1 − weight · p0, whose variance is ``spread``; 0 where that is 0.

    Source: Gart, Nam (1990), third cumulants of two binomials.
    """
    third = p1 * (1 - p1) * (1 - 2 * p1) / n1**2 - as_float(weight) ** 3 * p0 * (1 - p0) * (1 - 2 * p0) / n0**2
    skew = np.where(spread > 0, divide(third, spread * np.sqrt(spread)), 0.0)
    return np.asarray(np.clip(skew, -MOST_SKEW, MOST_SKEW))


def without_skewness(score: FloatArray, skew: FloatArray) -> FloatArray:
    """Return the z with ``score`` = z + skew · (z² − 1)/6.

    Source: Cornish, Fisher's first term, as Gart, Nam (1990) use it.

    >>> round(float(without_skewness(np.asarray(2.25), np.asarray(0.5))), 9)
    2.0
    """
    g = skew / 6
    return np.asarray(2 * (score + g) / (1 + np.sqrt(np.maximum(1 + 4 * g * (g + score), 0.0))))


def ends_of_difference(
    x0: FloatArray, n0: FloatArray, x1: FloatArray, n1: FloatArray, critical: FloatArray, *, correction: bool
) -> tuple[FloatArray, FloatArray]:
    """Return where the score of p1 − p0 reaches ± ``critical``, for tables with outcomes and misses on both sides.

    The likeliest proportions under a difference δ are p0 = p̂0 + λ·p0(1−p0)/n0 and p1 = p̂1 − λ·p1(1−p1)/n1 with
    Lagrange's λ, two quadratics, and p̂1 − p̂0 − δ = λ·V. So both ends come from one unknown each, λ·√V = ± critical,
    without a cubic; Newton needs three or four steps from Wald's λ.

    Returns:
        Lower and upper ends, shape as given; NaN where Newton does not settle.

    Source: Miettinen, Nurminen (1985), the likelihood equations.
    """
    shape = np.broadcast_shapes(*(part.shape for part in (x0, n0, x1, n1, critical)))
    flat = [np.broadcast_to(part, shape).ravel() for part in (x0, n0, x1, n1, critical)]
    low, high = np.empty(flat[0].shape), np.empty(flat[0].shape)
    for start in range(0, flat[0].size, CHUNK):
        part = slice(start, start + CHUNK)
        a, m0, b, m1, z = (array[part] for array in flat)
        if correction:
            z = z * np.sqrt((m0 + m1) / (m0 + m1 - 1))
        p0, p1 = a / m0, b / m1
        low[part] = _newton(p0, m0, p1, m1, z)
        # Seen from the other variant the upper end is a lower one.
        high[part] = -_newton(p1, m1, p0, m0, z)
    return low.reshape(shape), high.reshape(shape)


def _newton(p0: FloatArray, n0: FloatArray, p1: FloatArray, n1: FloatArray, z: FloatArray) -> FloatArray:
    wald = p0 * (1 - p0) / n0 + p1 * (1 - p1) / n1
    force = z / np.sqrt(wald)
    settled: BoolArray = np.zeros(force.shape, bool)
    for _ in range(NEWTON_STEPS):
        a, b = force / n0, force / n1
        root0 = np.sqrt((1 - a) ** 2 + 4 * a * p0)
        root1 = np.sqrt((1 + b) ** 2 - 4 * b * p1)
        # The two forms of one root: the second keeps its digits where the first would lose them.
        base = np.where(a < 1, 2 * p0 / (1 - a + root0), (a - 1 + root0) / (2 * a))
        other = 2 * p1 / (1 + b + root1)
        v0, v1 = base * (1 - base) / n0, other * (1 - other) / n1
        spread = v0 + v1
        gap = force * force * spread - z * z
        # d(base)/dλ = v0/root0 and d(other)/dλ = −v1/root1.
        change = (1 - 2 * base) * v0 / (n0 * root0) - (1 - 2 * other) * v1 / (n1 * root1)
        step = gap / (2 * force * spread + force * force * change)
        settled = np.abs(step) <= CLOSE * force
        if settled.all():
            break
        force = np.clip(force - step, force / 4, force * 4)
    # The last step is taken along the tangent: what that leaves is of the order of CLOSE².
    return np.where(settled, other - base + step * (v0 / root0 + v1 / root1), np.nan)

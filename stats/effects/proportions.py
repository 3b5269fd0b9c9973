"""Two proportions: score tests and intervals that agree with each other, exact where outcomes are few.

The z test of two pooled proportions is the score test of "no difference". Inverting the same score test for other
differences (or ratios) gives the interval, so p ≤ alpha exactly where the interval excludes zero; Wald's interval has
no such bond and fails for rare outcomes. Where fewer than ``EXACT_BELOW`` outcomes (or misses) are expected in a
variant, p is the conditional mid-p, and the interval's critical value is scaled so that it still agrees at zero.

References:
    Mee (1984), Confidence bounds for the difference between two probabilities, Biometrics 40.
    Miettinen, Nurminen (1985), Comparative analysis of two rates, Statistics in Medicine 4.
    Farrington, Manning (1990), Test statistics and sample size formulae for comparative binomial trials, Statistics
    in Medicine 9 (the constrained estimate in closed form).
    Koopman (1984), Confidence intervals for the ratio of two binomial proportions, Biometrics 40.
    Lancaster (1961), Significance tests in discrete distributions, JASA 56 (mid-p).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stats.arrays import BoolArray, FloatArray, IntArray, as_float, divide, root
from stats.distributions import normal_quantile, normal_upper
from stats.effects.result import Effect, first_reason, hide
from stats.roots import find_roots
from stats.samples import Sample
from stats.why import Why

EXACT_BELOW = 10.0
"""Expected outcomes (or misses) in a variant below which p is exact (conditional, mid-p)."""
POLISH = 1e-6
"""Longest step that Newton may take from the closed form; a longer one comes from a flat spot, not from lost digits."""


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """Two by two: outcomes x of n units in control (0) and variant (1), broadcast to one shape."""

    x0: FloatArray
    n0: FloatArray
    x1: FloatArray
    n1: FloatArray
    why: IntArray

    @property
    def p0(self) -> FloatArray:
        return divide(self.x0, self.n0)

    @property
    def p1(self) -> FloatArray:
        return divide(self.x1, self.n1)


def difference_of_proportions(
    control: Sample, variant: Sample, alpha: npt.ArrayLike = 0.05, *, correction: bool = False
) -> Effect:
    """Return the difference of two proportions with a score interval and the p that belongs to it.

    Args:
        control: control's proportions, ``stats.samples.means`` of a column of 0 and 1.
        variant: the variants' proportions.
        alpha: 1 − confidence level; may be an array.
        correction: multiply the variance by N/(N − 1) as Miettinen and Nurminen do; without it (Mee) p is that of the
            pooled z test and of chi-square.

    Returns:
        ``std_error`` is Wald's (unpooled), for reference; interval and p come from the score test.

    Raises:
        ValueError: a sample is not of a column of 0 and 1.

    >>> control, variant = proportions(480, 10000), proportions(530, 10050)
    >>> effect = difference_of_proportions(control, variant).value()
    >>> round(effect.p_value, 6), round(effect.ci_low, 6), round(effect.ci_high, 6)
    (0.125237, -0.001321, 0.010805)
    >>> difference_of_proportions(proportions(0, 500), proportions(0, 500)).value().why
    'no outcomes in either variant yet'
    """
    table = _table(control, variant)
    critical, p_value = _critical(table, as_float(alpha), correction)
    table, critical = _spread(table, critical)
    estimate = table.p1 - table.p0
    wald = root(divide(table.p0 * (1 - table.p0), table.n0) + divide(table.p1 * (1 - table.p1), table.n1))

    def beyond(value: FloatArray) -> FloatArray:
        spread = score_variance_of_difference(table.x0, table.n0, table.x1, table.n1, value, correction=correction)
        return np.square(estimate - value) - np.square(critical) * spread

    reach = 2 * critical * wald + np.square(critical) * divide(2.0, np.minimum(table.n0, table.n1))
    rejected = p_value <= as_float(alpha)
    low = _bound(beyond, estimate, np.maximum(estimate - reach, -1.0), np.full(estimate.shape, -1.0), 0.0, rejected)
    high = _bound(beyond, estimate, np.minimum(estimate + reach, 1.0), np.full(estimate.shape, 1.0), 0.0, rejected)
    return _effect(estimate, wald, low, high, p_value, table.why)


def ratio_of_proportions(
    control: Sample, variant: Sample, alpha: npt.ArrayLike = 0.05, *, correction: bool = False
) -> Effect:
    """Return (variant − control) / control for proportions with Koopman's score interval; p as for the difference.

    Args:
        control: control's proportions.
        variant: the variants' proportions.
        alpha: 1 − confidence level; may be an array.
        correction: as in ``difference_of_proportions``.

    Returns:
        Nothing where control has no outcome: the ratio has then no upper end.

    Raises:
        ValueError: a sample is not of a column of 0 and 1.

    >>> lift = ratio_of_proportions(proportions(480, 10000), proportions(530, 10050)).value()
    >>> round(lift.estimate, 4), round(lift.ci_low, 4), round(lift.ci_high, 4)
    (0.0987, -0.0258, 0.2391)
    >>> ratio_of_proportions(proportions(0, 500), proportions(5, 500)).value().why_code
    'baseline_near_zero'
    """
    table = _table(control, variant)
    critical, p_value = _critical(table, as_float(alpha), correction)
    table, critical = _spread(table, critical)
    why = first_reason(table.why, np.where(table.x0 == 0, int(Why.BASELINE_NEAR_ZERO), 0))
    ratio = divide(table.p1, table.p0)

    def beyond(value: FloatArray) -> FloatArray:
        spread = score_variance_of_ratio(table.x0, table.n0, table.x1, table.n1, value, correction=correction)
        return np.square(table.p1 - value * table.p0) - np.square(critical) * spread

    log_error = root(divide(1 - table.p0, table.x0) + divide(1.0, np.maximum(table.x1, 0.5)))
    rejected = p_value <= as_float(alpha)
    near = ratio * np.exp(-np.minimum(2 * critical * log_error, 700.0))
    low = _bound(beyond, ratio, near, np.zeros(ratio.shape), 1.0, rejected)
    far = np.maximum(ratio, divide(0.5, table.x0)) * np.exp(np.minimum(2 * critical * log_error, 50.0))
    high = _bound(beyond, ratio, far, far * np.exp(np.minimum(16 * critical * log_error, 300.0)), 1.0, rejected)
    spread_variant = divide(table.p1 * (1 - table.p1), table.n1)
    spread_control = np.square(ratio) * divide(table.p0 * (1 - table.p0), table.n0)
    error = divide(root(spread_variant + spread_control), table.p0)
    return _effect(ratio - 1, error, low - 1, high - 1, p_value, why)


def proportions(outcomes: npt.ArrayLike, n: npt.ArrayLike) -> Sample:
    """Return the sample of a column of 0 and 1 from its counts.

    >>> float(proportions(480, 10000).mean)
    0.048
    """
    count, units = np.broadcast_arrays(as_float(outcomes), as_float(n))
    share = divide(count, units)
    return Sample.of(units, share, share * (1 - share) * divide(units, units - 1))


def score_variance_of_difference(
    x0: FloatArray, n0: FloatArray, x1: FloatArray, n1: FloatArray, value: FloatArray, *, correction: bool = False
) -> FloatArray:
    """Return the variance of p1 − p0 at the likeliest proportions with p1 − p0 = ``value``.

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
    other = np.clip(base + value, 0.0, 1.0)
    spread = base * (1 - base) / n0 + other * (1 - other) / n1
    return np.asarray(spread * n / (n - 1) if correction else spread)


def score_variance_of_ratio(
    x0: FloatArray, n0: FloatArray, x1: FloatArray, n1: FloatArray, value: FloatArray, *, correction: bool = False
) -> FloatArray:
    """Return the variance of p1 − value·p0 at the likeliest proportions with p1 / p0 = ``value``.

    Source: Miettinen, Nurminen (1985), the ratio's quadratic, solved without cancellation.
    """
    n, x = n0 + n1, x0 + x1
    a = n * value
    b = n1 * value + x1 + n0 + x0 * value
    base = np.clip(divide(2 * x, b + np.sqrt(np.maximum(b**2 - 4 * a * x, 0.0))), 0.0, 1.0)
    other = np.clip(base * value, 0.0, 1.0)
    spread = other * (1 - other) / n1 + value**2 * base * (1 - base) / n0
    return np.asarray(spread * n / (n - 1) if correction else spread)


def mid_p(x0: int, n0: int, x1: int, n1: int) -> float:
    """Return the two-sided conditional mid-p of "no difference": twice the smaller tail, half of the point in each.

    Given all outcomes, the variant's number is hypergeometric; the probabilities are built by their ratios, which
    stays exact where the factorials are astronomically large.

    >>> round(mid_p(2, 1000, 9, 1000), 6)
    0.038105
    """
    outcomes = x0 + x1
    low, high = max(0, outcomes - n0), min(outcomes, n1)
    here = np.arange(low, high, dtype=np.float64)
    ratio = np.log((outcomes - here) * (n1 - here)) - np.log((here + 1) * (n0 - outcomes + here + 1))
    log_p = np.concatenate([[0.0], np.cumsum(ratio)])
    weight = np.exp(log_p - log_p.max())
    weight /= weight.sum()
    place = x1 - low
    below, above = float(weight[:place].sum()), float(weight[place + 1 :].sum())
    return min(1.0, 2 * (min(below, above) + 0.5 * float(weight[place])))


def table_of(control: Sample, variant: Sample) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, IntArray]:
    """Return (x0, n0, x1, n1, why) of two samples of 0 and 1, in one shape; 0 outcomes of 2 units where undefined.

    Raises:
        ValueError: a sample is not of a column of 0 and 1.
    """
    table = _table(control, variant)
    return table.x0, table.n0, table.x1, table.n1, table.why


def _table(control: Sample, variant: Sample) -> _Table:
    shape = np.broadcast_shapes(control.shape, variant.shape)
    why = np.broadcast_to(first_reason(control.why, variant.why), shape)
    counts = []
    for sample in (control, variant):
        n = np.where(why == 0, np.broadcast_to(sample.n, shape), 2.0)
        x = np.where(why == 0, np.broadcast_to(sample.n * sample.mean, shape), 0.0)
        whole = np.rint(x)
        if (np.abs(x - whole) > 1e-6 * np.maximum(n, 1.0)).any() or (whole < 0).any() or (whole > n).any():
            raise ValueError("a proportion needs a column of 0 and 1; use difference_of_means for other values")
        counts += [whole, n]
    x0, n0, x1, n1 = counts
    none, every = (x0 + x1 == 0), (x0 + x1 == n0 + n1)
    why = first_reason(why, np.where(none, int(Why.NO_OUTCOMES), 0), np.where(every, int(Why.ALL_OUTCOMES), 0))
    return _Table(x0, n0, x1, n1, why)


def _critical(table: _Table, alpha: FloatArray, correction: bool) -> tuple[FloatArray, FloatArray]:
    """Return the critical z of the interval and p; where p is exact the two are made to agree at zero."""
    n = table.n0 + table.n1
    pooled = (table.x0 + table.x1) / n
    spread = pooled * (1 - pooled) * (1 / table.n0 + 1 / table.n1) * (n / (n - 1) if correction else 1.0)
    score = np.abs(np.where(spread > 0, divide(table.p1 - table.p0, np.sqrt(spread)), 0.0))
    p_value = np.array(2 * normal_upper(score))  # 0-d too must take assignment
    least = np.minimum(pooled, 1 - pooled) * np.minimum(table.n0, table.n1)
    few = (least < EXACT_BELOW) & (table.why == 0)
    if few.any():
        exact = [
            mid_p(*(int(part[tuple(index)]) for part in (table.x0, table.n0, table.x1, table.n1)))
            for index in np.argwhere(few)
        ]
        p_value[few] = exact
    nominal = -normal_quantile(alpha / 2)
    return np.asarray(nominal * np.where(few, _agreement(score, p_value, nominal, alpha), 1.0)), p_value


def _agreement(score: FloatArray, p_value: FloatArray, nominal: FloatArray, alpha: FloatArray) -> FloatArray:
    """Return the factor on the critical z by which the score interval excludes zero exactly where p ≤ alpha."""
    exact = -normal_quantile(np.clip(p_value, 1e-300, 1.0) / 2)
    factor = np.where(exact > 0, divide(score, exact), 1.0)
    rejected: BoolArray = p_value <= alpha
    # Not rejected: never narrower than the score interval, and wide enough to hold zero, but no wider than needed
    # where the exact z is close to zero and their quotient is noise.
    held = np.clip(factor, 1.0, np.maximum(2.0, score / nominal * (1 + 1e-9)))
    return np.where(rejected, np.minimum(1.0, np.minimum(factor, score / nominal)), held)


def _spread(table: _Table, critical: FloatArray) -> tuple[_Table, FloatArray]:
    """Broadcast the table to the shape that an array of alphas asks for."""
    x0, n0, x1, n1, z = np.broadcast_arrays(table.x0, table.n0, table.x1, table.n1, critical)
    return _Table(x0, n0, x1, n1, np.broadcast_to(table.why, z.shape)), z


def _bound(
    beyond: Callable[[FloatArray], FloatArray],
    estimate: FloatArray,
    near: FloatArray,
    far: FloatArray,
    null: float,
    rejected: BoolArray,
) -> FloatArray:
    """Return where ``beyond`` turns positive between the estimate and ``near``, or ``far`` if that is not enough.

    The search starts at the null value where that is not rejected, and ends there where it is: with very few units the
    accepted values need not be one interval, and p must have the last word about the null value. At the edge of what
    is possible (estimate 1 or −1, ratio 0) there is nothing beyond: the edge is the bound.
    """
    side = np.sign(far - estimate)
    before = (null - estimate) * side > 0  # the null value lies on the way
    centre = np.where(before & ~rejected, null, estimate)
    stop = before & rejected
    far = np.where(stop, null, far)
    near = np.where(stop & ((near - null) * side > 0), null, near)
    near = np.where((near - centre) * side > 0, near, far)
    end = np.where(beyond(near) > 0, near, far)
    depth = -np.abs(beyond(end))

    def inside(value: FloatArray) -> FloatArray:
        # The estimate is never beyond; at an edge rounding or a variance of 0 would say so.
        return np.where(value == centre, depth, beyond(value))

    found = find_roots(inside, centre, end)
    return np.where(centre == far, centre, np.where(np.isnan(found), far, found))


def _effect(
    estimate: FloatArray, error: FloatArray, low: FloatArray, high: FloatArray, p_value: FloatArray, why: IntArray
) -> Effect:
    told = np.isin(why, (int(Why.DEFINED), int(Why.NO_OUTCOMES), int(Why.ALL_OUTCOMES)))
    return Effect(
        estimate=np.where(told, estimate, np.nan),
        std_error=hide(error, why),
        df=hide(np.full(estimate.shape, np.inf), why),
        ci_low=hide(low, why),
        ci_high=hide(high, why),
        p_value=hide(np.broadcast_to(p_value, estimate.shape), why),
        why=np.asarray(why),
    )

"""Two proportions: score tests and intervals that agree with each other, exact where outcomes are few.

The z test of two pooled proportions is the score test of "no difference". Inverting the same score test for other
differences (or ratios) gives the interval, so p ≤ alpha exactly where the interval excludes zero; Wald's interval has
no such bond and fails for rare outcomes. Where fewer than ``EXACT_BELOW`` outcomes (or misses) are expected in a
variant, p is the conditional mid-p, the interval is corrected for skewness (variants of unequal size need that: at
3,600 and 400 units coverage would fall to 93 %), and its critical value is scaled so that it still agrees at zero.

References:
    Mee (1984), Confidence bounds for the difference between two probabilities, Biometrics 40.
    Miettinen, Nurminen (1985), Comparative analysis of two rates, Statistics in Medicine 4.
    Gart, Nam (1990), Approximate interval estimation of the difference in binomial parameters: correction for
    skewness, Biometrics 46.
    Koopman (1984), Confidence intervals for the ratio of two binomial proportions, Biometrics 40.
    Lancaster (1961), Significance tests in discrete distributions, JASA 56 (mid-p).
    Newcombe (1998), Interval estimation for the difference between independent proportions, Statistics in Medicine 17.
    Agresti, Caffo (2000), Simple and effective confidence intervals for proportions, American Statistician 54.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stats.arrays import BoolArray, FloatArray, IntArray, as_float, divide, root
from stats.distributions import normal_critical, normal_upper
from stats.effects.result import Effect, first_reason, hide
from stats.effects.score import (
    ends_of_difference,
    likeliest_with_difference,
    likeliest_with_ratio,
    skewness_at,
    variance_at,
    without_skewness,
)
from stats.roots import find_roots
from stats.samples import Sample
from stats.why import Why

EXACT_BELOW = 10.0
"""Expected outcomes (or misses) in a variant below which p is exact (conditional, mid-p)."""
SIDE_BY_SIDE = 1 << 20
"""Probabilities of mid-p's tables held at once."""


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
    critical, p_value, few = _critical(table, as_float(alpha), correction)
    table, critical = _spread(table, critical)
    p0, p1 = table.p0, table.p1
    estimate = p1 - p0
    wald = np.sqrt(p0 * (1 - p0) / table.n0 + p1 * (1 - p1) / table.n1)
    p_value, few = np.broadcast_to(p_value, wald.shape), np.broadcast_to(few, wald.shape)
    rejected = p_value <= as_float(alpha)
    plain = ~few & (np.minimum(table.x0, table.x1) > 0) & ((table.x0 < table.n0) & (table.x1 < table.n1))
    if plain.all():
        low, high = ends_of_difference(table.x0, table.n0, table.x1, table.n1, critical, correction=correction)
    else:
        low, high = np.full(wald.shape, np.nan), np.full(wald.shape, np.nan)
        low[plain], high[plain] = ends_of_difference(
            table.x0[plain], table.n0[plain], table.x1[plain], table.n1[plain], critical[plain], correction=correction
        )
    # Few outcomes, and whatever does not settle or agree with p about zero, by bracketing.
    rest = ~((low <= estimate) & (estimate <= high) & (((low > 0) | (high < 0)) == rejected))
    if rest.any():
        part = _Table(*(getattr(table, name)[rest] for name in ("x0", "n0", "x1", "n1", "why")))
        low[rest], high[rest] = _bracketed_difference(part, critical[rest], few[rest], rejected[rest], correction)
    return _effect(estimate, wald, low, high, p_value, table.why)


def _bracketed_difference(
    table: _Table, critical: FloatArray, few: BoolArray, rejected: BoolArray, correction: bool
) -> tuple[FloatArray, FloatArray]:
    estimate = table.p1 - table.p0
    wald = root(table.p0 * (1 - table.p0) / table.n0 + table.p1 * (1 - table.p1) / table.n1)

    def beyond(value: FloatArray) -> FloatArray:
        base = likeliest_with_difference(table.x0, table.n0, table.x1, table.n1, value)
        other = np.clip(base + value, 0.0, 1.0)
        return _beyond(table, estimate - value, base, other, critical, few, correction=correction)

    reach = 2 * critical * wald + np.square(critical) * divide(2.0, np.minimum(table.n0, table.n1))
    low = _bound(beyond, estimate, np.maximum(estimate - reach, -1.0), np.full(estimate.shape, -1.0), 0.0, rejected)
    high = _bound(beyond, estimate, np.minimum(estimate + reach, 1.0), np.full(estimate.shape, 1.0), 0.0, rejected)
    return low, high


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
    critical, p_value, few = _critical(table, as_float(alpha), correction)
    table, critical = _spread(table, critical)
    few = np.broadcast_to(few, critical.shape)
    why = first_reason(table.why, np.where(table.x0 == 0, int(Why.BASELINE_NEAR_ZERO), 0))
    ratio = divide(table.p1, table.p0)

    def beyond(value: FloatArray) -> FloatArray:
        base = likeliest_with_ratio(table.x0, table.n0, table.x1, table.n1, value)
        other = np.clip(base * value, 0.0, 1.0)
        distance = table.p1 - value * table.p0
        return _beyond(table, distance, base, other, critical, few, weight=value, correction=correction)

    # Half a miss, where control has none: what it would have in more units is not known to be nothing.
    missing = np.maximum(table.n0 - table.x0, 0.5) / table.n0
    log_error = root(divide(missing, table.x0) + divide(1.0, np.maximum(table.x1, 0.5)))
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


def mid_p(x0: npt.ArrayLike, n0: npt.ArrayLike, x1: npt.ArrayLike, n1: npt.ArrayLike) -> FloatArray:
    """Return the two-sided conditional mid-p of "no difference": twice the smaller tail, half of the point in each.

    Given all outcomes, the variant's number is hypergeometric; the probabilities are built by their ratios, which
    stays exact where the factorials are astronomically large.

    >>> float(mid_p(2, 1000, 9, 1000).round(6))
    0.038105
    """
    shape = np.broadcast_shapes(*(np.shape(part) for part in (x0, n0, x1, n1)))
    a, m0, b, m1 = (np.broadcast_to(as_float(part), shape).ravel() for part in (x0, n0, x1, n1))
    # Of the four equal ways to count (outcomes or misses, one variant or the other) the one with the shortest support.
    first = np.maximum(0.0, a + b - m0)
    length = np.minimum(a + b, m1) - first + 1
    out = np.empty(a.shape)
    order = np.argsort(length)
    start = 0
    while start < order.size:
        # Tables of like length side by side.
        longest = np.cumsum(np.ones(order.size - start)) * length[order[start:]]
        stop = start + max(1, int(np.searchsorted(longest, SIDE_BY_SIDE)))
        rows = order[start:stop]
        out[rows] = _mid_p_rows(a[rows], m0[rows], b[rows], m1[rows], first[rows], int(length[rows[-1]]))
        start = stop
    return out.reshape(shape)


def _mid_p_rows(
    x0: FloatArray, n0: FloatArray, x1: FloatArray, n1: FloatArray, first: FloatArray, longest: int
) -> FloatArray:
    outcomes = (x0 + x1)[:, None]
    last = np.minimum(outcomes[:, 0], n1)[:, None]
    here = first[:, None] + np.arange(longest)
    before = here[:, :-1]
    up, down = (outcomes - before) * (n1[:, None] - before), (before + 1) * (n0[:, None] - outcomes + before + 1)
    inside = before < last
    ratio = np.log(np.where(inside, up, 1.0)) - np.log(np.where(inside, down, 1.0))
    log_p = np.concatenate([np.zeros((len(x0), 1)), np.cumsum(ratio, axis=1)], axis=1)
    weight = np.where(here <= last, np.exp(log_p - log_p.max(axis=1, keepdims=True)), 0.0)
    seen = x1[:, None]
    below, at, above = (np.where(side, weight, 0.0).sum(axis=1) for side in (here < seen, here == seen, here > seen))
    return np.asarray(np.minimum(1.0, 2 * (np.minimum(below, above) + 0.5 * at) / (below + at + above)))


def few_expected(x0: FloatArray, n0: FloatArray, x1: FloatArray, n1: FloatArray) -> BoolArray:
    """Return whether fewer than ``EXACT_BELOW`` outcomes, or misses, are expected in a variant.

    In whole numbers: where exactly as many are expected, outcomes and misses must not be told apart by rounding.
    """
    rarer = np.minimum(x0 + x1, n0 + n1 - x0 - x1)
    return np.asarray(rarer * np.minimum(n0, n1) < EXACT_BELOW * (n0 + n1))


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


def _critical(table: _Table, alpha: FloatArray, correction: bool) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Return the interval's critical z, p, and where outcomes are few (p exact, z agreeing)."""
    n = table.n0 + table.n1
    pooled = (table.x0 + table.x1) / n
    spread = pooled * (1 - pooled) * (1 / table.n0 + 1 / table.n1)
    if correction:
        spread = spread * n / (n - 1)
    # Without a spread there is no difference either.
    score = np.abs(table.p1 - table.p0) / np.sqrt(np.where(spread > 0, spread, 1.0))
    p_value = np.array(2 * normal_upper(score))  # 0-d too must take assignment
    few = few_expected(table.x0, table.n0, table.x1, table.n1) & (table.why == 0)
    nominal = normal_critical(alpha / 2)
    if not few.any():
        return np.broadcast_to(nominal, np.broadcast_shapes(nominal.shape, few.shape)), p_value, few
    p_value[few] = mid_p(table.x0[few], table.n0[few], table.x1[few], table.n1[few])
    skew = np.sign(table.p1 - table.p0) * skewness_at(pooled, table.n0, pooled, table.n1, spread)
    score = np.where(few, without_skewness(score, skew), score)
    return np.asarray(nominal * np.where(few, _agreement(score, p_value, nominal, alpha), 1.0)), p_value, few


def _agreement(score: FloatArray, p_value: FloatArray, nominal: FloatArray, alpha: FloatArray) -> FloatArray:
    """Return the factor on the critical z by which the score interval excludes zero exactly where p ≤ alpha."""
    exact = normal_critical(np.clip(p_value, 1e-300, 1.0) / 2)
    factor = np.where(exact > 0, divide(score, exact), 1.0)
    rejected: BoolArray = p_value <= alpha
    # Not rejected: never narrower than the score interval, and wide enough to hold zero, but no wider than needed
    # where the exact z is close to zero and their quotient is noise.
    held = np.clip(factor, 1.0, np.maximum(2.0, score / nominal * (1 + 1e-9)))
    return np.where(rejected, np.minimum(1.0, np.minimum(factor, score / nominal)), held)


def _beyond(
    table: _Table,
    distance: FloatArray,
    p0: FloatArray,
    p1: FloatArray,
    critical: FloatArray,
    few: BoolArray,
    *,
    weight: npt.ArrayLike = 1.0,
    correction: bool,
) -> FloatArray:
    """Return by how much |distance| exceeds what is accepted at these proportions; skewness counts where few."""
    spread = variance_at(p0, table.n0, p1, table.n1, weight, correction=correction)
    reach = critical
    if few.any():
        skew = np.sign(distance) * skewness_at(p0, table.n0, p1, table.n1, spread, weight)
        reach = np.where(few, critical + skew * (np.square(critical) - 1) / 6, critical)
    return np.abs(distance) - reach * np.sqrt(np.maximum(spread, 0.0))


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

"""Quantiles and their differences, exact from sorted values and counts; events within units count as clusters.

What a caller (an SQL engine) has to bring, per variant:

* **One value per unit** (what was randomised): the histogram, ``SELECT value, count(*) GROUP BY value``. Where values
  are many, a window of it is enough: the values around the quantile, with how many units lie below the window and how
  many there are in all (``window`` says which ranks).
* **Several events per unit**: the same histogram over events, and after it, with the quantile now known
  (``Quantiles.estimate``), one row per unit of two columns, events at or below the quantile and events, summed to
  moments. From them comes the design effect: how much wider the share below the quantile spreads than if events were
  independent.

The interval of one quantile lies between two order statistics, so it needs no density and no smoothing and follows any
skew. The interval of a difference is joined from the two by MOVER: the distance of each end from its estimate is kept,
skew included. p is the alpha at which that interval just ends at zero, so the two always agree.

References:
    Conover (1999), Practical nonparametric statistics, 3.2 (binomial ranks).
    Beran, Hall (1993), Interpolated nonparametric prediction intervals and confidence intervals, JRSS B 55(3).
    Zou, Donner (2008), Construction of confidence limits about effect measures, Statistics in Medicine 27 (MOVER).
    Price, Bonett (2002), Distribution-free confidence intervals for difference and ratio of medians, JSCS 72(2).
    Deng, Knoblich, Lu (2018), Applying the delta method in metric analytics, KDD, section 4 (events within units).
    Liu, Sun, Varshney, Xu (2019), Large-scale online experimentation with quantile metrics, arXiv:1903.08762.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.arrays import BoolArray, FloatArray, IntArray, as_float, divide, number, root
from stats.distributions import normal_critical, normal_upper, t_critical
from stats.effects.result import Effect
from stats.moments import Moments
from stats.samples import ratios
from stats.why import Why

FARTHEST = 8.0
"""Standard errors around the quantile that ``window`` covers and the search for p goes; p is never below 1e-15."""
CUTS = 64
STEPS = 10
"""Cuts of what is left at each step of that search: 65¹⁰ parts in the end, in ten calls of the array form."""


@dataclass(frozen=True, slots=True, eq=False)
class Quantiles:
    """One variant's values around one quantile.

    Attributes:
        probability: which quantile, in (0, 1).
        n: values in all.
        values: different values, ascending, shape (m,).
        up_to: values at or below each of them, over the whole variant, shape (m,).
        below: values below the first of them; 0 for a whole histogram.
        design_effect: variance of the share below the quantile over what independent values would have.
        clusters: units that the values belong to; ``None`` where each value is a unit of its own.
    """

    probability: float
    n: int
    values: FloatArray
    up_to: IntArray
    below: int = 0
    design_effect: float = 1.0
    clusters: int | None = None

    @classmethod
    def from_values(
        cls,
        values: npt.ArrayLike,
        counts: npt.ArrayLike | None = None,
        *,
        probability: float,
        below: int = 0,
        n: int | None = None,
        clusters: Moments | None = None,
    ) -> Self:
        """Build from values, or from a histogram, or from a window of one.

        Args:
            values: shape (m,), in any order; NaN is left out as not measured.
            counts: how often each of them occurs; once each by default.
            probability: which quantile, in (0, 1).
            below: how many values are smaller than all of these (a window).
            n: how many there are in all; by default these and those below.
            clusters: moments, without cells, of two columns over units: events at or below the quantile, and events.

        Raises:
            ValueError: the probability lies outside (0, 1), counts are negative or do not fit, or a value is infinite.

        >>> Quantiles.from_values([3, 1, 2], [1, 4, 5], probability=0.5).estimate
        2.0
        """
        if not 0 < probability < 1:
            raise ValueError(f"probability must lie between 0 and 1, not {probability}")
        given = as_float(values).ravel()
        often = np.ones(given.shape, np.int64) if counts is None else np.asarray(counts, dtype=np.int64).ravel()
        if often.shape != given.shape or (often < 0).any() or below < 0:
            raise ValueError("counts must be one whole number ≥ 0 for each value, and below ≥ 0")
        if np.isinf(given).any():
            raise ValueError("values hold infinity; leave them out or give them a value")
        there = ~np.isnan(given) & (often > 0)
        different, place = np.unique(given[there], return_inverse=True)
        totals = np.zeros(different.shape, np.int64)
        np.add.at(totals, place, often[there])
        up_to = below + np.cumsum(totals, dtype=np.int64)
        last = int(up_to[-1]) if up_to.size else below
        if n is not None and n < last:
            raise ValueError(f"n is {n}, but there are {last} values at or below the last one")
        effect, units = _design_effect(clusters)
        return cls(probability, last if n is None else n, different, up_to, below, effect, units)

    @property
    def estimate(self) -> float | None:
        """The quantile, or ``None`` where there is no value; for the median of an even number the middle of the two.

        Source: Hazen's definition (rank n·p + 1/2, between two ranks in proportion), numpy's ``method="hazen"``.
        """
        return number(self.at_rank(np.asarray(self._centre)))

    def ends(self, tail: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Return the interval's ends with ``tail`` beyond each, between order statistics; NaN beyond the data.

        The share below the true quantile is p by definition, so its variance p(1 − p)/n (times the design effect) is
        known, and the ranks n·p + 1/2 ∓ z·√(n·p(1 − p)) hold it.
        """
        critical = t_critical(np.inf if self.clusters is None else max(self.clusters - 1, 1), as_float(tail))
        reach = critical * np.sqrt(self.n * self.probability * (1 - self.probability) * self.design_effect)
        return self.at_rank(self._centre - reach), self.at_rank(self._centre + reach)

    @property
    def _centre(self) -> float:
        return float(np.clip(self.n * self.probability + 0.5, 1.0, max(self.n, 1)))

    def at_rank(self, rank: FloatArray) -> FloatArray:
        """Return the value of a rank from 1, between two ranks in proportion, NaN where the data do not reach."""
        if not self.values.size:
            return np.full(np.shape(rank), np.nan)
        place = np.where(np.isnan(rank), -1.0, rank)
        known = (place >= self.below + 1) & (place <= self.up_to[-1])
        place = np.clip(place, self.below + 1, self.up_to[-1])
        lower = np.floor(place)
        first = self.values[np.searchsorted(self.up_to, lower)]
        second = self.values[np.searchsorted(self.up_to, np.ceil(place))]
        return np.where(known, first + (place - lower) * (second - first), np.nan)


def window(n: int, probability: float, *, design_effect: float = 1.0) -> tuple[int, int]:
    """Return the first and last rank (from 1) that intervals and p can need, of ``n`` values.

    Args:
        n: values in all.
        probability: which quantile.
        design_effect: a guess from above for events within units; Σ events² / Σ events over units is a safe one.

    >>> window(10_000_000, 0.9)
    (8992410, 9007591)
    """
    reach = FARTHEST * np.sqrt(n * probability * (1 - probability) * design_effect)
    return max(1, int(np.floor(n * probability - reach))), min(n, int(np.ceil(n * probability + reach + 1)))


def binomial_ranks(n: int, probability: float, alpha: float = 0.05) -> tuple[int, int] | None:
    """Return the ranks (from 1) of the two order statistics that hold the quantile with at least 1 − alpha.

    Returns:
        ``None`` where so few values cannot.

    Source: Conover (1999), 3.2; the same as ``scipy.stats.quantile_test``'s interval.

    >>> binomial_ranks(1000, 0.9)
    (881, 919)
    >>> binomial_ranks(10, 0.9) is None
    True
    """
    if n < 1:
        return None
    # Both ends from their own tail: 1 − alpha/2 is 1 for the smallest levels.
    low, high = _binomial_quantile(n, probability, alpha / 2), n + 1 - _binomial_quantile(n, 1 - probability, alpha / 2)
    return (low, high) if low >= 1 and high <= n else None


def interval_of_quantile(sample: Quantiles, alpha: float = 0.05) -> tuple[float, float] | None:
    """Return the exact interval of one variant's quantile (units as values), or ``None`` where so few cannot.

    Raises:
        ValueError: the values are events within units; binomial ranks would be too narrow.

    >>> interval_of_quantile(Quantiles.from_values(range(1, 1001), probability=0.9))
    (881.0, 919.0)
    """
    if sample.clusters is not None:
        raise ValueError("binomial ranks need one value per unit; use Quantiles.ends for events within units")
    ranks = binomial_ranks(sample.n, sample.probability, alpha)
    if ranks is None:
        return None
    low, high = sample.at_rank(np.asarray(ranks, dtype=np.float64)).tolist()
    return None if np.isnan(low) or np.isnan(high) else (low, high)


def difference_of_quantiles(control: Quantiles, variant: Quantiles, alpha: npt.ArrayLike = 0.05) -> Effect:
    """Return variant − control with the MOVER interval and the p that belongs to it.

    Args:
        control: control's values around the quantile.
        variant: the variant's, for the same probability.
        alpha: 1 − confidence level; may be an array, which gives the effect its shape.

    Returns:
        Only the estimate where so few values hold no interval, or where both variants have so many equal values at the
        quantile that its interval has no width. ``std_error`` is the half width over z (Price, Bonett 2002).

    Raises:
        ValueError: the two are of different probabilities.

    Source: Zou, Donner (2008), eq. 2, with order-statistic intervals of each quantile.

    >>> control = Quantiles.from_values(range(1, 1001), probability=0.9)
    >>> variant = Quantiles.from_values(range(31, 1031), probability=0.9)
    >>> effect = difference_of_quantiles(control, variant).value()
    >>> effect.estimate, round(effect.ci_low, 1), round(effect.ci_high, 1), round(effect.p_value, 3)
    (30.0, 3.7, 56.3, 0.025)
    """
    q0, q1, why = _pair(control, variant, alpha)
    tail = as_float(alpha) / 2
    (l0, u0), (l1, u1) = control.ends(tail), variant.ends(tail)
    estimate = q1 - q0
    low, high = estimate - np.hypot(q1 - l1, u0 - q0), estimate + np.hypot(u1 - q1, q0 - l0)
    error = np.hypot(u1 - l1, u0 - l0) / (2 * normal_critical(tail))
    return _effect(estimate, error, low, high, _p_value(control, variant, q0, q1), why)


def ratio_of_quantiles(control: Quantiles, variant: Quantiles, alpha: npt.ArrayLike = 0.05) -> Effect:
    """Return (variant − control) / control for quantiles, with the MOVER interval; p as for the difference.

    The interval holds the shares ρ − 1 for which the interval of variant − ρ · control holds zero.

    Returns:
        Nothing where control's own interval does not lie above zero.

    Raises:
        ValueError: the two are of different probabilities.

    Source: Donner, Zou (2012), Closed-form confidence intervals for functions of the normal mean and standard
    deviation, Statistical Methods in Medical Research 21(4), eq. 4.

    >>> control = Quantiles.from_values(range(1, 1001), probability=0.9)
    >>> variant = Quantiles.from_values(range(31, 1031), probability=0.9)
    >>> lift = ratio_of_quantiles(control, variant).value()
    >>> round(lift.estimate, 4), round(lift.ci_low, 4), round(lift.ci_high, 4)
    (0.0333, 0.0041, 0.0635)
    """
    q0, q1, why = _pair(control, variant, alpha)
    tail = as_float(alpha) / 2
    (l0, u0), (l1, u1) = control.ends(tail), variant.ends(tail)
    near_zero = (why == 0) & ~(l0 > 0)
    negative = near_zero & (q0 < 0)
    why = np.where(negative, int(Why.BASELINE_NEGATIVE), np.where(near_zero, int(Why.BASELINE_NEAR_ZERO), why)).astype(
        np.int64
    )
    # (q1 − ρ·q0)² = (q1 − end1)² + ρ²·(q0 − end0)², solved without cancellation.
    product = q0 * q1
    a_low, c_low = q0**2 - (u0 - q0) ** 2, q1**2 - (q1 - l1) ** 2
    a_high, c_high = q0**2 - (q0 - l0) ** 2, q1**2 - (u1 - q1) ** 2
    # Both are sums of squares in exact arithmetic.
    spread_low, spread_high = (root(np.maximum(product**2 - a * c, 0.0)) for a, c in ((a_low, c_low), (a_high, c_high)))
    low = np.where(c_low == 0, 0.0, divide(c_low, product + spread_low))
    high = divide(product + spread_high, a_high)
    error = np.hypot(u1 - l1, divide(q1, q0) * (u0 - l0)) / (2 * normal_critical(tail))
    p_value = _p_value(control, variant, q0, q1)
    shown = _effect(divide(q1, q0) - 1, divide(error, q0), low - 1, high - 1, p_value, why)
    undefined = np.isin(why, (int(Why.BASELINE_NEAR_ZERO), int(Why.BASELINE_NEGATIVE)))
    return Effect(
        estimate=np.where(undefined, np.nan, shown.estimate),
        std_error=shown.std_error,
        df=shown.df,
        ci_low=shown.ci_low,
        ci_high=shown.ci_high,
        p_value=shown.p_value,
        why=why,
    )


def _pair(control: Quantiles, variant: Quantiles, alpha: npt.ArrayLike) -> tuple[float, float, IntArray]:
    """Return both estimates and why there is no interval."""
    if control.probability != variant.probability:
        raise ValueError(f"quantiles of {control.probability} and {variant.probability} do not compare")
    q0, q1 = (np.nan if part.estimate is None else part.estimate for part in (control, variant))
    tail = as_float(alpha) / 2
    lows, highs = zip(control.ends(tail), variant.ends(tail), strict=True)
    width = (highs[0] - lows[0]) + (highs[1] - lows[1])
    units = [part.n if part.clusters is None else part.clusters for part in (control, variant)]
    if min(control.n, variant.n, *units) < 1 or np.isnan(q0) or np.isnan(q1):
        return q0, q1, np.full(tail.shape, int(Why.NO_UNITS), np.int64)
    if min(units) < 2:
        return q0, q1, np.full(tail.shape, int(Why.TOO_FEW_UNITS), np.int64)
    why = np.where(np.isnan(width), int(Why.BEYOND_THE_DATA), np.where(width == 0, int(Why.TIED_QUANTILE), 0))
    return q0, q1, why.astype(np.int64)


def _p_value(control: Quantiles, variant: Quantiles, q0: float, q1: float) -> float:
    """Return twice the tail at which the interval of the difference just reaches zero.

    Where the data end before that, the widest interval that they hold has the last word: p is then too large, never
    too small.
    """
    distance = abs(q1 - q0)
    if not distance > 0:
        return 1.0

    def excludes(z: FloatArray) -> BoolArray:
        tail = normal_upper(z)
        (l0, u0), (l1, u1) = control.ends(tail), variant.ends(tail)
        reach = np.hypot(q1 - l1, u0 - q0) if q1 > q0 else np.hypot(u1 - q1, q0 - l0)
        known = ~(np.isnan(l0) | np.isnan(u0) | np.isnan(l1) | np.isnan(u1))
        return np.asarray(known & (reach < distance))

    inside, outside = 0.0, FARTHEST
    for _ in range(STEPS):
        cuts = inside + (outside - inside) * np.arange(1, CUTS + 1) / (CUTS + 1)
        excluded = excludes(cuts)
        last = CUTS if excluded.all() else int(excluded.argmin())
        inside, outside = (float(cuts[last - 1]) if last else inside), (float(cuts[last]) if last < CUTS else outside)
    return float(2 * normal_upper(inside))


def _design_effect(clusters: Moments | None) -> tuple[float, int | None]:
    """Return variance of the share at or below the quantile over that of independent events, and the units."""
    if clusters is None:
        return 1.0, None
    if clusters.shape or len(clusters.columns) != 2:
        raise ValueError("clusters needs moments without cells of two columns: events at or below, and events")
    share = ratios(clusters, *clusters.columns)
    events = float(clusters.n * clusters.mean[1])
    independent = divide(share.mean * (1 - share.mean), events)
    return float(divide(share.variance_of_mean, independent)), int(clusters.n)


def _binomial_quantile(n: int, probability: float, level: float) -> int:
    """Return the least k with P(Bin(n, probability) ≤ k) ≥ ``level``."""
    k = max(0, int(np.ceil(special.bdtrik(level, n, probability) - 1e-9)) - 1)
    while k < n and special.bdtr(k, n, probability) < level:
        k += 1
    return k


def _effect(
    estimate: npt.ArrayLike,
    error: FloatArray,
    low: FloatArray,
    high: FloatArray,
    p_value: float,
    why: IntArray,
) -> Effect:
    def shown(values: npt.ArrayLike) -> FloatArray:
        return np.where(why == 0, as_float(values), np.nan)

    return Effect(
        estimate=np.broadcast_to(as_float(estimate), why.shape).copy(),
        std_error=shown(error),
        df=shown(np.inf),
        ci_low=shown(low),
        ci_high=shown(high),
        p_value=shown(p_value),
        why=why,
    )

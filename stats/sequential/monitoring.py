"""Watching a test with a planned sample: bounds, repeated confidence intervals, sequential p-values.

References:
    Jennison, Turnbull (1989), Interim analyses: the repeated confidence interval approach, JRSS B 51(3).
    Liu, Anderson (2008), On adaptive extensions of group sequential trials for clinical investigations, JASA 103(484).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.arrays import BoolArray, FloatArray, IntArray, as_float, divide, number
from stats.distributions import normal_upper, t_critical
from stats.sequential.boundaries import bounds as bounds_of
from stats.sequential.mixture import rho2
from stats.sequential.p_values import sequential_p
from stats.sequential.spending import Spending
from stats.why import Why

LEAST_INCREMENT = 1e-3
"""A look that adds less than this share of the plan to the one before is no look of its own."""


@dataclass(frozen=True, slots=True)
class MonitoredValue:
    """One comparison as plain numbers; what cannot be computed is ``None`` and ``why`` says why."""

    estimate: float | None
    std_error: float | None
    ci_low: float | None
    ci_high: float | None
    p_value: float | None
    crossed: int | None
    """Look at which a bound was first crossed, counted from 0."""
    why: str | None
    why_code: str | None


@dataclass(frozen=True, slots=True, eq=False)
class Monitored:
    """A watched test over a grid of comparisons, as it stands at the last look that counts.

    Attributes:
        estimate: effects at that look, shape (…).
        std_error: their standard errors there, shape (…).
        ci_low: lower end of the repeated confidence interval there, shape (…): all looks' intervals together hold the
            effect with probability 1 − alpha, so it is valid whether the test stops here or not. Where a bound was
            crossed before, the end nearer zero is moved to 0 if it lies beyond; such an end is open: 0 is excluded.
        ci_high: upper end.
        p_value: sequential: the smallest alpha whose bounds have been crossed by now, shape (…).
        level: two-sided level at which a fixed interval is as wide as the repeated one, shape (…): for intervals that
            are not estimate ± a multiple of the standard error.
        at: index of the look the figures are of; −1 where none counts yet.
        counted: which looks count, shape (looks,): not those that add too little to the one before, nor, without
            a reserve, those after the plan was reached.
        past_plan: whether looks beyond the one that reached the plan are among those given.
        z: estimate over its standard error, as a normal deviate, shape (…, looks); NaN where there is none.
        bounds: |z| at or beyond which a look crosses, shape (…, looks); infinite where it does not count.
        alpha_spent: of the whole alpha, by each look, shape (…, looks).
        path_low: lower ends of the repeated intervals at all looks, shape (…, looks); infinite without a bound.
        path_high: upper ends.
        crossed: index of the first look that crossed, −1 for none, shape (…).
        why: ``stats.why.Why`` codes, shape (…).
    """

    estimate: FloatArray
    std_error: FloatArray
    ci_low: FloatArray
    ci_high: FloatArray
    p_value: FloatArray
    level: FloatArray
    at: int
    counted: BoolArray
    past_plan: bool
    z: FloatArray
    bounds: FloatArray
    alpha_spent: FloatArray
    path_low: FloatArray
    path_high: FloatArray
    crossed: IntArray
    why: IntArray

    def value(self, *index: int) -> MonitoredValue:
        """Return one comparison as plain numbers, ``None`` and a reason where there is none."""
        why = Why(int(self.why[index]))
        crossed = int(self.crossed[index])
        return MonitoredValue(
            number(self.estimate[index]),
            number(self.std_error[index]),
            number(self.ci_low[index]),
            number(self.ci_high[index]),
            number(self.p_value[index]),
            crossed if crossed >= 0 else None,
            why.text,
            why.code if why else None,
        )


def monitor(
    estimate: npt.ArrayLike,
    std_error: npt.ArrayLike,
    information: npt.ArrayLike,
    alpha: npt.ArrayLike = 0.05,
    spending: Spending = Spending(),  # noqa: B008  (frozen)
    reserve: float = 0.0,
    *,
    df: npt.ArrayLike = np.inf,
) -> Monitored:
    """Judge a test at the last of its looks so that all looks together give at most alpha false alarms.

    Args:
        estimate: effects at each look, shape (…, looks).
        std_error: their standard errors, same shape; a look where it is 0 or missing crosses nothing.
        information: share of the planned sample at each look, not falling, shape (looks,). Of units whose outcomes are
            complete: late outcomes of earlier units break the independence of increments that the bounds rest on.
        alpha: two-sided, of all looks together; broadcast against the leading axes.
        spending: how alpha is spent up to the plan.
        reserve: share of alpha kept for looks past the plan. Without it everything stands as it was at the first look
            that reached the plan: to go on with the last bound of 5 looks would give .078 false alarms for .05
            after two more at 1.2 and 1.4. With it the plan gets (1 − reserve)·alpha, and later looks reserve·alpha by
            the normal mixture, which is valid at any number of them.
        df: degrees of freedom of each look, broadcast; infinite for the normal distribution. The statistic is carried
            to the normal scale by its tail area (Jennison, Turnbull 2000, section 3.3).

    Raises:
        ValueError: information falls or is not finite, alpha or reserve is out of range, or shapes do not fit.

    >>> seen = monitor([0.30, 0.22, 0.21], [0.16, 0.11, 0.09], [0.3, 0.6, 1.0])
    >>> seen.value().p_value.__round__(4), seen.value().ci_low.__round__(4), int(seen.crossed)
    (0.0202, 0.0317, 2)
    """
    share = as_float(information)
    effect, error, freedom = np.broadcast_arrays(as_float(estimate), as_float(std_error), as_float(df))
    if share.ndim != 1 or effect.shape[-1:] != share.shape:
        raise ValueError("estimate, std_error and information must agree in their looks (last axis)")
    if not 0 <= reserve < 1:
        raise ValueError("reserve must be at least 0 and below 1")
    level = as_float(alpha)
    if not ((level > 0) & (level < 1)).all():
        raise ValueError("alpha must lie between 0 and 1")
    cells = np.broadcast_shapes(effect.shape[:-1], level.shape)
    effect, error, freedom = (np.broadcast_to(part, (*cells, share.size)) for part in (effect, error, freedom))
    level = np.broadcast_to(level, cells)
    error = np.where((error > 0) & np.isfinite(error), error, np.nan)
    plan, past = _looks(share)
    z = _normal_deviate(divide(effect, error), freedom)
    bound = np.full((*cells, share.size), np.inf)
    if plan.any():
        distinct, place = np.unique(level, return_inverse=True)
        bound[..., plan] = bounds_of(share[plan], distinct * (1 - reserve), spending)[place.reshape(cells)]
        seen = sequential_p(z[..., plan], share[plan], spending)
        p_value = np.minimum(seen / (1 - reserve), 1.0)
    else:
        p_value = np.full(cells, np.nan)
    counted = plan.copy()
    if reserve and past.any():
        counted |= past
        mixed_bound, mixed_p = _past_plan(z[..., past], share[past], level[..., None], reserve)
        bound[..., past] = mixed_bound
        p_value = np.fmin(p_value, mixed_p)
    hits = np.abs(z) >= bound  # NaN crosses nothing
    ever = hits.any(axis=-1)
    crossed = np.where(ever, hits.argmax(axis=-1), -1).astype(np.int64)
    # The last digits of an interpolated p must not contradict the bounds.
    p_value = np.where(ever, np.minimum(p_value, level), np.maximum(p_value, np.nextafter(level, 1.0)))
    # From the lower tail, which doubles hold to 37 standard errors; beyond that Student's quantile is not sought.
    student = np.isfinite(freedom) & (bound < 37)
    tail = special.ndtr(-np.where(student, bound, 0.0))
    half = np.where(student, t_critical(np.where(student, freedom, 1.0), tail), bound)
    half = np.where(np.isfinite(bound), half * error, np.inf)
    low, high = effect - half, effect + half
    at = int(np.flatnonzero(counted)[-1]) if counted.any() else -1
    spent = spending.spent(share, level[..., None] * (1 - reserve))
    why = np.where(np.isnan(z[..., at]), int(Why.ZERO_VARIANCE), int(Why.DEFINED)).astype(np.int64)
    if at < 0:
        why = np.full(cells, int(Why.NO_UNITS), dtype=np.int64)
    last_low, last_high = _beyond_zero(low[..., at], high[..., at], z, crossed)

    def told(values: FloatArray) -> FloatArray:
        return np.where(why == 0, values, np.nan)

    return Monitored(
        estimate=told(effect[..., at]),
        std_error=told(error[..., at]),
        ci_low=told(last_low),
        ci_high=told(last_high),
        p_value=told(p_value),
        level=told(2 * normal_upper(bound[..., at])),
        at=at,
        counted=counted,
        past_plan=bool(past.any()),
        z=z,
        bounds=bound,
        alpha_spent=np.where(counted & past, level[..., None], spent),
        path_low=low,
        path_high=high,
        crossed=crossed,
        why=why,
    )


def _looks(share: FloatArray) -> tuple[BoolArray, BoolArray]:
    """Return which looks count towards the plan, and which come after the one that reached it."""
    reached = share >= 1
    first = int(reached.argmax()) if reached.any() else share.size
    plan = np.zeros(share.shape, dtype=np.bool_)
    latest = 0.0
    for k in range(min(first + 1, share.size)):
        if share[k] - latest >= LEAST_INCREMENT or k == first:
            plan[k], latest = True, share[k]
    return plan, np.arange(share.size) > first


def _normal_deviate(statistic: FloatArray, df: FloatArray) -> FloatArray:
    """Return the normal deviate with the same tail area as a Student statistic."""
    student = np.isfinite(df) & np.isfinite(statistic)
    if not student.any():
        return statistic
    tail = special.stdtr(np.where(student, df, 1.0), -np.abs(np.where(student, statistic, 0.0)))
    return np.where(student, -np.sign(statistic) * special.ndtri(np.maximum(tail, 1e-300)), statistic)


def _past_plan(z: FloatArray, share: FloatArray, alpha: FloatArray, reserve: float) -> tuple[FloatArray, FloatArray]:
    """Return the bounds of the normal mixture at ``reserve``·alpha, and the smallest alpha whose bounds were crossed.

    The mixture is the same whatever alpha, so that intervals at several levels and p-values agree.
    """
    mixture = share * rho2(1.0, 0.05 * reserve)
    bound = np.sqrt((1 + mixture) / mixture * (np.log1p(mixture) - 2 * np.log(alpha * reserve)))
    log_e = 0.5 * (np.square(z) * mixture / (1 + mixture) - np.log1p(mixture))
    p_value = np.minimum(np.exp(-np.where(np.isnan(log_e), -np.inf, log_e).max(axis=-1)) / reserve, 1.0)
    return bound, p_value


def _beyond_zero(low: FloatArray, high: FloatArray, z: FloatArray, crossed: IntArray) -> tuple[FloatArray, FloatArray]:
    """Move the end nearer zero to 0 where an earlier look has excluded 0, on the side where that look lay."""
    ever = crossed >= 0
    side = np.sign(np.take_along_axis(z, np.maximum(crossed, 0)[..., None], axis=-1)[..., 0])
    upward, downward = ever & (side > 0) & (low < 0) & (high > 0), ever & (side < 0) & (low < 0) & (high > 0)
    return np.where(upward, 0.0, low), np.where(downward, 0.0, high)

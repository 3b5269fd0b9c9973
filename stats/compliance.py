"""The effect on those whom the offer reached, where part of the sends never arrive (CACE).

Comparing the reached with control is wrong: the reached are others than the not reached. The comparison as randomised,
divided by how many more were reached, is the mean effect on those reached because of their variant, as long as the
variant does nothing to those it did not reach. It is two-stage least squares with the variant as instrument.

References:
    Imbens, Angrist (1994), Identification and estimation of local average treatment effects, Econometrica 62(2).
    Angrist, Imbens, Rubin (1996), Identification of causal effects using instrumental variables, JASA 91(434).
    Anderson, Rubin (1949), Annals of Mathematical Statistics 20 (the interval that holds however few were reached).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from stats.arrays import EPSILON, FloatArray, as_float, divide, root
from stats.covariates import slopes, weights_and_gaps
from stats.distributions import t_critical, t_upper
from stats.effects.relative import fieller
from stats.effects.result import Effect, first_reason, hide
from stats.moments import Moments
from stats.samples import Target, linearise, means, quadratic
from stats.why import Why


def effect_on_reached(
    moments: Moments,
    metric: str,
    reached: str,
    control: int = 0,
    alpha: npt.ArrayLike = 0.05,
    *,
    variants_axis: int = 0,
    covariates: Sequence[Target] = (),
    interval: Literal["delta", "anderson_rubin"] = "delta",
) -> Effect:
    """Return the effect per unit reached, of every variant but control, in their order.

    Args:
        moments: cells with an axis of variants, units as they were randomised, reached or not.
        metric: column of the outcome.
        reached: column of 1 where the offer reached the unit and 0 where not; in control it is mostly 0.
        control: place of control on the variants' axis.
        alpha: 1 − confidence level.
        variants_axis: which axis of the cells is the variants'.
        covariates: columns or pairs of columns measured before the test (CUPED of both comparisons).
        interval: ``"delta"``, estimate ± t standard errors of two-stage least squares with unequal variances; or
            ``"anderson_rubin"``, the effects that are not rejected by comparing outcome − effect · reached, which holds
            however few were reached and excludes 0 exactly where the comparison as randomised does.

    Returns:
        Nothing but a reason (``reached_near_zero``) where the shares of reached units cannot be told apart at alpha.

    >>> rows = [[1, 0], [3, 0], [2, 0], [2, 0], [4, 1], [6, 1], [2, 0], [5, 1], [5, 1]]
    >>> moments = Moments.from_rows(["spend", "opened"], rows, cell=[0, 0, 0, 0, 1, 1, 1, 1, 1])
    >>> effect = effect_on_reached(moments, "spend", "opened")[0].value()
    >>> round(effect.estimate, 3), round(effect.std_error, 3)
    (3.0, 0.645)
    """
    axis = variants_axis % moments.n.ndim
    others = [place for place in range(moments.shape[axis]) if place != control]
    total = moments.sum(axis)
    outcome, own = linearise(moments, metric)
    share, took = linearise(moments, reached)
    if covariates:
        weights, gaps = weights_and_gaps(moments, total, covariates, axis)
        xx = np.einsum("...ai,...ij,...bj->...ab", weights, moments.m2, weights).sum(axis=axis)
        xy = np.einsum("...ai,...ij,...yj->...ya", weights, moments.m2, np.stack([own, took], axis=-2)).sum(axis=axis)
        theta = slopes(xx[..., None, :, :], xy)
        shift = np.einsum("...ya,...a->...y", np.expand_dims(theta, axis), gaps)
        outcome, share = outcome - shift[..., 0], share - shift[..., 1]
        bent = np.einsum("...ya,...ai->...yi", np.expand_dims(theta, axis), weights)
        own, took = own - bent[..., 0, :], took - bent[..., 1, :]

    count = moments.n.astype(np.float64)
    var_outcome, var_reached = (divide(quadratic(moments, part), count) for part in (own, took))
    cross = divide(quadratic(moments, own, took), count)
    cells = (outcome, share, var_outcome, var_reached, cross, count, means(moments, metric).why.astype(np.float64))
    base = _Arm(*(np.take(part, [control], axis=axis) for part in cells))
    rest = _Arm(*(np.take(part, others, axis=axis) for part in cells))
    return _wald(base, rest, as_float(alpha), interval)


@dataclass(frozen=True, slots=True, eq=False)
class _Arm:
    """Means of outcome and reached with the variances of both and their covariance, as means."""

    outcome: FloatArray
    reached: FloatArray
    var_outcome: FloatArray
    var_reached: FloatArray
    covariance: FloatArray
    n: FloatArray
    why: FloatArray

    def variance(self, effect: FloatArray) -> FloatArray:
        """Return the variance of the mean of outcome − effect · reached, 0 where only rounding is left."""
        size = self.var_outcome + np.square(effect) * self.var_reached
        value = size - 2 * effect * self.covariance
        return np.where(value <= 64 * EPSILON * size, 0.0, value)


def _wald(base: _Arm, rest: _Arm, alpha: FloatArray, interval: str) -> Effect:
    difference, more = rest.outcome - base.outcome, rest.reached - base.reached
    late = divide(difference, more)
    squared = [arm.variance(late) for arm in (base, rest)]
    std_error = divide(root(squared[0] + squared[1]), np.abs(more))
    df = _satterthwaite(squared[0], squared[1], base.n, rest.n)
    var_reached = base.var_reached + rest.var_reached
    first = _satterthwaite(base.var_reached, rest.var_reached, base.n, rest.n)
    told = np.square(more) > np.square(t_critical(np.where(np.isnan(first), np.inf, first), alpha / 2)) * var_reached
    why = first_reason(
        base.why.astype(np.int64),
        rest.why.astype(np.int64),
        np.where(told, 0, int(Why.REACHED_NEAR_ZERO)),
        np.where(squared[0] + squared[1] == 0, int(Why.ZERO_VARIANCE), 0),
    )
    if interval == "anderson_rubin":
        var_difference = base.var_outcome + rest.var_outcome
        df = _satterthwaite(base.var_outcome, rest.var_outcome, base.n, rest.n)
        df = np.where(np.isnan(df), np.inf, df)
        critical = np.square(t_critical(df, alpha / 2))
        covariance = base.covariance + rest.covariance
        low, high, bounded = fieller(difference, more, var_difference, var_reached, covariance, critical)
        why = first_reason(
            why,
            np.where(bounded, 0, int(Why.REACHED_NEAR_ZERO)),
            np.where(var_difference == 0, int(Why.ZERO_VARIANCE), 0),
        )
        statistic = divide(np.abs(difference), root(var_difference))
    else:
        half = t_critical(df, alpha / 2) * std_error
        low, high = late - half, late + half
        statistic = divide(np.abs(late), std_error)
    late, std_error, df, low, high, p_value = (
        hide(part, why)
        for part in np.broadcast_arrays(late, std_error, df, low, high, 2 * t_upper(df, statistic), why)[:6]
    )
    return Effect(estimate=late, std_error=std_error, df=df, ci_low=low, ci_high=high, p_value=p_value, why=why)


def _satterthwaite(first: FloatArray, second: FloatArray, n_first: FloatArray, n_second: FloatArray) -> FloatArray:
    """Return the degrees of freedom of a sum of two estimated variances of means."""
    parts = divide(np.square(first), n_first - 1) + divide(np.square(second), n_second - 1)
    return divide(np.square(first + second), parts)

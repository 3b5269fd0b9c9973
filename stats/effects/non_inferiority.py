"""Guardrails and equivalence: is the variant proved *not worse* than a declared margin? "Not proven" is not "worse".

References:
    Schuirmann (1987), A comparison of the two one-sided tests procedure, J. Pharmacokinetics and Biopharmaceutics 15.
    Farrington, Manning (1990), Test statistics and sample size formulae for comparative binomial trials, Statistics
    in Medicine 9 (proportions, difference and ratio).
    Gart, Nam (1990), Approximate interval estimation of the difference in binomial parameters: correction for
    skewness, Biometrics 46; Laud (2017), Equal-tailed confidence intervals for comparison of rates, Pharmaceutical
    Statistics 16 (few outcomes).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from stats.arrays import FloatArray, IntArray, as_float, divide, number, root
from stats.distributions import t_upper
from stats.effects.means import welch_df
from stats.effects.proportions import few_expected, table_of
from stats.effects.result import first_reason, hide
from stats.effects.score import (
    likeliest_with_difference,
    likeliest_with_ratio,
    skewness_at,
    variance_at,
    without_skewness,
)
from stats.samples import Sample
from stats.why import Why

Direction = Literal["increase", "decrease"]
"""Which way is better."""
GuardrailReading = Literal["within_limit", "not_proven", "broken", "not_computed"]


@dataclass(frozen=True, slots=True)
class NonInferiorityValue:
    """One guardrail as plain numbers; what cannot be computed is ``None`` and ``why`` says why."""

    p_value: float | None
    p_value_broken: float | None
    reading: GuardrailReading
    why: str | None
    why_code: str | None


@dataclass(frozen=True, slots=True, eq=False)
class NonInferiority:
    """Guardrail tests over a grid.

    Attributes:
        distance: of the estimate from the margin, positive on the good side, in the metric's unit (with a relative
            margin: variant − (1 ∓ margin) · control).
        std_error: of that distance; with it ``sequential.mixture_band`` judges a guardrail that is looked at early.
        statistic: distance over standard error; of proportions with few outcomes corrected for skewness.
        df: degrees of freedom, infinite for the normal distribution.
        p_value: one-sided, of "worse than control by the margin or more": small proves the limit is kept.
        p_value_broken: one-sided, of the opposite: small proves the limit is broken.
        why: ``Why`` codes.
    """

    distance: FloatArray
    std_error: FloatArray
    statistic: FloatArray
    df: FloatArray
    p_value: FloatArray
    p_value_broken: FloatArray
    why: IntArray

    def value(self, *index: int, alpha: float = 0.05) -> NonInferiorityValue:
        """Return one guardrail with its reading, each side at alpha/2, so that it agrees with the 1 − alpha interval.

        ``alpha`` may be smaller to allow for several guardrails or variants.
        """
        why = Why(int(self.why[index]))
        within, broken = number(self.p_value[index]), number(self.p_value_broken[index])
        return NonInferiorityValue(
            within, broken, read_guardrail(within, broken, alpha), why.text, why.code if why else None
        )


def non_inferiority(
    control: Sample,
    variant: Sample,
    margin: npt.ArrayLike,
    *,
    direction: Direction = "increase",
    relative: bool = False,
    df: npt.ArrayLike | None = None,
) -> NonInferiority:
    """Test that means, ratios or adjusted ones are not worse than control by a margin.

    Args:
        control: control's estimates.
        variant: the variants' estimates.
        margin: how much worse is accepted, positive: in the metric's unit, or as a share of control's mean.
        direction: which way is better; for ``"decrease"`` the limit lies above control.
        relative: whether the margin is a share; control's own uncertainty then counts with the weight it has.
        df: degrees of freedom; Welch–Satterthwaite's by default.

    Raises:
        ValueError: a margin is not positive and finite.

    >>> control, variant = Sample.of(1200, 5.1, 11.6914), Sample.of(1180, 5.3, 11.8438)
    >>> guardrail = non_inferiority(control, variant, 0.02, relative=True).value()
    >>> round(guardrail.p_value, 4), guardrail.reading
    (0.0151, 'within_limit')
    """
    limit = _margin(margin)
    sign = 1.0 if direction == "increase" else -1.0
    weight = 1 - sign * limit if relative else np.ones_like(limit)
    absolute = 0.0 if relative else limit
    own = np.square(weight) * divide(control.variance, control.n) + divide(variant.variance, variant.n)
    squared = own + (1 - weight) * (2 * variant.shift_cov - 2 * weight * control.shift_cov)
    squared = squared + np.square(1 - weight) * control.shift_var
    distance = sign * (variant.mean - weight * control.mean) + absolute
    why = first_reason(
        control.why,
        variant.why,
        np.where(own == 0, int(Why.ZERO_VARIANCE), 0),
        np.where(relative & (control.mean <= 0), int(Why.BASELINE_NEGATIVE), 0),
    )
    freedom = welch_df(control, variant, weight) if df is None else np.broadcast_to(as_float(df), squared.shape)
    return _result(distance, root(squared), freedom, why)


def non_inferiority_of_proportions(
    control: Sample,
    variant: Sample,
    margin: npt.ArrayLike,
    *,
    direction: Direction = "increase",
    relative: bool = False,
) -> NonInferiority:
    """Test that a proportion is not worse than control's by a margin, by the score test at the margin.

    The variance is taken at the likeliest proportions that lie exactly at the margin, which holds for rare outcomes
    (unsubscribes, returns) where the plain one does not. Where fewer than ten outcomes (or misses) are expected in a
    variant the statistic is corrected for skewness, as intervals are: with variants of 100 and 900 units and 2 % the
    chance to call a limit kept that is just broken would be .040 for .025, or .000 the other way round.

    Args:
        control: control's proportions.
        variant: the variants' proportions.
        margin: how much worse is accepted, positive: in points (0.01 is one percentage point), or as a share.
        direction: which way is better.
        relative: whether the margin is a share of control's proportion.

    Raises:
        ValueError: a margin is not positive and finite, or a sample is not of a column of 0 and 1.

    Source: Farrington, Manning (1990); Gart, Nam (1990) where outcomes are few.

    >>> from stats.effects.proportions import proportions
    >>> control, variant = proportions(402, 49000), proportions(421, 48987)
    >>> guardrail = non_inferiority_of_proportions(control, variant, 0.3, direction="decrease", relative=True).value()
    >>> round(guardrail.p_value, 4), guardrail.reading
    (0.0009, 'within_limit')
    """
    limit = _margin(margin)
    sign = 1.0 if direction == "increase" else -1.0
    x0, n0, x1, n1, why = np.broadcast_arrays(*table_of(control, variant), limit)[:5]
    limit = np.broadcast_to(limit, x0.shape)
    p0, p1 = x0 / n0, x1 / n1
    if relative:
        weight = np.maximum(1 - sign * limit, 0.0)
        base = likeliest_with_ratio(x0, n0, x1, n1, weight)
        other = np.clip(base * weight, 0.0, 1.0)
        distance = sign * (p1 - weight * p0)
    else:
        weight, value = np.ones(limit.shape), np.clip(-sign * limit, -1.0, 1.0)
        base = likeliest_with_difference(x0, n0, x1, n1, value)
        other = np.clip(base + value, 0.0, 1.0)
        distance = sign * (p1 - p0) + limit
        # No outcome at all is still none beyond an absolute margin.
        why = np.where(np.isin(why, (int(Why.NO_OUTCOMES), int(Why.ALL_OUTCOMES))), 0, why)
    squared = variance_at(base, n0, other, n1, weight, correction=False)
    why = first_reason(np.asarray(why, dtype=np.int64), np.where(squared > 0, 0, int(Why.ZERO_VARIANCE)))
    error = root(squared)
    statistic = divide(distance, error)
    skew = sign * skewness_at(base, n0, other, n1, squared, weight)
    few = few_expected(x0, n0, x1, n1) & (why == 0)
    statistic = np.where(few, without_skewness(np.where(few, statistic, 0.0), skew), statistic)
    return _result(distance, error, np.full(p0.shape, np.inf), why, statistic)


def equivalence(
    control: Sample,
    variant: Sample,
    low: npt.ArrayLike,
    high: npt.ArrayLike,
    *,
    df: npt.ArrayLike | None = None,
) -> FloatArray:
    """Return the p of two one-sided tests: small proves that the difference lies between ``low`` and ``high``.

    NaN where it cannot be computed (see ``difference_of_means`` for why).

    Raises:
        ValueError: ``low`` is not below ``high``.

    >>> control, variant = Sample.of(1200, 5.1, 11.6914), Sample.of(1180, 5.3, 11.8438)
    >>> round(float(equivalence(control, variant, -0.5, 0.5)), 4)
    0.0165
    """
    floor, ceiling = as_float(low), as_float(high)
    if not (floor < ceiling).all():
        raise ValueError("low must be below high")
    error = root(divide(control.variance, control.n) + divide(variant.variance, variant.n))
    freedom = welch_df(control, variant) if df is None else as_float(df)
    difference = variant.mean - control.mean
    below = t_upper(freedom, divide(difference - floor, error))
    above = t_upper(freedom, divide(ceiling - difference, error))
    return np.asarray(np.maximum(below, above))


def read_guardrail(p_value: float | None, p_value_broken: float | None, alpha: float = 0.05) -> GuardrailReading:
    """Return what the two one-sided p-values of a guardrail say, each at alpha/2.

    >>> read_guardrail(0.01, 0.99), read_guardrail(0.2, 0.8), read_guardrail(0.999, 0.001), read_guardrail(None, None)
    ('within_limit', 'not_proven', 'broken', 'not_computed')
    """
    if p_value is None or p_value_broken is None:
        return "not_computed"
    if p_value <= alpha / 2:
        return "within_limit"
    return "broken" if p_value_broken <= alpha / 2 else "not_proven"


def _margin(margin: npt.ArrayLike) -> FloatArray:
    limit = as_float(margin)
    if not (np.isfinite(limit) & (limit > 0)).all():
        raise ValueError(f"a margin says how much worse is accepted: it must be positive, not {limit}")
    return limit


def _result(
    distance: FloatArray, std_error: FloatArray, df: FloatArray, why: IntArray, statistic: FloatArray | None = None
) -> NonInferiority:
    statistic = divide(distance, std_error) if statistic is None else statistic
    return NonInferiority(
        distance=hide(np.asarray(distance), why),
        std_error=hide(std_error, why),
        statistic=hide(statistic, why),
        df=hide(df, why),
        p_value=hide(t_upper(df, statistic), why),
        p_value_broken=hide(t_upper(df, -statistic), why),
        why=why,
    )

"""How sure the mean of per-decision scores is: normal intervals, by member where members decide more than once.

Every estimator of off-policy evaluation but two is a mean of scores, one a decision. Decisions of one member resemble
each other, so that their errors are summed by member before they are squared. The normal interval is the default; the
empirical-Bernstein interval holds at any number of decisions, at the price of bounds that must be known beforehand.

References:
    Liang, Zeger (1986), Longitudinal data analysis using generalized linear models, Biometrika 73(1) (sums by cluster).
    Maurer, Pontil (2009), Empirical Bernstein bounds and sample variance penalization, COLT (arXiv:0907.3740), thm. 4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stats.arrays import EPSILON, FloatArray, IntArray, as_float
from stats.distributions import normal_critical, t_critical
from stats.why import Why


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its interval as plain numbers; what cannot be computed is ``None`` and ``why`` says why.

    Attributes:
        value: in the reward's unit, a decision.
        std_error: its standard error; ``None`` also for intervals that have none.
        ci_low: lower end of the two-sided interval at 1 − alpha.
        ci_high: upper end.
        rows: decisions that it is made of.
        clusters: members among them, or the decisions again where no members were given.
        why: one English line, ``None`` when every number is there.
        why_code: the same as a stable code.
    """

    value: float | None
    std_error: float | None
    ci_low: float | None
    ci_high: float | None
    rows: int
    clusters: int
    why: str | None = None
    why_code: str | None = None


def missing(why: Why, rows: int, clusters: int, value: float | None = None) -> Estimate:
    """Return an estimate without an interval, or without anything, and the reason.

    >>> missing(Why.NO_DECISIONS, 0, 0).why
    'no decisions to value'
    """
    return Estimate(value, None, None, None, rows, clusters, why.text, why.code)


def wald(scores: npt.ArrayLike, cluster: npt.ArrayLike | None = None, alpha: float = 0.05) -> Estimate:
    """Return the mean of scores with its normal interval.

    Args:
        scores: shape (n,).
        cluster: what names each decision's member, shape (n,); ``None``: every decision is independent.
        alpha: 1 − confidence level.

    Raises:
        ValueError: a shape does not fit, a score is not finite, or alpha is not between 0 and 1.

    >>> found = wald([1.0, 2.0, 3.0, 6.0])
    >>> found.value, round(found.std_error, 6)
    (3.0, 1.080123)
    >>> round(wald([1.0, 2.0, 3.0, 6.0], cluster=["a", "a", "b", "b"]).std_error, 6)
    1.5
    """
    values, codes = checked(scores, cluster, alpha)
    if not values.size:
        return missing(Why.NO_DECISIONS, 0, 0)
    mean = float(values.mean())
    return normal(mean, values - mean, codes, alpha, size=float(np.abs(values).max()))


def normal(
    value: float,
    influence: FloatArray,
    cluster: IntArray | None,
    alpha: float,
    *,
    size: float,
    small: bool = True,
    student: bool = False,
) -> Estimate:
    """Return the normal interval around a value from what each decision adds to it, shape (n,).

    Args:
        value: the estimate.
        influence: of each decision; their mean is 0, and the variance of their mean is the estimate's.
        cluster: codes of the members from 0, or ``None``.
        alpha: 1 − confidence level.
        size: of the numbers that the influence comes from, for telling it from rounding.
        small: whether the variance is scaled by G / (G − 1) of the G members, as one of a mean is.
        student: whether Student's quantile counts that the variance is an estimate, see ``freedom``.
    """
    rows = influence.size
    sums = influence if cluster is None else as_float(np.bincount(cluster, weights=influence))
    groups = sums.size
    if groups < 2:
        return missing(Why.TOO_FEW_DECISIONS, rows, groups, value)
    variance = float(np.square(sums).sum()) / rows**2 * (groups / (groups - 1) if small else 1.0)
    error = float(np.sqrt(variance))
    if error <= 4 * EPSILON * size:
        return missing(Why.SAME_SCORES, rows, groups, value)
    quantile = t_critical(freedom(sums), alpha / 2) if student else normal_critical(alpha / 2)
    reach = float(quantile) * error
    return Estimate(value, error, value - reach, value + reach, rows, groups)


def freedom(influence: FloatArray) -> float:
    """Return degrees of freedom of the variance estimated from influences with mean 0, by their fourth moment.

    A few decisions with large weights carry most of the variance, which is then known far worse than from as many
    alike; chi-square with these degrees of freedom has the same relative variance, (κ − 1) / n with κ the kurtosis.
    At least 1, at most n − 1.

    Source: Satterthwaite (1946), Biometrics Bulletin 2(6), with the sample's own fourth moment.

    >>> import numpy as np
    >>> freedom(np.tile([-1.0, 1.0], 50)), round(freedom(np.r_[np.full(99, -0.1), 9.9]), 2)
    (99.0, 2.06)
    """
    square = np.square(influence)
    most = float(influence.size - 1)
    mean = float(square.mean())
    if mean <= 0:
        return most
    excess = float(np.square(square / mean).mean()) - 1
    return most if excess <= 0 else min(most, max(1.0, 2 * influence.size / excess))


def empirical_bernstein(
    scores: npt.ArrayLike, low: float, high: float, cluster: npt.ArrayLike | None = None, alpha: float = 0.05
) -> Estimate:
    """Return the mean of bounded scores with an interval that holds at any number of decisions.

    Args:
        scores: shape (n,).
        low: least value that a score can take, known before the data are looked at: of IPS, 0 for rewards from 0.
        high: greatest one: of IPS, greatest reward over least propensity.
        cluster: members; their sums then lie within those bounds times the most decisions of a member.
        alpha: 1 − confidence level.

    Raises:
        ValueError: a score lies outside the bounds, or a shape does not fit.

    Source: Maurer, Pontil (2009), theorem 4, both sides: √(2·V·ln(4/α)/G) + 7·range·ln(4/α)/(3·(G − 1)).

    >>> found = empirical_bernstein([0.0, 1.0] * 500, 0.0, 1.0)
    >>> round(found.ci_low, 4), round(found.ci_high, 4)
    (0.4429, 0.5571)
    """
    values, codes = checked(scores, cluster, alpha)
    if not low < high:
        raise ValueError(f"low must be below high, not {low} and {high}")
    if not values.size:
        return missing(Why.NO_DECISIONS, 0, 0)
    if values.min() < low or values.max() > high:
        raise ValueError(
            f"scores from {values.min():g} to {values.max():g} lie outside the bounds {low:g} and {high:g}; "
            "state the bounds that they cannot leave"
        )
    rows, width = values.size, high - low
    mean = float(values.mean())
    if codes is not None:
        counts = np.bincount(codes)
        # Sums of members on the scale of one decision: their mean is the mean of all decisions.
        values = np.bincount(codes, weights=values) * counts.size / rows
        most, least = float(counts.max()), float(counts.min())
        scale = counts.size / rows
        width = (max(high * most, high * least) - min(low * most, low * least)) * scale
    groups = values.size
    if groups < 2:
        return missing(Why.TOO_FEW_DECISIONS, rows, groups, mean)
    level = np.log(4 / alpha)
    reach = float(np.sqrt(2 * values.var(ddof=1) * level / groups) + 7 * width * level / (3 * (groups - 1)))
    return Estimate(mean, None, max(low, mean - reach), min(high, mean + reach), rows, groups)


def checked(scores: npt.ArrayLike, cluster: npt.ArrayLike | None, alpha: float) -> tuple[FloatArray, IntArray | None]:
    """Return the scores and the members as codes from 0.

    Raises:
        ValueError: a shape does not fit, a score is not finite, or alpha is not between 0 and 1.
    """
    values = as_float(scores)
    if values.ndim != 1:
        raise ValueError(f"scores must have one dimension, not {values.ndim}")
    if not np.isfinite(values).all():
        raise ValueError(f"the score of decision {int(np.argmin(np.isfinite(values)))} is not finite")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie between 0 and 1, not {alpha}")
    return values, codes_of(cluster, values.size)


def codes_of(cluster: npt.ArrayLike | None, rows: int) -> IntArray | None:
    """Return members as codes from 0, shape (n,), or ``None`` where none are given.

    Raises:
        ValueError: there is not one for each decision.
    """
    if cluster is None:
        return None
    names = np.asarray(cluster)
    if names.shape != (rows,):
        raise ValueError(f"cluster has shape {names.shape} where {rows} decisions need ({rows},)")
    return np.unique(names, return_inverse=True)[1].reshape(-1).astype(np.int64)

"""Ranks: is a unit of the variant likelier to have more than one of control? From histograms, ties counted as halves.

``share_above`` is P(control < variant) + ½·P(control = variant): .5 where neither tends to be larger. It asks another
question than the mean (a variant with fewer but huge orders may win one and lose the other), depends on no unit and no
transformation, and no outlier can move it. What a caller (an SQL engine) has to bring, per variant, is the histogram:
``SELECT value, count(*) GROUP BY value``.

References:
    Mann, Whitney (1947), On a test of whether one of two random variables is stochastically larger, AMS 18.
    Brunner, Munzel (2000), The nonparametric Behrens–Fisher problem, Biometrical Journal 42.
    DeLong, DeLong, Clarke-Pearson (1988), Comparing the areas under correlated ROC curves, Biometrics 44 (variance).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.arrays import FloatArray, as_float, divide
from stats.distributions import normal_upper, t_critical, t_upper
from stats.effects.result import Effect
from stats.why import Why


def share_above(
    control: npt.ArrayLike,
    variant: npt.ArrayLike,
    alpha: float = 0.05,
    *,
    control_counts: npt.ArrayLike | None = None,
    variant_counts: npt.ArrayLike | None = None,
) -> Effect:
    """Return by how much P(control < variant) + ½·P(control = variant) is above one half (Brunner–Munzel).

    Args:
        control: control's values, shape (m,); with counts, different values of a histogram.
        variant: the variant's.
        alpha: 1 − confidence level.
        control_counts: how often each of control's values occurs; once each by default.
        variant_counts: alike.

    Returns:
        One cell: estimate, interval and ``std_error`` as distance from .5, so from −.5 to .5; interval on the logit
        scale, which stays inside, its critical value taken so that it excludes 0 exactly where p < alpha. Without any
        overlap of the two variants there is an estimate and no interval.

    Raises:
        ValueError: counts do not fit or are negative, or a value is infinite.

    Source: Brunner, Munzel (2000), section 3 (variance by placements, Satterthwaite's df).

    >>> effect = share_above([0, 0, 0, 1, 2, 5], [0, 1, 1, 3, 4, 6]).value()
    >>> round(effect.estimate, 4), round(effect.p_value, 4)
    (0.1806, 0.3001)
    """
    (x, m), (y, n) = _histogram(control, control_counts), _histogram(variant, variant_counts)
    n0, n1 = int(m.sum()), int(n.sum())
    if min(n0, n1) < 2:
        return _nothing(np.nan, Why.NO_UNITS if min(n0, n1) == 0 else Why.TOO_FEW_UNITS)
    # Placements: the share of the other variant below each value, ties half.
    place_variant, place_control = _share_below(y, x, m), _share_below(x, y, n)
    above = float((n * place_variant).sum() / n1)
    v0 = float((m * np.square(place_control - (1 - above))).sum() / (n0 - 1)) / n0
    v1 = float((n * np.square(place_variant - above)).sum() / (n1 - 1)) / n1
    if not v0 + v1 > 0:
        constant = x.size == 1 and y.size == 1 and x[0] == y[0]
        return _nothing(above - 0.5, Why.ZERO_VARIANCE if constant else Why.NO_OVERLAP)
    error = (v0 + v1) ** 0.5
    share = v0 / (v0 + v1)
    df = 1 / (share**2 / (n0 - 1) + (1 - share) ** 2 / (n1 - 1))
    t = abs(above - 0.5) / error
    p_value = float(2 * t_upper(df, t))
    low, high = _logit_interval(above, error, float(t_critical(df, alpha / 2)), reject=p_value < alpha)
    return Effect(
        estimate=np.asarray(above - 0.5),
        std_error=np.asarray(error),
        df=np.asarray(df),
        ci_low=np.asarray(low - 0.5),
        ci_high=np.asarray(high - 0.5),
        p_value=np.asarray(p_value),
        why=np.asarray(int(Why.DEFINED)),
    )


def mann_whitney(
    control: npt.ArrayLike,
    variant: npt.ArrayLike,
    *,
    control_counts: npt.ArrayLike | None = None,
    variant_counts: npt.ArrayLike | None = None,
) -> float | None:
    """Return the two-sided p of "both variants have one distribution" (normal, ties corrected, no continuity).

    It is about the whole distribution; ``share_above`` allows unequal spreads and is the one that reports use.

    Returns:
        ``None`` where all values are equal or a variant is empty.

    >>> round(mann_whitney([0, 0, 0, 1, 2, 5], [0, 1, 1, 3, 4, 6]), 4)
    0.2858
    """
    (x, m), (y, n) = _histogram(control, control_counts), _histogram(variant, variant_counts)
    n0, n1 = float(m.sum()), float(n.sum())
    if min(n0, n1) < 1:
        return None
    pairs = float((n * _share_below(y, x, m)).sum()) * n0
    values = np.union1d(x, y)
    ties = np.zeros(values.shape)
    ties[np.searchsorted(values, x)] += m
    ties[np.searchsorted(values, y)] += n
    total = n0 + n1
    variance = n0 * n1 / 12 * (total + 1 - float(((ties**3 - ties) / (total * (total - 1))).sum()))
    if not variance > 0:
        return None
    return float(2 * normal_upper(abs(pairs - n0 * n1 / 2) / variance**0.5))


def _histogram(values: npt.ArrayLike, counts: npt.ArrayLike | None) -> tuple[FloatArray, FloatArray]:
    given = as_float(values).ravel()
    often = np.ones(given.shape) if counts is None else as_float(counts).ravel()
    if often.shape != given.shape or (often < 0).any():
        raise ValueError("counts must be one number ≥ 0 for each value")
    if np.isinf(given).any():
        raise ValueError("values hold infinity; leave them out or give them a value")
    there = ~np.isnan(given) & (often > 0)
    different, place = np.unique(given[there], return_inverse=True)
    return different, as_float(np.bincount(place, weights=often[there], minlength=different.size))


def _share_below(values: FloatArray, others: FloatArray, counts: FloatArray) -> FloatArray:
    """Return the share of ``others`` below each value, equal ones counted as halves."""
    up_to = np.concatenate([[0.0], np.cumsum(counts)])
    below, at_most = (up_to[np.searchsorted(others, values, side=side)] for side in ("left", "right"))
    return as_float((below + at_most) / (2 * up_to[-1]))


def _logit_interval(above: float, error: float, critical: float, *, reject: bool) -> tuple[float, float]:
    """Return the interval on the logit scale, moved so far that it agrees with the test of one half."""
    if not 0 < above < 1:
        return max(0.0, above - critical * error), min(1.0, above + critical * error)
    centre, reach = np.log(above / (1 - above)), critical * error / (above * (1 - above))
    if reject:
        reach = min(reach, abs(centre) * (1 - 1e-9))
    else:
        reach = max(reach, abs(centre) * (1 + 1e-9))
    return float(special.expit(centre - reach)), float(special.expit(centre + reach))


def _nothing(estimate: float, why: Why) -> Effect:
    nan = np.asarray(np.nan)
    return Effect(np.asarray(estimate), nan, nan, nan, nan, nan, np.asarray(int(why)))


def above_to_odds(estimate: npt.ArrayLike) -> FloatArray:
    """Return the generalised odds, P(control < variant) / P(control > variant) with ties halved, of an estimate.

    >>> float(above_to_odds(0.25))
    3.0
    """
    above = as_float(estimate) + 0.5
    return divide(above, 1 - above)

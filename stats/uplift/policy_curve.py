"""What giving an offer to the best-ranked share of units is worth, for every share, and which share is best.

The share that looks best on a sample looks better than it is: it was picked for it. So it is picked on one half of the
units and valued on the other.

References:
    Horvitz & Thompson (1952) for weighting by propensities.
    Sverdrup, Wu, Athey & Wager (2023), Qini curves for multi-armed treatment rules, arXiv:2306.11979.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stats.distributions import normal_quantile
from stats.uplift.curves import rows_of
from stats.uplift.ranking import Ranking, ranking
from stats.uplift.trial import FloatArray, IntArray
from stats.uplift.valuing import Value, mean_value

PERCENTS = np.arange(101) / 100


@dataclass(frozen=True, eq=False)
class PolicyCurve:
    """Money a unit when the units of the highest scores get the offer and the rest get none."""

    share: FloatArray
    """(p + 1,), of the units; one point per distinct score, from nobody to everybody."""
    value: FloatArray
    """(p + 1,), money a unit of all units."""
    std_error: FloatArray
    """(p + 1,), of ``value`` less that of giving nobody anything."""
    best_share: float
    """Where ``value`` is highest; of several, the smallest. It was picked on these units: see `on_halves`."""
    best_value: float
    none: float
    """Giving nobody the offer."""
    all: float
    """Giving everybody the offer."""


def policy_curve(
    outcome: npt.ArrayLike,
    treated: npt.ArrayLike,
    propensity: npt.ArrayLike,
    score: npt.ArrayLike,
    *,
    margin: float,
    face_value: float,
    redeemed: npt.ArrayLike,
    contact: float,
) -> PolicyCurve:
    """Return the value of every share, weighting what happened by what was likely to be given.

    V(x) is the mean of w/e · (margin · y − face value · r − contact) for units in the top share x, and of
    (1 − w)/(1 − e) · margin · y for the rest. The offer costs where it was redeemed, the contact wherever it was sent.

    Args:
        outcome: (n,), such as orders.
        treated: (n,), True where the unit got the offer.
        propensity: (n,) or one number: probability of getting the offer, above 0 and below 1.
        score: (n,), what units are ranked by.
        margin: money of an outcome of 1, before the offer.
        face_value: money of one redemption.
        redeemed: (n,), redemptions of each unit.
        contact: money of one sending.

    Raises:
        ValueError: shapes differ, a number is not finite, or a propensity is not between 0 and 1.

    >>> curve = policy_curve([1, 0, 0, 1], [1, 0, 1, 0], 0.5, [4, 3, 2, 1], margin=60, face_value=30,
    ...                      redeemed=[1, 0, 0, 0], contact=0.1)
    >>> curve.none, curve.best_share, round(curve.best_value, 2), round(curve.all, 2)
    (30.0, 0.25, 44.95, 14.9)
    """
    y, w = rows_of(outcome, treated, score)
    e = np.broadcast_to(np.asarray(propensity, dtype=np.float64), y.shape)
    r = np.broadcast_to(np.asarray(redeemed, dtype=np.float64), y.shape)
    if not ((e > 0) & (e < 1)).all():
        raise ValueError("every propensity must be above 0 and below 1")
    if not np.isfinite(r).all():
        raise ValueError("redemptions must be finite numbers")
    without = (1 - w) / (1 - e) * margin * y
    difference = w / e * (margin * y - face_value * r - contact) - without
    ranked = ranking(score)
    none = float(without.mean())
    value = none + ranked.totals(difference) / ranked.rows
    best = int(np.argmax(value))
    return PolicyCurve(
        share=ranked.share,
        value=value,
        std_error=_errors(ranked.totals(difference), ranked.totals(difference**2), ranked.rows),
        best_share=float(ranked.share[best]),
        best_value=float(value[best]),
        none=none,
        all=float(value[-1]),
    )


@dataclass(frozen=True, eq=False)
class GainPoints:
    """V(share) − V(nobody) with its band, point by point (each interval for itself)."""

    share: FloatArray
    """(s,), of the units."""
    gain: FloatArray
    """(s,), money a unit of all units."""
    std_error: FloatArray
    ci_low: FloatArray
    ci_high: FloatArray


def from_scores(
    scores: FloatArray,
    choice_if_treated: IntArray,
    priority: npt.ArrayLike,
    shares: npt.ArrayLike = PERCENTS,
    alpha: float = 0.05,
    variance_factor: float = 1.0,
) -> GainPoints:
    """Return what giving the first units by priority their offer is worth, against giving nobody anything.

    Args:
        scores: (n, K + 1), doubly robust, in money (`stats.uplift.valuing.doubly_robust_scores`); column 0 is none.
        choice_if_treated: (n,), the arm each unit gets if its turn comes.
        priority: (n,), highest first; units of equal priority are one point, a share that ends among them takes its
            part of each of them.
        shares: (s,), from 0 to 1.
        alpha: 1 − confidence level.
        variance_factor: of a priority that was cross-fitted on these units (`stats.uplift.crossfit`).

    Raises:
        ValueError: shapes do not fit, or a share is out of range.

    >>> points = from_scores(np.array([[0.0, 3.0], [0.0, -1.0]]), np.array([1, 1]), [0.9, 0.2], [0.0, 0.5, 1.0])
    >>> points.gain
    array([0. , 1.5, 1. ])
    """
    gains, points = gains_of(scores, choice_if_treated), np.asarray(shares, dtype=np.float64)
    return _points(gains, ranking(priority), points, alpha, variance_factor)


@dataclass(frozen=True)
class Halved:
    """The share that was best on one half of the units, and what it is worth on the other."""

    best_share: float
    best: Value
    """Of that share against giving nobody anything, on the other half, a unit of all units."""
    all: Value
    """Of giving everybody their offer, on the same half."""
    gain: Value
    """Of that share against giving everybody their offer, on the same half."""


def on_halves(
    scores: FloatArray,
    choice_if_treated: IntArray,
    priority: npt.ArrayLike,
    *,
    shares: npt.ArrayLike = PERCENTS,
    seed: int = 0,
    alpha: float = 0.05,
    variance_factor: float = 1.0,
) -> Halved:
    """Return the best share, picked on one random half of the units and valued on the other.

    Args:
        scores: (n, K + 1), as `from_scores`.
        choice_if_treated: (n,).
        priority: (n,).
        shares: (s,), among which to pick; of equally good ones the smallest is taken.
        seed: of the halves; neighbours by priority are parted, so that both halves have units of every rank.
        alpha: 1 − confidence level.
        variance_factor: of a priority that was cross-fitted on these units (`stats.uplift.crossfit`).

    Raises:
        ValueError: as `from_scores`, or there are fewer than 4 units.

    >>> priority = np.linspace(1, -1, 1000)
    >>> scores = np.column_stack((np.zeros(1000), priority))  # known effects: best to stop at 0
    >>> found = on_halves(scores, np.ones(1000, dtype=int), priority)
    >>> found.best_share, round(found.best.estimate, 2), round(found.gain.estimate, 2)
    (0.5, 0.25, 0.25)
    """
    points, gains = np.asarray(shares, dtype=np.float64), gains_of(scores, choice_if_treated)
    order = ranking(priority, within=(gains,)).order
    if len(order) < 4:
        raise ValueError("there must be at least 4 units to part into halves")
    first = np.random.default_rng(seed).integers(0, 2, (len(order) + 1) // 2)
    picked = np.column_stack((first, 1 - first)).ravel()[: len(order)] == 1
    place = np.asarray(priority, dtype=np.float64)
    seen, held = order[picked], order[~picked]
    best_share = float(points[np.argmax(_points(gains[seen], ranking(place[seen]), points, alpha).gain)])
    held_ranked = ranking(place[held])
    ordered = gains[held][held_ranked.order]
    # What the ranking adds to taking the same share of everybody; its mean stays, its spread is that of the factor.
    picked_part = ordered * (_parts(held_ranked, best_share) - best_share)
    picked_part += (np.sqrt(variance_factor) - 1) * (picked_part - picked_part.mean())
    return Halved(
        best_share,
        mean_value(picked_part + ordered * best_share, alpha),
        mean_value(ordered, alpha),
        mean_value(picked_part + ordered * (best_share - 1), alpha),
    )


def gains_of(scores: FloatArray, choice_if_treated: IntArray) -> FloatArray:
    """Return each unit's score under its arm less that under none, (n,).

    Raises:
        ValueError: shapes do not fit.
    """
    if scores.ndim != 2 or choice_if_treated.shape != (len(scores),):
        raise ValueError("scores must be (n, K + 1), and there must be one choice for each row")
    return np.asarray(scores[np.arange(len(scores)), choice_if_treated] - scores[:, 0])


def _points(gains: FloatArray, ranked: Ranking, shares: FloatArray, alpha: float, factor: float = 1.0) -> GainPoints:
    if not ((shares >= 0) & (shares <= 1)).all():
        raise ValueError("every share must be between 0 and 1")
    if len(gains) != ranked.rows:
        raise ValueError("there must be one priority for each row")
    sums, squares = ranked.totals(gains), ranked.totals(gains**2)
    block = np.clip(np.searchsorted(ranked.share, shares, side="right") - 1, 0, len(ranked.share) - 2)
    # Of each unit of the block in which a share ends, a part is taken.
    part = (shares - ranked.share[block]) / (ranked.share[block + 1] - ranked.share[block])
    taken = np.stack((sums[block], sums[block + 1] - sums[block], sums[-1] - sums[block + 1]))
    square = np.stack((squares[block], squares[block + 1] - squares[block], squares[-1] - squares[block + 1]))
    parts = np.stack((np.ones_like(part), part, np.zeros_like(part)))
    mean, width = (taken * parts).sum(axis=0) / ranked.rows, float(normal_quantile(1 - alpha / 2))
    # The spread: a ranked part, of which the variance is ``factor`` times as large, and the same share of everybody.
    spread = np.sqrt(factor) * (parts - shares) + shares
    error = _errors((taken * spread).sum(axis=0), (square * spread**2).sum(axis=0), ranked.rows)
    return GainPoints(shares, mean, error, mean - width * error, mean + width * error)


def _parts(ranked: Ranking, share: float) -> FloatArray:
    """Return which part of each unit, in ranked order, a share takes: 1, 0, or something between in one tied block."""
    sizes = np.diff(ranked.ends, prepend=0)
    part = np.clip((share * ranked.rows - (ranked.ends - sizes)) / sizes, 0.0, 1.0)
    return np.repeat(part, sizes)


def _errors(total: FloatArray, square: FloatArray, rows: int) -> FloatArray:
    """Return standard errors of means from sums and sums of squares."""
    if rows < 2:
        return np.full(np.shape(total), np.nan)
    centred = np.maximum(square - total**2 / rows, 0.0)
    return np.asarray(np.sqrt(centred / (rows - 1) / rows))

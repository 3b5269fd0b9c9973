"""Ways to choose units that know nothing of effects: what a personalised choice has to beat.

A model of the outcome finds those who would buy anyway, and so does a rule for the best customers by recency, frequency
and money; a coin finds everybody alike. Each ranks units. `treat_top` makes a policy of a ranking as favourably as can
honestly be done: whom to stop at, and which offer, is learned where the policy is not valued.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stats.uplift.bases import Base, regress
from stats.uplift.folds import assign, canonical_order
from stats.uplift.ranking import ranking
from stats.uplift.trial import FloatArray, IntArray, Trial


def response(trial: Trial, base: Base = "linear", folds: int = 5, seed: int = 0) -> FloatArray:
    """Return each unit's expected outcome without looking at its arm, by models that were not fitted on the unit.

    Args:
        trial: n units.
        base: of the regression.
        folds: parts that are predicted from the others in turn.
        seed: of the folds; the same figures in whatever order the rows stand.

    Returns:
        (n,), highest first is the ranking of a "propensity to buy" model.

    >>> x = np.arange(60.0)[:, None]
    >>> trial = Trial(2 * x[:, 0], np.arange(60) % 2, x, np.full((60, 2), 0.5))
    >>> bool(np.corrcoef(response(trial), trial.outcome)[0, 1] > 0.99)
    True
    """
    order = canonical_order(trial, seed)
    rows, binary = trial.take(order), trial.binary
    fold = assign(rows.arm, rows.outcome, folds, binary=binary)
    predicted = np.empty(trial.rows)
    for number in range(folds):
        held = fold == number
        if held.any():
            seen = rows.take(~held)
            model = regress(seen.features, seen.outcome, base, binary=binary, seed=seed)
            predicted[order[held]] = model.predict(rows.features[held])
    return predicted


def rfm(
    recency: npt.ArrayLike, frequency: npt.ArrayLike | None = None, monetary: npt.ArrayLike | None = None
) -> FloatArray:
    """Return how good a customer each unit is: the mean of its ranks by recency, frequency and money.

    Args:
        recency: (n,), time since the last purchase: the shorter the better; NaN (never bought) is worst.
        frequency: (n,), purchases; NaN is least. ``None``: not known of anybody, left out.
        monetary: (n,), spend, alike.

    Returns:
        (n,), 0 to 1: mean share of the units that are no better; equal units get the same.

    >>> rfm([10, 300, np.nan], [5, 1, 0])
    array([0.83333333, 0.5       , 0.16666667])
    """
    columns = [-np.asarray(recency, dtype=np.float64)]
    columns += [np.asarray(column, dtype=np.float64) for column in (frequency, monetary) if column is not None]
    return np.asarray(np.mean([_mid_ranks(column) for column in columns], axis=0))


def random(n: int, seed: int = 0) -> FloatArray:
    """Return a number for each of n units that says nothing, (n,), from 0 to 1."""
    return np.random.default_rng(seed).random(n)


def treat_top(score: FloatArray, scores: FloatArray, fold: IntArray) -> IntArray:
    """Return whom a ranking would give which offer, when threshold and offer are learned on the other folds.

    Args:
        score: (n,), what units are ranked by.
        scores: (n, K + 1), doubly robust, in money; column 0 is no offer.
        fold: (n,), each unit's fold.

    Returns:
        (n,), 0 or the offer that was worth most, given to the units above the score where it was worth most; equal
        scores are treated alike.

    Raises:
        ValueError: there is only one fold.

    >>> score, fold = np.array([2.0, 1.0, 2.0, 1.0]), np.array([0, 0, 1, 1])
    >>> treat_top(score, np.array([[0, 5.0], [0, -1.0], [0, 4.0], [0, -2.0]]), fold)
    array([1, 0, 1, 0])
    """
    if len(np.unique(fold)) < 2:
        raise ValueError("there must be at least two folds")
    choice = np.zeros(len(score), dtype=np.intp)
    for number in np.unique(fold):
        held = fold == number
        seen_score, seen = score[~held], scores[~held]
        ranked = ranking(seen_score)
        worth = np.stack([ranked.totals(seen[:, arm] - seen[:, 0]) for arm in range(1, scores.shape[1])])
        arm, point = np.unravel_index(int(np.argmax(worth)), worth.shape)
        if point > 0:
            threshold = seen_score[ranked.order[ranked.ends[point - 1] - 1]]
            choice[held & (score >= threshold)] = arm + 1
    return choice


def _mid_ranks(column: FloatArray) -> FloatArray:
    """Return the share of units below each plus half of those equal to it; NaN stands below all numbers."""
    known = np.where(np.isnan(column), -np.inf, column)
    _, which, counts = np.unique(known, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - 0.5 * counts)[which] / len(column))

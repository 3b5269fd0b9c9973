"""Ways to choose units that know nothing of effects: what a personalised choice has to beat.

A model of the outcome finds those who would buy anyway, and so does a rule for the best customers by recency, frequency
and money; a coin finds everybody alike. Each ranks units;
`stats.uplift.recommending.above_threshold` makes a policy of a ranking.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stats.uplift.bases import Base, regress
from stats.uplift.folds import assign, canonical_order
from stats.uplift.trial import FloatArray, Trial


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
    fold = assign(rows.arm, folds)
    predicted = np.empty(trial.rows)
    for number in range(folds):
        held = fold == number
        if held.any():
            seen = rows.take(~held)
            model = regress(seen.features, seen.outcome, base, kind="binary" if binary else "outcome", seed=seed)
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


def _mid_ranks(column: FloatArray) -> FloatArray:
    """Return the share of units below each plus half of those equal to it; NaN stands below all numbers."""
    known = np.where(np.isnan(column), -np.inf, column)
    _, which, counts = np.unique(known, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - 0.5 * counts)[which] / len(column))

"""One ranking out of the scores of several folds' models, and how much wider its intervals must be.

Predictions that are made without a unit's own fold are honest for that unit, but they are not one model's. Two things
go wrong when they are ranked together as they come.

- A fold in which the offer happened to do well is predicted by models that did not see it, hence a little too low.
  Where effects hardly differ, that is all that the pooled ranking shows: it runs backwards. Simulated without any
  difference between units, 2 in 5 experiments had a Qini coefficient "significantly" below zero. Ranking units within
  their fold (`within_folds`) takes that away; a model that tells nobody apart is worth exactly 0 again.
- Fold A's noise is in the model that ranks fold B, and the other way round, so both tell of the same accident. If
  rankings were nothing but noise, each pair of folds would count double, and the variance be twice that of a ranking
  that came from elsewhere. `variance_factor` says how much of it is noise from how far the folds' models differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from stats.uplift.trial import FloatArray, IntArray

MOST_ROWS = 5000
"""On which models are compared."""


class Predicts(Protocol):
    """A fitted model."""

    def outcomes(self, features: FloatArray) -> FloatArray:
        """Return the outcome under each arm, (n, K + 1)."""
        ...


def within_folds(score: npt.ArrayLike, fold: IntArray) -> FloatArray:
    """Return each unit's place among those of its own fold, from 0 (lowest) to 1.

    Args:
        score: (n,), each by the model that did not see the unit's fold.
        fold: (n,).

    Returns:
        (n,), share of the fold with a lower score plus half of those with the same; a score to rank all units by.

    >>> within_folds([0.1, 0.2, 0.8, 0.8], np.array([0, 0, 1, 1]))
    array([0.25, 0.75, 0.5 , 0.5 ])
    """
    values = np.asarray(score, dtype=np.float64)
    place = np.empty(len(values))
    for number in np.unique(fold):
        own = fold == number
        _, which, counts = np.unique(values[own], return_inverse=True, return_counts=True)
        place[own] = (np.cumsum(counts) - 0.5 * counts)[which] / own.sum()
    return place


def variance_factor(
    models: Sequence[Predicts], features: FloatArray, score: Callable[[FloatArray], FloatArray] | None = None
) -> float:
    """Return by how much the variance of what a cross-fitted ranking shows exceeds that of a given ranking.

    Any two of F folds' models learned from F − 2 of F − 1 folds alike. So if a share s of what they say is noise, their
    predictions differ by 1 − correlation = s / (F − 1), and the factor is 1 + s.

    Args:
        models: of F folds, three or more, each fitted without its fold.
        features: (n, d); at most 5,000 rows of them are looked at.
        score: from outcomes (n, K + 1) to what units are ranked by; ``None``: the first offer's effect.

    Returns:
        From 1, the models agree, to 2, they share nothing but noise; 2 also where one of them tells nobody apart.

    Raises:
        ValueError: there are fewer than three models.
    """
    if len(models) < 3:
        raise ValueError("cross-fitting takes three folds or more")
    rows = features[:: -(-len(features) // MOST_ROWS)] if len(features) else features
    ranked_by = score or (lambda outcomes: np.asarray(outcomes[:, 1] - outcomes[:, 0]))
    said = np.stack([ranked_by(model.outcomes(rows)) for model in models])
    spread = said.std(axis=1)
    if said.shape[1] < 2 or not (spread > 1e-12 * (1 + np.abs(said).max(axis=1))).all():
        return 2.0
    standard = (said - said.mean(axis=1, keepdims=True)) / spread[:, None]
    agreement = standard @ standard.T / said.shape[1]
    correlation = float(agreement[np.triu_indices(len(models), 1)].mean())
    return 1 + min(max((len(models) - 1) * (1 - correlation), 0.0), 1.0)

"""Which learner to trust: the one whose effects, for units it was not fitted on, come closest to doubly robust ones.

The true effect of a unit is never seen, but its doubly robust score differs from it by noise of mean 0 only; a
prediction's mean squared distance from the scores is therefore its mean squared error plus a constant that is the same
for every candidate (Kennedy 2023; Saito & Yasui 2020, Counterfactual cross-validation, ICML). Told relative to a
constant effect: below 1, differences between units were predicted better than not at all. Trees must beat lines by more
than one standard error of the difference (Breiman et al. 1984, Classification and Regression Trees, 3.4.3): less is
noise, and lines vary less.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stats.uplift.bases import Base
from stats.uplift.learners import CrossFitted, Fitting, Learner, Prepared, prepare
from stats.uplift.trial import FloatArray, IntArray, Trial
from stats.uplift.valuing import doubly_robust_scores

CANDIDATES: tuple[tuple[Learner, Base], ...] = (("x", "linear"), ("x", "trees"), ("dr", "linear"), ("dr", "trees"))


@dataclass(frozen=True)
class Candidate:
    """A learner that was tried.

    Attributes:
        learner: which.
        base: of its regressions.
        loss: cross-fitted mean squared distance from doubly robust effects, summed over offers, divided by that of a
            constant effect; below 1 is better than no difference.
    """

    learner: Learner
    base: Base
    loss: float

    @property
    def code(self) -> str:
        """Short name, ``x-trees``."""
        return f"{self.learner}-{self.base}"


@dataclass(frozen=True, eq=False)
class Choice:
    """What was tried, and what the best predicts.

    Attributes:
        candidates: all, in the order that they were given.
        chosen: of least loss, or a linear one that is worse by no more than one standard error; the earlier one where
            two are equal.
        fitted: predictions of the chosen one for units that it was not fitted on.
        expected: (n, K + 1) outcomes by plain regressions in each arm, for units that they were not fitted on: what
            doubly robust scores take. Linear or trees, whichever were closer to the outcomes.
        outcome_base: which of the two.
    """

    candidates: tuple[Candidate, ...]
    chosen: Candidate
    fitted: CrossFitted
    expected: FloatArray
    outcome_base: Base

    @property
    def fold(self) -> IntArray:
        """In which fold each unit was left out."""
        return self.fitted.fold


def choose(
    trial: Trial, candidates: Sequence[tuple[Learner, Base]] = CANDIDATES, *, folds: int = 5, seed: int = 0
) -> Choice:
    """Fit every candidate out of fold and take the best.

    Args:
        trial: rows; their order makes no difference.
        candidates: learner and base.
        folds: three or more.
        seed: of the folds and of trees.

    Raises:
        ValueError: no candidate, fewer than three folds, or too few rows of an arm.

    >>> rng = np.random.default_rng(1)
    >>> x, arm = rng.normal(size=(4000, 1)), rng.integers(0, 2, 4000)
    >>> trial = Trial(x[:, 0] * arm + rng.normal(size=4000), arm, x, np.full((4000, 2), 0.5))
    >>> found = choose(trial, (("x", "linear"), ("x", "trees")))
    >>> found.chosen.code, found.chosen.loss < 0.9
    ('x-linear', True)
    """
    if not candidates:
        raise ValueError("there must be a candidate to choose from")
    ready = prepare(trial, folds, seed)
    fittings = {base: Fitting(ready.trial, ready.fold, base, seed) for _, base in candidates}
    expected, outcome_base = _expected(ready, fittings)
    scores = doubly_robust_scores(ready.trial.outcome, ready.trial.arm, ready.trial.propensity, expected)
    targets = scores[:, 1:] - scores[:, :1]
    constant = _loss(targets, _constant(targets, ready.fold))
    tried: list[tuple[Candidate, CrossFitted]] = []
    for learner, base in candidates:
        fitted = fittings[base].cross_fitted(learner)
        loss = _loss(targets, fitted.effects)
        tried.append((Candidate(learner, base, loss / constant if constant > 0 else 1.0), fitted))
    best, fitted = _simplest(tried, targets)
    return Choice(
        tuple(candidate for candidate, _ in tried), best, ready.unsorted(fitted), ready.back(expected), outcome_base
    )


def _simplest(tried: list[tuple[Candidate, CrossFitted]], targets: FloatArray) -> tuple[Candidate, CrossFitted]:
    """Return the candidate of least loss, or the best linear one where that is not shown to be worse."""
    best = min(tried, key=lambda pair: pair[0].loss)
    linear = min((pair for pair in tried if pair[0].base == "linear"), key=lambda pair: pair[0].loss, default=best)
    worse = ((targets - linear[1].effects) ** 2 - (targets - best[1].effects) ** 2).sum(axis=1)
    return linear if float(worse.mean()) <= float(worse.std() / np.sqrt(len(worse))) else best


def _expected(ready: Prepared, fittings: dict[Base, Fitting]) -> tuple[FloatArray, Base]:
    """Return cross-fitted outcomes of the base that is closer to what was observed, every arm counting alike."""
    found: dict[Base, tuple[float, FloatArray]] = {}
    rows = np.arange(ready.trial.rows)
    weight = 1.0 / np.bincount(ready.trial.arm, minlength=ready.trial.arms)[ready.trial.arm]
    for base, fitting in fittings.items():
        expected = fitting.nuisances()
        rest = ready.trial.outcome - expected[rows, ready.trial.arm]
        found[base] = float(weight @ rest**2), expected
    best = min(found, key=lambda base: found[base][0])
    return found[best][1], best


def _constant(targets: FloatArray, fold: IntArray) -> FloatArray:
    """Return the mean effect of the other folds, for each unit."""
    out = np.empty_like(targets)
    for held in np.unique(fold):
        out[fold == held] = targets[fold != held].mean(axis=0)
    return out


def _loss(targets: FloatArray, effects: FloatArray) -> float:
    """Return the mean squared distance, summed over offers."""
    return float(((targets - effects) ** 2).sum(axis=1).mean())

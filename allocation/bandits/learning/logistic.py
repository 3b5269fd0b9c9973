"""The logistic model: whether a decision converts, by iteratively reweighted hierarchical ridge.

References:
    McCullagh, Nelder (1989), Generalized Linear Models, section 2.5 (iteratively reweighted least squares).
    Breslow, Clayton (1993), Approximate inference in generalized linear mixed models, JASA 88 (penalised
    quasi-likelihood: variances from the linearised model).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from allocation.bandits.learning.cells import Cells, gram
from allocation.bandits.learning.hierarchy import Equations, Groups, Posterior, Prior, learn_variances, solve

FloatArray = npt.NDArray[np.float64]

INNER = 3
"""How often variances are renewed between two passes over the rows."""
NEWTON = 40
"""Most steps of the last climb, with variances fixed."""
TOLERANCE = 1e-10
"""A step that moves no coefficient by more, in logits, is the last one: the convergence is quadratic."""
LEAST_CURVATURE = 1e-9


def outer_rounds(columns: int) -> int:
    """Return how often variances are learned on a new linearisation. Fixed by the size, as in `linear.rounds`."""
    return 8 if columns <= 120 else 5 if columns <= 400 else 3


@dataclass(frozen=True, eq=False)
class _State:
    """Where the climb is."""

    coef: FloatArray
    pooled: FloatArray
    posterior: Posterior


def fit_logistic(cells: Cells, groups: Groups) -> Posterior:
    """Return the posterior of the coefficients: normal, at its mode, given the variances.

    ``cells.total`` holds the weighted conversions, ``cells.weight`` the weighted decisions. The result is the same to
    1e-8 whatever the order in which the rows came: the last climb ends at the mode.

    >>> cells = Cells(np.array([0, 1, 2]), np.ones((2, 1)), np.array([1e6, 1e6]), np.array([1e5, 2e5]), np.zeros(2))
    >>> groups = Groups(np.array([0]), np.array([5.0]), np.array([0.3]), np.array([False]))
    >>> (1 / (1 + np.exp(-fit_logistic(cells, groups).coef))).round(4).ravel().tolist()
    [0.1, 0.2]
    """
    centre = np.zeros(cells.columns)
    # Half a conversion in one decision is added: where nobody converted yet, the log odds stay finite.
    rate = (cells.total.sum() + 0.5) / (cells.weight.sum() + 1.0)
    centre[0] = np.log(rate / (1 - rate))
    prior = groups.first_prior(centre)
    parts = cells.parts()
    coef = np.tile(centre, (cells.variants, 1))
    state = _climb(cells, parts, coef, centre, prior)
    for _ in range(outer_rounds(cells.columns)):
        equations = _linearised(cells, parts, state.coef)
        posterior = solve(equations, prior)
        for _ in range(INNER):
            prior = learn_variances(posterior, groups)
            posterior = solve(equations, prior)
        state = _climb(cells, parts, state.coef, state.pooled, prior)
    return _mode(cells, parts, state, prior)


def mode(cells: Cells, prior: Prior) -> Posterior:
    """Return the posterior for given variances: normal, at its mode, with the curvature there.

    >>> cells = Cells(np.array([0, 1]), np.ones((1, 1)), np.array([100.0]), np.array([50.0]), np.zeros(1))
    >>> posterior = mode(cells, Prior(np.zeros(1), np.ones(1), np.ones(1)))
    >>> abs(posterior.coef.item()) < 1e-9, round(posterior.covariance(0).item(), 6)  # 1 / (100/4 + 1/2)
    (True, 0.039216)
    """
    parts = cells.parts()
    return _mode(
        cells, parts, _climb(cells, parts, np.tile(prior.centre, (cells.variants, 1)), prior.centre, prior), prior
    )


def _mode(cells: Cells, parts: list[tuple[Any, slice]], state: _State, prior: Prior) -> Posterior:
    for _ in range(NEWTON):
        before = state.coef
        state = _climb(cells, parts, before, state.pooled, prior)
        if np.abs(state.coef - before).max() <= TOLERANCE:
            break
    return replace(state.posterior, coef=state.coef, pooled=state.pooled)


def _climb(cells: Cells, parts: list[tuple[Any, slice]], coef: FloatArray, pooled: FloatArray, prior: Prior) -> _State:
    """Take one Newton step towards the mode, halved until it does not lead down."""
    posterior = solve(_linearised(cells, parts, coef), prior)
    height = _height(cells, parts, coef, pooled, prior)
    share = 1.0
    while share > 1e-3:
        new_coef = coef + share * (posterior.coef - coef)
        new_pooled = pooled + share * (posterior.pooled - pooled)
        if _height(cells, parts, new_coef, new_pooled, prior) >= height - 1e-9 * abs(height):
            break
        share /= 2
    return _State(new_coef, new_pooled, posterior)


def _linearised(cells: Cells, parts: list[tuple[Any, slice]], coef: FloatArray) -> Equations:
    """Return the normal equations of the working outcome at some coefficients."""
    grams = np.empty((cells.variants, cells.columns, cells.columns))
    moments = np.empty((cells.variants, cells.columns))
    for k, (design, place) in enumerate(parts):
        eta = design @ coef[k]
        rate = _expit(eta)
        weight, total = cells.weight[place], cells.total[place]
        curvature = weight * np.maximum(rate * (1 - rate), LEAST_CURVATURE)
        grams[k] = gram(design, curvature)
        moments[k] = design.T @ (curvature * eta + total - weight * rate)
    return Equations(grams, moments)


def _height(cells: Cells, parts: list[tuple[Any, slice]], coef: FloatArray, pooled: FloatArray, prior: Prior) -> float:
    """Return the log posterior density, up to a constant."""
    height = -0.5 * float((((pooled - prior.centre) / prior.common) ** 2).sum())
    for k, (design, place) in enumerate(parts):
        eta = design @ coef[k]
        height += float((cells.total[place] * eta - cells.weight[place] * np.logaddexp(0.0, eta)).sum())
        height -= 0.5 * float((((coef[k] - pooled) / prior.own) ** 2).sum())
    return height


def _expit(eta: FloatArray) -> FloatArray:
    # tanh does not overflow.
    rate: FloatArray = 0.5 * (1.0 + np.tanh(0.5 * eta))
    return rate

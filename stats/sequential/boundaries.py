"""Bounds of a group-sequential test: how far from zero the statistic must be at each look."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stats.arrays import FloatArray, as_float
from stats.sequential.recursion import NODES_PER_STEP, Walk, walk
from stats.sequential.spending import Spending


def bounds(
    information: npt.ArrayLike,
    alpha: npt.ArrayLike = 0.05,
    spending: Spending = Spending(),  # noqa: B008  (frozen)
) -> FloatArray:
    """Return the bound of |Z| at each look, two-sided and symmetric, so that all looks together give alpha.

    The looks need be neither equal nor known before: the bound at a look depends only on t there and before.

    Args:
        information: share of the planned sample at each look, t, shape (looks,), not falling. It may pass 1: alpha is
            all spent at the first look at 1 or beyond, and later looks have no bound (infinite).
        alpha: two-sided, half of it on each side; any shape, the leading axes of the result.
        spending: how alpha is spent.

    Returns:
        Shape (alpha…, looks); infinite where nothing is left to spend.

    Raises:
        ValueError: information falls or is not finite, or alpha does not lie between 0 and 1.

    Source: Lan, DeMets (1983); by the recursion of Armitage, McPherson, Rowe (1969).

    >>> bounds([0.2, 0.4, 0.6, 0.8, 1.0]).round(4)
    array([4.8769, 3.357 , 2.6803, 2.2898, 2.031 ])
    >>> bounds([0.5, 1.0], [0.05, 0.01], Spending("pocock")).round(3)
    array([[2.157, 2.201],
           [2.737, 2.811]])
    """
    share, level = as_float(information), as_float(alpha)
    return plan_walk(share, level.ravel(), spending).bounds.reshape((*level.shape, share.size))


def plan_walk(
    information: FloatArray,
    alpha: FloatArray,
    spending: Spending,
    *,
    largest_drift: float = 0.0,
    density: float = NODES_PER_STEP,
) -> Walk:
    """Return the bounds with the densities inside them, one row for each alpha; arguments as for ``bounds``."""
    spent = spending.log_spent(information, alpha[:, None])
    return walk(information, log_increments=_increments(spent), largest_drift=largest_drift, density=density)


def _increments(log_spent: FloatArray) -> FloatArray:
    """Return the logarithm of what is spent at each look from that of what is spent by it."""
    before = np.concatenate([np.full((len(log_spent), 1), -np.inf), log_spent[:, :-1]], axis=1)
    gap = np.where(before > -np.inf, before - np.where(log_spent > -np.inf, log_spent, 0.0), -np.inf)
    with np.errstate(divide="ignore"):
        return np.where(gap < 0, log_spent + np.log(-np.expm1(np.minimum(gap, 0.0))), -np.inf)

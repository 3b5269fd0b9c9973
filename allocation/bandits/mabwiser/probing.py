"""A fitted linear ``MAB`` read through what is public: its expectations at chosen contexts.

A LinUCB answers e(x) = xᵀβ + α√(xᵀA⁻¹x). At x and −x the bound is the same and the mean changes its sign, so half the
difference is the mean and half the sum is α times the standard error. At the unit vectors that gives β and the diagonal
of A⁻¹, at their pairwise sums the rest by polarisation: 2·A⁻¹ᵢⱼ = s²(eᵢ + eⱼ) − s²(eᵢ) − s²(eⱼ).
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from allocation.bandits.mabwiser.state import Floats, Ridges

_REPEATS = 64


def probe(mab: Any, width: int | None = None) -> Ridges | None:
    """Return a linear ``MAB``'s state from its expectations alone, or ``None`` where they do not tell.

    They tell for LinUCB with alpha above 0 (all of it) and LinGreedy with epsilon below 1 (the coefficients; its
    uncertainty, which it does not use, is given as I). They do not for LinTS, whose expectations are random, nor for
    scaled contexts or neighbourhoods. The object stays as it is.

    Args:
        mab: a fitted ``mabwiser.mab.MAB``.
        width: columns of its contexts; found by trying where it is not given.
    """
    policy = mab.learning_policy
    kind = type(policy).__name__
    if mab.neighborhood_policy is not None or kind not in {"LinUCB", "LinGreedy"} or policy.scale:
        return None
    if (kind == "LinUCB" and policy.alpha <= 0) or (kind == "LinGreedy" and policy.epsilon >= 1):
        return None
    mab = copy.deepcopy(mab)  # asking moves its generator
    width = width or _width(mab)
    if width is None:
        return None
    if kind == "LinGreedy":
        beta = _settled(mab, np.eye(width)).T
        parameters = {"alpha": 0.0, "epsilon": float(policy.epsilon), "l2_lambda": float(policy.l2_lambda)}
        return _ridges("lingreedy", parameters, beta, np.broadcast_to(np.eye(width), (len(beta), width, width)))
    mean, error = _parts(mab, np.eye(width), policy.alpha)
    diagonal = error.T**2
    covariance = np.stack([np.diag(row) for row in diagonal])
    for i in range(width - 1):
        sums = np.eye(width)[i + 1 :] + np.eye(width)[i]
        squared = _parts(mab, sums, policy.alpha)[1].T ** 2
        covariance[:, i, i + 1 :] = (squared - diagonal[:, [i]] - diagonal[:, i + 1 :]) / 2
        covariance[:, i + 1 :, i] = covariance[:, i, i + 1 :]
    parameters = {"alpha": float(policy.alpha), "epsilon": 0.0, "l2_lambda": float(policy.l2_lambda)}
    return _ridges("linucb", parameters, mean.T, covariance)


def _ridges(learner: str, parameters: dict[str, float], beta: Floats, covariance: Floats) -> Ridges:
    gram = np.linalg.inv(covariance).astype(np.float64)
    moment = np.einsum("kij,kj->ki", gram, beta)
    return Ridges(learner, parameters, gram, moment, np.zeros_like(beta), np.ones_like(beta))


def _expectations(mab: Any, contexts: Floats) -> Floats:
    """Return its expectations, shape (n, K)."""
    answers = mab.predict_expectations(contexts)
    return np.array([[answer[arm] for arm in mab.arms] for answer in ([answers] if len(contexts) == 1 else answers)])


def _parts(mab: Any, contexts: Floats, alpha: float) -> tuple[Floats, Floats]:
    """Return mean and standard error at contexts, shape (n, K) each."""
    there, back = _expectations(mab, contexts), _expectations(mab, -contexts)
    return (there - back) / 2, (there + back) / (2 * alpha)


def _settled(mab: Any, contexts: Floats) -> Floats:
    """Return LinGreedy's expectations without its random ones: those that come back the same."""
    found = np.full((len(contexts), len(mab.arms)), np.nan)
    before = _expectations(mab, contexts)
    for _ in range(_REPEATS):
        again = _expectations(mab, contexts)
        same = (again == before).all(axis=1)
        found[same] = again[same]
        before = again
    if np.isnan(found).any():
        raise ValueError("epsilon is so large that this LinGreedy hardly ever answers what it learned")
    return found


def _width(mab: Any) -> int | None:
    for width in range(1, 1025):
        try:
            mab.predict_expectations(np.zeros((1, width)))
        except ValueError:  # shapes that do not fit
            continue
        return width
    return None

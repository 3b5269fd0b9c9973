"""A model of rewards for off-policy evaluation: ridge regressions, each decision predicted from other members' ones.

One regression is shared by all variants; each variant then has deviations from it, drawn to zero by as many decisions
as ``SHRINK``, so that a variant with few decisions is predicted like all others. A model that is wrong makes the doubly
robust estimates wider, not wrong.

References:
    Chernozhukov et al. (2018), Double/debiased machine learning, The Econometrics Journal 21(1) (cross-fitting).
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt

from allocation.bandits.encoding import Encoder, FeatureCode
from allocation.bandits.values import text_of
from experiments.evaluating.decision_log import DecisionLog

FOLDS = 5
SHRINK = 50.0
LEVELS = 30
"""Levels of a text feature that are told apart, the most frequent first."""
LEAST = 20
"""Decisions that a level needs."""


def cross_fitted(log: DecisionLog, folds: int = FOLDS) -> npt.NDArray[np.float64]:
    """Return predicted rewards, shape (n, K), of models that saw no decision of the same member.

    Args:
        log: the decisions.
        folds: parts of the members; each is predicted from the others.
    """
    n, k = log.n, len(log.variants)
    unit = np.arange(n) if log.unit is None else log.unit
    # Codes follow the order of ids or of time: a multiplier spreads them over the folds, the same way each time.
    fold = (unit.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(33)) % np.uint64(folds)
    encoder = encoder_of(log)
    design = encoder.design(encoder.encode_columns(log.features, n))
    out = np.empty((n, k))
    for part in range(folds):
        test = fold == part
        train = ~test
        if test.any():
            out[test] = _predicted(design[train], log.variant[train], log.reward[train], design[test], k)
    return out


def encoder_of(log: DecisionLog) -> Encoder:
    """Return how the log's features become numbers; rewards are not looked at."""
    codes = []
    for name, values in log.features.items():
        if values.dtype.kind == "f":
            there = values[np.isfinite(values)]
            if there.size:
                spread = float(there.std())
                codes.append(
                    FeatureCode(name, "numeric", centre=float(there.mean()), scale=spread if spread > 0 else 1.0)
                )
            continue
        counted = Counter(text for text in map(text_of, map(_plain, values.tolist())) if text is not None)
        kept = [text for text, count in sorted(counted.items(), key=lambda one: (-one[1], one[0])) if count >= LEAST]
        codes.append(FeatureCode(name, "categorical", levels=tuple(kept[:LEVELS])))
    return Encoder(tuple(codes))


def _plain(value: Any) -> Any:
    return None if isinstance(value, list | dict) else value


def _predicted(
    design: npt.NDArray[np.float64],
    variant: npt.NDArray[np.intp],
    reward: npt.NDArray[np.float64],
    ahead: npt.NDArray[np.float64],
    k: int,
) -> npt.NDArray[np.float64]:
    if not reward.size:
        return np.zeros((len(ahead), k))
    middle = float(reward.mean())
    shared = _ridge(design, reward - middle, 1.0)
    rest = reward - middle - design @ shared
    common = middle + ahead @ shared
    out = np.empty((len(ahead), k))
    for arm in range(k):
        own = variant == arm
        out[:, arm] = common + (ahead @ _ridge(design[own], rest[own], SHRINK) if own.any() else 0.0)
    # Not cut to what rewards can be: that would move the mean of rare ones upwards.
    return out


def _ridge(design: npt.NDArray[np.float64], target: npt.NDArray[np.float64], penalty: float) -> Any:
    inner = design.T @ design
    inner.flat[:: len(inner) + 1] += penalty
    return np.linalg.solve(inner, design.T @ target)

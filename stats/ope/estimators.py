"""What another policy would have earned on logged decisions: inverse propensity scores, models, and both together.

All of them take the reward of each decision, the weight π(a|x) / p of the drawn variant (the other policy's probability
over the logged one), and, where a model helps, its prediction for the drawn variant and the model's value v̂(x) =
Σ_a π(a|x)·q̂(x, a). `stats.ope.logged` makes those from probabilities.

References:
    Horvitz, Thompson (1952), JASA 47(260) (IPS). Swaminathan, Joachims (2015), NeurIPS (SNIPS).
    Dudík, Erhan, Langford, Li (2014), Doubly robust policy evaluation and optimization, Statistical Science 29(4).
    Wang, Agarwal, Dudík (2017), Optimal and adaptive off-policy evaluation in contextual bandits, ICML (SWITCH).
    Su, Dimakopoulou, Krishnamurthy, Dudík (2020), Doubly robust off-policy evaluation with shrinkage, ICML (DRos).
    Metelli, Russo, Restelli (2021), Subgaussian and differentiable importance sampling, NeurIPS.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stats.arrays import FloatArray, as_float
from stats.ope.intervals import Estimate, codes_of, missing, normal, wald
from stats.why import Why


def ips(
    reward: npt.ArrayLike,
    weight: npt.ArrayLike,
    *,
    clip: float | None = None,
    cluster: npt.ArrayLike | None = None,
    alpha: float = 0.05,
) -> Estimate:
    """Return the mean of w·r: unbiased whatever the rewards, and wide where the policies differ.

    Args:
        reward: of each decision, shape (n,).
        weight: π(a|x) / p of the drawn variant, shape (n,).
        clip: greatest weight, larger ones are cut to it: narrower and biased towards 0.
        cluster: what names each decision's member, shape (n,); ``None``: decisions are independent.
        alpha: 1 − confidence level.

    Raises:
        ValueError: a shape does not fit, or a number is not finite or a weight negative.

    >>> found = ips([0.0, 1.0, 0.0, 1.0], [0.5, 1.5, 1.0, 2.0])
    >>> found.value, round(found.std_error, 4)
    (0.875, 0.5154)
    """
    rewards, weights = _rows(reward, weight)
    return wald(_clipped(weights, clip) * rewards, cluster, alpha)


def snips(
    reward: npt.ArrayLike, weight: npt.ArrayLike, *, cluster: npt.ArrayLike | None = None, alpha: float = 0.05
) -> Estimate:
    """Return Σw·r / Σw: narrower than IPS, and it moves with the rewards when a constant is added to them.

    Arguments are those of ``ips``. The interval is the delta method's, Σw²(r − v)² / (Σw)².

    >>> round(snips([0.0, 1.0, 0.0, 1.0], [0.5, 1.5, 1.0, 2.0]).value, 3)
    0.7
    """
    rewards, weights = _rows(reward, weight)
    codes = codes_of(cluster, rewards.size)
    total = float(weights.sum())
    if total <= 0:
        return _weightless(rewards.size, codes)
    value = float((weights * rewards).sum()) / total
    influence = weights * (rewards - value) * (rewards.size / total)
    return normal(value, influence, codes, alpha, size=float(np.abs(rewards).max()), small=False)


def dm(v: npt.ArrayLike, *, cluster: npt.ArrayLike | None = None, alpha: float = 0.05) -> Estimate:
    """Return the mean of the model's values: narrow, and as wrong as the model; its interval does not count that.

    >>> dm([0.2, 0.4]).value.__round__(3)
    0.3
    """
    return wald(v, cluster, alpha)


def dr(
    reward: npt.ArrayLike,
    weight: npt.ArrayLike,
    q_logged: npt.ArrayLike,
    v: npt.ArrayLike,
    *,
    clip: float | None = None,
    cluster: npt.ArrayLike | None = None,
    alpha: float = 0.05,
) -> Estimate:
    """Return the mean of v̂ + w·(r − q̂): right where either the propensities or the model are, and the default.

    Args:
        reward: of each decision, shape (n,).
        weight: π(a|x) / p of the drawn variant, shape (n,).
        q_logged: the model's prediction for the drawn variant, shape (n,).
        v: Σ_a π(a|x)·q̂(x, a), shape (n,).
        clip: greatest weight.
        cluster: what names each decision's member.
        alpha: 1 − confidence level.

    >>> round(dr([0.0, 1.0, 0.0, 1.0], [0.5, 1.5, 1.0, 2.0], [0.5] * 4, [0.5] * 4).value, 3)
    0.75
    """
    rewards, weights, predicted, values = _modelled(reward, weight, q_logged, v)
    return wald(values + _clipped(weights, clip) * (rewards - predicted), cluster, alpha)


def sndr(
    reward: npt.ArrayLike,
    weight: npt.ArrayLike,
    q_logged: npt.ArrayLike,
    v: npt.ArrayLike,
    *,
    cluster: npt.ArrayLike | None = None,
    alpha: float = 0.05,
) -> Estimate:
    """Return the mean of v̂ + (w / w̄)·(r − q̂); its interval takes the mean weight w̄ as given.

    >>> round(sndr([0.0, 1.0, 0.0, 1.0], [0.5, 1.5, 1.0, 2.0], [0.5] * 4, [0.5] * 4).value, 3)
    0.7
    """
    rewards, weights, predicted, values = _modelled(reward, weight, q_logged, v)
    if not weights.any():
        return _weightless(rewards.size, codes_of(cluster, rewards.size))
    return wald(values + weights / weights.mean() * (rewards - predicted), cluster, alpha)


def switch_dr(
    reward: npt.ArrayLike,
    weight: npt.ArrayLike,
    q_logged: npt.ArrayLike,
    v: npt.ArrayLike,
    *,
    tau: float = 10.0,
    cluster: npt.ArrayLike | None = None,
    alpha: float = 0.05,
) -> Estimate:
    """Return DR that leaves decisions with a weight above ``tau`` to the model.

    >>> round(switch_dr([0.0, 1.0, 0.0, 1.0], [0.5, 1.5, 1.0, 2.0], [0.5] * 4, [0.5] * 4, tau=1.5).value, 3)
    0.5
    """
    if not tau >= 0:
        raise ValueError(f"tau must not be negative, not {tau}")
    rewards, weights, predicted, values = _modelled(reward, weight, q_logged, v)
    return wald(values + weights * (weights <= tau) * (rewards - predicted), cluster, alpha)


def dros(
    reward: npt.ArrayLike,
    weight: npt.ArrayLike,
    q_logged: npt.ArrayLike,
    v: npt.ArrayLike,
    *,
    strength: float = 100.0,
    cluster: npt.ArrayLike | None = None,
    alpha: float = 0.05,
) -> Estimate:
    """Return DR with weights shrunk to λw / (w² + λ), λ being ``strength``: 0 is the model alone, infinite is DR.

    >>> round(dros([0.0, 1.0, 0.0, 1.0], [0.5, 1.5, 1.0, 2.0], [0.5] * 4, [0.5] * 4, strength=10.0).value, 4)
    0.657
    """
    if not strength >= 0:
        raise ValueError(f"strength must not be negative, not {strength}")
    rewards, weights, predicted, values = _modelled(reward, weight, q_logged, v)
    if np.isposinf(strength):
        shrunk = weights
    else:
        bottom = np.square(weights) + strength
        shrunk = np.divide(strength * weights, bottom, out=np.zeros_like(weights), where=bottom > 0)
    return wald(values + shrunk * (rewards - predicted), cluster, alpha)


def sub_gaussian(
    reward: npt.ArrayLike,
    weight: npt.ArrayLike,
    q_logged: npt.ArrayLike | None = None,
    v: npt.ArrayLike | None = None,
    *,
    strength: float = 0.1,
    cluster: npt.ArrayLike | None = None,
    alpha: float = 0.05,
) -> Estimate:
    """Return IPS, or DR where a model is given, with weights w / (1 − λ + λw), λ being ``strength`` in [0, 1].

    >>> round(sub_gaussian([0.0, 1.0, 0.0, 1.0], [0.5, 1.5, 1.0, 2.0]).value, 4)
    0.8117
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"strength must lie between 0 and 1, not {strength}")
    if (q_logged is None) != (v is None):
        raise ValueError("give q_logged and v together, or neither")
    rewards, weights = _rows(reward, weight)
    bottom = 1 - strength + strength * weights
    tamed = np.divide(weights, bottom, out=np.zeros_like(weights), where=bottom > 0)
    if q_logged is None or v is None:
        return wald(tamed * rewards, cluster, alpha)
    _, _, predicted, values = _modelled(reward, weight, q_logged, v)
    return wald(values + tamed * (rewards - predicted), cluster, alpha)


def dr_scores(reward: npt.ArrayLike, weight: npt.ArrayLike, q_logged: npt.ArrayLike, v: npt.ArrayLike) -> FloatArray:
    """Return v̂ + w·(r − q̂) of each decision, shape (n,): differences of two policies' are paired.

    >>> dr_scores([1.0], [2.0], [0.25], [0.5])
    array([2.])
    """
    rewards, weights, predicted, values = _modelled(reward, weight, q_logged, v)
    return values + weights * (rewards - predicted)


def _clipped(weights: FloatArray, clip: float | None) -> FloatArray:
    if clip is None:
        return weights
    if not clip > 0:
        raise ValueError(f"clip must be above 0, not {clip}")
    return np.minimum(weights, clip)


def _weightless(rows: int, codes: npt.NDArray[np.int64] | None) -> Estimate:
    groups = rows if codes is None else int(codes.max(initial=-1)) + 1
    return missing(Why.NO_DECISIONS if rows == 0 else Why.NO_SUPPORT, rows, groups)


def _rows(reward: npt.ArrayLike, weight: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    rewards, weights = as_float(reward), as_float(weight)
    _fit({"reward": rewards, "weight": weights})
    if (weights < 0).any():
        raise ValueError(f"the weight of decision {int(np.argmax(weights < 0))} is negative")
    return rewards, weights


def _modelled(
    reward: npt.ArrayLike, weight: npt.ArrayLike, q_logged: npt.ArrayLike, v: npt.ArrayLike
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    rewards, weights = _rows(reward, weight)
    predicted, values = as_float(q_logged), as_float(v)
    _fit({"reward": rewards, "q_logged": predicted, "v": values})
    return rewards, weights, predicted, values


def _fit(parts: dict[str, FloatArray]) -> None:
    shapes = {name: part.shape for name, part in parts.items()}
    first = next(iter(shapes.values()))
    if len(first) != 1 or len(set(shapes.values())) > 1:
        told = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"one number for each decision is needed, not shapes {told}")
    for name, part in parts.items():
        if not np.isfinite(part).all():
            raise ValueError(f"the {name} of decision {int(np.argmin(np.isfinite(part)))} is not finite")

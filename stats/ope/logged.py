"""Logged decisions and another policy's probabilities, made into the weights and predictions that estimators take.

References:
    Saito, Aihara, Matsutani, Narita (2021), Open Bandit Dataset and Pipeline, NeurIPS Datasets and Benchmarks
    (arXiv:2008.07146; the estimators' names).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from stats.arrays import FloatArray, as_float
from stats.ope.diagnostics import Diagnostics, diagnostics
from stats.ope.estimators import dm, dr, dros, ips, sndr, snips, sub_gaussian, switch_dr
from stats.ope.intervals import Estimate

TOLERANCE = 1e-6
"""How far a vector of probabilities may sum from 1."""


@dataclass(frozen=True, slots=True, eq=False)
class Logged:
    """One row per decision.

    Attributes:
        reward: shape (n,).
        weight: π(a|x) / p of the drawn variant, shape (n,).
        q_logged: a model's prediction for the drawn variant, shape (n,), or ``None``.
        v: the model's value of the other policy, Σ_a π(a|x)·q̂(x, a), shape (n,), or ``None``.
        cluster: what names each decision's member, shape (n,), or ``None``.
    """

    reward: FloatArray
    weight: FloatArray
    q_logged: FloatArray | None = None
    v: FloatArray | None = None
    cluster: npt.NDArray[Any] | None = None

    @classmethod
    def of(
        cls,
        reward: npt.ArrayLike,
        variant: npt.ArrayLike,
        propensity: npt.ArrayLike,
        target: npt.ArrayLike,
        q: npt.ArrayLike | None = None,
        cluster: npt.ArrayLike | None = None,
    ) -> Self:
        """Make them from probabilities.

        Args:
            reward: shape (n,).
            variant: which variant was drawn, integers from 0, shape (n,).
            propensity: probability with which it was drawn, shape (n,).
            target: probabilities of the policy to value, shape (n, K), or (K,) where it is the same for everybody.
            q: a model's predictions, shape (n, K), or (K,); not trained on the same decisions.
            cluster: what names each decision's member, shape (n,).

        Raises:
            ValueError: a shape does not fit, a propensity is not in (0, 1], or ``target`` is not probabilities.

        >>> logged = Logged.of([0, 1, 1], [0, 1, 1], [0.5, 0.5, 0.25], [0.2, 0.8])
        >>> logged.weight
        array([0.4, 1.6, 3.2])
        """
        rewards, chance = as_float(reward), as_float(propensity)
        drawn = np.asarray(variant, dtype=np.int64)
        n = rewards.size
        if rewards.shape != (n,) or chance.shape != (n,) or drawn.shape != (n,):
            raise ValueError(
                f"one number for each decision is needed, not shapes {rewards.shape}, {chance.shape}, {drawn.shape}"
            )
        wrong = ~((chance > 0) & (chance <= 1))
        if wrong.any():
            first = int(np.argmax(wrong))
            raise ValueError(
                f"the propensity of decision {first} is {chance[first]:g}; it must be above 0 and at most 1"
            )
        policy = _by_decision(target, n, "target")
        if n and (drawn.min() < 0 or drawn.max() >= policy.shape[1]):
            raise ValueError(f"variants must lie in 0 to {policy.shape[1] - 1}")
        off = (np.abs(policy.sum(axis=1) - 1) > TOLERANCE) | (policy < 0).any(axis=1)
        if off.any():
            raise ValueError(f"target of decision {int(np.argmax(off))} is not probabilities that sum to 1")
        rows = np.arange(n)
        weight = policy[rows, drawn] / chance
        names = None if cluster is None else np.asarray(cluster)
        if q is None:
            return cls(rewards, weight, cluster=names)
        predicted = _by_decision(q, n, "q")
        if predicted.shape != policy.shape:
            raise ValueError(f"q has shape {predicted.shape} where target has {policy.shape}")
        return cls(rewards, weight, predicted[rows, drawn], (policy * predicted).sum(axis=1), names)

    @property
    def diagnostics(self) -> Diagnostics:
        """What the weights look like."""
        return diagnostics(self.weight, self.reward)


def estimates(
    logged: Logged, alpha: float = 0.05, *, tau: float = 10.0, strength: float = 100.0
) -> dict[str, Estimate]:
    """Return every estimate that the decisions allow, by its name; those with a model only where there is one.

    Args:
        logged: the decisions.
        alpha: 1 − confidence level.
        tau: weights above it are left to the model by SWITCH-DR.
        strength: λ of DRos.

    >>> list(estimates(Logged.of([0, 1, 1], [0, 1, 1], [0.5, 0.5, 0.25], [0.2, 0.8])))
    ['ips', 'snips', 'sub_gaussian']
    """
    reward, weight, q, v = logged.reward, logged.weight, logged.q_logged, logged.v
    shared: dict[str, Any] = {"cluster": logged.cluster, "alpha": alpha}
    found: dict[str, Callable[[], Estimate]] = {
        "ips": lambda: ips(reward, weight, **shared),
        "snips": lambda: snips(reward, weight, **shared),
    }
    if q is None or v is None:
        found["sub_gaussian"] = lambda: sub_gaussian(reward, weight, **shared)
    else:
        found |= {
            "dm": lambda: dm(v, **shared),
            "dr": lambda: dr(reward, weight, q, v, **shared),
            "sndr": lambda: sndr(reward, weight, q, v, **shared),
            "switch_dr": lambda: switch_dr(reward, weight, q, v, tau=tau, **shared),
            "dros": lambda: dros(reward, weight, q, v, strength=strength, **shared),
            "sub_gaussian": lambda: sub_gaussian(reward, weight, q, v, **shared),
        }
    return {name: compute() for name, compute in found.items()}


def _by_decision(values: npt.ArrayLike, n: int, name: str) -> FloatArray:
    table = as_float(values)
    if table.ndim == 1:
        table = np.broadcast_to(table, (n, table.size))
    if table.ndim != 2 or table.shape[0] != n:
        raise ValueError(f"{name} has shape {table.shape}; it must have a row for each of {n} decisions")
    if not np.isfinite(table).all():
        raise ValueError(f"{name} of decision {int(np.argmin(np.isfinite(table).all(axis=1)))} is not finite")
    return table

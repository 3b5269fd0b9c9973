"""Our policies in a simulation: the code that makes versions and the code that serves them, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from allocation.bandits.learning.rows import Rows
from allocation.bandits.learning.settings import FeatureSpec, Settings
from allocation.bandits.learning.train import train
from allocation.bandits.policy import Policy
from allocation.bandits.probabilities import floor
from experiments.simulating.environment import BoolArray, Environment, FloatArray, IntArray, World
from experiments.simulating.history import History
from experiments.simulating.learner import even

FORCED = 0.05
"""Least probability of a variant that has too few rows to be learned from."""


class Ours:
    """One of our policies: a version is trained at each update, and draws until the next."""

    learns = True

    def __init__(
        self,
        environment: Environment,
        policy: str,
        *,
        explore: float = 0.02,
        half_life_days: float | None = None,
        name: str = "",
        **settings: Any,
    ) -> None:
        """Take over what the environment's team declares.

        Args:
            environment: gives variants, features, pairs, model, worth and costs.
            policy: kind of policy, as in a definition.
            explore: mass that is spread over the eligible variants.
            half_life_days: after so many days a decision counts half; by default as the environment declares, and
                infinity lets all count alike.
            name: how it is called in tables; by default as the policy.
            settings: any other of `Settings`.
        """
        self.name = name or policy
        self._explore = explore
        self._version: Policy | None = None
        self._scarce = np.zeros(len(environment.variants))
        half_life = environment.half_life_days if half_life_days is None else half_life_days
        given: Mapping[str, Any] = {
            "variants": environment.variants,
            "features": tuple(
                FeatureSpec(look.attribute, look.kind, transform=look.transform) for look in environment.features
            ),
            "pairs": environment.pairs,
            "policy": policy,
            "model": environment.model,
            "worth": environment.worth or None,
            "contact": environment.contact,
            "half_life_days": None if half_life == math.inf else half_life,
        }
        self._settings = Settings(**{**given, **settings})

    def probabilities(self, world: World, rows: slice) -> FloatArray:
        """Return what the version says, with its floor."""
        eligible = world.eligible[rows]
        if self._version is None:
            return even(eligible)
        columns = {name: column[rows] for name, column in world.columns.items()}
        encoded = self._version.encoder.encode_columns(columns, len(eligible))
        p = self._version.probabilities_batch(encoded, eligible)
        if self._scarce.any():
            return np.stack([_floored(*one, self._explore, self._scarce) for one in zip(p, eligible, strict=True)])
        return np.asarray((1.0 - self._explore) * p + self._explore * even(eligible))

    def learn(self, history: History) -> None:
        """Train a version from all that has matured."""
        rows = rows_of(history, history.rows)
        self._version = train(rows, self._settings)
        counts = np.bincount(rows.variant, minlength=len(self._scarce))
        self._scarce = np.where(counts < self._settings.min_rows_per_variant, FORCED, 0.0)


def rows_of(history: History, index: IntArray) -> Rows:
    """Return decisions as our learners take them."""
    variant = history.variant[index]
    return Rows(
        variant=variant,
        columns={name: column[index] for name, column in history.world.columns.items()},
        converted=history.world.converted[index, variant],
        amount=history.world.amount[index, variant],
        age_days=np.maximum(history.now_days - history.world.at_days[index], 0.0),
        propensity=history.propensity[index],
        unit=history.world.unit[index],
        weight=np.ones(len(index)),
    )


def _floored(p: FloatArray, eligible: BoolArray, explore: float, least: FloatArray) -> FloatArray:
    out = np.zeros_like(p)
    out[eligible] = floor(p[eligible].tolist(), explore, least[eligible].tolist())
    return out

"""mabwiser's own choices beside ours: its learners as they come, fed with profit and the same columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.simulating.contexts import matrix
from experiments.simulating.environment import Environment, FloatArray, World
from experiments.simulating.history import History
from experiments.simulating.learner import surely

POLICIES: dict[str, Callable[[Any], Any]] = {
    "linucb": lambda mab: mab.LinUCB(alpha=0.3),
    "linucb-1": lambda mab: mab.LinUCB(alpha=1.0),
    "lints": lambda mab: mab.LinTS(alpha=0.3),
    "lingreedy": lambda mab: mab.LinGreedy(epsilon=0.1),
    "ucb1": lambda mab: mab.UCB1(alpha=1.0),
    "epsilon-greedy": lambda mab: mab.EpsilonGreedy(epsilon=0.1),
}
"""Name → learning policy, with the settings that did best in comparisons on other problems."""
CONTEXT_FREE = {"ucb1", "epsilon-greedy"}


class Mabwiser:
    """One mabwiser object. It says no probabilities: its choice is taken as certain.

    Rewards are profits over their standard deviation at the first update, the scale that its settings are meant for.
    It knows no eligibility, so the eligible variant with its highest expectation is taken (as mab2rec does).
    """

    learns = True

    def __init__(self, environment: Environment, policy: str, *, seed: int) -> None:
        """Make the object; ``policy`` is one of `POLICIES`."""
        from mabwiser.mab import MAB, LearningPolicy

        self.name = f"mabwiser:{policy}"
        self._contextual = policy not in CONTEXT_FREE
        arms = list(range(len(environment.variants)))
        self._mab = MAB(arms=arms, learning_policy=POLICIES[policy](LearningPolicy), seed=seed)
        self._environment = environment
        self._contexts: FloatArray | None = None
        self._scale = 0.0

    def probabilities(self, world: World, rows: slice) -> FloatArray:
        """Return certainty of what it chooses."""
        eligible = world.eligible[rows]
        if self._contextual:
            found = self._mab.predict_expectations(self._all_contexts(world)[rows])
        else:
            found = [self._mab.predict_expectations() for _ in range(len(eligible))]
        found = [found] if isinstance(found, dict) else found
        arms = range(eligible.shape[1])
        scores = np.array([[one[arm] for arm in arms] for one in found])
        return surely(np.where(eligible, scores, -np.inf))

    def learn(self, history: History) -> None:
        """Learn from what is new."""
        rows = history.fresh
        profit = history.profit(rows)
        if self._scale == 0.0:
            self._scale = max(float(profit.std()), 1e-12)
        contexts = self._all_contexts(history.world)[rows] if self._contextual else None
        self._mab.partial_fit(history.variant[rows].tolist(), profit / self._scale, contexts)

    def _all_contexts(self, world: World) -> FloatArray:
        if self._contexts is None:
            self._contexts = matrix(self._environment, world)
        return self._contexts

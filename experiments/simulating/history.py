"""What a learner has at an update: the decisions whose outcome is known by now, and how each was drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from experiments.simulating.environment import Environment, FloatArray, IntArray, World


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Matured decisions, those of the cold start among them.

    Attributes:
        environment: the problem, as its team declares it.
        world: where rewards come from; a learner reads only what `rewards` and `rows` of it show.
        rows: (m,) indices of matured decisions, in their order.
        fresh: (f,) those of them that were not there at the last update.
        variant: (n,) index of what each decision gave; undefined beyond `rows`.
        propensity: (n,) with which probability.
        now_days: time of the update.
    """

    environment: Environment
    world: World
    rows: IntArray
    fresh: IntArray
    variant: IntArray
    propensity: FloatArray
    now_days: float

    def profit(self, rows: IntArray) -> FloatArray:
        """Return what decisions earned, contact paid."""
        chosen = self.variant[rows]
        contact = np.asarray(self.environment.contact)[chosen]
        return np.asarray(self.world.amount[rows, chosen] - contact)

    def converted(self, rows: IntArray) -> FloatArray:
        """Return 1 for decisions that converted and 0 for others."""
        return np.asarray(self.world.converted[rows, self.variant[rows]], dtype=np.float64)

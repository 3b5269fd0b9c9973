"""The rows of a randomised experiment, as models of its effects take them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Trial:
    """Units that were given one of several arms at random, what was known of them before, and what came of it.

    >>> trial = Trial(np.array([1.0, 0.0]), np.array([1, 0]), np.array([[0.5], [np.nan]]), np.full((2, 2), 0.5))
    >>> trial.arms, trial.take(np.array([0])).outcome
    (2, array([1.]))
    """

    outcome: FloatArray
    """(n,), any number: 0 or 1 for what happened or did not, money, counts."""
    arm: IntArray
    """(n,); 0 is control (no offer), 1 … K are offers."""
    features: FloatArray
    """(n, d), known *before* the arm was drawn; NaN is missing."""
    propensity: FloatArray
    """(n, K + 1): with which probability each unit would have been given each arm; from the log of assignments."""

    def __post_init__(self) -> None:
        """Refuse what does not fit together.

        Raises:
            ValueError: shapes differ, an outcome is not finite, or a propensity of an arm that was given is 0.
        """
        n, arms = len(self.outcome), self.propensity.shape[1] if self.propensity.ndim == 2 else 0
        if self.arm.shape != (n,) or self.features.ndim != 2 or len(self.features) != n or len(self.propensity) != n:
            raise ValueError("outcome, arm, features and propensity must have the same number of rows")
        if arms < 2:
            raise ValueError("there must be a control and at least one offer")
        if n and not (int(self.arm.min()) >= 0 and int(self.arm.max()) < arms):
            raise ValueError(f"arms must be 0 to {arms - 1}")
        if not np.isfinite(self.outcome).all():
            raise ValueError("every outcome must be a finite number")
        if not np.all(self.propensity[np.arange(n), self.arm] > 0):
            raise ValueError("a unit cannot have been given an arm of propensity 0")

    @property
    def rows(self) -> int:
        """How many units."""
        return len(self.outcome)

    @property
    def arms(self) -> int:
        """How many arms, control included."""
        return int(self.propensity.shape[1])

    @property
    def binary(self) -> bool:
        """Whether every outcome is 0 or 1."""
        return bool(np.isin(self.outcome, (0.0, 1.0)).all())

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Trial:
        """Return some of the rows."""
        return Trial(self.outcome[rows], self.arm[rows], self.features[rows], self.propensity[rows])

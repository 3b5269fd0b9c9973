"""Whether logged decisions say anything about another policy: what their weights look like.

References:
    Kish (1965), Survey Sampling (the effective sample size (Σw)² / Σw²).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stats.arrays import FloatArray, as_float

LEAST_OUTCOMES = 30.0


@dataclass(frozen=True, slots=True)
class Diagnostics:
    """What the weights look like.

    Attributes:
        rows: decisions.
        ess: decisions drawn from the other policy itself that would tell as much about it.
        max_weight: greatest weight; ``None`` without decisions.
        mean_weight: near 1 where the propensities are right; ``None`` without decisions.
        mean_weight_error: standard error of it; ``None`` below two decisions.
        zero_weight: share of decisions that the other policy would never have made.
        outcomes: (Σ|w·r|)² / Σ(w·r)², how many equal rewards would carry IPS as well; ``None`` without rewards.
    """

    rows: int
    ess: float
    max_weight: float | None
    mean_weight: float | None
    mean_weight_error: float | None
    zero_weight: float | None
    outcomes: float | None = None

    @property
    def ess_share(self) -> float | None:
        """Effective decisions as a share of all."""
        return self.ess / self.rows if self.rows else None

    @property
    def thin(self) -> bool:
        """Whether fewer than 200 decisions, or 1 % of them where that is more, are effective."""
        return self.ess < max(200.0, 0.01 * self.rows)

    @property
    def few(self) -> bool:
        """Whether fewer than 30 rewards carry the estimate: normal intervals are then too narrow on one side."""
        return self.outcomes is not None and self.outcomes < LEAST_OUTCOMES

    @property
    def off(self) -> bool:
        """Whether the mean weight is further from 1 than chance (p < .001) lets it be: propensities are wrong."""
        if self.mean_weight is None or self.mean_weight_error is None:
            return False
        return abs(self.mean_weight - 1) > max(3.29 * self.mean_weight_error, 1e-9)


def diagnostics(weight: npt.ArrayLike, reward: npt.ArrayLike | None = None) -> Diagnostics:
    """Describe weights π(a|x) / p, shape (n,), and with the rewards how many of those carry the estimate.

    Raises:
        ValueError: a weight is negative or not finite, or rewards do not fit.

    >>> found = diagnostics([1.0, 1.0, 2.0, 0.0])
    >>> round(found.ess, 4), found.max_weight, found.mean_weight, found.zero_weight
    (2.6667, 2.0, 1.0, 0.25)
    >>> diagnostics([1.0, 1.0, 2.0, 0.0], [1.0, 1.0, 0.0, 1.0]).outcomes
    2.0
    """
    weights = as_float(weight).reshape(-1)
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise ValueError("weights must be finite and not negative")
    rows = weights.size
    if rows == 0:
        return Diagnostics(0, 0.0, None, None, None, None)
    outcomes = None
    if reward is not None:
        rewards = as_float(reward)
        if rewards.shape != weights.shape:
            raise ValueError(f"rewards have shape {rewards.shape} where weights have {weights.shape}")
        outcomes = _effective(np.abs(weights * rewards))
    error = float(weights.std(ddof=1) / np.sqrt(rows)) if rows > 1 else None
    return Diagnostics(
        rows=rows,
        ess=_effective(weights),
        max_weight=float(weights.max()),
        mean_weight=float(weights.mean()),
        mean_weight_error=error,
        zero_weight=float((weights == 0).mean()),
        outcomes=outcomes,
    )


def _effective(parts: FloatArray) -> float:
    """Return (Σa)² / Σa², 0 where all are 0; scaled by the greatest one, squares neither overflow nor vanish."""
    most = float(parts.max())
    if most <= 0:
        return 0.0
    scaled = parts / most
    return float(scaled.sum()) ** 2 / float(np.square(scaled).sum())

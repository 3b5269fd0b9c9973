"""Rare outcomes: power and false alarms by going through every possible result, with the p that reports give."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.arrays import FloatArray, as_float
from stats.effects.proportions import difference_of_proportions, proportions

MOST_RESULTS = 250_000
LEFT_OUT = 1e-10
"""Probability of the results that are not gone through, at each end of each variant's distribution."""


@dataclass(frozen=True, slots=True, eq=False)
class ExactProportions:
    """Two proportions of fixed numbers of units, whose power is enumerated.

    Use it where fewer than about 20 outcomes are expected in a variant: there the p-value is exact (conditional mid-p)
    and moves in steps, which formulas for z do not know.

    Attributes:
        n_control: units, whole.
        n_variant: units, whole.
        rejects: whether p ≤ alpha, by control's (rows) and the variant's outcomes, from 0 on.
        increase: whether the variant's share is the larger, likewise.
    """

    n_control: int
    n_variant: int
    rejects: npt.NDArray[np.bool_]
    increase: npt.NDArray[np.bool_]

    @classmethod
    def of(
        cls, n_control: int, n_variant: int, most_control: float, most_variant: float, alpha: float = 0.05
    ) -> ExactProportions:
        """Judge every result that proportions up to ``most_control`` and ``most_variant`` can lead to.

        Raises:
            ValueError: there are more than 250,000 of them; ``Proportions`` is accurate enough there.

        >>> few = ExactProportions.of(2000, 2000, 0.002, 0.01)
        >>> round(float(few.power(0.002, 0.008)), 2), round(float(few.false_alarms(0.002)), 3)
        (0.8, 0.037)
        """
        rows = np.arange(_outcomes(n_control, max(most_control, most_variant)) + 1)
        columns = np.arange(_outcomes(n_variant, max(most_control, most_variant)) + 1)
        if rows.size * columns.size > MOST_RESULTS:
            raise ValueError("too many possible results to go through; use Proportions")
        found = difference_of_proportions(
            proportions(rows[:, None], n_control), proportions(columns[None, :], n_variant), alpha
        )
        rejects = np.where(np.isnan(found.p_value), False, found.p_value <= alpha)
        return cls(n_control, n_variant, rejects, np.nan_to_num(found.estimate) > 0)

    def power(self, baseline: npt.ArrayLike, variant: npt.ArrayLike) -> FloatArray:
        """Return the probability of a significant result in the direction of the effect."""
        p0, p1 = np.broadcast_arrays(as_float(baseline), as_float(variant))
        right = np.where((p1 >= p0)[..., None, None], self.increase, ~self.increase)
        return self._chance(p0, p1, self.rejects & right)

    def false_alarms(self, proportion: npt.ArrayLike) -> FloatArray:
        """Return the probability of any significant result where both proportions are the same."""
        share = as_float(proportion)
        return self._chance(share, share, np.broadcast_to(self.rejects, (*share.shape, *self.rejects.shape)))

    def mde(self, baseline: float, power: float = 0.8) -> float:
        """Return the smallest increase found with this power, NaN where the results gone through do not reach so far.

        >>> round(ExactProportions.of(2000, 2000, 0.002, 0.02).mde(0.002), 4)
        0.006
        """
        high = float(self.rejects.shape[1] - 1) / self.n_variant
        while high > baseline and _outcomes(self.n_variant, high) >= self.rejects.shape[1]:
            high *= 0.98
        low = baseline
        if not float(self.power(baseline, high)) >= power:
            return float("nan")
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (low, middle) if float(self.power(baseline, middle)) >= power else (middle, high)
        return high - baseline

    def _chance(self, p0: FloatArray, p1: FloatArray, counted: npt.NDArray[np.bool_]) -> FloatArray:
        rows = _binomial(self.rejects.shape[0], self.n_control, p0)
        columns = _binomial(self.rejects.shape[1], self.n_variant, p1)
        return np.asarray(np.einsum("...i,...ij,...j->...", rows, counted.astype(np.float64), columns))


def _outcomes(n: int, share: float) -> int:
    """Return the most outcomes that are worth going through."""
    mean = n * share
    return min(n, int(mean + 7 * np.sqrt(mean) + 12))


def _binomial(size: int, n: int, share: FloatArray) -> FloatArray:
    x = np.arange(size, dtype=np.float64)
    p = share[..., None]
    log_choose = special.gammaln(n + 1) - special.gammaln(x + 1) - special.gammaln(n - x + 1)
    return np.asarray(np.exp(log_choose + special.xlogy(x, p) + special.xlog1py(n - x, -p)))

"""What a choice must keep: a budget, stocks, floors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stats.targeting.options import FloatArray, IntArray, Options


@dataclass(frozen=True, eq=False)
class Limits:
    """What a choice must keep."""

    units: int | None
    """Budget in units of cost; ``None``: no limit."""
    stock: FloatArray
    """(K,), whole or infinite."""
    members: npt.NDArray[np.bool_]
    """(F, n): whom each floor is about."""
    counted: npt.NDArray[np.bool_]
    """(F, K + 1): which options count for it."""
    least: IntArray
    """(F,)"""

    @classmethod
    def of_budget(cls, options: Options, units: int | None) -> Limits:
        """Return a budget alone."""
        none = np.zeros((0, options.members), dtype=bool)
        counted = np.zeros((0, options.offers + 1), dtype=bool)
        return cls(units, np.full(options.offers, np.inf), none, counted, np.zeros(0, dtype=np.int64))

    def ordered(self, order: IntArray) -> Limits:
        """Return the limits of members in another order."""
        return Limits(self.units, self.stock, self.members[:, order], self.counted, self.least)

    def reached(self, chosen: IntArray) -> IntArray:
        """Return how many each floor has of a choice, (F,)."""
        pairs = zip(self.members, self.counted, strict=True)
        return np.array([int(counted[chosen[members]].sum()) for members, counted in pairs], dtype=np.int64)

    def kept(self, options: Options, chosen: IntArray) -> bool:
        """Return whether a choice, (n,) of options, keeps all of them."""
        spent = int(options.units[np.arange(len(chosen)), chosen].sum())
        given = np.bincount(chosen, minlength=options.offers + 1)[1:]
        within = (self.units is None or spent <= self.units) and bool((given <= self.stock).all())
        return within and bool((self.reached(chosen) >= self.least).all())

"""Who was chosen for which offer, what it earns and costs, and how far from the best possible it can be at most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stats.targeting.options import FloatArray, IntArray, Options


@dataclass(frozen=True, eq=False)
class Solution:
    """A choice within its limits.

    ``bound`` is what no choice within the same limits can exceed (the Lagrangian dual at the prices that were
    found), so ``gap`` is what has been missed at most.
    """

    choice: IntArray
    """(n,): −1 for no offer, otherwise the index of the offer."""
    value: float
    cost: float
    """Of what was chosen; at most the budget."""
    multiplier: float
    """λ: what one more unit of money in the budget would add to the value; 0 where the budget does not bind."""
    bound: float
    gap: float
    """``bound`` − ``value``; 0 or more."""
    stock_prices: FloatArray | None = None
    """(K,): what one more piece of each offer would add; where stocks were given."""
    floor_prices: FloatArray | None = None
    """What asking for one less of each floor would add; where floors were given."""


def solution(
    options: Options,
    chosen: IntArray,
    multiplier: float,
    bound: float,
    stock_prices: FloatArray | None = None,
    floor_prices: FloatArray | None = None,
) -> Solution:
    """Return the solution of options that were chosen, (n,): 0 for none, j + 1 for offer j."""
    rows = np.arange(options.members)
    value = float(options.value[rows, chosen].sum())
    cost = options.money(int(options.units[rows, chosen].sum()))
    # Sums in another order differ in their last digits; a gap is never negative.
    bound = max(bound, value)
    return Solution(chosen - 1, value, cost, multiplier, bound, bound - value, stock_prices, floor_prices)

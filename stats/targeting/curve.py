"""What each budget would earn: the Qini curve of several offers that cost differently.

Source: Sverdrup, Wu, Athey & Wager (2023), "Qini curves for multi-armed treatment rules", arXiv 2306.11979: the
value of the knapsack's solutions over all budgets, which is concave and piecewise linear.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stats.targeting.hulls import hulls
from stats.targeting.options import options


@dataclass(frozen=True)
class Point:
    """The best that a budget buys, up to one member's step."""

    budget: float
    value: float
    cost: float
    """Spent of it."""
    treated: int
    """Members with an offer."""
    multiplier: float
    """What one more unit of money would add here."""


def budget_curve(
    value: npt.ArrayLike,
    cost: npt.ArrayLike,
    points: int | Sequence[float] = 51,
    *,
    tie: npt.ArrayLike | None = None,
) -> list[Point]:
    """Return what budgets earn, from nothing spent to as much as pays.

    Args:
        value: (n, K), as for the knapsack.
        cost: (n, K), as for the knapsack.
        points: how many budgets, evenly spaced from 0 to where more money adds nothing; or the budgets themselves.
        tie: (n,), as for the knapsack.

    Returns:
        By rising budget. Values are those of the steps that fit wholly; what a remainder could still buy is left out.

    Raises:
        ValueError: as the knapsack; or fewer than two points.

    >>> [(p.budget, p.value, p.treated) for p in budget_curve([[3.0, 5.0], [4.0, 4.5]], [[1.0, 2.0]] * 2, [0, 1, 3])]
    [(0.0, 0.0, 0), (1.0, 4.0, 1), (3.0, 9.0, 2)]
    """
    given = options(value, cost, tie)
    steps = hulls(given)
    rows = np.arange(given.members)
    first = int(given.units[rows, steps.start].sum())
    spent = np.concatenate([[first], first + np.cumsum(steps.units)])
    earned = float(given.value[rows, steps.start].sum()) + np.concatenate([[0.0], np.cumsum(steps.value)])
    entering = (steps.option > 0).astype(np.int64) - (steps.before > 0)
    treated = int((steps.start > 0).sum()) + np.concatenate([[0], np.cumsum(entering)])
    if isinstance(points, int):
        if points < 2:
            raise ValueError("a curve needs at least two points")
        budgets = np.linspace(0.0, max(given.money(int(spent[-1])), 0.0), points).tolist()
        budgets[-1] = max(given.money(int(spent[-1])), 0.0)
    else:
        budgets = sorted(float(budget) for budget in points)
    found = []
    for budget in budgets:
        units = given.affordable(budget)
        at = len(spent) - 1 if units is None else int(np.searchsorted(spent, units, side="right")) - 1
        multiplier = float(steps.rate[at]) if at < len(steps.rate) else 0.0
        found.append(Point(budget, float(earned[at]), given.money(int(spent[at])), int(treated[at]), multiplier))
    return found

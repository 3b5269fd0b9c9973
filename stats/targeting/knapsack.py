"""At most one offer each, within a budget: the multiple-choice knapsack.

With a price λ on money every member takes the choice with the largest value − λ·cost; λ* is the lowest price at which
the budget suffices. Whoever is indifferent at λ* is taken in the order of a hash, as far as the money goes. What is
then missing from the optimum is less than the value of the one step that no longer fitted. Costs and values may be
negative: an offer that earns more than it costs is money for the others (Albert & Goldenberg 2022).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stats.targeting.hulls import hulls
from stats.targeting.improving import improve
from stats.targeting.kept import Limits
from stats.targeting.options import options
from stats.targeting.solution import Solution, solution


def solve(
    value: npt.ArrayLike,
    cost: npt.ArrayLike,
    budget: float | None,
    *,
    tie: npt.ArrayLike | None = None,
    spend_remainder: bool = True,
) -> Solution:
    """Return who gets which offer.

    Args:
        value: (n, K), what each offer earns with each member beyond no offer, in money; −inf where it may not be given.
        cost: (n, K), what it takes from the budget, in money; may be negative.
        budget: what may be spent; ``None`` or infinity: as much as pays.
        tie: (n,), in [0, 1), who goes first among equals: a hash of the member, so that the order of the rows does not
            matter. ``None``: in the order of the rows.
        spend_remainder: whether what is left when the next best step does not fit goes to other steps that do.

    Returns:
        Nobody has an offer of negative value unless it brings money in; the cost is at most the budget.

    Raises:
        ValueError: shapes differ, a number is not finite, or the budget is negative.

    Source: Kellerer, Pferschy & Pisinger, Knapsack Problems (2004), sections 11.2 and 11.3.

    >>> found = solve([[3.0, 5.0], [4.0, 4.5], [-1.0, 0.5]], [[1.0, 2.0]] * 3, 3.0)
    >>> found.choice.tolist(), found.value, found.cost, found.multiplier
    ([1, 0, -1], 9.0, 3.0, 0.5)
    """
    given = options(value, cost, tie)
    steps, affordable = hulls(given), given.affordable(budget)
    rows = np.arange(given.members)
    chosen = steps.start.copy()
    room = None if affordable is None else affordable - int(given.units[rows, chosen].sum())
    spent = np.cumsum(steps.units)
    taken = len(spent) if room is None else int(np.searchsorted(spent, room, side="right"))
    # Repeated members: numpy keeps the last assignment, which is the member's furthest step.
    chosen[steps.member[:taken]] = steps.option[:taken]
    value_taken = float(given.value[rows, chosen].sum())
    if room is None or taken == len(spent):
        return solution(given, chosen, 0.0, value_taken)
    left = room - (int(spent[taken - 1]) if taken else 0)
    multiplier = float(steps.rate[taken])
    bound = value_taken + multiplier * given.money(left)
    if spend_remainder:
        improve(given, Limits.of_budget(given, affordable), chosen)
    return solution(given, chosen, multiplier, bound)

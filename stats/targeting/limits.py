"""At most one offer each, within a budget, with so many pieces of each offer, and at least so many for some members.

A linear programme on cells of members with similar scores gives the prices of money, of each offer's stock and of each
floor; at those prices every member chooses alone. What is still not whole, or a little too much, is put right by
deciding again, together, on the members who are nearest to indifferent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stats.targeting import knapsack
from stats.targeting.columns import relaxed
from stats.targeting.kept import Limits
from stats.targeting.options import IntArray, Options, options
from stats.targeting.repair import Unrepairable, rounded, whole
from stats.targeting.solution import Solution, solution


@dataclass(frozen=True, eq=False)
class Floor:
    """At least so many of these members get one of these offers."""

    members: npt.NDArray[np.bool_]
    """(n,), whom it is about."""
    offers: tuple[int, ...]
    """Indices of the offers that count."""
    least: int
    name: str = ""
    """As an error calls it."""


def solve(
    value: npt.ArrayLike,
    cost: npt.ArrayLike,
    budget: float | None,
    *,
    stock: npt.ArrayLike | None = None,
    floors: Sequence[Floor] = (),
    tie: npt.ArrayLike | None = None,
) -> Solution:
    """Return who gets which offer.

    Args:
        value: (n, K), as for the knapsack: what each offer earns beyond no offer; −inf where it may not be given.
        cost: (n, K), what it takes from the budget; may be negative.
        budget: what may be spent; ``None`` or infinity: no limit.
        stock: (K,), pieces of each offer; infinity: no limit. ``None``: none has one.
        floors: what must be reached, at a loss where needed.
        tie: (n,), in [0, 1), who goes first among equals.

    Returns:
        A choice within all limits, with the prices of the budget, of stocks and of floors.

    Raises:
        ValueError: what the knapsack refuses; a stock that is negative; a floor that cannot be reached, by itself or
            together with the others, the stocks and the budget: the message names it.

    Source: Dantzig & Wolfe (1960), "Decomposition principle for linear programs"; solved with HiGHS.

    >>> found = solve([[3.0, 5.0], [4.0, 4.5], [-1.0, 0.5]], [[1.0, 2.0]] * 3, 4.0, stock=[9, 1],
    ...               floors=[Floor(np.array([False, False, True]), (0, 1), 1, "new members")])
    >>> found.choice.tolist(), found.value, found.cost
    ([1, 0, 0], 8.0, 4.0)
    """
    given = options(value, cost, tie)
    limits = _limits(given, budget, stock, floors)
    free = knapsack.solve(value, cost, budget, tie=tie)
    if limits.kept(given, free.choice + 1):
        return free
    if floors:
        _each_alone(given, limits, floors)
    # In the order of `tie`: the order of the rows then plays no part.
    order = np.argsort(given.tie, kind="stable")
    sorted_options = Options(given.value[order], given.units[order], given.scale, given.tie[order])
    sorted_limits = limits.ordered(order)
    found = relaxed(sorted_options, sorted_limits, start=free.choice[order] + 1)
    if found.short is not None:
        raise ValueError(_short(found.short, floors))
    try:
        chosen_sorted = whole(sorted_options, sorted_limits, found, rounded(sorted_options, found))
    except Unrepairable:
        raise ValueError(
            "the floors, the stocks and the budget can only just be reached together, and not with whole offers; "
            "lower a floor or raise the budget"
        ) from None
    chosen = np.empty_like(chosen_sorted)
    chosen[order] = chosen_sorted
    prices = found.prices
    return solution(given, chosen, prices.money, found.bound, prices.stock, prices.floors)


def _limits(given: Options, budget: float | None, stock: npt.ArrayLike | None, floors: Sequence[Floor]) -> Limits:
    """Return the limits in the form in which they are solved.

    Raises:
        ValueError: a shape does not fit, a stock or a floor is negative, or a floor names an offer that there is not.
    """
    pieces = np.full(given.offers, np.inf) if stock is None else np.asarray(stock, dtype=np.float64)
    if pieces.shape != (given.offers,) or not (pieces >= 0).all():
        raise ValueError(f"stock must hold one number for each of the {given.offers} offers, 0 or more")
    members = np.zeros((len(floors), given.members), dtype=bool)
    counted = np.zeros((len(floors), given.offers + 1), dtype=bool)
    for at, floor in enumerate(floors):
        if np.shape(floor.members) != (given.members,):
            raise ValueError(f"{_named(at, floor)} must say for each member whether it is about them")
        if floor.least < 0 or not floor.offers or not all(0 <= offer < given.offers for offer in floor.offers):
            raise ValueError(f"{_named(at, floor)} must ask for 0 or more, of offers 0 to {given.offers - 1}")
        members[at] = floor.members
        counted[at, [offer + 1 for offer in floor.offers]] = True
    least = np.array([floor.least for floor in floors], dtype=np.int64)
    return Limits(given.affordable(budget), np.floor(pieces), members, counted, least)


def _named(at: int, floor: Floor) -> str:
    """Return what an error calls a floor."""
    return f"floor “{floor.name}”" if floor.name else f"floor {at + 1}"


def _each_alone(given: Options, limits: Limits, floors: Sequence[Floor]) -> None:
    """Refuse a floor that cannot be reached even if there were no other.

    Raises:
        ValueError: too few members, too few pieces, or too little money.
    """
    cheapest_for_all = given.units.min(axis=1)
    for at, floor in enumerate(floors):
        offers = np.array(floor.offers) + 1
        members = np.flatnonzero(floor.members)
        possible = np.isfinite(given.value[np.ix_(members, offers)])
        able = possible.any(axis=1)
        count = int(able.sum())
        if count < floor.least:
            raise ValueError(
                f"{_named(at, floor)} asks for {floor.least:,}, but only {count:,} of its members may be given one of "
                "its offers"
            )
        pieces = float(limits.stock[np.unique(offers) - 1].sum())
        if pieces < floor.least:
            raise ValueError(f"{_named(at, floor)} asks for {floor.least:,}, but there are only {pieces:,.0f} pieces")
        if limits.units is None:
            continue
        units = np.where(possible, given.units[np.ix_(members, offers)], np.iinfo(np.int64).max).min(axis=1)[able]
        extra = np.sort(units - cheapest_for_all[members[able]])[: floor.least]
        needed = int(extra.sum()) + int(cheapest_for_all.sum())
        if needed > limits.units:
            raise ValueError(
                f"{_named(at, floor)} asks for {floor.least:,}, which costs at least {given.money(needed):,.2f}; "
                f"the budget is {given.money(limits.units):,.2f}"
            )


def _short(short: IntArray | npt.NDArray[np.float64], floors: Sequence[Floor]) -> str:
    """Return which floors cannot be reached together with the other limits."""
    by = [
        f"{_named(at, floor)} by {math.ceil(short[at] - 1e-6)}" for at, floor in enumerate(floors) if short[at] > 1e-6
    ]
    return (
        "not all floors can be reached together within the budget and the stocks: even the best choice falls short of "
        + ", ".join(by)
    )

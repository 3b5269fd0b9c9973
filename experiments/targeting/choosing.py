"""Members × offers → who gets which: within the limits, with a share drawn at random, nobody who must not be asked.

The order: who may not be given a personal offer is set aside; a share of the others is drawn at random, whatever the
model says; what that takes of budget, stocks and floors is taken off; the rest is chosen within what is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from experiments.errors import InputError
from stats.targeting import limits as limited
from stats.targeting.solution import Solution

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Floor:
    """At least so many of some members get one of some offers."""

    name: str
    members: BoolArray
    """(n,)."""
    offers: tuple[int, ...]
    """Indices of offers, 0 … K − 1."""
    least: int


@dataclass(frozen=True, eq=False)
class Draws:
    """What a hash drew for each member: (n,), in [0, 1), under salts that have nothing to do with each other."""

    tie: FloatArray
    """Who goes first among equals."""
    explore: FloatArray
    """Below the share: the member is explored."""
    arm: FloatArray
    """Which arm an explored member gets."""


@dataclass(frozen=True, eq=False)
class Chosen:
    """Who gets what.

    Attributes:
        offer: (n,), −1 for none, else the index of the offer.
        explored: (n,), whose offer was drawn at random.
        propensity: (n,): with which probability the member would have been given what it was given; 1 where nothing
            was drawn. For explored members at the prices of the solution: members who are exactly indifferent there are
            counted as if they were not.
        solution: of those who were not explored, in their order.
    """

    offer: IntArray
    explored: BoolArray
    propensity: FloatArray
    solution: Solution


@dataclass(frozen=True, eq=False)
class Problem:
    """What is to be chosen from.

    Attributes:
        value: (n, K), what each offer earns beyond none; −inf where it may not be given.
        cost: (n, K), what it takes from the budget.
        open: (n,), who may be given an offer at all.
        budget: major units; ``None``: as much as pays.
        stock: (K,), infinity where there is no limit; ``None`` without any.
        floors: what must be reached.
        explore: share that is drawn at random.
        names: of the offers, as an error calls them.
    """

    value: FloatArray
    cost: FloatArray
    open: BoolArray
    budget: float | None = None
    stock: FloatArray | None = None
    floors: Sequence[Floor] = field(default_factory=tuple)
    explore: float = 0.0
    names: Sequence[str] = ()


def choose(problem: Problem, draws: Draws) -> Chosen:
    """Return who gets which offer.

    Raises:
        InputError: exploring alone breaks a limit, or a floor cannot be reached: the message says which.

    >>> value = np.array([[3.0, 5.0], [4.0, 4.5], [1.0, -1.0]])
    >>> problem = Problem(value, np.array([[1.0, 2.0]] * 3), np.array([True, True, False]), budget=3.0)
    >>> chosen = choose(problem, Draws(np.zeros(3), np.ones(3), np.ones(3)))
    >>> chosen.offer.tolist(), chosen.solution.value
    ([1, 0, -1], 9.0)
    """
    n, offers = problem.value.shape
    explored = problem.open & (draws.explore < problem.explore)
    # Arm 0 is none: an explored member is as likely to get nothing as any offer.
    drawn = np.minimum((draws.arm * (offers + 1)).astype(np.int64), offers) - 1
    closed = np.isneginf(problem.value)
    # Who draws an offer that may not be given gets none, and the propensity of none says so.
    drawn = np.where((drawn >= 0) & closed[np.arange(n), drawn], -1, drawn)
    given = np.where(explored, drawn, -1)
    spent = float(problem.cost[np.arange(n), given][given >= 0].sum())
    budget = _left(problem, spent)
    stock = _pieces_left(problem, given)
    rest = problem.open & ~explored
    floors = [
        limited.Floor(floor.members[rest], floor.offers, _still_needed(floor, given), floor.name)
        for floor in problem.floors
    ]
    try:
        found = limited.solve(
            problem.value[rest], problem.cost[rest], budget, stock=stock, floors=floors, tie=draws.tie[rest]
        )
    except ValueError as error:
        raise InputError(str(error)) from None
    given[rest] = found.choice
    propensity = np.ones(n)
    if problem.explore:
        would = np.full(n, -1, dtype=np.int64)
        would[rest] = found.choice
        would[explored] = _at_prices(problem, found, explored)
        even = problem.explore / (offers + 1) * np.where(given < 0, 1 + closed.sum(axis=1), 1)
        propensity[problem.open] = np.where(given == would, 1 - problem.explore + even, even)[problem.open]
    return Chosen(given, explored, propensity, found)


def _left(problem: Problem, spent: float) -> float | None:
    if problem.budget is None:
        return None
    if spent > problem.budget:
        raise InputError(
            f"exploring alone takes {spent:,.2f}, more than the budget of {problem.budget:,.2f}: "
            "raise the budget, or lower explore"
        )
    return problem.budget - spent


def _pieces_left(problem: Problem, given: IntArray) -> FloatArray | None:
    if problem.stock is None:
        return None
    used = np.bincount(given[given >= 0], minlength=problem.value.shape[1])
    if (over := np.flatnonzero(used > problem.stock)).size:
        place = int(over[0])
        named = problem.names[place] if problem.names else f"offer {place + 1}"
        raise InputError(
            f"exploring alone takes {int(used[place]):,} pieces of {named}, more than its stock of "
            f"{int(problem.stock[place]):,}: raise the stock, or lower explore"
        )
    return np.asarray(problem.stock - used, dtype=np.float64)


def _still_needed(floor: Floor, given: IntArray) -> int:
    reached = int((floor.members & np.isin(given, floor.offers)).sum())
    return max(0, floor.least - reached)


def _at_prices(problem: Problem, found: Solution, members: BoolArray) -> IntArray:
    """Return what the solution's prices would give these members: (m,), −1 for none."""
    worth = problem.value[members] - found.multiplier * problem.cost[members]
    if found.stock_prices is not None:
        worth = worth - found.stock_prices
    if found.floor_prices is not None:
        for price, floor in zip(found.floor_prices, problem.floors, strict=True):
            worth[:, list(floor.offers)] += price * floor.members[members][:, None]
    best = worth.argmax(axis=1)
    return np.where(worth[np.arange(len(worth)), best] > 0, best, -1)

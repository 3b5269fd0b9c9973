"""The linear relaxation of a choice within limits, by Dantzig–Wolfe decomposition over cells of members.

A column is what one cell's members choose together: everybody the same at first, which is the linear programme on score
cells; then, at the prices that this programme finds, every member their own best. Columns are added until the value of
the programme meets its Lagrangian bound, so what is found is the optimum over members, not over cells.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stats.targeting.cells import cells
from stats.targeting.kept import Limits
from stats.targeting.options import FloatArray, IntArray, Options

_CELLS = 512
_ROUNDS = 60
_CLOSE = 1e-6  # relative distance of value and bound at which more columns no longer matter


@dataclass(frozen=True, eq=False)
class Prices:
    """What one more of each would add; 0 where a limit does not bind."""

    money: float
    stock: FloatArray
    """(K,)"""
    floors: FloatArray
    """(F,), what asking for one less would add."""


@dataclass(frozen=True, eq=False)
class Relaxed:
    """The solution of the relaxation: in each cell, shares of patterns of choice."""

    prices: Prices
    bound: float
    cell: IntArray
    """(n,)"""
    patterns: list[npt.NDArray[np.int8]]
    """Each (n,): a choice of everybody; a column is one cell's part of one."""
    shares: list[tuple[int, int, float]]
    """(cell, pattern, share) with a share above 0."""
    reduced: FloatArray
    """(n, K + 1): value of each option at the prices."""
    short: FloatArray | None
    """(F,): by how much floors are missed at least; ``None`` where all can be reached."""


class _Programme:
    """The columns found so far, and the programme over them."""

    def __init__(self, options: Options, limits: Limits) -> None:
        self.options, self.limits = options, limits
        self.cost = options.units / options.scale
        self.stocked = np.flatnonzero(np.isfinite(limits.stock))
        _, pattern = np.unique(limits.members.T, axis=0, return_inverse=True)
        stratum = np.asarray(pattern).reshape(-1) if len(limits.least) else np.zeros(options.members, dtype=np.int64)
        possible = np.isfinite(options.value[:, 1:])
        columns = np.hstack([np.where(possible, options.value[:, 1:], 0.0), self.cost[:, 1:], possible])
        self.cell = cells(columns, stratum, _CELLS)
        self.count = int(self.cell.max()) + 1
        first = np.zeros(self.count, dtype=np.int64)
        first[self.cell] = np.arange(options.members)
        self.member_of = limits.members[:, first].astype(np.float64)  # (F, cells): floors are about whole cells
        self.patterns: list[npt.NDArray[np.int8]] = []
        self.values: list[FloatArray] = []
        self.resources: list[FloatArray] = []
        self.limit = np.concatenate(
            [
                [] if limits.units is None else [limits.units / options.scale],
                limits.stock[self.stocked],
                -limits.least.astype(np.float64),
            ]
        )

    def add(self, chosen: IntArray) -> None:
        """Add a choice of everybody: one column for each cell."""
        options, wide = self.options, self.options.offers + 1
        rows = np.arange(options.members)
        count = np.bincount(self.cell * wide + chosen, minlength=self.count * wide).reshape(self.count, wide)
        parts: list[FloatArray] = []
        if self.limits.units is not None:
            parts.append(self._total(self.cost[rows, chosen])[None])
        parts.append(count[:, self.stocked + 1].T.astype(np.float64))
        parts.append(-self.member_of * (self.limits.counted.astype(np.float64) @ count.T))
        self.patterns.append(chosen.astype(np.int8))
        self.values.append(self._total(options.value[rows, chosen]))
        self.resources.append(np.vstack(parts))

    def _total(self, amount: FloatArray) -> FloatArray:
        """Return an amount of each member, (n,), summed in each cell."""
        return np.asarray(np.bincount(self.cell, amount, self.count), dtype=np.float64)

    def solve(self, *, feasibly: bool) -> tuple[float, FloatArray, FloatArray, FloatArray]:
        """Return value, prices (m,), shares (patterns, cells) and by how much floors are short (F,).

        Args:
            feasibly: reach the floors, whatever it earns: their shortfall is what is made small.
        """
        from scipy import optimize, sparse

        patterns, floors = len(self.patterns), len(self.limits.least)
        value = np.concatenate(self.values)
        above = np.hstack(self.resources)
        m = len(self.limit)
        slack = np.vstack([np.zeros((m - floors, floors)), -np.eye(floors)]) if feasibly else np.zeros((m, 0))
        objective = np.concatenate([np.zeros_like(value), np.ones(floors)]) if feasibly else -value
        one_each = sparse.hstack(
            [sparse.eye(self.count)] * patterns + [sparse.csr_matrix((self.count, slack.shape[1]))]
        )
        found = optimize.linprog(
            objective,
            A_ub=sparse.csr_matrix(np.hstack([above, slack])),
            b_ub=self.limit,
            A_eq=one_each.tocsr(),
            b_eq=np.ones(self.count),
            method="highs",
        )
        if found.x is None:
            raise RuntimeError(f"HiGHS could not solve the programme: {found.message}")
        shares = found.x[: len(value)].reshape(patterns, self.count)
        prices = np.maximum(-found.ineqlin.marginals, 0.0)
        return float(-found.fun), prices, shares, found.x[len(value) :]

    def reduced(self, prices: FloatArray, *, feasibly: bool) -> FloatArray:
        """Return what each option is worth to each member at the prices, (n, K + 1)."""
        found = self.split(prices)
        by_cell = np.zeros((self.count, self.options.offers + 1))
        by_cell[:, 1:] -= found.stock
        by_cell += (self.member_of * found.floors[:, None]).T @ self.limits.counted.astype(np.float64)
        # Also where only floors count: an offer that is barred stays barred.
        value = np.where(np.isneginf(self.options.value), -np.inf, 0.0) if feasibly else self.options.value
        return value - found.money * self.cost + by_cell[self.cell]

    def split(self, prices: FloatArray) -> Prices:
        """Return the prices by what they are of."""
        money = 0 if self.limits.units is None else 1
        stock = np.zeros(self.options.offers)
        stock[self.stocked] = prices[money : money + len(self.stocked)]
        return Prices(float(prices[0]) if money else 0.0, stock, prices[money + len(self.stocked) :])


def relaxed(options: Options, limits: Limits, start: IntArray) -> Relaxed:
    """Return the solution of the relaxation.

    Args:
        options: what may be chosen.
        limits: what must be kept.
        start: (n,), a good choice where there are no limits but the budget.
    """
    programme = _Programme(options, limits)
    for option in range(options.offers + 1):
        programme.add(np.where(np.isneginf(options.value[:, option]), 0, option))
    programme.add(options.units.argmin(axis=1))
    if len(limits.least):
        short = _reach(programme)
        if short is not None:
            nothing = np.zeros((options.members, options.offers + 1))
            unknown = Prices(0.0, np.zeros(options.offers), np.zeros(len(short)))
            return Relaxed(unknown, np.inf, programme.cell, [], [], nothing, short)
    programme.add(start)
    bound = np.inf
    for _ in range(_ROUNDS):
        value, prices, shares, _ = programme.solve(feasibly=False)
        reduced = programme.reduced(prices, feasibly=False)
        bound = min(bound, float(reduced.max(axis=1).sum() + prices @ programme.limit))
        if bound - value <= _CLOSE * max(abs(bound), 1e-12):
            break
        programme.add(reduced.argmax(axis=1))
    used = [(int(cell), int(at), float(shares[at, cell])) for at, cell in zip(*np.nonzero(shares > 1e-9), strict=True)]
    return Relaxed(programme.split(prices), bound, programme.cell, programme.patterns, used, reduced, None)


def _reach(programme: _Programme) -> FloatArray | None:
    """Add columns until all floors are reached; return by how much they are missed where that cannot be."""
    for _ in range(_ROUNDS):
        value, prices, _, short = programme.solve(feasibly=True)
        if -value <= 1e-6:
            return None
        reduced = programme.reduced(prices, feasibly=True)
        least_short = -(float(reduced.max(axis=1).sum()) + float(prices @ programme.limit))
        if least_short >= -value - 1e-6 * max(1.0, -value):
            break
        programme.add(reduced.argmax(axis=1))
    return short

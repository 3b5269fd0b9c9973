"""Which columns of the units' moments the money is in, and weighted sums of columns as columns of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from stats.moments import Moments


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of a unit's columns; money in major units.

    Attributes:
        profit: margin of its orders less what its offer cost: redemptions and contacts.
        redemption: cost of its redemptions.
        contact: cost of its contacts.
        buyers: 1 where it bought, else 0.
        redemptions: how many redemptions it made.
        orders: how many orders it placed.
        value: what these orders were worth.
        covariates: columns from before the test by which the profit is adjusted (CUPED).
    """

    profit: str = "profit"
    redemption: str = "redemption"
    contact: str = "contact"
    buyers: str = "buyers"
    redemptions: str = "redemptions"
    orders: str = "orders"
    value: str = "value"
    covariates: tuple[str, ...] = ()


def weighted(moments: Moments, sums: Mapping[str, Mapping[str, float]]) -> Moments:
    """Return the moments of weighted sums of the columns: exact, because moments pass through linear maps.

    Args:
        moments: cells of any shape.
        sums: name of each new column → its weights by old column.

    Raises:
        KeyError: there is no such column.

    >>> moments = Moments.from_rows(["profit", "cost"], [[10.0, 2.0], [-3.0, 3.0]])
    >>> weighted(moments, {"margin": {"profit": 1, "cost": 1}}).mean
    array([6.])
    """
    matrix = np.zeros((len(sums), len(moments.columns)))
    for row, weights in enumerate(sums.values()):
        for column, weight in weights.items():
            matrix[row, moments.place(column)] += weight
    return Moments(
        tuple(sums),
        moments.n,
        matrix @ moments.pivot,
        np.asarray(moments.mean @ matrix.T),
        np.asarray(matrix @ moments.m2 @ matrix.T),
    )

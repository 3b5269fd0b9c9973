"""From dated orders to the three numbers a member that models of buying need, and what the member's orders were worth.

Orders of one unit on one day are one purchase (their values are added): models of buying count occasions, and a basket
split in two is one occasion. The first purchase starts the clock and is not counted as a repeat; the average value is
that of the repeats, as in Fader, Hardie and Lee, since it is repeats that are foretold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stats.arrays import FloatArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Summary:
    """One row a unit; times in days.

    Attributes:
        unit: (n,) indices of the units that have ordered, ascending.
        frequency: (n,) repeat purchases x: days with an order, less one.
        recency: (n,) t_x, from the first purchase to the last; 0 without repeats.
        age: (n,) T, from the first purchase to the day of looking.
        monetary: (n,) mean value of the repeat purchases; 0 without repeats.
        spend: (n,) value of all purchases, the first included.
    """

    unit: IntArray
    frequency: FloatArray
    recency: FloatArray
    age: FloatArray
    monetary: FloatArray
    spend: FloatArray

    @property
    def since_last(self) -> FloatArray:
        """Days since the last purchase: the R of RFM."""
        return self.age - self.recency


def summary(unit: npt.ArrayLike, day: npt.ArrayLike, until: int, value: npt.ArrayLike | None = None) -> Summary:
    """Return a row for each unit that ordered up to the day ``until`` (included).

    Args:
        unit: (orders,) index of the unit that ordered, from 0.
        day: (orders,) whole days; any origin.
        until: the day of looking, in the same count; later orders are left out.
        value: (orders,) money of each order; ``None``: not known, ``monetary`` and ``spend`` are 0.

    >>> found = summary([0, 0, 0, 1], [1, 11, 11, 5], until=21, value=[10.0, 20.0, 5.0, 7.0])
    >>> found.frequency, found.recency, found.age, found.monetary  # two orders on day 11 are one purchase of 25
    (array([1., 0.]), array([10.,  0.]), array([20., 16.]), array([25.,  0.]))
    """
    units, days = np.asarray(unit, dtype=np.int64), np.asarray(day, dtype=np.int64)
    money = np.zeros(len(units)) if value is None else np.asarray(value, dtype=np.float64)
    known = days <= until
    units, days, money = units[known], days[known], money[known]
    order = np.lexsort((days, units))
    units, days, money = units[order], days[order], money[order]
    if not len(units):
        none = np.zeros(0)
        return Summary(np.zeros(0, dtype=np.int64), none, none, none, none, none)
    first_of_unit = np.flatnonzero(np.r_[True, units[1:] != units[:-1]])
    new_day = np.r_[True, (units[1:] != units[:-1]) | (days[1:] != days[:-1])]
    purchases = np.add.reduceat(new_day.astype(np.float64), first_of_unit)
    first, last = days[first_of_unit], days[np.r_[first_of_unit[1:] - 1, len(days) - 1]]
    spend = np.add.reduceat(money, first_of_unit)
    on_first_day = days == np.repeat(first, np.diff(np.r_[first_of_unit, len(days)]))
    first_spend = np.add.reduceat(np.where(on_first_day, money, 0.0), first_of_unit)
    repeats = purchases - 1
    monetary = np.divide(spend - first_spend, repeats, out=np.zeros(len(repeats)), where=repeats > 0)
    return Summary(
        units[first_of_unit],
        repeats,
        (last - first).astype(np.float64),
        (until - first).astype(np.float64),
        monetary,
        spend,
    )

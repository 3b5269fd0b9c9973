"""Whether members are still active and what they will buy, from the days on which they ordered; see `stats.clv`."""

from __future__ import annotations

from dataclasses import dataclass

from stats.arrays import FloatArray, IntArray
from stats.clv import bgnbd, gamma_gamma
from stats.clv.summary import summary
from stats.clv.value import Members, expected_value

DIGITS = 4
"""Expectations are kept to so many decimals."""


@dataclass(frozen=True, slots=True, eq=False)
class Worth:
    """What to expect of each unit that has ordered; ``None`` where it cannot be told."""

    unit: IntArray
    p_alive: FloatArray | None = None
    expected_orders: FloatArray | None = None
    expected_value: FloatArray | None = None
    why: str | None = None
    """Why something is missing, in a line for people."""


def worth_of(unit: IntArray, day: IntArray, value: FloatArray, today: int, horizon_days: int) -> Worth:
    """Return what to expect of units within a horizon.

    Args:
        unit: (orders,) index of the unit of each order.
        day: (orders,) day of the order, up to ``today``.
        value: (orders,) money of the order.
        today: the day as of which is counted, in the same count.
        horizon_days: how far is looked ahead.

    >>> import numpy as np
    >>> found = worth_of(np.array([0, 1]), np.array([3, 4]), np.array([10.0, 20.0]), today=30, horizon_days=90)
    >>> found.p_alive is None, found.why
    (True, 'nobody has ordered on two days: nothing can be expected from that')
    """
    found = summary(unit, day, today, value)
    members = Members.of(found)
    if not (found.frequency > 0).any():
        return Worth(found.unit, why="nobody has ordered on two days: nothing can be expected from that")
    try:
        model = bgnbd.fit(found.frequency, found.recency, found.age)
    except ValueError as error:
        return Worth(found.unit, why=str(error))
    spend, why = None, None
    try:
        spend = gamma_gamma.fit(found.frequency, found.monetary)
    except ValueError as error:
        why = str(error)
    expected = expected_value(model, spend, members, horizon=float(horizon_days))
    return Worth(
        found.unit,
        expected.alive.round(DIGITS),
        expected.purchases.round(DIGITS),
        None if expected.value is None else expected.value.round(DIGITS),
        why,
    )

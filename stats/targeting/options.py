"""Members × offers as a budget sees them: what each choice earns, and what it costs in whole units."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_EXACT = 2.0**53  # integers up to here are exact in a float too
_FINEST = 9  # decimal places of money; beyond them two costs are the same
_LARGEST = 1e12  # of one cost in units: up to here the product with a power of ten is right to a thousandth


@dataclass(frozen=True, eq=False)
class Options:
    """What may be chosen for each of n members: option 0 is no offer, option j + 1 is offer j of K.

    Costs are whole units of 1/scale money. Adding floats would make three coupons of 0.1 dearer than a budget of 0.3,
    and a sum depend on the order of the members.
    """

    value: FloatArray
    """(n, K + 1); −inf where the offer may not be given."""
    units: IntArray
    """(n, K + 1), cost; 0 where the offer may not be given."""
    scale: float
    """Units in one unit of money, a power of ten."""
    tie: FloatArray
    """(n,), in [0, 1): who goes first among equals."""

    @property
    def members(self) -> int:
        """How many members."""
        return len(self.value)

    @property
    def offers(self) -> int:
        """How many offers, "none" not counted."""
        return int(self.value.shape[1]) - 1

    def affordable(self, budget: float | None) -> int | None:
        """Return a budget in units, rounded down; ``None`` where it does not bind.

        Raises:
            ValueError: the budget is negative or not a number.
        """
        if budget is None or budget == math.inf:
            return None
        if not budget >= 0:
            raise ValueError(f"a budget must be 0 or more, not {budget}")
        # Nothing that can be chosen costs more than this, and a larger product would not be exact.
        if budget * self.scale >= _EXACT:
            return None
        return math.floor(budget * self.scale + 1e-3)

    def money(self, units: int) -> float:
        """Return an amount of units in money."""
        return units / self.scale


def options(value: npt.ArrayLike, cost: npt.ArrayLike, tie: npt.ArrayLike | None = None) -> Options:
    """Return what may be chosen for each member.

    Args:
        value: (n, K), what each offer earns with each member beyond no offer, its own cost already taken off if the
            goal is profit; −inf where a member may not be given an offer.
        cost: (n, K), what each offer takes from the budget; may be negative.
        tie: (n,), in [0, 1), who goes first among equals (a hash of the member); ``None``: in the order of the rows.

    Raises:
        ValueError: shapes differ, or a number is NaN or infinite (other than a value of −inf).

    >>> found = options([[2.0, 5.0]], [[0.1, 0.25]])
    >>> found.value.tolist(), (found.units / found.scale).tolist()
    ([[0.0, 2.0, 5.0]], [[0.0, 0.1, 0.25]])
    """
    values, costs = np.asarray(value, dtype=np.float64), np.asarray(cost, dtype=np.float64)
    if values.ndim != 2 or values.shape != costs.shape or not values.shape[1]:
        raise ValueError(f"value and cost must have one shape, (members, offers), not {values.shape}, {costs.shape}")
    barred = np.isneginf(values)
    if not (np.isfinite(values) | barred).all():
        raise ValueError("every value must be a finite number, or -inf where the offer may not be given")
    costs = np.where(barred, 0.0, costs)
    if not np.isfinite(costs).all():
        raise ValueError("every cost must be a finite number")
    n = len(values)
    ties = np.arange(n) / max(n, 1) if tie is None else np.asarray(tie, dtype=np.float64)
    if ties.shape != (n,) or not np.isfinite(ties).all():
        raise ValueError("tie must hold one finite number for each member")
    scale = _scale(costs)
    none = np.zeros((n, 1))
    # Upwards, so that what is really spent stays within the budget too; the small term forgives the product's rounding.
    units = np.ceil(costs * scale - 1e-3).astype(np.int64)
    return Options(np.hstack([none, values]), np.hstack([none.astype(np.int64), units]), scale, ties)


def _scale(costs: FloatArray) -> float:
    """Return the finest power of ten at which the dearest choice for everybody is still an exact integer."""
    if not costs.size:
        return 1.0
    largest = np.abs(costs).max(axis=1)
    total, one = float(largest.sum()), float(largest.max())
    if total == 0:
        return 1.0
    return float(
        10.0 ** min(_FINEST, math.floor(math.log10(_EXACT / 4 / total)), math.floor(math.log10(_LARGEST / one)))
    )

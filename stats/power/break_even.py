"""What an offer must achieve to pay: those who would have bought anyway cost its discount, everybody the contact."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stats.arrays import FloatArray, as_float, divide


def break_even(
    margin: npt.ArrayLike,
    cost: npt.ArrayLike,
    baseline: npt.ArrayLike,
    contact: npt.ArrayLike = 0.0,
    redeemed: npt.ArrayLike = 1.0,
) -> FloatArray:
    """Return the uplift τ* of the purchase rate from which an offer earns more than it costs.

    Profit per member with the offer, (margin − redeemed·cost)·(baseline + τ) − contact, is at least margin·baseline
    without it from τ* = (redeemed·cost·baseline + contact) / (margin − redeemed·cost) on.

    Args:
        margin: of an order, before the offer's cost.
        cost: of one redemption, in the same unit.
        baseline: purchase rate without the offer.
        contact: cost of one contact; every member is contacted.
        redeemed: share of the orders on which the offer is redeemed; 1: by every buyer.

    Returns:
        A difference of proportions; NaN where the offer costs the whole margin or more: no uplift pays for that.

    Source: setting the two profits equal; the naive calculation forgets the first term, the sure buyers' discount.

    >>> round(float(break_even(margin=60, cost=30, baseline=0.02, contact=0.10)), 6)
    0.023333
    """
    spent = as_float(redeemed) * as_float(cost)
    left = as_float(margin) - spent
    uplift = divide(spent * as_float(baseline) + as_float(contact), np.where(left > 0, left, np.nan))
    # An uplift beyond what is left of the members cannot happen.
    return np.where(uplift + as_float(baseline) <= 1, uplift, np.nan)

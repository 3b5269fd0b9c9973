"""Effects in sums that people budget with: totals over the members of a list, and profit per member."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from stats.arrays import as_float
from stats.effects.result import Effect
from stats.moments import Moments
from stats.samples import Sample, combination


def total(effect: Effect, units: npt.ArrayLike) -> Effect:
    """Return the effect over ``units`` units: what the variant brought in all, or would bring to a whole list.

    Args:
        effect: per unit and absolute (not relative), such as ``difference_of_means`` gives.
        units: how many, taken as known; the variant's own for what it brought, the list's for what it would bring.

    Returns:
        Estimate, error and interval times ``units``; p and degrees of freedom are the same question's.

    Raises:
        ValueError: a number of units is negative.

    >>> from stats.effects.means import difference_of_means
    >>> per_member = difference_of_means(Sample.of(5000, 12.0, 900.0), Sample.of(5000, 13.5, 950.0))
    >>> whole_list = total(per_member, 20_000).value()
    >>> round(whole_list.estimate), round(whole_list.ci_low), round(whole_list.ci_high)
    (30000, 6153, 53847)
    """
    often = as_float(units)
    if (often < 0).any():
        raise ValueError("units must not be negative")
    shape = np.broadcast_shapes(effect.shape, often.shape)

    def times(part: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.asarray(part * often)

    return Effect(
        estimate=times(effect.estimate),
        std_error=times(effect.std_error),
        df=np.broadcast_to(effect.df, shape),
        ci_low=times(effect.ci_low),
        ci_high=times(effect.ci_high),
        p_value=np.broadcast_to(effect.p_value, shape),
        why=np.broadcast_to(effect.why, shape),
    )


def profit_per_unit(moments: Moments, weights: Mapping[str, float]) -> Sample:
    """Return the mean of a weighted sum of columns per unit, such as margin · revenue − cost of the offer.

    The columns' covariances count: who redeems a coupon is who buys, so revenue and cost rise together, and the error
    of the profit is not that of two separate figures.

    Args:
        moments: cells of any shape.
        weights: column → weight, e.g. ``{"revenue": 0.4, "coupon_cost": -1.0}``.

    Returns:
        A sample; compare it by ``difference_of_means`` (per member) and ``total``.

    Raises:
        KeyError: there is no such column.

    >>> rows = [[100.0, 0.0], [0.0, 0.0], [250.0, 20.0], [80.0, 20.0]]
    >>> moments = Moments.from_rows(["revenue", "cost"], rows, cell=[0, 0, 1, 1])
    >>> profit_per_unit(moments, {"revenue": 0.4, "cost": -1.0}).mean
    array([20., 46.])
    """
    return combination(moments, weights)

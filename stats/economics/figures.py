"""A figure with its interval for every variant, and the two ways that figures of money come about: sums and quotients.

All intervals are normal ones, ``z`` standard errors wide: whoever reads early passes the width of his own band, so that
the return on the cost is above zero just where the profit is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stats.arrays import BoolArray, FloatArray, IntArray, as_float, divide, number, root
from stats.effects.relative import fieller
from stats.effects.result import hide
from stats.why import Why


@dataclass(frozen=True, slots=True, eq=False)
class Figure:
    """One figure of each variant but control; arrays of one length, NaN where ``why`` is not 0.

    Attributes:
        estimate: the figure.
        ci_low: lower end of its interval.
        ci_high: upper end.
        why: ``stats.why.Why`` codes.
    """

    estimate: FloatArray
    ci_low: FloatArray
    ci_high: FloatArray
    why: IntArray

    def value(self, index: int) -> tuple[float | None, float | None, float | None, str | None]:
        """Return estimate, lower and upper end of one variant as plain numbers, and why there are none."""
        return (
            number(self.estimate[index]),
            number(self.ci_low[index]),
            number(self.ci_high[index]),
            Why(int(self.why[index])).text,
        )


def around(estimate: npt.ArrayLike, variance: npt.ArrayLike, z: npt.ArrayLike, why: npt.ArrayLike = 0) -> Figure:
    """Return an estimate with the interval of ``z`` standard errors to both sides.

    >>> figure = around([10.0], [4.0], 1.96)
    >>> figure.value(0)
    (10.0, 6.08, 13.92, None)
    """
    middle, half = np.broadcast_arrays(as_float(estimate), as_float(z) * root(variance))
    reason = np.broadcast_to(np.asarray(why, dtype=np.int64), middle.shape)
    reason = np.where((reason == 0) & ~np.isfinite(middle + half), int(Why.NO_ESTIMATE), reason)
    return Figure(hide(middle, reason), hide(middle - half, reason), hide(middle + half, reason), reason)


def quotient(
    top: npt.ArrayLike,
    bottom: npt.ArrayLike,
    var_top: npt.ArrayLike,
    var_bottom: npt.ArrayLike,
    covariance: npt.ArrayLike,
    z: npt.ArrayLike,
    *,
    undefined: Why,
) -> Figure:
    """Return top / bottom with Fieller's interval; where the bottom cannot be told from zero there is none.

    Args:
        top: jointly normal with
        bottom: which must be positive.
        var_top: variance of the first.
        var_bottom: variance of the second.
        covariance: of the two.
        z: normal quantile of the interval.
        undefined: the reason where the bottom is not above zero.

    Source: Fieller (1954), Some problems in interval estimation, JRSS B 16(2).

    >>> figure = quotient([60.0], [40.0], [9.0], [4.0], [3.0], 1.96, undefined=Why.COST_NEAR_ZERO)
    >>> [round(v, 3) for v in figure.value(0)[:3]]
    [1.5, 1.359, 1.655]
    """
    above, below, z = (as_float(v) for v in (top, bottom, z))
    most = root(as_float(var_top) * as_float(var_bottom))
    shared = np.clip(as_float(covariance), -most, most)
    low, high, bounded = fieller(above, below, var_top, var_bottom, shared, np.square(z))
    found: BoolArray = bounded & (below > 0) & np.isfinite(low) & np.isfinite(high)
    why = np.where(found, 0, int(undefined)).astype(np.int64)
    return Figure(hide(divide(above, below), why), hide(low, why), hide(high, why), why)


def shifted(figure: Figure, *, times: float = 1.0, plus: npt.ArrayLike = 0.0) -> Figure:
    """Return plus + times · figure; a negative factor turns its interval round."""
    base = as_float(plus)
    ends = [base + times * end for end in (figure.ci_low, figure.ci_high)]
    low, high = ends if times >= 0 else ends[::-1]
    return Figure(np.asarray(base + times * figure.estimate), np.asarray(low), np.asarray(high), figure.why)

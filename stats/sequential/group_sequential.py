"""What a plan with looks can show: its power, the sample it uses, how wide its last interval is.

The drift is the effect over its standard error at the planned sample: what a fixed test's Z would be on average.

References:
    Jennison, Turnbull (2000), Group Sequential Methods with Applications to Clinical Trials, chapters 7 and 19.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stats.arrays import FloatArray, as_float
from stats.distributions import normal_critical, normal_quantile
from stats.roots import find_roots
from stats.sequential.boundaries import bounds as bounds_of
from stats.sequential.crossing import crossing
from stats.sequential.spending import Spending


def power(information: npt.ArrayLike, bounds: npt.ArrayLike, drift: npt.ArrayLike) -> FloatArray:
    """Return the chance to cross a bound, on either side, at some look.

    Args:
        information: share of the planned sample at each look, shape (looks,).
        bounds: of |Z|, shape (looks,).
        drift: mean of Z at t = 1, any shape.

    >>> t = [0.2, 0.4, 0.6, 0.8, 1.0]
    >>> power(t, bounds_of(t), [0.0, 2.8016]).round(4)
    array([0.05  , 0.7903])
    """
    chance = crossing(information, bounds, drift)
    return np.asarray((chance.upper + chance.lower).sum(axis=-1))


def expected_information(information: npt.ArrayLike, bounds: npt.ArrayLike, drift: npt.ArrayLike) -> FloatArray:
    """Return the mean share of the plan that is used when the test stops at the first crossing; arguments as above.

    >>> t = [0.2, 0.4, 0.6, 0.8, 1.0]
    >>> expected_information(t, bounds_of(t), [0.0, 2.8016]).round(3)
    array([0.993, 0.809])
    """
    share = as_float(information)
    chance = crossing(share, bounds, drift)
    stops = chance.upper + chance.lower
    return np.asarray((stops * share).sum(axis=-1) + (1 - stops.sum(axis=-1)) * share[-1])


def drift_for_power(information: npt.ArrayLike, bounds: npt.ArrayLike, power: npt.ArrayLike = 0.8) -> FloatArray:
    """Return the drift at which the test has a power; any shape of ``power``.

    Raises:
        ValueError: a power is not above the chance of a false alarm, or not below 1.

    >>> round(float(drift_for_power([1.0], [1.959964], 0.8)), 4)
    2.8016
    """
    wanted = as_float(power)

    def chance(drift: FloatArray) -> FloatArray:
        crossed = crossing(information, bounds, drift)
        return np.asarray((crossed.upper + crossed.lower).sum(axis=-1))

    floor = float(chance(np.zeros(1))[0])
    if not ((wanted > floor) & (wanted < 1)).all():
        raise ValueError(f"power must lie between the chance of a false alarm, {floor:.4g}, and 1")
    flat = np.atleast_1d(wanted.ravel())
    # Looking costs power against one look at the last bound; it never gains more than all looks' bounds together.
    last = float(as_float(information)[-1])
    most = (float(as_float(bounds)[-1]) + normal_quantile(flat) + 1.0) / np.sqrt(last)
    found = find_roots(lambda drift: chance(drift) - flat, np.zeros(flat.size), most)
    return found.reshape(wanted.shape)[()]


def end_width(bounds: npt.ArrayLike, alpha: npt.ArrayLike = 0.05) -> FloatArray:
    """Return how many times as wide as a fixed interval the repeated one is at the last look.

    Args:
        bounds: shape (…, looks).
        alpha: two-sided; broadcast against the leading axes.

    >>> round(float(end_width(bounds_of([0.2, 0.4, 0.6, 0.8, 1.0]))), 3)
    1.036
    """
    return np.asarray(as_float(bounds)[..., -1] / normal_critical(as_float(alpha) / 2))


@dataclass(frozen=True, slots=True, eq=False)
class Design:
    """A plan with looks.

    Attributes:
        information: share of the planned sample at each look, shape (looks,).
        bounds: of |Z|, shape (looks,).
        alpha_spent: by each look, shape (looks,).
        drift: at which the plan has its power.
        inflation: planned sample over that of a fixed test with the same power.
        end_width: width of the last interval over that of a fixed test with the same sample.
        expected_none: mean share of the plan used without an effect.
        expected: mean share of the plan used with the effect planned for.
    """

    information: FloatArray
    bounds: FloatArray
    alpha_spent: FloatArray
    drift: float
    inflation: float
    end_width: float
    expected_none: float
    expected: float


def design(
    information: npt.ArrayLike,
    alpha: float = 0.05,
    spending: Spending = Spending(),  # noqa: B008  (frozen)
    power: float = 0.8,
) -> Design:
    """Return what a plan with the given looks costs and gains.

    Args:
        information: share of the planned sample at each look, the last one 1, shape (looks,).
        alpha: two-sided.
        spending: how alpha is spent.
        power: of the plan for the effect it is made for.

    Raises:
        ValueError: the last look is not at 1; or as ``bounds`` and ``drift_for_power``.

    >>> plan = design([0.25, 0.5, 0.75, 1.0])
    >>> round(plan.inflation, 3), round(plan.expected, 2)
    (1.02, 0.82)
    """
    share = as_float(information)
    if share.ndim != 1 or not share.size or share[-1] != 1:
        raise ValueError("the last look of a plan is at the whole sample: information must end with 1")
    limit = bounds_of(share, alpha, spending)
    drift = float(drift_for_power(share, limit, power))
    fixed = float(drift_for_power([1.0], [normal_critical(alpha / 2)], power))
    expected = expected_information(share, limit, [0.0, drift])
    return Design(
        information=share,
        bounds=limit,
        alpha_spent=spending.spent(share, alpha),
        drift=drift,
        inflation=(drift / fixed) ** 2,
        end_width=float(end_width(limit, alpha)),
        expected_none=float(expected[0]),
        expected=float(expected[1]),
    )

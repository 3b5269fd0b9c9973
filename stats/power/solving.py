"""Power for n, n for power, and the smallest detectable effect: each asks the same test, the latter two backwards.

Power is the probability of a significant result *in the direction of the effect*. A significant result in the wrong
direction is a mistake and does not count; ``both_tails`` adds it, as textbooks' and statsmodels' two-sided power do.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from stats.arrays import FloatArray, as_float
from stats.power.planned import Planned
from stats.roots import find_roots

LEAST_N, MOST_N = 1.0, 1e15
MOST_DOUBLINGS = 200


def power(
    test: Planned,
    effect: npt.ArrayLike,
    n: npt.ArrayLike,
    alpha: npt.ArrayLike = 0.05,
    *,
    both_tails: bool = False,
) -> FloatArray:
    """Return the probability of a significant result in the direction of the effect.

    Args:
        test: the kind of comparison.
        effect: variant − control in the metric's unit; 0 counts as an increase. For a margin: how much better the
            variant truly is, 0 for "just as good".
        n: units in control; need not be whole.
        alpha: two-sided level.
        both_tails: count significant results in the wrong direction too.

    Returns:
        NaN where the effect is not possible (a proportion beyond 1) or there are too few units.

    >>> from stats.power import Means
    >>> round(float(power(Means(sd=20.0), 1.0, 5000)), 4)
    0.7053
    """
    change, units, level = np.broadcast_arrays(as_float(effect), as_float(n), as_float(alpha))
    above, below = test.chances(change, units, level)
    if test.sides == 1:
        return np.asarray(above)
    return np.asarray(above + below if both_tails else np.where(change < 0, below, above))


def sample_size(
    test: Planned,
    effect: npt.ArrayLike,
    power: npt.ArrayLike = 0.8,
    alpha: npt.ArrayLike = 0.05,
    *,
    both_tails: bool = False,
) -> FloatArray:
    """Return how many units control needs (not rounded) to find an effect with this power.

    The variant needs ``test.ratio`` times as many.

    Returns:
        NaN where no number suffices: no effect (or, for a margin, one at or beyond it), an impossible one, or clusters
        and waves that put a ceiling on what units can show.

    >>> from stats.power import Proportions
    >>> round(float(sample_size(Proportions(0.10), 0.01)))
    14751
    """
    change, wanted, level = np.broadcast_arrays(as_float(effect), as_float(power), as_float(alpha))

    def short(log_n: FloatArray) -> FloatArray:
        return _filled(_power(test, change, np.exp(log_n), level, both_tails) - wanted, test, change)

    start, end = np.full(change.shape, np.log(LEAST_N)), np.full(change.shape, np.log(MOST_N))
    found: FloatArray = np.exp(find_roots(short, start, end))
    return found


def mde(
    test: Planned,
    n: npt.ArrayLike,
    power: npt.ArrayLike = 0.8,
    alpha: npt.ArrayLike = 0.05,
    *,
    sign: npt.ArrayLike = 1,
    both_tails: bool = False,
) -> FloatArray:
    """Return the smallest effect that ``n`` units in control find with this power.

    Args:
        test: the kind of comparison.
        n: units in control.
        power: wanted.
        alpha: two-sided level.
        sign: 1 for an increase, −1 for a decrease (proportions differ a little); the answer has this sign.
        both_tails: count significant results in the wrong direction too.

    Returns:
        NaN where even the largest possible effect has less power. For a margin: how much better the variant must truly
        be, negative where less than "just as good" suffices.

    >>> from stats.power import Means
    >>> round(float(mde(Means(sd=2.0, freedom="normal"), 5000)), 5)
    0.11206
    """
    units, wanted, level, direction = np.broadcast_arrays(
        as_float(n), as_float(power), as_float(alpha), np.sign(as_float(sign))
    )

    def beyond(size: FloatArray) -> FloatArray:
        return np.asarray(_power(test, direction * size, units, level, both_tails) - wanted)

    largest = test.most(direction)
    smallest = -_outwards(lambda size: -beyond(-size), units, largest) if test.sides == 1 else np.zeros(units.shape)
    found: FloatArray = direction * find_roots(beyond, smallest, _outwards(beyond, units, largest))
    return found


def _power(test: Planned, effect: FloatArray, n: FloatArray, alpha: FloatArray, both_tails: bool) -> FloatArray:
    return power(test, effect, n, alpha, both_tails=both_tails)


def _outwards(beyond: Callable[[FloatArray], FloatArray], n: FloatArray, largest: FloatArray) -> FloatArray:
    """Return an effect with more than enough power, or the largest there can be."""
    limit = np.where(np.isinf(largest), 1e300, largest * (1 - 1e-12))
    size = np.minimum(np.full(n.shape, 1e-9), limit)
    for _ in range(MOST_DOUBLINGS):
        more = (beyond(size) < 0) & (size < limit)
        if not more.any():
            break
        size = np.where(more, np.minimum(size * 4, limit), size)
    return np.asarray(size)


def _filled(short: FloatArray, test: Planned, effect: FloatArray) -> FloatArray:
    """Count too few units for any answer as no power, so that the search may start there; no effect stays NaN."""
    impossible = np.isnan(effect) | (np.abs(effect) > test.most(np.sign(effect)))
    if test.sides == 2:
        impossible = impossible | (effect == 0)
    return np.where(np.isnan(short), np.where(impossible, np.nan, -1.0), short)

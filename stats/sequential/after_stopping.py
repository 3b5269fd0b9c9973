"""The effect after a test was stopped early: a median-unbiased estimate and an interval that keep account of the looks.

A test stops on a high estimate, so the estimate it stopped on is on average too high. Outcomes are put in order by
stage: crossing the upper bound counts for more the earlier it happens, crossing the lower one for less; at one look,
by Z.

References:
    Tsiatis, Rosner, Mehta (1984), Exact confidence intervals following a group sequential test, Biometrics 40(3).
    Jennison, Turnbull (2000), Group Sequential Methods with Applications to Clinical Trials, sections 8.4 and 8.5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stats.arrays import FloatArray, IntArray, as_float, divide, number
from stats.roots import find_roots
from stats.sequential.crossing import beyond
from stats.sequential.recursion import Walk, walk
from stats.why import Why


@dataclass(frozen=True, slots=True)
class StoppedValue:
    """One comparison as plain numbers; what cannot be computed is ``None`` and ``why`` says why."""

    estimate: float | None
    ci_low: float | None
    ci_high: float | None
    p_value: float | None
    look: int | None
    why: str | None
    why_code: str | None


@dataclass(frozen=True, slots=True, eq=False)
class Stopped:
    """Effects after stopping, shape (…).

    Attributes:
        estimate: median-unbiased: too high in half of all tests, too low in the other half.
        ci_low: lower end of the interval by stage-wise ordering; holds the effect with probability 1 − alpha if the
            test stops at its first crossing.
        ci_high: upper end.
        p_value: two-sided, by the same ordering.
        look: index of the look the test stopped at: the first crossing, else the last look with a bound.
        why: ``stats.why.Why`` codes.
    """

    estimate: FloatArray
    ci_low: FloatArray
    ci_high: FloatArray
    p_value: FloatArray
    look: IntArray
    why: IntArray

    def value(self, *index: int) -> StoppedValue:
        """Return one comparison as plain numbers, ``None`` and a reason where there is none."""
        why = Why(int(self.why[index]))
        return StoppedValue(
            number(self.estimate[index]),
            number(self.ci_low[index]),
            number(self.ci_high[index]),
            number(self.p_value[index]),
            int(self.look[index]) if self.look[index] >= 0 else None,
            why.text,
            why.code if why else None,
        )


def after_stopping(
    estimate: npt.ArrayLike,
    std_error: npt.ArrayLike,
    information: npt.ArrayLike,
    bounds: npt.ArrayLike,
    alpha: float = 0.05,
) -> Stopped:
    """Return the median-unbiased estimate and its interval at the look where the test stopped.

    It belongs to a test that stops at its first crossing; for one that goes on, the repeated intervals of ``monitor``
    are the valid ones.

    Args:
        estimate: effects at each look, shape (…, looks).
        std_error: their standard errors, same shape.
        information: share of the planned sample at each look, shape (looks,).
        bounds: of |Z|, shape (…, looks), e.g. those of ``monitor``; infinite at looks that do not count.
        alpha: of the interval, two-sided.

    >>> stopped = after_stopping([0.30, 0.31, 0.21], [0.16, 0.10, 0.09], [0.3, 0.6, 1.0], [3.93, 2.67, 1.98]).value()
    >>> stopped.look, round(stopped.estimate, 3), round(stopped.ci_low, 3), round(stopped.ci_high, 3)
    (1, 0.31, 0.114, 0.506)
    """
    share = as_float(information)
    effect, error, limit = np.broadcast_arrays(as_float(estimate), as_float(std_error), as_float(bounds))
    cells = effect.shape[:-1]
    effect, error, limit = (part.reshape(-1, share.size) for part in (effect, error, limit))
    error = np.where((error > 0) & np.isfinite(error), error, np.nan)
    z = divide(effect, error)
    hits = np.abs(z) >= limit
    has_bound = np.isfinite(limit) & (share > 0)
    last = np.where(has_bound.any(axis=1), share.size - 1 - has_bound[:, ::-1].argmax(axis=1), -1)
    look = np.where(hits.any(axis=1), hits.argmax(axis=1), last).astype(np.int64)
    z_stop, error_stop = (np.take_along_axis(part, np.maximum(look, 0)[:, None], axis=1)[:, 0] for part in (z, error))
    why = np.select([look < 0, np.isnan(z_stop)], [int(Why.NO_UNITS), int(Why.ZERO_VARIANCE)], 0).astype(np.int64)
    out = np.full((4, look.size), np.nan)
    good = np.flatnonzero(why == 0)
    if good.size:
        distinct, place = np.unique(limit[good], axis=0, return_inverse=True)
        for row, rule in enumerate(distinct):
            members = good[place.ravel() == row]
            out[:, members] = _stopped(share, rule, look[members], z_stop[members], error_stop[members], alpha)
    return Stopped(*(part.reshape(cells) for part in (*out, look, why)))


def _stopped(
    share: FloatArray, bounds: FloatArray, look: IntArray, z: FloatArray, error: FloatArray, alpha: float
) -> FloatArray:
    """Return estimate, interval and p of comparisons with the same bounds, shape (4, n)."""
    root_t = np.sqrt(share[look])
    largest = float(np.max((np.abs(z) + 6) / root_t))
    until = int(look.max()) + 1
    seen = walk(share[:until], bounds=bounds[None, :until], largest_drift=largest)
    # Downward crossings are upward ones of the mirror image.
    side = np.where((z < 0) & (np.abs(z) >= bounds[look]), -1.0, 1.0)
    low, high = np.minimum(side * z - 6, -3.0) / root_t, np.maximum(side * z + 6, 3.0) / root_t
    # All three roots of every comparison at once.
    shares = np.repeat([alpha / 2, 0.5, 1 - alpha / 2], z.size)
    three_looks, three_z = np.tile(look, 3), np.tile(side * z, 3)
    ends = find_roots(
        lambda theta: _more_extreme(seen, three_looks, three_z, theta) - shares, np.tile(low, 3), np.tile(high, 3)
    ).reshape(3, -1)
    scale = root_t * error
    first, middle, second = side * ends * scale
    none = _more_extreme(seen, look, side * z, np.zeros(z.size))
    p_value = np.minimum(2 * np.minimum(none, 1 - none), 1.0)
    return np.stack([middle, np.minimum(first, second), np.maximum(first, second), p_value])


def _more_extreme(seen: Walk, look: IntArray, z: FloatArray, drift: FloatArray) -> FloatArray:
    """Return the probability of an outcome at least as high in the stage-wise order; grows with the drift."""
    out = np.zeros(look.size)
    for k, t in enumerate(seen.steps):
        before = seen.before(k)
        repeated = t == (seen.steps[k - 1] if k else 0.0)
        here, later = np.flatnonzero(look == k), np.flatnonzero(seen.steps[look] > t)
        if here.size:
            out[here] += beyond(before, float(t), z[here], drift[here])
        if later.size and not repeated and np.isfinite(seen.bounds[0, k]):
            out[later] += beyond(before, float(t), np.full(later.size, seen.bounds[0, k]), drift[later])
    return out

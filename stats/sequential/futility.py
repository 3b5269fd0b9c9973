"""Giving up: looks at which so little is left to hope for that stopping costs little power (non-binding).

The chance to miss the effect is spent over the looks as alpha is (Pampallona, Tsiatis, Kim 2001). Non-binding: the
bounds of the effect are those without futility, so going on in spite of it raises no false alarms.

References:
    Pampallona, Tsiatis, Kim (2001), Interim monitoring of group sequential trials using spending functions for the type
    I and type II error probabilities, Drug Information Journal 35(4).
    Lachin (2005), A review of methods for futility stopping based on conditional power, Statistics in Medicine 24(18).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.arrays import FloatArray, as_float
from stats.sequential.group_sequential import drift_for_power
from stats.sequential.group_sequential import power as power_of
from stats.sequential.recursion import NODES_PER_STEP, REACH, spaced
from stats.sequential.spending import Spending

_ROOT_TWO_PI = float(np.sqrt(2 * np.pi))


@dataclass(frozen=True, slots=True, eq=False)
class Futility:
    """Futility bounds and what obeying them costs and saves.

    Attributes:
        bounds: of Z in the good direction: at or below it stopping costs little; shape (looks,). −inf where nothing is
            spent yet; the test's own bound where the plan is reached.
        drift: the effect that the test must not miss, as the mean of Z at t = 1.
        power_ignored: chance to show that effect if futility is ignored.
        power_obeyed: and if it is always obeyed.
        stops_none: chance, without an effect, to give up before the last look.
        expected_none: mean share of the plan used without an effect, futility obeyed.
        expected: and with the effect.
    """

    bounds: FloatArray
    drift: float
    power_ignored: float
    power_obeyed: float
    stops_none: float
    expected_none: float
    expected: float


def futility_bounds(
    information: npt.ArrayLike,
    bounds: npt.ArrayLike,
    power: float = 0.8,
    spending: Spending = Spending(),  # noqa: B008  (frozen)
    *,
    drift: float | None = None,
) -> Futility:
    """Return bounds at or below which the effect that was planned for is hardly to be shown any more.

    Args:
        information: share of the planned sample at each look, not falling, shape (looks,). Looks after the one that
            reaches the plan get no bound.
        bounds: of |Z| for the effect, shape (looks,), as from ``stats.sequential.bounds``.
        power: 1 − power is the chance to miss the effect that is spent over the looks.
        spending: how it is spent.
        drift: of the effect that must not be missed; by default that for which the test has ``power`` without
            futility. A larger one keeps the power at the price of a larger sample.

    Raises:
        ValueError: information falls or is not finite, or power is out of range.

    >>> from stats.sequential.boundaries import bounds
    >>> t = [0.25, 0.5, 0.75, 1.0]
    >>> plan = futility_bounds(t, bounds(t))
    >>> plan.bounds.round(2), round(plan.power_obeyed, 3), round(plan.expected_none, 2)
    (array([-0.9 ,  0.5 ,  1.27,  2.01]), 0.77, 0.55)
    """
    share, limit = as_float(information), as_float(bounds)
    if (share >= 1).any() and int((share >= 1).argmax()) < share.size - 1:
        # The test ends with the look that reaches the plan.
        made = int((share >= 1).argmax()) + 1
        plan = futility_bounds(share[:made], limit[:made], power, spending, drift=drift)
        return replace(plan, bounds=np.append(plan.bounds, np.full(share.size - made, -np.inf)))
    steps = spaced(share)
    if not 0 < power < 1:
        raise ValueError("power must lie between 0 and 1")
    theta = float(drift_for_power(share, limit, power)) if drift is None else drift
    miss = 1 - power
    log_spent = np.log(0.5) + spending.log_spent(share, min(2 * miss, 1 - 1e-12))
    spent = np.exp(log_spent)
    # A look without a unit more than the one before is that look.
    new = np.diff(steps, prepend=0.0) > 0
    found = np.full(share.size, -np.inf)
    found[new] = _solve(steps[new], limit[new], theta, np.diff(spent[new], prepend=0.0))
    if new.any() and share[-1] >= 1:
        found[np.flatnonzero(new)[-1]] = limit[new][-1]
    latest = np.maximum.accumulate(np.where(new, np.arange(share.size), -1))
    found = np.where(latest >= 0, found[latest], -np.inf)
    none, effect = (_chances(steps[new], found[new], limit[new], d) for d in (0.0, theta))
    return Futility(
        bounds=found,
        drift=theta,
        power_ignored=float(power_of(share, limit, theta)),
        power_obeyed=float(effect[1].sum()),
        stops_none=float(none[0][:-1].sum()),
        expected_none=_expected(share[new], *none),
        expected=_expected(share[new], *effect),
    )


def _expected(share: FloatArray, down: FloatArray, up: FloatArray) -> float:
    stops = down + up
    return float((stops * share).sum() + (1 - stops.sum()) * share[-1])


@dataclass(frozen=True, slots=True, eq=False)
class _Between:
    """Paths between both bounds after a look, under one drift."""

    t: float
    scores: FloatArray
    mass: FloatArray

    def tail(self, score: float, t: float, drift: float, side: int) -> float:
        """Return the probability to be at or beyond ``score`` at the next look: above (side 1) or below (−1)."""
        step = t - self.t
        away = side * (self.scores + drift * step - score) / np.sqrt(step)
        return float((self.mass * special.ndtr(away)).sum())


def _solve(steps: FloatArray, bounds: FloatArray, drift: float, spend: FloatArray) -> FloatArray:
    """Return the bound below which each look's share of the chance to miss the effect lies."""
    out = np.full(steps.size, -np.inf)
    paths: _Between | None = None
    for k, t in enumerate(steps):
        if spend[k] > 1e-15:
            out[k] = min(_lower(paths, float(t), drift, float(spend[k])), bounds[k])
        paths = _next(paths, steps, k, out[k], bounds[k], drift)
        if paths is None:
            out[k + 1 :] = bounds[k + 1 :]
            break
    return out


def _lower(paths: _Between | None, t: float, drift: float, spend: float) -> float:
    """Return Z with ``spend`` at or below it; the tail is log-concave, so Newton's steps come to it from outside."""
    plain = float(drift * np.sqrt(t) + special.ndtri(spend))
    if paths is None:
        return plain
    sd = np.sqrt(t - paths.t)
    if paths.mass.sum() <= spend:
        return np.inf
    point = plain * np.sqrt(t)
    for _ in range(60):
        away = (point - paths.scores - drift * (t - paths.t)) / sd
        tail = float((paths.mass * special.ndtr(away)).sum())
        slope = float((paths.mass * np.exp(-0.5 * away * away)).sum()) / (sd * _ROOT_TWO_PI)
        if tail <= 0 or slope <= 0:
            point += sd
            continue
        move = tail / slope * (np.log(spend) - np.log(tail))
        point += move
        if abs(move) <= 1e-9 * sd:
            break
    return float(point / np.sqrt(t))


def _next(
    paths: _Between | None, steps: FloatArray, k: int, lower: float, upper: float, drift: float
) -> _Between | None:
    """Return the paths between the bounds after look k; ``None`` where none are left or no look follows."""
    if k == steps.size - 1:
        return None
    t = float(steps[k])
    before = 0.0 if paths is None else paths.t
    low = max(lower * np.sqrt(t), drift * t - REACH * np.sqrt(t))
    high = min(upper * np.sqrt(t), drift * t + REACH * np.sqrt(t))
    if low >= high:
        return None
    finest = min(t - before, float(steps[k + 1]) - t)
    count = max(48, int(NODES_PER_STEP * (high - low) / np.sqrt(finest)) + 8)
    nodes, weights = special.roots_legendre(count)
    scores = (low + high) / 2 + (high - low) / 2 * nodes
    if paths is None:
        density = np.exp(-np.square(scores - drift * t) / (2 * t)) / np.sqrt(t)
    else:
        step = t - before
        gap = scores[:, None] - paths.scores - drift * step
        density = np.exp(-np.square(gap) / (2 * step)) @ paths.mass / np.sqrt(step)
    return _Between(t, scores, (high - low) / 2 * weights * density / _ROOT_TWO_PI)


def _chances(steps: FloatArray, lower: FloatArray, upper: FloatArray, drift: float) -> tuple[FloatArray, FloatArray]:
    """Return the probabilities to stop at each look: at or below ``lower``, at or beyond ``upper``."""
    down, up = np.zeros(steps.size), np.zeros(steps.size)
    paths: _Between | None = None
    for k, t in enumerate(float(step) for step in steps):
        if k and paths is None:
            break
        if paths is None:
            mean = drift * np.sqrt(t)
            down[k], up[k] = special.ndtr(lower[k] - mean), special.ndtr(mean - upper[k])
        else:
            down[k] = paths.tail(lower[k] * np.sqrt(t), t, drift, -1)
            up[k] = paths.tail(upper[k] * np.sqrt(t), t, drift, 1)
        paths = _next(paths, steps, k, lower[k], upper[k], drift)
    return down, up

"""The distribution of a test watched at several looks, among the paths that have not crossed a bound yet.

With t the share of the planned sample, the score S = Z·√t grows by independent normal steps. Its density among paths
still inside the bounds is carried from look to look by Gauss–Legendre quadrature. Everything is computed without an
effect; with a drift θ (the mean of Z at t = 1) each path weighs exp(θS − θ²t/2) times as much, so one pass serves any
number of effects.

References:
    Armitage, McPherson, Rowe (1969), Repeated significance tests on accumulating data, JRSS A 132(2).
    Jennison, Turnbull (2000), Group Sequential Methods with Applications to Clinical Trials, chapter 19.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.arrays import FloatArray, as_float

FEWEST_NODES = 24
NODES_PER_STEP = 1.8
"""Half-range nodes for each step's standard deviation within the bound; bounds then agree with far more to 1e-8."""
REACH = 9.0
"""Standard deviations beyond which a path is taken as gone: 2e-19 of them."""
LEAST_SOLVED = 1e-17
"""What is spent at a look below this is compared with the plain normal tail: a bound a trace too wide."""
LEAST_STEP = 1e-4
"""Smaller steps of t count as this much: a bound a trace too wide, and a bounded number of nodes."""
_ROOT_TWO_PI = float(np.sqrt(2 * np.pi))


@dataclass(frozen=True, slots=True, eq=False)
class Inside:
    """The paths still inside after a look, by the upper half of a grid that is symmetric about 0.

    Attributes:
        t: share of the planned sample at that look.
        scores: shape (batch, nodes), all positive.
        mass: probability that belongs to each node without an effect, shape (batch, nodes); as much again lies at the
            node's mirror image.
    """

    t: float
    scores: FloatArray
    mass: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Walk:
    """Bounds and what stays inside them.

    Attributes:
        steps: t at each look as the recursion used it, shape (looks,).
        bounds: of |Z|, shape (batch, looks); infinite where nothing is spent.
        inside: one for each look but the last.
    """

    steps: FloatArray
    bounds: FloatArray
    inside: list[Inside]

    def before(self, look: int) -> Inside | None:
        """Return the paths inside at the last earlier look with less of the sample, ``None`` where there is none."""
        earlier = [paths for paths in self.inside[:look] if 0 < paths.t < self.steps[look]]
        return earlier[-1] if earlier else None


@lru_cache(maxsize=64)
def _half_rule(count: int) -> tuple[FloatArray, FloatArray]:
    nodes, weights = special.roots_legendre(2 * count)
    return nodes[count:], weights[count:]


def _count(ends: FloatArray, step: float, density: float) -> int:
    """Return how many nodes resolve a normal step; in few sizes, so that the rules can be kept."""
    needed = density * float(np.max(ends)) / np.sqrt(step)
    return max(FEWEST_NODES, int(8 * np.ceil(needed / 8)))


def spaced(information: FloatArray) -> FloatArray:
    """Return t with steps that are 0 or at least ``LEAST_STEP``.

    Raises:
        ValueError: t falls, is negative or is not finite.
    """
    share = as_float(information)
    if share.ndim != 1 or not np.isfinite(share).all() or (share < 0).any() or (np.diff(share) < 0).any():
        raise ValueError("information must be one row of finite shares that do not fall")
    out = share.copy()
    for k in range(share.size):
        before = out[k - 1] if k else 0.0
        same = share[k] == (share[k - 1] if k else 0.0)
        out[k] = before if same else max(share[k], before + LEAST_STEP)
    return out


def walk(
    information: FloatArray,
    *,
    log_increments: FloatArray | None = None,
    bounds: npt.ArrayLike = np.inf,
    largest_drift: float = 0.0,
    density: float = NODES_PER_STEP,
) -> Walk:
    """Carry the density from look to look, finding each bound from what may be spent at it, or with bounds given.

    Args:
        information: t at each look, not falling, shape (looks,).
        log_increments: logarithm of the two-sided probability to cross first at each look, shape (batch, looks).
        bounds: of |Z| instead, shape (batch, looks).
        largest_drift: |θ| up to which the result shall serve.
        density: nodes per step, see ``NODES_PER_STEP``.
    """
    steps = spaced(information)
    given = log_increments is None
    wanted = as_float(bounds) if log_increments is None else log_increments
    found = np.full(wanted.shape, np.inf)
    inside: list[Inside] = []
    latest: Inside | None = None
    for k, t in enumerate(steps):
        before = steps[k - 1] if k else 0.0
        step = t - before
        if step == 0:
            found[:, k] = wanted[:, k] if given else (found[:, k - 1] if k else np.inf)
        elif given:
            found[:, k] = wanted[:, k]
        else:
            found[:, k] = _bound(wanted[:, k], latest, step, t)
        if k == steps.size - 1:
            break
        if step == 0:  # no new unit: the look before
            nowhere = np.zeros((len(wanted), 1))
            inside.append(latest or Inside(0.0, nowhere, nowhere))
            continue
        ahead = steps[k + 1 :][steps[k + 1 :] > t]
        finest = min(step, ahead[0] - t) if ahead.size else step
        ends = np.minimum(found[:, k], REACH + largest_drift * np.sqrt(t)) * np.sqrt(t)
        latest = _carry(latest, ends, step, t, _count(ends, finest, density))
        inside.append(latest)
    return Walk(steps, found, inside)


def _carry(latest: Inside | None, ends: FloatArray, step: float, t: float, count: int) -> Inside:
    nodes, weights = _half_rule(count)
    scores = ends[:, None] * nodes
    if latest is None:
        density = np.exp(-np.square(scores) / (2 * t)) / np.sqrt(t)
    else:
        near = scores[:, :, None] - latest.scores[:, None, :]
        scale = -0.5 / step
        kernel = np.exp(scale * np.square(near, out=near))
        # From the mirror image only what lies close to 0 is reached.
        i, j = (int(np.sum(grid.min(axis=0) < REACH * np.sqrt(step))) for grid in (scores, latest.scores))
        far = scores[:, :i, None] + latest.scores[:, None, :j]
        kernel[:, :i, :j] += np.exp(scale * np.square(far, out=far))
        density = np.matmul(kernel, latest.mass[:, :, None])[:, :, 0] / np.sqrt(step)
    return Inside(t, scores, ends[:, None] * weights * density / _ROOT_TWO_PI)


def _bound(log_spend: FloatArray, latest: Inside | None, step: float, t: float) -> FloatArray:
    """Return the bound of |Z| that is crossed first at this look with the given two-sided probability.

    The tail beyond the bound is log-concave (paths inside bounds are a convolution of log-concave pieces), so Newton's
    steps on its logarithm go at most once beyond the root, and from there come down to it without overshooting.
    """
    spend = log_spend > -np.inf
    plain = np.full(log_spend.shape, np.inf)
    plain[spend] = -special.ndtri_exp(log_spend[spend] - np.log(2))
    solve = log_spend > np.log(LEAST_SOLVED)
    if latest is None or not solve.any():
        return plain
    scores, mass = latest.scores[solve], latest.mass[solve]
    target, sd = log_spend[solve], np.sqrt(step)
    # Both are beyond the root: the tail without any earlier bound, and a step from the outermost path.
    most = np.minimum(plain[solve] * np.sqrt(t), scores[:, -1] * 1.01 + sd * np.maximum(plain[solve], 1.0))
    point = np.minimum(most, scores[:, -1])
    for _ in range(60):
        near, far = (point[:, None] - scores) / sd, (point[:, None] + scores) / sd
        tail = 2 * (mass * (special.ndtr(-near) + special.ndtr(-far))).sum(axis=1)
        slope = 2 * (mass * (np.exp(-0.5 * near * near) + np.exp(-0.5 * far * far))).sum(axis=1) / (sd * _ROOT_TWO_PI)
        move = tail / slope * (np.log(tail) - target)
        point = np.clip(point + move, 0.0, most)
        if np.max(np.abs(move)) <= 1e-7 * sd:  # the error is of the order of its square
            break
    plain[solve] = point / np.sqrt(t)
    return plain

"""The sequential p-value: the smallest alpha whose bounds have been crossed by now.

References:
    Liu, Anderson (2008), On adaptive extensions of group sequential trials for clinical investigations, JASA 103(484):
    sequential p-values.
    Jennison, Turnbull (2000), Group Sequential Methods with Applications to Clinical Trials, section 8.4.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stats.arrays import BoolArray, FloatArray, as_float
from stats.distributions import normal_critical, normal_upper
from stats.sequential.boundaries import plan_walk
from stats.sequential.spending import Spending

SMALLEST_P = 1e-9
"""Smaller ones are given as this."""
LARGEST_P = 0.99
"""Larger ones are given as 1."""
ANCHORS = 16
TOGETHER = 4
"""Least rows of neighbouring alphas computed at once: the widest bounds among them set the number of nodes."""
DENSITY = 1.6
"""Nodes per step of the recursion: enough for 1e-8."""
CLOSE = 1e-7  # the error is of the order of 1.6 times as many digits
MOST_ROUNDS = 8


def sequential_p(
    z: npt.ArrayLike,
    information: npt.ArrayLike,
    spending: Spending = Spending(),  # noqa: B008  (frozen)
) -> FloatArray:
    """Return the two-sided sequential p-value after all the looks given: the smallest alpha whose bounds were crossed.

    It is at most alpha exactly where some look has crossed the bounds of ``bounds(information, alpha, spending)``, so
    it stays valid at whatever look one stops, and Holm's and other procedures on p-values may be applied to it.

    Args:
        z: the statistic at each look, shape (…, looks); NaN where a look has none, which then crosses nothing.
        information: share of the planned sample at each look, as for ``bounds``, shape (looks,).
        spending: how alpha is spent.

    Returns:
        Shape (…): between 1e-9 and 1; NaN where no look has a statistic.

    The bounds are computed for a few alphas, interpolated between them, and computed anew at the roots until these do
    not move: so many comparisons cost hardly more than one.

    >>> sequential_p([[2.0, 2.5, 2.2], [4.0, 1.0, 0.0]], [0.4, 0.7, 1.0]).round(4)
    array([0.0301, 0.017 ])
    """
    statistic, share = np.abs(as_float(z)), as_float(information)
    looks = statistic.reshape(-1, share.size)
    anywhere = ~np.isnan(looks).all(axis=1)
    looks = np.where(np.isnan(looks), 0.0, looks)
    anchors = np.linspace(normal_critical(LARGEST_P / 2), normal_critical(SMALLEST_P / 2), ANCHORS)
    table = _bounds(share, anchors, spending)
    usable = np.asarray(np.isfinite(table).all(axis=0))
    if not usable.any():
        return np.where(anywhere, 1.0, np.nan).reshape(statistic.shape[:-1])[()]
    looks, table = looks[:, usable], table[:, usable]
    least = (looks >= table[0]).any(axis=1)
    most = (looks >= table[-1]).any(axis=1)
    out = np.where(most, SMALLEST_P, 1.0)
    between = np.flatnonzero(least & ~most)
    if between.size:
        roots = _roots(looks[between], share, usable, spending, anchors, table)
        out[between] = 2 * normal_upper(roots)
    return np.where(anywhere, out, np.nan).reshape(statistic.shape[:-1])[()]


def _bounds(share: FloatArray, x: FloatArray, spending: Spending) -> FloatArray:
    """Return the bounds at alphas whose two-sided normal quantiles are x, shape (x, looks)."""
    order = np.argsort(x)
    out = np.empty((x.size, share.size))
    size = max(TOGETHER, x.size // 32)
    for begin in range(0, x.size, size):
        rows = order[begin : begin + size]
        out[rows] = plan_walk(share, 2 * normal_upper(x[rows]), spending, density=DENSITY).bounds
    return out


def _roots(
    looks: FloatArray,
    share: FloatArray,
    usable: BoolArray,
    spending: Spending,
    anchors: FloatArray,
    table: FloatArray,
) -> FloatArray:
    """Return x = z(α/2) at which the outermost look lies exactly on its bound.

    Bounds grow with x, so it is the largest of the looks' own roots: first from straight lines between the anchors,
    then from secants through the bounds computed at the last two roots.
    """
    below = np.clip((table <= looks[:, None, :]).sum(axis=1) - 1, 0, ANCHORS - 2)
    left, right = np.take_along_axis(table, below, axis=0), np.take_along_axis(table, below + 1, axis=0)
    slope = (right - left) / (anchors[1] - anchors[0])
    roots = np.clip((anchors[below] + (looks - left) / slope).max(axis=1), anchors[0], anchors[-1])
    rows = np.arange(len(looks))
    earlier_x, earlier = np.full(len(looks), np.nan), np.full_like(looks, np.nan)
    for _ in range(MOST_ROUNDS):
        x = roots[rows]
        exact = _bounds(share, x, spending)[:, usable]
        secant = (exact - earlier[rows]) / (x - earlier_x[rows])[:, None]
        slope[rows] = np.where(secant > 0, secant, slope[rows])
        earlier_x[rows], earlier[rows] = x, exact
        roots[rows] = np.clip((x[:, None] + (looks[rows] - exact) / slope[rows]).max(axis=1), anchors[0], anchors[-1])
        rows = rows[np.abs(roots[rows] - x) > CLOSE]
        if not rows.size:
            break
    return np.asarray(roots)

"""Roots of many functions at once, each in its own bracket.

Reference:
    Chandrupatla (1997), A new hybrid quadratic/bisection algorithm for finding the zero of a nonlinear function
    without using derivatives, Advances in Engineering Software 28(3).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stats.arrays import EPSILON, FloatArray, divide

MOST_STEPS = 120


def find_roots(function: Callable[[FloatArray], FloatArray], start: FloatArray, end: FloatArray) -> FloatArray:
    """Return x with ``function(x) = 0`` between ``start`` and ``end``, elementwise, to the spacing of doubles.

    Args:
        function: vectorised; changes sign once between the ends.
        start: one end of each bracket.
        end: the other end.

    Returns:
        NaN where the function has one sign at both ends, or is NaN.

    >>> find_roots(lambda x: x**2 - np.array([2.0, 9.0]), np.zeros(2), np.full(2, 10.0)).round(12)
    array([1.41421356, 3.        ])
    """
    newest, other = np.array(start, dtype=np.float64), np.array(end, dtype=np.float64)
    f_newest, f_other = function(newest), function(other)
    bad = ~(np.sign(f_newest) * np.sign(f_other) <= 0)
    previous, f_previous = newest.copy(), f_newest.copy()
    share = np.full(newest.shape, 0.5)
    done = bad | (f_newest == 0) | (f_other == 0)
    for _ in range(MOST_STEPS):
        if done.all():
            break
        point = np.where(done, newest, newest + share * (other - newest))
        f_point = function(point)
        same_side = np.sign(f_point) == np.sign(f_newest)
        previous = np.where(same_side, newest, other)
        f_previous = np.where(same_side, f_newest, f_other)
        other, f_other = np.where(same_side, other, newest), np.where(same_side, f_other, f_newest)
        newest, f_newest = point, f_point
        width = np.abs(other - newest)
        best = np.where(np.abs(f_newest) < np.abs(f_other), newest, other)
        tolerance = 2 * EPSILON * np.abs(best) + np.finfo(np.float64).tiny
        least = divide(0.5 * tolerance, width)
        done = done | (f_newest == 0) | (width <= 2 * tolerance)
        share = np.clip(_next_share(newest, other, previous, f_newest, f_other, f_previous), least, 1 - least)
        share = np.where(np.isnan(share), 0.5, share)
    best = np.where(np.abs(f_newest) < np.abs(f_other), newest, other)
    return np.where(bad, np.nan, best)


def _next_share(
    a: FloatArray, b: FloatArray, c: FloatArray, f_a: FloatArray, f_b: FloatArray, f_c: FloatArray
) -> FloatArray:
    """Return how far from a to b to go: by inverse quadratic interpolation where that is safe, else half way."""
    xi, phi = divide(a - b, c - b), divide(f_a - f_b, f_c - f_b)
    safe = (1 - np.sqrt(np.clip(1 - xi, 0, 1)) < phi) & (phi < np.sqrt(np.clip(xi, 0, 1)))
    step = divide(f_a, f_b - f_a) * divide(f_c, f_b - f_c)
    step = step + divide(c - a, b - a) * divide(f_a, f_c - f_a) * divide(f_b, f_c - f_b)
    return np.where(safe & np.isfinite(step), step, 0.5)

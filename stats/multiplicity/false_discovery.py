"""Benjamini and Hochberg's p-values, and the intervals that belong to what they select.

The promise is another than Holm's: of all effects called, at most a share alpha is expected to be false. It holds for
independent and positively dependent statistics (several variants against one control among them).

References:
    Benjamini, Hochberg (1995), Controlling the false discovery rate, JRSS B 57(1).
    Benjamini, Yekutieli (2005), False discovery rate-adjusted multiple confidence intervals for selected parameters,
    JASA 100(469), definition 1: selected parameters get marginal intervals at level 1 − R·alpha/m.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stats.arrays import FloatArray, as_float


def benjamini_hochberg(p_values: npt.ArrayLike) -> FloatArray:
    """Return Benjamini and Hochberg's adjusted p-values, the same shape; the whole array is one family.

    NaN stays NaN and does not count.

    Args:
        p_values: unadjusted, any shape.

    >>> benjamini_hochberg([0.001, 0.02, 0.9, None])
    array([0.003, 0.03 , 0.9  ,   nan])
    """
    values = as_float(p_values)
    flat = values.ravel()
    defined = np.flatnonzero(~np.isnan(flat))
    falling = defined[np.argsort(-flat[defined], kind="stable")]
    m = falling.size
    out = np.full(flat.shape, np.nan)
    if m:
        out[falling] = np.minimum(np.minimum.accumulate(flat[falling] * (m / np.arange(m, 0, -1))), 1.0)
    return out.reshape(values.shape)


def coverage_alpha(p_values: npt.ArrayLike, alpha: float = 0.05) -> FloatArray:
    """Return the level of each comparison's interval, so that intervals and ``benjamini_hochberg`` agree about zero.

    The R selected get R·alpha/m: of the intervals of what was selected, at most a share alpha is expected to miss
    (false coverage rate). For those not selected nothing is promised jointly; they get (R + 1)·alpha/m, the largest
    step at which their interval still always includes zero, since every p that is not selected exceeds it.

    Args:
        p_values: unadjusted, any shape; one family.
        alpha: rate of false discoveries accepted.

    >>> coverage_alpha([0.001, 0.02, 0.9], alpha=0.06).round(12)
    array([0.04, 0.04, 0.06])
    """
    values = as_float(p_values)
    m = max(int((~np.isnan(values)).sum()), 1)
    chosen = benjamini_hochberg(values) <= alpha
    selected = int(chosen.sum())
    return np.where(chosen, max(selected, 1), min(selected + 1, m)) * (alpha / m)

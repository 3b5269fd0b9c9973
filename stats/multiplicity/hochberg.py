"""Hochberg's step-up p-values: Holm's thresholds taken from the largest p downwards.

It never rejects less than Holm. It holds the family-wise error where test statistics are independent or positively
dependent in the sense of Simes' inequality (several metrics with positive correlation; several variants against one
control); Holm needs no such condition. No interval belongs to it: where Hochberg alone rejects, no finite interval of
known simultaneous coverage excludes zero. Bonferroni's are used beside it and may then include zero.

Reference:
    Hochberg (1988), A sharper Bonferroni procedure for multiple tests of significance, Biometrika 75(4).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stats.arrays import FloatArray, as_float


def hochberg(p_values: npt.ArrayLike) -> FloatArray:
    """Return Hochberg's adjusted p-values, the same shape; the whole array is one family.

    NaN stays NaN and does not count.

    Args:
        p_values: unadjusted, any shape.

    >>> hochberg([0.001, 0.04, 0.03, None])
    array([0.003, 0.04 , 0.04 ,   nan])
    """
    values = as_float(p_values)
    flat = values.ravel()
    defined = np.flatnonzero(~np.isnan(flat))
    falling = defined[np.argsort(-flat[defined], kind="stable")]
    factors = np.arange(1, falling.size + 1)
    out = np.full(flat.shape, np.nan)
    if falling.size:
        out[falling] = np.minimum(np.minimum.accumulate(flat[falling] * factors), 1.0)
    return out.reshape(values.shape)

"""One door to every adjustment: p-values in, adjusted ones and the level of the intervals that belong to them out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from stats.arrays import FloatArray, as_float
from stats.multiplicity.dunnett import family_alpha, family_p_values
from stats.multiplicity.false_discovery import benjamini_hochberg, coverage_alpha
from stats.multiplicity.hochberg import hochberg
from stats.multiplicity.step_down import holm, interval_alpha

Method = Literal["holm", "hochberg", "benjamini_hochberg", "dunnett", "none"]
METHODS: tuple[Method, ...] = get_args(Method)


@dataclass(frozen=True, slots=True, eq=False)
class Adjustment:
    """What an adjustment makes of a family.

    Attributes:
        p_adjusted: the same shape as the p-values, NaN where they are.
        interval_alpha: level at which each comparison's own two-sided interval is computed, the same shape.
        shortens: whether ``multiplicity.shorten`` is then applied to these intervals (Holm).
        agrees: whether the intervals then exclude zero exactly where ``p_adjusted`` ≤ alpha (all but Hochberg's, whose
            Bonferroni intervals may include zero where it rejects).
    """

    p_adjusted: FloatArray
    interval_alpha: FloatArray
    shortens: bool
    agrees: bool = True


def adjust(
    method: Method, p_values: npt.ArrayLike, alpha: float = 0.05, *, correlation: npt.ArrayLike | None = None
) -> Adjustment:
    """Adjust two-sided p-values of one family.

    Args:
        method: ``holm``, ``hochberg``, ``benjamini_hochberg``, ``dunnett`` or ``none``.
        p_values: any shape; the whole array is one family, NaN does not count. For ``dunnett`` the last axis are the
            variants compared with one control; leading axes (metrics) are joined by Bonferroni.
        alpha: of the family.
        correlation: ``dunnett`` only: how the comparisons hang together by their shared control: loadings as
            ``loadings`` gives them, shape of the last axis or of the whole array; or a matrix of correlations of the
            form λᵢλⱼ. Left out, nothing is assumed (Šidák's inequality holds whatever the correlation).

    Raises:
        ValueError: unknown method, alpha outside (0, 1), or a correlation that does not fit.

    >>> result = adjust("holm", [0.001, 0.02, 0.03])
    >>> result.p_adjusted, result.interval_alpha.round(4), result.shortens
    (array([0.003, 0.04 , 0.04 ]), array([0.0167, 0.0167, 0.0167]), True)
    >>> adjust("dunnett", [0.01, 0.02], correlation=[0.5**0.5, 0.5**0.5]).p_adjusted.round(4)
    array([0.019 , 0.0374])
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, not {method!r}")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie between 0 and 1, not {alpha}")
    values = as_float(p_values)
    bonferroni = np.full(values.shape, interval_alpha(values, alpha))
    if method == "holm":
        return Adjustment(holm(values), bonferroni, shortens=True)
    if method == "hochberg":
        return Adjustment(hochberg(values), bonferroni, shortens=False, agrees=False)
    if method == "benjamini_hochberg":
        return Adjustment(benjamini_hochberg(values), coverage_alpha(values, alpha), shortens=False)
    if method == "dunnett":
        return Adjustment(
            family_p_values(values, correlation), family_alpha(values, alpha, correlation), shortens=False
        )
    return Adjustment(values.copy(), np.full(values.shape, alpha), shortens=False)

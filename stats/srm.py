"""Sample ratio check: did the split come out as planned? If not, no effect may be read.

References:
    Fabijan et al. (2019), Diagnosing sample ratio mismatch in online controlled experiments, KDD.
    Pearson (1900), chi-square goodness of fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from stats.arrays import FloatArray, IntArray, as_float, divide, number
from stats.distributions import chi_square_upper
from stats.why import Why

FAIL_BELOW = 0.001
CAUTION_BELOW = 0.01
LEAST_EXPECTED = 5.0
"""Below this the chi-square approximation does not hold (Cochran 1954)."""


@dataclass(frozen=True, slots=True)
class SrmValue:
    """One check as plain numbers; ``p_value`` is ``None`` where ``why`` says so."""

    p_value: float | None
    chi_square: float | None
    df: int
    status: Literal["ok", "caution", "fail", "info"]
    why: str | None
    why_code: str | None


@dataclass(frozen=True, slots=True, eq=False)
class Srm:
    """Checks over a grid of phases or segments.

    Attributes:
        p_value: chi-square tail, shape (cells…); 0 where units stand in a variant of weight 0.
        chi_square: statistic, shape (cells…).
        df: variants with weight − 1, shape (cells…).
        observed: units, shape (cells…, variants).
        expected: planned share × all units in variants with weight, shape (cells…, variants).
        why: ``Why`` codes, shape (cells…).
    """

    p_value: FloatArray
    chi_square: FloatArray
    df: IntArray
    observed: FloatArray
    expected: FloatArray
    why: IntArray

    def value(self, *index: int) -> SrmValue:
        """Return one check as plain numbers, with its status: p < .001 fails, .001 to .01 cautions."""
        why = Why(int(self.why[index]))
        p_value = number(self.p_value[index])
        status: Literal["ok", "caution", "fail", "info"]
        if p_value is None:
            status = "info"
        elif p_value < FAIL_BELOW:
            status = "fail"
        else:
            status = "caution" if p_value < CAUTION_BELOW else "ok"
        return SrmValue(
            p_value, number(self.chi_square[index]), int(self.df[index]), status, why.text, why.code if why else None
        )


def srm(observed: npt.ArrayLike, weights: npt.ArrayLike) -> Srm:
    """Compare the units of each variant with the planned weights by chi-square.

    Args:
        observed: units of each variant, shape (cells…, variants); one phase, one population a cell.
        weights: planned weights, any scale, broadcast against ``observed``. Variants of weight 0 are left out of the
            degrees of freedom; units found in one fail the check whatever the rest says.

    Raises:
        ValueError: a count or weight is negative, NaN or infinite.

    >>> check = srm([50550, 49450], [1, 1]).value()
    >>> round(check.chi_square, 2), round(check.p_value, 6), check.status
    (12.1, 0.000504, 'fail')
    >>> srm([1, 2], [1, 1]).value().why
    'too few units: 5 expected in each variant needed'
    """
    count, planned = np.broadcast_arrays(as_float(observed), as_float(weights))
    if not (np.isfinite(count).all() and np.isfinite(planned).all() and (count >= 0).all() and (planned >= 0).all()):
        raise ValueError("counts and weights must be finite and not negative")
    used = planned > 0
    total = np.where(used, count, 0.0).sum(axis=-1)
    share = divide(planned, planned.sum(axis=-1, keepdims=True))
    expected = np.where(used, share * total[..., None], 0.0)
    terms = divide(np.square(count - expected), expected)
    statistic = np.where(used & ~np.isnan(terms), terms, 0.0).sum(axis=-1)
    df = np.asarray(used.sum(axis=-1) - 1, dtype=np.int64)
    smallest = np.where(used, expected, np.inf).min(axis=-1, initial=np.inf)
    unplanned = (~used & (count > 0)).any(axis=-1)
    why = np.select(
        [unplanned, df < 1, total < 1, smallest < LEAST_EXPECTED],
        [int(Why.UNPLANNED_UNITS), int(Why.NO_WEIGHT), int(Why.NO_UNITS), int(Why.TOO_FEW_EXPECTED)],
        int(Why.DEFINED),
    ).astype(np.int64)
    tail = chi_square_upper(np.maximum(df, 1), statistic)
    defined = why == int(Why.DEFINED)
    return Srm(
        p_value=np.where(defined, tail, np.where(unplanned, 0.0, np.nan)),
        chi_square=np.where(defined, statistic, np.nan),
        df=df,
        observed=np.asarray(count),
        expected=expected,
        why=why,
    )

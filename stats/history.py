"""Covariates of units that have no history: kept, with an indicator beside the covariate.

New members have nothing before the test. Leaving them out changes the question; calling their history 0 says something
untrue. With one more covariate, 1 for "has none", whatever is filled in does not matter: the indicator takes it up, and
the adjustment compares the new with the new.

Reference:
    Zhao, Ding (2024), To adjust or not to adjust? Estimating the average treatment effect in randomized experiments
    with missing covariates, JASA 119(545) (the missingness-indicator method is never worse than no adjustment, in large
    samples, when used with slopes of each variant's own).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stats.arrays import FloatArray, as_float

SUFFIX = " missing"


@dataclass(frozen=True, slots=True, eq=False)
class WithIndicators:
    """Covariates without gaps.

    Attributes:
        columns: the covariates' names, then the indicators'.
        values: shape (units, columns).
    """

    columns: tuple[str, ...]
    values: FloatArray


def with_indicators(columns: Sequence[str], values: npt.ArrayLike) -> WithIndicators:
    """Fill gaps with the covariate's mean over all units, and add an indicator for each different pattern of gaps.

    Args:
        columns: names of the p covariates.
        values: shape (units, p) or (units,); NaN or ``None`` where there is no history.

    Returns:
        Covariates that miss nowhere or in the same units as an earlier one need no indicator of their own; one that
        misses everywhere becomes 0 throughout, and adjusts nothing.

    >>> done = with_indicators(["spend_before", "visits_before"], [[10.0, 2.0], [None, None], [30.0, 4.0]])
    >>> done.columns
    ('spend_before', 'visits_before', 'spend_before missing')
    >>> done.values[1]
    array([20.,  3.,  1.])
    """
    names = tuple(columns)
    table = as_float(values).reshape(-1, len(names))
    gaps = np.isnan(table)
    known = np.maximum((~gaps).sum(axis=0), 1)
    filled = np.where(gaps, np.where(gaps, 0.0, table).sum(axis=0) / known, table)
    added: dict[bytes, str] = {}
    flags = []
    for place, name in enumerate(names):
        pattern = gaps[:, place]
        if not pattern.any() or pattern.all() or pattern.tobytes() in added:
            continue
        added[pattern.tobytes()] = name + SUFFIX
        flags.append(pattern.astype(np.float64))
    return WithIndicators((*names, *added.values()), np.column_stack([filled, *flags]))

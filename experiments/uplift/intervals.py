"""Figures as the document has them: what cannot be computed is missing, with the reason, never NaN."""

from __future__ import annotations

import math

from experiments.uplift.document import Interval
from stats.uplift.valuing import Value


def interval_of(value: Value) -> Interval:
    """Return a value as the document has it: what cannot be computed is missing, with the reason."""
    estimate, low, high = finite(value.estimate), finite(value.ci_low), finite(value.ci_high)
    return Interval(estimate=estimate, ci_low=low, ci_high=high, why="no_variance" if low is None else None)


def finite(value: float) -> float | None:
    """Return a number, or ``None`` where it is none.

    >>> finite(float("nan")), finite(1.5)
    (None, 1.5)
    """
    return float(value) + 0.0 if math.isfinite(value) else None

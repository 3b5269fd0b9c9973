"""Values of attributes as text, read as numbers or as days ago."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.measure.days import DAY_US, offset_us
from stats.uplift.trial import FloatArray


def numbers_of(values: NDArray[Any]) -> FloatArray:
    """Return text as numbers; what is none is missing.

    >>> numbers_of(np.array(["3", None, "x"], dtype=object))
    array([ 3., nan, nan])
    """
    return np.array([_number(value) for value in values], dtype=np.float64)


def _number(value: Any) -> float:
    try:
        found = float(value)
    except (TypeError, ValueError):
        return np.nan
    return found if np.isfinite(found) else np.nan


def dates_as_days(values: NDArray[Any], at_us: FloatArray, time_zone: str) -> FloatArray:
    """Return how many days each date lies before a moment of the same unit; what is no date is missing.

    Args:
        values: (n,), ISO 8601 text: a date is its midnight in ``time_zone``.
        at_us: (n,), microseconds since 1970 UTC.
        time_zone: IANA name.
    """
    return (at_us - np.array([_moment(value, time_zone) for value in values], dtype=np.float64)) / DAY_US


def _moment(value: Any, time_zone: str) -> float:
    try:
        at = datetime.fromisoformat(str(value))
    except ValueError:
        return np.nan
    if at.tzinfo is not None:
        return at.timestamp() * 1e6
    local_us = (at.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1e6
    return local_us - offset_us(int(local_us), time_zone)

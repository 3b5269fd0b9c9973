"""Attributes as they come, read as a number or as the text of a level."""

from __future__ import annotations

import math

import numpy as np

from allocation.audience.dates import DAY_US, to_us


def number_of(raw: object) -> float | None:
    """Return a finite number for a number, a boolean, or ISO text of a date (days since 1970); else ``None``.

    >>> number_of(3), number_of(True), number_of("1970-01-02T12:00:00Z"), number_of("x"), number_of(float("inf"))
    (3.0, 1.0, 1.5, None, None)
    """
    if isinstance(raw, str):
        moment = to_us(raw)
        return None if moment is None else moment / DAY_US
    if not isinstance(raw, int | float | np.number | np.bool_) or isinstance(raw, np.complexfloating):
        return None
    try:
        number = float(raw)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def text_of(raw: object) -> str | None:
    """Return the text that a value is told apart by, ``None`` for a missing one. 3 and 3.0 are the same value.

    >>> text_of("a"), text_of(True), text_of(3.0), text_of(0.5), text_of(float("nan")), text_of(None)
    ('a', 'true', '3', '0.5', None, None)
    """
    if isinstance(raw, str):
        return str(raw)
    if isinstance(raw, bool | np.bool_):
        return "true" if raw else "false"
    if isinstance(raw, int | np.integer):
        return str(int(raw))
    if isinstance(raw, float | np.floating):
        number = float(raw)
        if not math.isfinite(number):
            return None
        return str(int(number)) if number.is_integer() else repr(number)
    return None

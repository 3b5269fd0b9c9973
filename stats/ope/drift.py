"""Whether members look different from those that a policy was learned from: the population stability index.

Sums over bins (new − old)·ln(new / old) of shares. Of two samples of one population it is not zero but about
(bins − 1)·(1/n + 1/m); that much is taken off, so that small samples raise no alarm.

References:
    Yurdakul, Naranjo (2020), Statistical properties of the population stability index, J. Risk Model Validation 14(4).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from stats.arrays import FloatArray, as_float

BINS = 10
LEVELS = 20
"""The most frequent levels that are told apart."""
LEAST = 200
"""Members on either side, below which nothing is said."""


def stability_index(old: npt.ArrayLike, new: npt.ArrayLike) -> float:
    """Return how much more counts in bins differ than chance lets them; about .1 is noticeable, .25 a lot.

    Args:
        old: counts by bin of those before.
        new: counts by bin of those now, of the same shape.

    >>> stability_index([500, 500], [500, 500])
    0.0
    >>> round(stability_index([5000, 5000], [8000, 2000]), 3)
    0.416
    """
    before, now = as_float(old), as_float(new)
    used = (before + now) > 0
    before, now = before[used], now[used]
    if before.size < 2 or before.sum() == 0 or now.sum() == 0:
        return 0.0
    # Half a member in each bin: a level that is new would else be infinitely far.
    p = (before + 0.5) / (before.sum() + 0.5 * before.size)
    q = (now + 0.5) / (now.sum() + 0.5 * now.size)
    found = float(((q - p) * np.log(q / p)).sum())
    chance = (before.size - 1) * (1 / before.sum() + 1 / now.sum())
    return max(0.0, found - float(chance))


def numeric_drift(old: npt.ArrayLike, new: npt.ArrayLike) -> float | None:
    """Return the index of a number, in ten bins of those before; missing ones are a bin of their own.

    Returns:
        ``None`` below 200 on either side.

    >>> line = np.linspace(0, 1, 1000)
    >>> numeric_drift(line, line), numeric_drift(line, line + 0.5) > 1
    (0.0, True)
    """
    before, now = as_float(old), as_float(new)
    if min(before.size, now.size) < LEAST:
        return None
    finite = before[np.isfinite(before)]
    inner = np.unique(np.quantile(finite, np.linspace(0, 1, BINS + 1)[1:-1])) if finite.size else np.empty(0)

    def counts(values: FloatArray) -> FloatArray:
        known = np.isfinite(values)
        bins = np.where(known, np.searchsorted(inner, np.where(known, values, 0.0), side="right"), inner.size + 1)
        return np.bincount(bins, minlength=inner.size + 2).astype(np.float64)

    return stability_index(counts(before), counts(now))


def level_drift(old: Sequence[Any] | npt.NDArray[Any], new: Sequence[Any] | npt.NDArray[Any]) -> float | None:
    """Return the index of an attribute's levels: the twenty most frequent ones of both, the others together.

    Returns:
        ``None`` below 200 on either side.

    >>> level_drift(["a", "b"] * 200, ["a", "b"] * 200), round(level_drift(["a"] * 400, ["b"] * 400), 1)
    (0.0, 13.3)
    """
    if min(len(old), len(new)) < LEAST:
        return None
    names = np.array([str(value) for value in (*old, *new)])
    _, codes = np.unique(names, return_inverse=True)
    totals = np.bincount(codes)
    order = np.argsort(-totals, kind="stable")
    place = np.empty(totals.size, dtype=np.intp)
    place[order] = np.minimum(np.arange(totals.size), LEVELS)
    bins = place[codes]
    size = min(totals.size, LEVELS + 1)
    return stability_index(np.bincount(bins[: len(old)], minlength=size), np.bincount(bins[len(old) :], minlength=size))

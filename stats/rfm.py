"""Recency, frequency and money as scores, and the eight groups that the three make.

A score is how many cut points a value reaches, plus one. Cut points are either given (fixed: comparable between months
and shops) or taken from the members themselves: cut point k is the lowest value with at least k/groups of the members
*strictly below* it. So equal values always have equal scores, whatever their order, and where many share a value the
group is larger and some scores stay empty (60 % of all members with one order: nobody has score 2 or 3 of 5). Cut
points taken once can be kept and given, so that a member's score changes by what the member does only.

Reference:
    Hughes (1994), Strategic Database Marketing: quintiles of R, F and M. Ties, which it leaves open, are settled above.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stats.arrays import FloatArray, IntArray, as_float

GROUPS = 5
SEGMENTS = (
    "general_win_back",
    "key_win_back",
    "general_keep",
    "key_keep",
    "general_develop",
    "key_develop",
    "general_value",
    "key_value",
)
"""The eight groups (一般/重要 挽留, 保持, 发展, 价值), at index 4·(R high) + 2·(F high) + (M high)."""


@dataclass(frozen=True, slots=True)
class Cuts:
    """Cut points, ascending; one fewer than there are scores.

    Attributes:
        recency: days since the last purchase; at most so many days earn a point.
        frequency: purchases; at least so many earn a point.
        monetary: money; at least so much earns a point. Empty: money is not known, and scored 0.
    """

    recency: tuple[float, ...]
    frequency: tuple[float, ...]
    monetary: tuple[float, ...] = ()


def quantile_cuts(
    recency: npt.ArrayLike, frequency: npt.ArrayLike, monetary: npt.ArrayLike | None, groups: int = GROUPS
) -> Cuts:
    """Return the cut points that divide these members into ``groups`` of (about) equal size.

    A cut point that no member reaches, where the highest value is shared by many, is infinite (for recency: −1).

    Args:
        recency: (n,) days since the last purchase.
        frequency: (n,) purchases.
        monetary: (n,) money; ``None`` when not known.
        groups: scores to make, at least 2.

    >>> quantile_cuts([1, 2, 3, 4], [1, 1, 1, 9], None, groups=2)
    Cuts(recency=(2.0,), frequency=(9.0,), monetary=())
    """
    if groups < 2:
        raise ValueError("at least 2 groups are needed")
    days = _cut_points(-as_float(recency), groups)
    return Cuts(
        tuple(sorted(-day if np.isfinite(day) else -1.0 for day in days)),
        tuple(_cut_points(as_float(frequency), groups)),
        () if monetary is None else tuple(_cut_points(as_float(monetary), groups)),
    )


def _cut_points(values: FloatArray, groups: int) -> list[float]:
    """Return for k = 1 … groups − 1 the lowest value with at least k/groups of the values strictly below it."""
    if not len(values) or not np.isfinite(values).all():
        raise ValueError("finite values of at least one member are needed")
    distinct, counts = np.unique(values, return_counts=True)
    below = np.cumsum(counts) - counts
    # Whole numbers on both sides: no share is rounded to the wrong side of a cut.
    places = [int(np.searchsorted(below * groups, k * len(values))) for k in range(1, groups)]
    return [float(distinct[place]) if place < len(distinct) else float("inf") for place in places]


def scores(
    recency: npt.ArrayLike,
    frequency: npt.ArrayLike,
    monetary: npt.ArrayLike | None,
    *,
    groups: int = GROUPS,
    cuts: Cuts | None = None,
) -> IntArray:
    """Return each member's three scores, 1 (worst) to ``groups`` (best).

    Args:
        recency: (n,) days since the last purchase: fewer are better.
        frequency: (n,) purchases.
        monetary: (n,) money; ``None`` when not known: its score is 0.
        groups: scores to make, from these members' own quantiles.
        cuts: fixed cut points instead.

    Returns:
        (n, 3): R, F and M.

    >>> scores([3, 40, 200, 40], [5, 1, 1, 2], [90.0, 10.0, 12.0, 30.0], groups=2)
    array([[2, 2, 2],
           [1, 1, 1],
           [1, 1, 1],
           [1, 2, 2]])
    """
    used = cuts or quantile_cuts(recency, frequency, monetary, groups)
    days, times = as_float(recency), as_float(frequency)
    r = 1 + len(used.recency) - np.searchsorted(np.sort(used.recency), days, side="left")
    f = 1 + np.searchsorted(np.sort(used.frequency), times, side="right")
    if monetary is None or not used.monetary:
        m = np.zeros(len(days), dtype=np.int64)
    else:
        m = 1 + np.searchsorted(np.sort(used.monetary), as_float(monetary), side="right")
    return np.column_stack([r, f, m]).astype(np.int64)


def segments(scored: IntArray, groups: int | Sequence[int] = GROUPS) -> IntArray:
    """Return which of ``SEGMENTS`` each member belongs to: a score above the middle of its scale is high.

    Args:
        scored: (n, 3), of ``scores``; where money is not known (0) it counts as not high.
        groups: scores there are, of all three or of each.

    >>> [SEGMENTS[i] for i in segments(np.array([[5, 5, 5], [1, 1, 4], [4, 3, 1]]))]
    ['key_value', 'key_win_back', 'general_develop']
    """
    most = np.broadcast_to(np.asarray(groups, dtype=np.int64), (3,))
    high = 2 * scored > most + 1
    return np.asarray(high @ np.array([4, 2, 1]), dtype=np.int64)

"""Units in the order of a score, highest first; equal scores are one point.

Equal scores say "these are alike", so nothing may depend on the order in which they happen to stand. Libraries that
break ties by row order call a constant score informative whenever the rows are sorted; here it is one step from
nobody to everybody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stats.uplift.trial import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class Ranking:
    """Rows by score, and where each distinct score ends.

    >>> found = ranking(np.array([0.1, 0.3, 0.1]))
    >>> found.order, found.ends, found.share.round(2)
    (array([1, 0, 2]), array([1, 3]), array([0.  , 0.33, 1.  ]))
    """

    order: IntArray
    """(n,), rows, highest score first; equal scores stand in input order."""
    ends: IntArray
    """(p,), how many units have each distinct score or a higher one; the last is n."""

    @property
    def rows(self) -> int:
        """How many units."""
        return len(self.order)

    @property
    def share(self) -> FloatArray:
        """(p + 1,), share of the units at or above each distinct score; the first is 0, nobody."""
        return np.concatenate(([0.0], self.ends / self.rows))

    def totals(self, values: npt.ArrayLike) -> FloatArray:
        """Return the sum of values (n,) over the units at each point and before it, (p + 1,); the first is 0."""
        running = np.cumsum(np.asarray(values, dtype=np.float64)[self.order])
        return np.concatenate(([0.0], running[self.ends - 1]))

    def averaged(self, values: npt.ArrayLike) -> FloatArray:
        """Return values (n,) in ranked order, each replaced by the mean of its tied block."""
        sizes = np.diff(self.ends, prepend=0)
        means = np.add.reduceat(np.asarray(values, dtype=np.float64)[self.order], self.ends - sizes) / sizes
        return np.repeat(means, sizes)


def ranking(score: npt.ArrayLike, within: Sequence[npt.ArrayLike] = ()) -> Ranking:
    """Rank units by a score, highest first.

    Args:
        score: (n,), finite.
        within: columns (n,) that order units of equal scores, the first before the second, instead of the input order
            (so that what is drawn along the ranking does not depend on how rows are sorted).

    Raises:
        ValueError: there are no units, or a score is not finite.
    """
    values = np.asarray(score, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise ValueError("a ranking needs one score for each of at least one unit")
    if not np.isfinite(values).all():
        raise ValueError("every score must be a finite number")
    keys = [np.asarray(key) for key in reversed(within)]
    order = np.lexsort([*keys, -values]) if keys else np.argsort(-values, kind="stable")
    ranked = values[order]
    ends = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]) + 1, len(values))
    return Ranking(order, ends)

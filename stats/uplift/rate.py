"""Does a priority find the units that gain most? Rank-weighted average treatment effects.

TOC(u) is the effect among the first share u of the units less the effect among all. AUTOC, its area, is zero when the
priority says nothing, so its interval tests the ranking itself; it looks at the very top hardest, where few should be
treated. (The same area weighted by u is that of the Qini curve.)

Reference:
    Yadlowsky, Fleming, Shah, Brunskill & Wager (2021), Evaluating treatment prioritization rules via rank-weighted
    average treatment effects, arXiv:2111.07966 (TOC, AUTOC, and the half-sample bootstrap).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stats.distributions import normal_quantile
from stats.uplift.ranking import Ranking, ranking
from stats.uplift.trial import FloatArray
from stats.uplift.valuing import Value


def toc(score_difference: FloatArray, priority: npt.ArrayLike, shares: npt.ArrayLike) -> FloatArray:
    """Return the effect in the first share of the units less the effect among all.

    Args:
        score_difference: (n,), doubly robust score under the offer less that under none.
        priority: (n,), highest first; equal ones count with their mean.
        shares: (s,), above 0, at most 1; rounded to whole units, at least one.

    Raises:
        ValueError: shapes differ, or a number is not finite.

    >>> toc(np.array([3.0, 1.0, -1.0]), [3, 2, 1], [1 / 3, 1.0])
    array([2., 0.])
    """
    centred, ranked = _centred(score_difference, priority)
    counts = np.clip(np.rint(np.asarray(shares, dtype=np.float64) * ranked.rows), 1, ranked.rows).astype(np.intp)
    return np.asarray(np.cumsum(ranked.averaged(centred))[counts - 1] / counts)


def autoc(
    score_difference: FloatArray,
    priority: npt.ArrayLike,
    *,
    draws: int = 200,
    seed: int = 0,
    alpha: float = 0.05,
    variance_factor: float = 1.0,
) -> Value:
    """Return the area under TOC, with the interval of a half-sample bootstrap.

    Args:
        score_difference: (n,), doubly robust score under the offer less that under none; the priority must not have
            been fitted on these units.
        priority: (n,), highest first; equal ones count with their mean, so a constant gives exactly 0.
        draws: halves to draw, at least 2.
        seed: the same one gives the same figures, in whatever order the rows stand.
        alpha: 1 − confidence level.
        variance_factor: of a priority that was cross-fitted on these units (`stats.uplift.crossfit`).

    Raises:
        ValueError: shapes differ, a number is not finite, or there are fewer than 2 draws.

    >>> round(autoc(np.array([3.0, 1.0, -1.0]), [3, 2, 1]).estimate, 9)  # (2 + 1 + 0) / 3
    1.0
    >>> autoc(np.array([3.0, 1.0, -1.0]), [1, 1, 1]).estimate
    0.0
    """
    centred, ranked = _centred(score_difference, priority)
    if draws < 2:
        raise ValueError("at least 2 draws are needed")
    ordered = centred[ranked.order]
    sizes = np.diff(ranked.ends, prepend=0)
    block = np.repeat(np.arange(len(sizes)), sizes)
    estimate = _area(ordered, block)
    generator = np.random.default_rng(seed)
    drawn = []
    for _ in range(draws):
        # Each unit is in the half with probability ½: to first order as exactly one half, and a bit a unit.
        half = np.unpackbits(np.frombuffer(generator.bytes(-(-len(ordered) // 8)), np.uint8))[: len(ordered)] == 1
        if half.any():
            drawn.append(_area(ordered[half], block[half]))
    error = float(np.std(drawn, ddof=1) * np.sqrt(variance_factor)) if len(drawn) > 1 else float("nan")
    width = float(normal_quantile(1 - alpha / 2)) * error
    return Value(estimate, error, estimate - width, estimate + width)


def _centred(score_difference: FloatArray, priority: npt.ArrayLike) -> tuple[FloatArray, Ranking]:
    values = np.asarray(score_difference, dtype=np.float64)
    if values.shape != np.shape(priority) or not np.isfinite(values).all():
        raise ValueError("there must be one finite score difference for each priority")
    return values - values.mean(), ranking(priority, within=(values,))


def _area(ordered: FloatArray, block: npt.NDArray[np.intp]) -> float:
    """Return the mean of TOC over all counts of units, from differences in ranked order and their tied blocks."""
    if block[0] == block[-1]:
        return 0.0
    n = len(ordered)
    # A unit at rank j enters the mean of every count from j on: (1/n) Σ 1/i over i ≥ j; tied units share theirs.
    weight = np.cumsum((1.0 / np.arange(1, n + 1))[::-1])[::-1] / n
    starts = np.flatnonzero(np.diff(block, prepend=-1))
    if len(starts) < n:
        sizes = np.diff(starts, append=n)
        weight = np.repeat(np.add.reduceat(weight, starts) / sizes, sizes)
    return float(ordered @ weight - ordered.mean())

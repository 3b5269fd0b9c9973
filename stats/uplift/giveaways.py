"""Attributes that give the outcome away, as only what was recorded after it can.

A flag "redeemed", the revenue of the very orders, a visit without which nobody can buy: with such an attribute models
explain outcomes so well that effects look certain and are those of nothing. Where the offer moves them, they also tell
the arm (`stats.uplift.predictable`); where it hardly does, nothing else shows it.

Units are put into twenty parts of equal size by the attribute (fewer where many are equal; those of whom it is unknown
are a part of their own). How much of the outcome's ranks lies between the parts is Fisher's correlation ratio η²;
beside it stands Spearman's ρ², which sees a copy of money that twenty parts see only in steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from stats.arrays import BoolArray
from stats.uplift.folds import canonical_order
from stats.uplift.trial import FloatArray, IntArray, Trial

TOLD = 0.9
"""Share of the outcome's variation that nothing known beforehand explains: not even last month's spend this month's."""
LEAST_OUTCOMES = 25
"""Units with and without an outcome that it takes to say so."""
LEAST_EMPTY = 0.5
"""Share of the units, in one part, none of whom has an outcome, from which the attribute may be a step towards it."""
PARTS = 20
LOOKED_AT = 200_000
"""Rows; what gives the outcome away shows in so many."""


@dataclass(frozen=True)
class Giveaway:
    """An attribute that says too much."""

    name: str
    kind: Literal["told", "step", "sure"]
    """``told``: it explains nearly all of the outcome; ``step``: without it nobody has an outcome; ``sure``: with it
    everybody has one."""
    share: float
    """Of the outcome's variation that it explains."""


def giveaways(trial: Trial, names: Sequence[str]) -> tuple[Giveaway, ...]:
    """Return the columns that give the outcome away, those that tell most of it first.

    Args:
        trial: the rows; their order makes no difference.
        names: of the columns of features.

    Raises:
        ValueError: there is not one name for each column.

    >>> rng = np.random.default_rng(2)
    >>> bought = (rng.random(2000) < 0.1).astype(float)
    >>> columns = np.column_stack((rng.normal(size=2000), bought * rng.gamma(2, 40, 2000)))
    >>> [(one.name, one.kind) for one in giveaways(
    ...     Trial(bought, rng.integers(0, 2, 2000), columns, np.full((2000, 2), 0.5)), ["age", "revenue"])]
    [('revenue', 'told')]
    """
    if len(names) != trial.features.shape[1]:
        raise ValueError("there must be one name for each column of features")
    rows = trial if trial.rows <= LOOKED_AT else trial.take(canonical_order(trial)[:LOOKED_AT])
    happened = rows.outcome != 0
    if min(int(happened.sum()), int((rows.outcome != np.median(rows.outcome)).sum())) < LEAST_OUTCOMES:
        return ()
    ranks = _ranks(rows.outcome)
    found = []
    for name, column in zip(names, rows.features.T, strict=True):
        part = _parts(column)
        share = max(_between(ranks, part), _rank_correlation(ranks, column))
        kind = "told" if share >= TOLD else _step(happened, part)
        if kind is not None:
            found.append(Giveaway(name, kind, share))
    return tuple(sorted(found, key=lambda one: (one.kind != "told", -one.share, one.name)))


def _ranks(values: FloatArray) -> FloatArray:
    """Return ranks, equal values sharing the middle one, less their mean."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - 0.5 * (counts - 1)
    return np.asarray(middle[which.reshape(-1)] - (len(values) + 1) / 2, dtype=np.float64)


def _parts(column: FloatArray) -> IntArray:
    """Return each unit's part, 0 where the attribute is unknown."""
    known = ~np.isnan(column)
    out = np.zeros(len(column), dtype=np.intp)
    if known.any():
        edges = np.unique(np.quantile(column[known], np.linspace(0, 1, PARTS + 1), method="lower"))
        out[known] = 1 + np.searchsorted(edges, column[known], side="left")
    return out


def _between(ranks: FloatArray, part: IntArray) -> float:
    """Return the share of the variation that lies between parts (η², less what chance explains)."""
    counts = np.bincount(part)
    sums = np.bincount(part, ranks)
    there = counts > 0
    n, parts, total = len(ranks), int(there.sum()), float(ranks @ ranks)
    if total <= 0 or n <= parts:
        return 0.0
    within = total - float((sums[there] ** 2 / counts[there]).sum())
    return max(0.0, 1 - within / total * (n - 1) / (n - parts))


def _rank_correlation(ranks: FloatArray, column: FloatArray) -> float:
    """Return Spearman's ρ² among the units of whom the attribute is known, times their share."""
    known = ~np.isnan(column)
    if int(known.sum()) < LEAST_OUTCOMES:
        return 0.0
    own, other = _ranks(column[known]), ranks[known] - ranks[known].mean()
    spread = float((own @ own) * (other @ other))
    return float(own @ other) ** 2 / spread * float(known.mean()) if spread > 0 else 0.0


def _step(happened: BoolArray, part: IntArray) -> Literal["step", "sure"] | None:
    counts, with_one = np.bincount(part), np.bincount(part, happened)
    if happened.mean() >= LEAST_EMPTY:
        return None
    if counts[(with_one == 0) & (counts > 0)].max(initial=0) >= LEAST_EMPTY * len(part):
        return "step"
    return "sure" if counts[(with_one == counts) & (counts > 0)].max(initial=0) >= LEAST_OUTCOMES else None

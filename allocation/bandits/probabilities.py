"""From scores to probabilities, and the least that each variant keeps.

Everything here is for one member, in plain Python: for a handful of variants that is faster than arrays. The same for
many members is in `allocation.bandits.scoring`, and equal to the twelfth decimal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

TIE = 1e-9
"""Scores that are no further apart are equal. Two ways of adding the same numbers differ by less."""


def igw(scores: Sequence[float], gamma: float) -> list[float]:
    """Return inverse-gap weights: 1 / (K + γ · gap) for each variant but the best, and the rest for the best.

    The best of equal ones share the rest: which stands first says nothing.

    Abe & Long 1999; Foster & Rakhlin, Beyond UCB, arXiv 2002.04926, algorithm 1 (SquareCB).

    Args:
        scores: standardised expected profits of the eligible variants.
        gamma: how much a gap matters; 0 draws evenly.

    >>> igw([0.0, 1.0], 8.0)
    [0.1, 0.9]
    >>> igw([1.0, 1.0], 8.0)
    [0.5, 0.5]
    """
    count = len(scores)
    top = max(scores)
    least = top - TIE
    others = [1.0 / (count + gamma * (top - score)) for score in scores if score < least]
    rest = (1.0 - sum(others)) / (count - len(others))
    left = iter(others)
    return [rest if score >= least else next(left) for score in scores]


def greedy(scores: Sequence[float]) -> list[float]:
    """Return 1 for the best; equals share it.

    >>> greedy([1.0, 3.0, 3.0])
    [0.0, 0.5, 0.5]
    """
    least = max(scores) - TIE
    share = 1.0 / sum(score >= least for score in scores)
    return [share if score >= least else 0.0 for score in scores]


def softmax(scores: Sequence[float], temperature: float) -> list[float]:
    """Return probabilities ∝ exp(score / temperature); temperature 0 is greedy.

    >>> [round(p, 3) for p in softmax([0.0, 1.0], 1.0)]
    [0.269, 0.731]
    """
    if temperature == 0:
        return greedy(scores)
    top = max(scores)
    weights = [math.exp((score - top) / temperature) for score in scores]
    total = sum(weights)
    return [weight / total for weight in weights]


def proportional(scores: Sequence[float]) -> list[float]:
    """Return probabilities ∝ score, with negative ones as 0; even where none is positive.

    >>> proportional([1.0, 3.0, -2.0])
    [0.25, 0.75, 0.0]
    """
    weights = [max(score, 0.0) for score in scores]
    total = sum(weights)
    return [weight / total for weight in weights] if total > 0 else [1.0 / len(weights)] * len(weights)


def floor(p: Sequence[float], explore: float, least: Sequence[float] | None = None) -> list[float]:
    """Spread ``explore`` evenly, then raise single variants to their least; the others pay with what is above theirs.

    Args:
        p: probabilities of the eligible variants, which sum to 1.
        explore: ε, the whole mass that is spread: each gets at least ε / count.
        least: each one's least probability, 0 for none. Where they sum to more than 1, they are shares.

    >>> floor([1.0, 0.0], 0.02)
    [0.99, 0.01]
    >>> floor([0.5, 0.5, 0.0], 0.0, [0.0, 0.0, 0.1])
    [0.45, 0.45, 0.1]
    """
    even = explore / len(p)
    mixed = [(1.0 - explore) * value + even for value in p]
    if least is None or all(value >= lowest for value, lowest in zip(mixed, least, strict=True)):
        return mixed
    floors = [max(even, lowest) for lowest in least]
    taken = sum(floors)
    if taken >= 1.0:
        return [lowest / taken for lowest in floors]
    above = [max(value - lowest, 0.0) for value, lowest in zip(mixed, floors, strict=True)]
    share = (1.0 - taken) / sum(above)
    return [lowest + share * value for lowest, value in zip(floors, above, strict=True)]

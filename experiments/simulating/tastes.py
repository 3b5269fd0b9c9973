"""What members would do: how likely each offer makes them convert, drawn anew for each world."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.simulating.environment import FloatArray, IntArray, Look
from experiments.simulating.members import spread_out


@dataclass(frozen=True, slots=True, kw_only=True)
class Tastes:
    """Standard deviations on the scale of log odds from which a world's effects are drawn.

    Attributes:
        base: share that converts without any offer.
        lift: mean effect of an offer.
        offer: how offers differ for everybody.
        common: effect of one feature (a number's slope, a level) under every offer alike.
        number: how a number's slope differs by offer.
        level: how a level's effect differs by offer.
        store: the same for levels of ``store``, and half of it in common.
        pair: how much the joint effect of a pair of features differs by offer.
    """

    base: float
    lift: float = 0.5
    offer: float = 0.4
    common: float = 0.4
    number: float = 0.5
    level: float = 0.5
    store: float = 0.0
    pair: float = 0.0


def log_odds(
    rng: np.random.Generator,
    tastes: Tastes,
    columns: Mapping[str, NDArray[Any]],
    features: Sequence[Look],
    pairs: Sequence[tuple[str, str]],
    offers: int,
) -> FloatArray:
    """Draw a world's effects and return the log odds of converting.

    The first variant gives nothing, so it has the common effects alone.

    Args:
        rng: where the effects come from.
        tastes: how large they are.
        columns: attribute → (n,) values.
        features: those that matter.
        pairs: pairs of them that matter together.
        offers: number of variants K.

    Returns:
        (n, K), shifted so that the first variant's mean rate is ``tastes.base``.
    """
    n = len(next(iter(columns.values())))
    eta = np.zeros((n, offers))
    eta[:, 1:] += tastes.lift + tastes.offer * rng.normal(size=offers - 1)
    parts = {look.attribute: _part(columns[look.attribute], look) for look in features}
    for look in features:
        part = parts[look.attribute]
        own = tastes.store if look.attribute == "store" else tastes.number if look.kind == "numeric" else tastes.level
        common = tastes.store / 2 if look.attribute == "store" else tastes.common
        eta += _effect(rng, part, common, own, offers)
    for first, second in pairs:
        eta += _effect(rng, _joint(parts[first], parts[second]), tastes.pair / 2, tastes.pair, offers)
    return eta + _shift(eta[:, 0], tastes.base)


def rate(eta: FloatArray) -> FloatArray:
    """Return the probability of log odds.

    >>> rate(np.array([0.0]))
    array([0.5])
    """
    return np.asarray(1.0 / (1.0 + np.exp(-eta)))


Part = tuple[FloatArray, IntArray, int]
"""A factor that multiplies, the level whose effect counts, and how many levels there are."""


def _part(column: NDArray[Any], look: Look) -> Part:
    if look.kind == "numeric":
        return spread_out(column, log=look.transform == "log"), np.zeros(len(column), dtype=np.intp), 1
    levels, index = np.unique(column.astype(str), return_inverse=True)
    return np.ones(len(column)), index, len(levels)


def _joint(one: Part, other: Part) -> Part:
    return one[0] * other[0], one[1] * other[2] + other[1], one[2] * other[2]


def _effect(rng: np.random.Generator, part: Part, common: float, own: float, offers: int) -> FloatArray:
    factor, index, levels = part
    effects = common * rng.normal(size=(levels, 1)) + own * rng.normal(size=(levels, offers)) * (np.arange(offers) > 0)
    return np.asarray(factor[:, None] * effects[index])


def _shift(eta: FloatArray, base: float) -> float:
    """Return what must be added for a mean rate of ``base``, by bisection."""
    low, high = -30.0, 30.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rate(eta + middle).mean() < base else (low, middle)
    return (low + high) / 2

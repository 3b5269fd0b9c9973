"""Members of a simulated shop, as they are at each decision."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.simulating.environment import FloatArray, IntArray

STAGES = ("new", "active", "loyal", "slipping", "dormant")
TIERS = ("bronze", "silver", "gold")
CHANNELS = ("app", "mini_program", "sms", "web")
RECENCY_DAYS = (5.0, 8.0, 6.0, 45.0, 150.0)
"""Usual days since the last order, by stage."""
ORDERS = (1.0, 3.0, 7.0, 1.5, 0.3)
"""Usual orders in the last quarter, by stage."""


def text(levels: tuple[str, ...], index: IntArray) -> NDArray[Any]:
    """Return levels as an object column.

    >>> text(("a", "b"), np.array([1, 0]))
    array(['b', 'a'], dtype=object)
    """
    return np.asarray(levels, dtype=object)[index]


def visits(
    rng: np.random.Generator, decisions: int, *, members: int = 4000, stores: int = 0, missing: float = 0.05
) -> tuple[IntArray, dict[str, NDArray[Any]]]:
    """Draw who comes, and what is known of them then.

    A member has a home stage, a tier, an age and (where asked for) a store, and is met in its home stage four times of
    five; days, orders and spend follow the stage.

    Args:
        rng: where randomness comes from.
        decisions: how many.
        members: how many there are; some come far more often than others.
        stores: number of stores, whose sizes fall as 1 / rank^0.8; 0 for none.
        missing: share of members whose age is not known.

    Returns:
        (n,) codes of members, and the columns.
    """
    activity = rng.gamma(1.0, size=members)
    unit = rng.choice(members, size=decisions, p=activity / activity.sum())
    home = rng.choice(len(STAGES), size=members, p=(0.15, 0.3, 0.2, 0.2, 0.15))
    tier = np.minimum(rng.geometric(0.6, size=members) - 1, 2)
    age = np.clip(rng.normal(36.0, 11.0, size=members), 16, 80).round()
    age[rng.random(members) < missing] = np.nan
    moved = rng.random(decisions) < 0.2
    stage = np.where(moved, rng.integers(len(STAGES), size=decisions), home[unit])
    columns: dict[str, NDArray[Any]] = {
        "stage": text(STAGES, stage),
        "tier": text(TIERS, tier[unit]),
        "channel": text(CHANNELS, rng.choice(len(CHANNELS), size=decisions, p=(0.4, 0.35, 0.15, 0.1))),
        "age": age[unit],
        "recency_days": rng.gamma(2.0, np.asarray(RECENCY_DAYS)[stage] / 2.0).round(1),
        "orders": rng.poisson(np.asarray(ORDERS)[stage]).astype(np.float64),
        "spend": np.exp(rng.normal(5.0 + 0.3 * tier[unit], 1.0, size=decisions)).round(2),
        "basket": rng.normal(0.0, 1.0, size=decisions).round(3),
    }
    if stores:
        size = np.arange(1, stores + 1) ** -0.8
        of_member = rng.choice(stores, size=members, p=size / size.sum())
        columns["store"] = np.asarray([f"s{index:03d}" for index in range(stores)], dtype=object)[of_member[unit]]
    return unit, columns


def spread_out(column: NDArray[Any], *, log: bool) -> FloatArray:
    """Return a number as tastes feel it: mean 0, sd 1, at most 3 either way; an unknown one is felt as usual.

    >>> spread_out(np.array([1.0, 3.0, np.nan]), log=False)
    array([-1.,  1.,  0.])
    """
    value = np.sign(column) * np.log1p(np.abs(column)) if log else column.astype(np.float64)
    centred = (value - np.nanmean(value)) / max(float(np.nanstd(value)), 1e-12)
    return np.asarray(np.clip(np.nan_to_num(centred), -3.0, 3.0))

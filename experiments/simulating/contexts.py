"""Members as numbers for learners that encode nothing themselves: the same columns that ours are given."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.simulating.environment import Environment, FloatArray, Look, World


def matrix(environment: Environment, world: World) -> FloatArray:
    """Return the design matrix of all decisions: an intercept, features, declared pairs.

    Numbers have mean 0 and sd 1 over all decisions (which a real learner would have to estimate), at most 6 either way,
    with an indicator where any is unknown; levels are indicators. A pair is the product of its parts' columns.

    Args:
        environment: whose features and pairs are meant.
        world: whose columns are read.

    Returns:
        (n, P).

    >>> from experiments.simulating.environments import ENVIRONMENTS
    >>> small = ENVIRONMENTS["offers"].resized(decisions=300)
    >>> matrix(small, small.world(1)).shape
    (300, 19)
    """
    parts = {look.attribute: _part(world.columns[look.attribute], look) for look in environment.features}
    n = len(world)
    blocks = [np.ones((n, 1)), *parts.values()]
    for first, second in environment.pairs:
        # An unknown number has no joint effect; its value column is 0 there already.
        one, other = (_values(parts[name], environment, name) for name in (first, second))
        blocks.append((one[:, :, None] * other[:, None, :]).reshape(n, -1))
    return np.concatenate(blocks, axis=1)


def _part(column: NDArray[Any], look: Look) -> FloatArray:
    if look.kind == "categorical":
        levels, index = np.unique(column.astype(str), return_inverse=True)
        return np.eye(len(levels))[index]
    value = np.sign(column) * np.log1p(np.abs(column)) if look.transform == "log" else column.astype(np.float64)
    unknown = np.isnan(value)
    scaled = np.clip((value - np.nanmean(value)) / max(float(np.nanstd(value)), 1e-12), -6.0, 6.0)
    columns = [np.nan_to_num(scaled)] + ([unknown.astype(np.float64)] if unknown.any() else [])
    return np.stack(columns, axis=1)


def _values(part: FloatArray, environment: Environment, name: str) -> FloatArray:
    kind = next(look.kind for look in environment.features if look.attribute == name)
    return part[:, :1] if kind == "numeric" else part

"""Chances to cross the bounds at each look, whatever the true effect."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.arrays import FloatArray, as_float
from stats.sequential.recursion import Inside, Walk, walk


@dataclass(frozen=True, slots=True, eq=False)
class Crossing:
    """Probabilities by drift and look; both shape (drift…, looks).

    Attributes:
        upper: to cross first at this look, upwards.
        lower: to cross first at this look, downwards.
    """

    upper: FloatArray
    lower: FloatArray


def crossing(information: npt.ArrayLike, bounds: npt.ArrayLike, drift: npt.ArrayLike = 0.0) -> Crossing:
    """Return the probability to cross first at each look, on each side.

    Args:
        information: share of the planned sample at each look, shape (looks,).
        bounds: of |Z|, shape (looks,).
        drift: mean of Z at t = 1: the effect over its standard error at the plan; any shape.

    >>> chance = crossing([0.5, 1.0], [2.7965, 1.9774], [0.0, 2.8])
    >>> (chance.upper + chance.lower).sum(axis=-1).round(4)
    array([0.05  , 0.7965])
    """
    share, limit, theta = as_float(information), as_float(bounds), as_float(drift)
    return crossing_of(walk(share, bounds=limit[None, :], largest_drift=float(np.abs(theta).max(initial=0.0))), theta)


def crossing_of(seen: Walk, drift: FloatArray) -> Crossing:
    """Return the same from a walk that was made before, with a ``largest_drift`` of at least ``drift``."""
    flat = np.atleast_1d(drift.ravel())
    sides = []
    for side in (1.0, -1.0):
        part = np.empty((flat.size, seen.steps.size))
        for k, (t, bound) in enumerate(zip(seen.steps, seen.bounds[0], strict=True)):
            repeated = t == (seen.steps[k - 1] if k else 0.0)
            part[:, k] = 0.0 if repeated else beyond(seen.before(k), float(t), np.full(flat.size, bound), side * flat)
        sides.append(part.reshape((*drift.shape, seen.steps.size)))
    return Crossing(*sides)


def beyond(inside: Inside | None, t: float, z: FloatArray, drift: FloatArray) -> FloatArray:
    """Return the probability to be inside until now and then at or beyond ``z``, upwards.

    Args:
        inside: the paths after the look before (a batch of one); ``None`` at the first look.
        t: share of the planned sample at this look.
        z: shape (n,).
        drift: shape (n,); its mirror image gives the downward side.
    """
    if inside is None:
        return np.asarray(special.ndtr(drift * np.sqrt(t) - z))
    step = t - inside.t
    scores, mass = inside.scores, inside.mass
    theta = drift[:, None]
    target = z[:, None] * np.sqrt(t) - theta * step
    weight = np.exp(theta * scores - theta**2 * inside.t / 2)
    mirrored = np.exp(-theta * scores - theta**2 * inside.t / 2)
    up = weight * special.ndtr((scores - target) / np.sqrt(step))
    up += mirrored * special.ndtr((-scores - target) / np.sqrt(step))
    return np.asarray((mass * up).sum(axis=1))

"""Assurance: the chance that a test will show a clear improvement, given how likely effects of each size are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stats.arrays import FloatArray, as_float
from stats.power.planned import Planned

NODES = 128


def assurance(
    test: Planned,
    n: npt.ArrayLike,
    mean: npt.ArrayLike,
    sd: npt.ArrayLike,
    alpha: npt.ArrayLike = 0.05,
) -> FloatArray:
    """Return the power for a significant increase, averaged over a normal prior of the effect.

    Unlike power at one hoped-for effect it cannot exceed the chance that there is an improvement at all.

    Args:
        test: the kind of comparison.
        n: units in control.
        mean: of the prior, in the metric's unit.
        sd: of the prior; effects that are not possible (a proportion beyond 1) count as none found.
        alpha: two-sided level.

    Source: O'Hagan, Stevens, Campbell (2005), Assurance in clinical trial design, Pharmaceutical Statistics 4, eq. 2.

    >>> from stats.power import Means
    >>> round(float(assurance(Means(sd=20.0), 5000, mean=1.0, sd=0.5)), 4)
    0.632
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    centre, spread, units, level = np.broadcast_arrays(as_float(mean), as_float(sd), as_float(n), as_float(alpha))
    effects = centre[..., None] + spread[..., None] * nodes
    shape = effects.shape
    above, _ = test.chances(effects, np.broadcast_to(units[..., None], shape), np.broadcast_to(level[..., None], shape))
    known = np.isnan(above).all(axis=-1)
    return np.where(known, np.nan, (np.where(np.isnan(above), 0.0, above) * weights).sum(axis=-1) / weights.sum())

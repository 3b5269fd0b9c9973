"""Whether members of one household, store or referral group were given different variants.

Where an offer is passed on, shown at the same till, or won for a friend, a unit's outcome depends on its neighbours'
variant too. Assigned one by one, both variants then get some of both, and the effect comes out too small (or of the
wrong sign, where they compete). Statistics cannot repair that afterwards; they can say how far it goes.

Reference:
    Hudgens, Halloran (2008), Toward causal inference with interference, JASA 103(482).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

WARN_ABOVE = 0.05
"""Share of units with a neighbour of another variant from which on a warning is due."""


@dataclass(frozen=True, slots=True)
class Mixing:
    """How far clusters are mixed.

    Attributes:
        clusters: with any unit.
        mixed: clusters with units of more than one variant.
        units: all units in clusters.
        exposed: units that share their cluster with a unit of another variant.
        neighbours: mean share, over exposed and not exposed units that have neighbours at all, of neighbours in another
            variant; ``None`` where no unit has one. Half of them at an even split is what assignment one by one gives.
    """

    clusters: int
    mixed: int
    units: int
    exposed: int
    neighbours: float | None

    @property
    def share_exposed(self) -> float | None:
        """Share of units with a neighbour of another variant."""
        return self.exposed / self.units if self.units else None

    @property
    def warns(self) -> bool:
        """Whether effects of an offer that works on whole clusters must be expected to be diluted."""
        return self.units > 0 and self.exposed / self.units > WARN_ABOVE


def mixing(counts: npt.ArrayLike) -> Mixing:
    """Return how far clusters are mixed.

    Args:
        counts: units of each cluster in each variant, shape (clusters, variants).

    Raises:
        ValueError: the shape is another, or a count is negative.

    >>> found = mixing([[3, 0], [0, 2], [2, 2], [1, 0]])
    >>> found.mixed, found.exposed, found.units, found.warns
    (1, 4, 10, True)
    >>> mixing([[5, 0], [0, 4]]).warns
    False
    """
    table = np.asarray(counts, dtype=np.int64)
    if table.ndim != 2 or (table < 0).any():
        raise ValueError("counts must have shape (clusters, variants) and not be negative")
    size = table.sum(axis=1)
    mixed = (table > 0).sum(axis=1) > 1
    others = size[:, None] - table
    lonely = size < 2
    paired = int(size[~lonely].sum())
    shares = (table * others)[~lonely].sum(axis=1) / (size[~lonely] - 1)
    return Mixing(
        clusters=int((size > 0).sum()),
        mixed=int(mixed.sum()),
        units=int(size.sum()),
        exposed=int(size[mixed].sum()),
        neighbours=float(shares.sum() / paired) if paired else None,
    )

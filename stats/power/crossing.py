"""When does a watched test cross its bounds, and on which side? For any effect, from one recursion over the looks.

``stats.sequential.recursion`` walks the paths once; planning asks for many effects.

Reference:
    Jennison, Turnbull (2000), Group sequential methods with applications to clinical trials, chapter 19.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.arrays import FloatArray, as_float, divide
from stats.sequential.crossing import crossing_of
from stats.sequential.recursion import Walk, walk

LARGEST_DRIFT = 12.0
"""Expected z at the plan's end beyond which every test is certain to stop."""


@dataclass(frozen=True, slots=True, eq=False)
class Crossing:
    """Symmetric two-sided bounds at a row of looks, and the paths between them.

    Attributes:
        information: share of the plan at each look, increasing, shape (looks,).
        bounds: |z| at or beyond which the test stops, shape (looks,); infinite where nothing can stop it.
        walk: what the recursion found.
    """

    information: FloatArray
    bounds: FloatArray
    walk: Walk

    @classmethod
    def of(cls, bounds: npt.ArrayLike, information: npt.ArrayLike) -> Crossing:
        """Run the recursion.

        Raises:
            ValueError: information does not increase, or a bound is not positive.

        >>> pocock = Crossing.of([2.413] * 5, [0.2, 0.4, 0.6, 0.8, 1.0])
        >>> round(float(sum(pocock.stopped(0.0))), 4)
        0.05
        """
        limit, times = np.broadcast_arrays(as_float(bounds), as_float(information))
        if limit.ndim != 1 or (np.diff(times, prepend=0.0) <= 0).any() or not (limit > 0).all():
            raise ValueError("looks need increasing information and positive bounds")
        return cls(times, limit, walk(times, bounds=limit[None, :], largest_drift=LARGEST_DRIFT))

    def exits(self, drift: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Return the probabilities of stopping above and below at each look, shapes (…, looks).

        Args:
            drift: expected z at information 1; beyond ±12 it counts as that.
        """
        found = crossing_of(self.walk, np.clip(as_float(drift), -LARGEST_DRIFT, LARGEST_DRIFT))
        return found.upper, found.lower

    def stopped(self, drift: npt.ArrayLike) -> FloatArray:
        """Return the probability of stopping at each look, on either side, shape (…, looks)."""
        above, below = self.exits(drift)
        return above + below

    def information_used(self, drift: npt.ArrayLike) -> FloatArray:
        """Return the expected share of the plan at which the test stops; the plan's end where it never crosses."""
        stops = self.stopped(drift)
        end = self.information[-1]
        return np.asarray((stops * self.information).sum(axis=-1) + (1 - stops.sum(axis=-1)) * end)

    def inflation(self, alpha: float, power: float = 0.8) -> float:
        """Return how many times a fixed test's units this one needs for the same power at the plan's end.

        >>> round(Crossing.of([2.413] * 5, np.arange(1, 6) / 5).inflation(0.05), 3)
        1.228
        """
        low, high = 0.0, LARGEST_DRIFT
        for _ in range(50):
            middle = (low + high) / 2
            enough = float(self.exits(middle)[0].sum()) >= power
            low, high = (low, middle) if enough else (middle, high)
        fixed = float(-special.ndtri(alpha / 2) + special.ndtri(power))
        return float(divide(((low + high) / 2) ** 2, fixed**2))

"""Repeated waves of one test, pooled by random effects: what differs from wave to wave does not shrink with units.

References:
    Hedges, Pigott (2001), The power of statistical tests in meta-analysis, Psychological Methods 6, eq. 10.
    Hartung, Knapp (2001), A refined method for the meta-analysis of controlled clinical trials, Statistics in
    Medicine 20 (Student's distribution with waves − 1 degrees of freedom).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stats.arrays import FloatArray, as_float, divide
from stats.power.planned import Around, Statistic


@dataclass(frozen=True, slots=True)
class Waves(Around):
    """A test repeated in waves of equal size; ``n`` is control's units of all waves together.

    Attributes:
        test: the comparison in one wave.
        waves: how many.
        spread: standard deviation of the true effect between waves, in the effect's unit.

    >>> from stats.power import Means, power
    >>> one = Means(sd=45.0)
    >>> [round(float(power(Waves(one, 6, spread), 2.0, 12_000)), 2) for spread in (0.0, 1.0, 2.0)]
    [0.78, 0.62, 0.37]
    """

    waves: npt.ArrayLike
    spread: npt.ArrayLike = 0.0

    def statistic(self, effect: FloatArray, n: FloatArray) -> Statistic:
        """Return the pooled estimate's statistic (a single wave keeps its own degrees of freedom)."""
        inner = self.test.statistic(effect, n)
        waves = as_float(self.waves)
        between = divide(np.square(as_float(self.spread)), waves * np.square(inner.std_error))
        return inner.widened(np.sqrt(1 + between), np.where(waves > 1, waves - 1, inner.df))

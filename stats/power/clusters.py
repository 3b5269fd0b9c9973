"""Whole clusters (stores, referral groups) get one variant: units of a cluster tell less than as many strangers.

References:
    Donner, Klar (2000), Design and analysis of cluster randomization trials in health research, chapter 5.
    Eldridge, Ashby, Kerry (2006), Sample size for cluster randomized trials: effect of coefficient of variation of
    cluster size and analysis method, International Journal of Epidemiology 35, eq. 3 (unequal sizes).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stats.arrays import FloatArray, as_float
from stats.power.planned import Around, Statistic


def design_effect(size: npt.ArrayLike, icc: npt.ArrayLike, cv: npt.ArrayLike = 0.0) -> FloatArray:
    """Return by how much clusters multiply the variance: 1 + ((1 + cv²)·size − 1)·icc.

    Args:
        size: mean units of a cluster.
        icc: intracluster correlation, 0 to 1.
        cv: coefficient of variation (sd over mean) of the clusters' sizes; units are weighted alike in the analysis.

    >>> float(design_effect(50, 0.02)), round(float(design_effect(50, 0.02, 0.6)), 3)
    (1.98, 2.34)
    """
    return 1 + ((1 + np.square(as_float(cv))) * as_float(size) - 1) * as_float(icc)


@dataclass(frozen=True, slots=True)
class Clustered(Around):
    """A test whose units come in clusters that were randomised whole; few clusters get few degrees of freedom.

    Attributes:
        test: the comparison of units; its ``n`` stays units of control.
        size: mean units of a cluster.
        icc: intracluster correlation.
        cv: coefficient of variation of cluster sizes.

    >>> from stats.power import Proportions, sample_size
    >>> stores = Clustered(Proportions(0.05), size=200, icc=0.01)
    >>> n = float(sample_size(stores, 0.01))
    >>> round(n / 200)  # stores in control
    123
    """

    size: npt.ArrayLike
    icc: npt.ArrayLike
    cv: npt.ArrayLike = 0.0

    def statistic(self, effect: FloatArray, n: FloatArray) -> Statistic:
        """Return the test's statistic with wider errors, and clusters less two as degrees of freedom."""
        inner = self.test.statistic(effect, n)
        clusters = n * (1 + as_float(self.ratio)) / as_float(self.size)
        df = np.where(clusters >= 3, np.minimum(clusters - 2, inner.df), np.nan)
        return inner.widened(np.sqrt(design_effect(self.size, self.icc, self.cv)), df)

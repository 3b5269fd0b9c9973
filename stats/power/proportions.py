"""Planned comparisons of two proportions: the pooled z test that reports use, or Cohen's arcsine for reference.

References:
    Fleiss, Levin, Paik (2003), Statistical methods for rates and proportions, 3rd ed., eq. 4.14 and 4.17.
    Cohen (1988), Statistical power analysis for the behavioral sciences, 2nd ed., section 6 (arcsine).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from stats.arrays import FloatArray, as_float, divide, root
from stats.power.planned import Planned, Statistic


@dataclass(frozen=True, slots=True)
class Proportions(Planned):
    """Two proportions; effects are differences of proportions.

    Attributes:
        baseline: control's proportion.
        ratio: the variant's units for each of control's.
        reduction: share of variance that covariates remove; the unpooled variance is taken then, as reports do.
        method: ``score`` (pooled standard error, as reports do), ``wald`` (unpooled, as sequential reports do),
            ``arcsine``.

    >>> from stats.power import mde, sample_size
    >>> round(float(sample_size(Proportions(0.05), 0.005)))
    31233
    >>> round(float(mde(Proportions(0.05), 20_000)), 5)
    0.00628
    """

    baseline: npt.ArrayLike
    ratio: npt.ArrayLike = 1.0
    reduction: npt.ArrayLike = 0.0
    method: Literal["score", "wald", "arcsine"] = "score"

    def statistic(self, effect: FloatArray, n: FloatArray) -> Statistic:
        """Return the distribution of the z statistic."""
        p0, share = as_float(self.baseline), as_float(self.ratio)
        p1 = p0 + effect
        possible = (p0 >= 0) & (p0 <= 1) & (p1 >= 0) & (p1 <= 1) & (n > 0)
        p0, p1 = np.where(possible, p0, np.nan), np.where(possible, p1, np.nan)
        if self.method == "arcsine":
            distance = 2 * (np.arcsin(root(p1)) - np.arcsin(root(p0)))
            return Statistic.of(distance, divide(1.0, root(n * share / (1 + share))))
        kept = 1 - as_float(self.reduction)
        own = root(kept * (p0 * (1 - p0) / n + p1 * (1 - p1) / (n * share)))
        pooled = (p0 + share * p1) / (1 + share)
        null = root(pooled * (1 - pooled) * (1 / n + 1 / (n * share)))
        test_error = np.where((self.method == "wald") | (kept < 1), own, null)
        # Where nothing can vary (0 % against 0 %) there is nothing to find.
        test_error = np.where(test_error > 0, test_error, np.nan)
        return Statistic.of(effect, test_error, np.maximum(divide(own, test_error), 1e-12))

    def most(self, sign: FloatArray) -> FloatArray:
        """Return the way from the baseline to 1, or to 0 for a decrease."""
        p0 = as_float(self.baseline)
        return np.asarray(np.where(np.asarray(sign) < 0, p0, 1 - p0))

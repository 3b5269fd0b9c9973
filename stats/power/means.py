"""Planned comparisons of means, ratios of sums, adjusted means and quantiles: whatever has a standard deviation.

References:
    Cohen (1988), Statistical power analysis for the behavioral sciences, 2nd ed., section 2.
    Welch (1947), Biometrika 34 (degrees of freedom under unequal variances and sizes).
    Deng, Knoblich, Lu (2018), Applying the delta method in metric analytics, KDD (ratios).
    Deng, Xu, Kohavi, Walker (2013), Improving the sensitivity of online controlled experiments, WSDM (CUPED).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from stats.arrays import FloatArray, as_float, divide, root
from stats.power.planned import Planned, Statistic
from stats.samples import Sample

Freedom = Literal["welch", "pooled", "normal"]


@dataclass(frozen=True, slots=True)
class Means(Planned):
    """Two means compared by t (or z).

    Attributes:
        sd: standard deviation of one unit in control; for a ratio of sums that of its linearised contribution.
        sd_variant: the variant's, by default control's.
        ratio: the variant's units for each of control's.
        reduction: share of variance that covariates remove (CUPED): 0.3 leaves 70 %.
        freedom: ``welch`` as reports do, ``pooled`` (n₀ + n₁ − 2) as textbooks do, ``normal`` for z.

    >>> from stats.power import sample_size
    >>> round(float(sample_size(Means(sd=45.0), 2.0)))
    7948
    >>> round(float(sample_size(Means(sd=45.0, reduction=0.3), 2.0)))
    5564
    """

    sd: npt.ArrayLike
    sd_variant: npt.ArrayLike | None = None
    ratio: npt.ArrayLike = 1.0
    reduction: npt.ArrayLike = 0.0
    freedom: Freedom = "welch"

    @classmethod
    def of(cls, sample: Sample, ratio: npt.ArrayLike = 1.0) -> Means:
        """Plan with what a sample (mean, ratio, adjusted) showed: ``stats.samples``, ``stats.adjustment``."""
        return cls(root(sample.variance), ratio=ratio)

    def statistic(self, effect: FloatArray, n: FloatArray) -> Statistic:
        """Return the distribution of the t statistic."""
        share, kept = as_float(self.ratio), 1 - as_float(self.reduction)
        own = np.square(as_float(self.sd)) * kept
        other = own if self.sd_variant is None else np.square(as_float(self.sd_variant)) * kept
        control, variant = divide(own, n), divide(other, n * share)
        squared = np.where(control + variant > 0, control + variant, np.nan)
        df: FloatArray = np.full(squared.shape, np.inf)
        if self.freedom == "pooled":
            df = n * (1 + share) - 2
        elif self.freedom == "welch":
            below = divide(np.square(control), n - 1) + divide(np.square(variant), n * share - 1)
            df = divide(np.square(squared), below)
        enough = (n > 1) & (n * share > 1)
        return Statistic.of(effect, root(np.where(enough, squared, np.nan)), df=np.where(df >= 1, df, np.nan))


def ratio_sd(
    mean: npt.ArrayLike,
    mean_per: npt.ArrayLike,
    sd: npt.ArrayLike,
    sd_per: npt.ArrayLike,
    correlation: npt.ArrayLike = 0.0,
) -> FloatArray:
    """Return the standard deviation of one unit's contribution to a ratio of sums, for ``Means``.

    Args:
        mean: of the numerator per unit.
        mean_per: of the denominator per unit.
        sd: of the numerator.
        sd_per: of the denominator.
        correlation: of the two over units.

    Source: Deng, Knoblich, Lu (2018), eq. 3: Var((x − r·y)/ȳ).

    >>> round(float(ratio_sd(0.5, 4.0, 0.8, 3.0, 0.6)), 4)
    0.1621
    """
    r = divide(mean, mean_per)
    x, y = as_float(sd), as_float(sd_per)
    return divide(root(x**2 - 2 * r * as_float(correlation) * x * y + r**2 * y**2), np.abs(as_float(mean_per)))


def quantile_sd(quantile: npt.ArrayLike, density: npt.ArrayLike) -> FloatArray:
    """Return the standard deviation that makes ``Means`` plan for a quantile: √(q(1 − q)) / density at it.

    Args:
        quantile: such as 0.9.
        density: of the metric's distribution at that quantile, in 1 / unit of the metric.

    Source: Serfling (1980), Approximation theorems of mathematical statistics, section 2.3.3.

    >>> round(float(quantile_sd(0.5, 0.3989423)), 4)  # the median of a standard normal
    1.2533
    """
    q = as_float(quantile)
    return divide(root(q * (1 - q)), density)

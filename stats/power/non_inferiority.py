"""Planned guardrails: how many units prove "not worse than the margin", and which margin can be proved at all.

``effect`` is how much better the variant truly is (in the metric's unit, positive is better whatever its direction);
0, "just as good", is what guardrails are planned for. Each side is held at alpha/2, so that it agrees with the
1 − alpha interval, as ``stats.effects.non_inferiority`` does.

References:
    Farrington, Manning (1990), Planned statistics and sample size formulae for comparative binomial trials, Statistics
    in Medicine 9, eq. 4 (standard error at the margin under the null, spread under the alternative).
    Julious (2004), Sample sizes for clinical trials with normal data, Statistics in Medicine 23 (means, equivalence).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.arrays import FloatArray, as_float, divide, root
from stats.distributions import t_critical
from stats.effects.non_inferiority import Direction
from stats.effects.score import score_variance_of_difference, score_variance_of_ratio
from stats.power.means import Means
from stats.power.planned import Planned, Statistic
from stats.power.solving import mde

CHI_NODES = 64


@dataclass(frozen=True, slots=True)
class NonInferiority(Planned):
    """A mean, ratio or adjusted one that must not be worse by a margin.

    Attributes:
        means: how the metric varies and how units are shared out.
        margin: accepted worsening, positive: in the metric's unit, or as a share of ``baseline``.
        baseline: control's mean; needed for a relative margin, whose limit then varies with control's own estimate.
        direction: which way is better.

    >>> from stats.power import sample_size
    >>> guardrail = NonInferiority(Means(sd=45.0), margin=0.10, baseline=12.3)
    >>> round(float(sample_size(guardrail, 0.0)))
    19016
    """

    means: Means
    margin: npt.ArrayLike
    baseline: npt.ArrayLike | None = None
    direction: Direction = "increase"

    @property
    def sides(self) -> int:  # type: ignore[override]
        """1: only "kept" is planned for."""
        return 1

    @property
    def ratio(self) -> npt.ArrayLike:  # type: ignore[override]
        """The variant's units for each of control's."""
        return self.means.ratio

    def statistic(self, effect: FloatArray, n: FloatArray) -> Statistic:
        """Return the statistic of the estimate's distance from the margin."""
        margin, weight = as_float(self.margin), as_float(1.0)
        if self.baseline is not None:
            weight = 1 - margin if self.direction == "increase" else 1 + margin
            margin = margin * np.abs(as_float(self.baseline))
        other = self.means.sd if self.means.sd_variant is None else self.means.sd_variant
        weighted = Means(
            as_float(self.means.sd) * weight, other, self.means.ratio, self.means.reduction, self.means.freedom
        )
        return weighted.statistic(effect + margin, n)


@dataclass(frozen=True, slots=True)
class NonInferiorityOfProportions(Planned):
    """A proportion that must not be worse by a margin (score test at the margin).

    Attributes:
        baseline: control's proportion.
        margin: accepted worsening, positive: a difference of proportions, or a share of the baseline.
        relative: whether the margin is a share.
        direction: which way is better.
        ratio: the variant's units for each of control's.

    >>> from stats.power import sample_size
    >>> unsubscribe = NonInferiorityOfProportions(0.008, 0.3, relative=True, direction="decrease")
    >>> round(float(sample_size(unsubscribe, 0.0)))
    28407
    """

    baseline: npt.ArrayLike
    margin: npt.ArrayLike
    relative: bool = False
    direction: Direction = "increase"
    ratio: npt.ArrayLike = 1.0

    @property
    def sides(self) -> int:  # type: ignore[override]
        """1: only "kept" is planned for."""
        return 1

    def statistic(self, effect: FloatArray, n: FloatArray) -> Statistic:
        """Return the score statistic of the distance from the margin."""
        sign = 1.0 if self.direction == "increase" else -1.0
        p0, margin, share = as_float(self.baseline), as_float(self.margin), as_float(self.ratio)
        p0, p1, n0, margin, share = np.broadcast_arrays(p0, p0 + sign * effect, n, margin, share)
        limit = p0 * (1 - sign * margin) if self.relative else p0 - sign * margin
        # Rounding must not make a proportion of the largest effect there can be impossible.
        p1 = np.where(np.abs(p1 - np.clip(p1, 0, 1)) < 1e-12, np.clip(p1, 0, 1), p1)
        possible = (p0 > 0) & (p0 < 1) & (p1 >= 0) & (p1 <= 1) & (limit >= 0) & (limit <= 1) & (n0 > 0)
        p0, p1, n0 = (np.where(possible, part, fallback) for part, fallback in ((p0, 0.5), (p1, 0.5), (n0, 10.0)))
        n1 = n0 * share
        weight = 1 - sign * margin if self.relative else np.ones(margin.shape)
        if self.relative:
            null = score_variance_of_ratio(n0 * p0, n0, n1 * p1, n1, np.maximum(weight, 1e-9))
        else:
            null = score_variance_of_difference(n0 * p0, n0, n1 * p1, n1, -sign * margin)
        own = p1 * (1 - p1) / n1 + np.square(weight) * p0 * (1 - p0) / n0
        distance = sign * (p1 - (weight * p0 if self.relative else p0 - sign * margin))
        error = root(np.where(possible & (null > 0), null, np.nan))
        return Statistic.of(np.where(possible, distance, np.nan), error, np.maximum(divide(root(own), error), 1e-12))

    def most(self, sign: FloatArray) -> FloatArray:
        """Return the way from the baseline to 1 or 0."""
        p0 = as_float(self.baseline)
        upwards = (np.asarray(sign) > 0) == (self.direction == "increase")
        return np.asarray(np.where(upwards, 1 - p0, p0))


@dataclass(frozen=True, slots=True)
class Equivalence(Planned):
    """Two one-sided tests: the difference of means is proved to lie within ± ``margin``, each side at alpha/2.

    The two statistics share one standard error; its own randomness is integrated out, so the power is exact for normal
    data with equal variances.

    >>> from stats.power import power
    >>> both = Equivalence(Means(sd=1.0, freedom="pooled"), margin=0.5)
    >>> power(both, [0.0, 0.2], 60, alpha=0.1).round(4)
    array([0.719 , 0.4805])
    """

    means: Means
    margin: npt.ArrayLike

    @property
    def sides(self) -> int:  # type: ignore[override]
        """1: there is only "proved"."""
        return 1

    @property
    def ratio(self) -> npt.ArrayLike:  # type: ignore[override]
        """The variant's units for each of control's."""
        return self.means.ratio

    def statistic(self, effect: FloatArray, n: FloatArray) -> Statistic:
        """Return the statistic against the nearer limit."""
        return self.means.statistic(as_float(self.margin) - np.abs(effect), n)

    def chances(self, effect: FloatArray, n: FloatArray, alpha: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the probability that both one-sided tests reject, and 0."""
        centre = self.means.statistic(np.broadcast_to(as_float(effect), np.shape(n)), n)
        shift, margin = centre.drift, divide(self.margin, centre.std_error)
        critical = t_critical(centre.df, alpha / 2)
        nodes, weights = np.polynomial.legendre.leggauss(CHI_NODES)
        share = (nodes + 1) / 2
        df = np.where(np.isinf(centre.df), 1e12, centre.df)[..., None]
        scale = np.sqrt(special.chdtri(df, 1 - share) / df)  # estimated over true standard error, at equal chances
        room = np.maximum(margin[..., None] - critical[..., None] * scale, 0.0)
        inside = special.ndtr(room - shift[..., None]) - special.ndtr(-room - shift[..., None])
        chance = (inside * weights / 2).sum(axis=-1)
        return chance, np.zeros(np.shape(chance))


def smallest_margin(
    test: Means, n: npt.ArrayLike, power: npt.ArrayLike = 0.8, alpha: npt.ArrayLike = 0.05
) -> FloatArray:
    """Return the smallest margin that ``n`` units in control prove for a variant that is just as good.

    >>> round(float(smallest_margin(Means(sd=45.0), 20_000)), 3)
    1.261
    """
    return mde(test, n, power, alpha)

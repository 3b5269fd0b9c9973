"""What every kind of planned comparison is: a statistic whose place and spread follow from the effect and the units."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.arrays import FloatArray, as_float, divide
from stats.distributions import t_critical


@dataclass(frozen=True, slots=True, eq=False)
class Statistic:
    """How a test's statistic is distributed under an effect; all arrays have one shape, NaN where there is none.

    Attributes:
        distance: of the expected estimate from the null value: the effect, or its distance from a margin.
        std_error: the one that the test divides by.
        spread: the statistic's standard deviation; 1 except where the test takes its standard error under the null.
        df: degrees of freedom, ``numpy.inf`` for the normal distribution.
    """

    distance: FloatArray
    std_error: FloatArray
    spread: FloatArray
    df: FloatArray

    @classmethod
    def of(
        cls,
        distance: npt.ArrayLike,
        std_error: npt.ArrayLike,
        spread: npt.ArrayLike = 1.0,
        df: npt.ArrayLike = np.inf,
    ) -> Statistic:
        """Build from arrays that broadcast."""
        parts = (as_float(distance), as_float(std_error), as_float(spread), as_float(df))
        return cls(*(np.array(part) for part in np.broadcast_arrays(*parts)))

    @property
    def drift(self) -> FloatArray:
        """Where the statistic is expected: distance over standard error."""
        return divide(self.distance, self.std_error)

    @property
    def mirrored(self) -> Statistic:
        """The statistic of the opposite effect."""
        return Statistic(-self.distance, self.std_error, self.spread, self.df)

    def widened(self, factor: npt.ArrayLike, df: npt.ArrayLike) -> Statistic:
        """Return it with the standard error multiplied and other degrees of freedom."""
        return Statistic.of(self.distance, self.std_error * as_float(factor), self.spread, df)

    def beyond(self, critical: npt.ArrayLike) -> FloatArray:
        """Return P(statistic > ``critical``): noncentral t, or normal where ``df`` is infinite.

        With a finite ``df`` the spread is taken into the noncentrality.

        >>> Statistic.of(2.8, 1.0, df=[np.inf, 20]).beyond(2.0).round(4)
        array([0.7881, 0.7844])
        """
        limit = as_float(critical)
        infinite = np.isinf(self.df)
        student = special.nctdtr(np.where(infinite, 1.0, self.df), -self.drift / self.spread, -limit / self.spread)
        # Where the probability is below some 1e-18 the library's series gives up.
        student = np.where(np.isnan(student) & (self.drift < limit), 0.0, student)
        return np.asarray(np.where(infinite, special.ndtr((self.drift - limit) / self.spread), student))


class Planned(ABC):
    """One kind of planned comparison of control with a variant.

    ``n`` is the units of control; the variant has ``ratio`` times as many. ``sides`` is 2 for "is there an effect?"
    (alpha/2 a side), 1 for a margin (alpha/2 as well, so that it agrees with the 1 − alpha interval: see
    ``stats.effects.non_inferiority``).
    """

    sides: int = 2
    ratio: npt.ArrayLike

    @abstractmethod
    def statistic(self, effect: FloatArray, n: FloatArray) -> Statistic:
        """Return the distribution of the statistic under ``effect`` with ``n`` units in control."""

    def chances(self, effect: FloatArray, n: FloatArray, alpha: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the probabilities of a significant increase and of a significant decrease."""
        found = self.statistic(effect, n)
        critical = t_critical(found.df, alpha / 2)
        above = found.beyond(critical)
        return above, found.mirrored.beyond(critical)

    def most(self, sign: FloatArray) -> FloatArray:
        """Return the largest effect there can be in the direction of ``sign``, as an amount; infinite by default."""
        return np.full(np.shape(sign), np.inf)


@dataclass(frozen=True, slots=True)
class Around(Planned):
    """A test of another design around a plain one, which keeps the plain test's sides, split and largest effect.

    Attributes:
        test: the plain comparison.
    """

    test: Planned

    @property
    def sides(self) -> int:  # type: ignore[override]
        """Those of the test."""
        return self.test.sides

    @property
    def ratio(self) -> npt.ArrayLike:  # type: ignore[override]
        """That of the test."""
        return self.test.ratio

    def most(self, sign: FloatArray) -> FloatArray:
        """Return the test's."""
        return self.test.most(sign)

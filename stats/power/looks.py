"""Planned tests that are watched: group sequential with a plan, always-valid with or without one.

The watched statistic is the unpooled z, as in reports; its crossing probability is computed by quadrature (see
``stats.power.crossing``), not simulated. What the approximation leaves out: looks are evenly spaced in units, and the
standard error is taken as known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stats.arrays import FloatArray, as_float
from stats.power.crossing import Crossing
from stats.power.planned import Around, Statistic
from stats.sequential import rho2


def always_valid_bounds(information: npt.ArrayLike, alpha: float = 0.05, *, n_star: npt.ArrayLike = 1.0) -> FloatArray:
    """Return the |z| at which the normal mixture's always-valid p falls to alpha, at each look.

    Args:
        information: units at each look, as a share of the plan.
        alpha: of all looks together.
        n_star: share of the plan at which the band is narrowest.

    Source: see ``stats.sequential.mixture_band``.

    >>> always_valid_bounds([0.1, 0.5, 1.0]).round(3)
    array([3.855, 3.084, 3.035])
    """
    share = as_float(information) * rho2(n_star, alpha)
    return np.asarray(np.sqrt((1 + share) / share * (np.log1p(share) - 2 * np.log(alpha))))


@dataclass(frozen=True, slots=True)
class Looks(Around):
    """A test that stops at the first look at which it crosses its bounds; ``n`` is control's units at the plan's end.

    Attributes:
        test: the comparison at a single look; give ``Proportions`` ``method="wald"``, as sequential reports use.
        crossing: the looks and their bounds.
        n_star: for always-valid inference without a plan: units of *control* at which the band is narrowest. The
            bounds then depend on n and are made anew.
        alpha: level that the bounds were made for.

    >>> from stats.power import Means, power
    >>> looks = np.arange(1, 101) / 100
    >>> watched = Looks(Means(sd=20.0), Crossing.of(always_valid_bounds(looks), looks))
    >>> round(float(power(watched, 1.0, 6280)), 3)
    0.522
    """

    crossing: Crossing
    alpha: float = 0.05
    n_star: float | None = None

    def statistic(self, effect: FloatArray, n: FloatArray) -> Statistic:
        """Return the statistic at the plan's end."""
        return self.test.statistic(effect, n)

    def chances(self, effect: FloatArray, n: FloatArray, alpha: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the probabilities of stopping above and below.

        Raises:
            ValueError: ``alpha`` is not the level that the bounds were made for.
        """
        if (np.abs(alpha - self.alpha) > 1e-12).any():
            raise ValueError(f"the bounds of the looks were made for alpha {self.alpha:g}")
        drift = self.statistic(effect, n).drift
        if self.n_star is None:
            above, below = self.crossing.exits(drift)
            return above.sum(axis=-1), below.sum(axis=-1)
        shape = np.broadcast_shapes(drift.shape, np.shape(n))
        flat, units = np.broadcast_to(drift, shape).ravel(), np.broadcast_to(n, shape).ravel()
        sums = np.full((2, flat.size), np.nan)
        for size in np.unique(units):
            same = units == size
            sums[:, same] = [part.sum(axis=-1) for part in self.at(float(size)).exits(flat[same])]
        return sums[0].reshape(shape), sums[1].reshape(shape)

    def at(self, n: float) -> Crossing:
        """Return the bounds of a plan of ``n`` units in control."""
        if self.n_star is None:
            return self.crossing
        times = self.crossing.information
        return Crossing.of(always_valid_bounds(times, self.alpha, n_star=self.n_star / n), times)

    def expected_share(self, effect: npt.ArrayLike, n: npt.ArrayLike) -> FloatArray:
        """Return the expected share of the planned units at which the test stops."""
        change, units = np.broadcast_arrays(as_float(effect), as_float(n))
        drift = self.statistic(change, units).drift
        if self.n_star is None:
            return self.crossing.information_used(drift)
        cells = [self.at(float(size)).information_used(d) for size, d in zip(units.flat, drift.flat, strict=True)]
        return np.asarray(cells, dtype=np.float64).reshape(np.shape(drift))

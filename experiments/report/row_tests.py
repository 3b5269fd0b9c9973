"""Ranks and the bootstrap in the scorecard: what needs the values of all units, at a fixed horizon.

Ranks ask how likely a unit of the variant has more than one of control (one half means neither); the bootstrap compares
means without taking them for normal. Both are read once, at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from experiments.measure.histograms import Histogram
from experiments.report.measured import Measured, MetricSpec
from stats.effects.result import Effect
from stats.ranks import share_above
from stats.resampling import bootstrap
from stats.samples import Sample
from stats.why import Why

SEED = 20_260_301
MOST_RESAMPLED = 100_000
"""Units of a variant; where there are more, the mean's own interval is as good."""
HALF = 0.5


@dataclass(frozen=True, kw_only=True)
class MeasuredRows(Measured):
    """A metric that is compared by its units' values; ``sample`` gives the variants' own figures."""

    histograms: tuple[Histogram, ...]
    """In the order of the variants."""
    made: dict[tuple[str, int, float], Effect] = field(default_factory=dict)
    """Comparisons already made."""

    def effect(self, alpha: npt.ArrayLike) -> Effect:
        """Return variant − control for every variant but control."""
        compare = self._ranks if self.method == "brunner_munzel" else self._bootstrapped
        return self._each("effect", compare, alpha)

    def relative(self, alpha: npt.ArrayLike) -> Effect:
        """Return the effects as shares of control's mean; of ranks there are none."""
        if self.method == "bootstrap_bca":
            return self._each("relative", self._bootstrapped_relative, alpha)
        nothing = np.full((len(self.variants),), np.nan)
        why = np.full(nothing.shape, int(Why.NO_RELATIVE), dtype=np.int64)
        return Effect(nothing, nothing, nothing, nothing, nothing, nothing, why)

    def _each(self, what: str, compare: Callable[[int, float], Effect], alpha: npt.ArrayLike) -> Effect:
        levels = np.broadcast_to(np.asarray(alpha, dtype=np.float64), (len(self.variants),)).tolist()
        found = []
        for place, level in zip(self.variants, levels, strict=True):
            key = (what, place, level)
            if key not in self.made:
                self.made[key] = compare(place, level)
            found.append(self.made[key])
        names = ("estimate", "std_error", "df", "ci_low", "ci_high", "p_value", "why")
        return Effect(*(np.array([np.asarray(getattr(e, name)).item() for e in found]) for name in names))

    def _ranks(self, place: int, alpha: float) -> Effect:
        return _share_above(self.histograms[self.control], self.histograms[place], alpha)

    def _bootstrapped(self, place: int, alpha: float, *, relative: bool = False) -> Effect:
        control, variant = self.histograms[self.control].units, self.histograms[place].units
        return bootstrap(control, variant, _means, seed=SEED, alpha=alpha, relative=relative)

    def _bootstrapped_relative(self, place: int, alpha: float) -> Effect:
        return self._bootstrapped(place, alpha, relative=True)


def measure_rows(
    spec: MetricSpec, histograms: tuple[Histogram, ...], method: Literal["brunner_munzel", "bootstrap_bca"]
) -> MeasuredRows:
    """Return a metric as the scorecard compares it.

    Args:
        spec: the metric.
        histograms: of its column, by variant, control first.
        method: ranks, where a variant's figure is how likely one of its units has more than one of control; or the
            bootstrap, where it is the mean.
    """
    sample = _ranked(histograms) if method == "brunner_munzel" else _of_means(histograms)
    return MeasuredRows(spec, sample, sample, 0, method, histograms=histograms)


def _share_above(control: Histogram, variant: Histogram, alpha: float) -> Effect:
    return share_above(
        control.values, variant.values, alpha, control_counts=control.counts, variant_counts=variant.counts
    )


def _means(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(rows.mean(axis=-1))


def _ranked(histograms: tuple[Histogram, ...]) -> Sample:
    sample = _of_means(histograms)
    mean, variance, why = sample.mean.copy(), sample.variance.copy(), sample.why.copy()
    for place, histogram in enumerate(histograms):
        found = _share_above(histograms[0], histogram, 0.05)
        mean[place] = HALF + float(found.estimate) if place else (HALF if histogram.n else np.nan)
        variance[place] = float(found.std_error) ** 2 * histogram.n if place else 0.0
        why[place] = int(found.why) if place else (0 if histogram.n else int(Why.NO_UNITS))
    return replace(sample, mean=mean, variance=variance, why=why)


def _of_means(histograms: tuple[Histogram, ...]) -> Sample:
    n, mean, variance = [], [], []
    for histogram in histograms:
        units = histogram.units
        n.append(float(units.size))
        mean.append(float(units.mean()) if units.size else np.nan)
        variance.append(float(units.var(ddof=1)) if units.size > 1 else np.nan)
    return Sample.of(n, mean, variance)

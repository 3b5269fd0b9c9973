"""Quantiles in the scorecard: estimates and intervals from order statistics, joined by MOVER at a fixed horizon.

Looked at early or against a prior, a quantile counts as an estimate with a standard error like any other (its interval
between order statistics, divided by z): the normal approximation that those kinds of inference rest on anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from experiments.report.document import Reading
from experiments.report.inference import Inference
from experiments.report.measured import Measured, MetricSpec
from stats.arrays import FloatArray
from stats.distributions import normal_critical, normal_upper
from stats.effects.result import Effect
from stats.quantiles import FARTHEST, Quantiles, difference_of_quantiles, ratio_of_quantiles
from stats.samples import Sample
from stats.why import Why

TAIL = 0.025
"""The interval that a standard error is taken from leaves this much on each side."""
STEPS = 50


@dataclass(frozen=True, kw_only=True)
class MeasuredQuantile(Measured):
    """A quantile in every variant; ``sample`` holds the estimates with their standard errors."""

    quantiles: tuple[Quantiles, ...]
    """In the order of the variants."""

    def effect(self, alpha: npt.ArrayLike) -> Effect:
        """Return variant − control for every variant but control."""
        if not self.inference.exact:
            return super().effect(alpha)
        return self._each(difference_of_quantiles, alpha)

    def relative(self, alpha: npt.ArrayLike) -> Effect:
        """Return the effects as shares of control's quantile."""
        if not self.inference.exact:
            return super().relative(alpha)
        return self._each(ratio_of_quantiles, alpha)

    def guardrail(self, alpha: float) -> tuple[FloatArray, list[Reading]]:
        """Return, by variant, the p of "worse than the margin" and the reading, from the relative interval."""
        if not self.inference.exact or self.spec.margin_relative is None:
            return super().guardrail(alpha)
        sign = 1.0 if self.spec.direction == "increase" else -1.0
        p_values = np.array([self._p_of_margin(i, sign, self.spec.margin_relative) for i in self.variants])
        readings: list[Reading] = []
        for p_value in p_values:
            if np.isnan(p_value):
                readings.append("not_computed")
            elif p_value <= alpha / 2:
                readings.append("within_limit")
            else:
                readings.append("broken" if 1 - p_value <= alpha / 2 else "not_proven")
        return p_values, readings

    def _each(self, compare: Callable[[Quantiles, Quantiles, npt.ArrayLike], Effect], alpha: npt.ArrayLike) -> Effect:
        levels = np.broadcast_to(np.asarray(alpha, dtype=np.float64), (len(self.variants),))
        control = self.quantiles[self.control]
        found = [compare(control, self.quantiles[i], level) for i, level in zip(self.variants, levels, strict=True)]
        names = ("estimate", "std_error", "df", "ci_low", "ci_high", "p_value", "why")
        return Effect(*(np.array([np.asarray(getattr(e, name)).item() for e in found]) for name in names))

    def _p_of_margin(self, place: int, sign: float, margin: float) -> float:
        """Return the one-sided tail at which the relative interval just reaches the margin."""
        control, variant = self.quantiles[self.control], self.quantiles[place]
        middle = ratio_of_quantiles(control, variant, 2 * TAIL)
        if int(middle.why) != Why.DEFINED:
            return float("nan")
        kept = sign * float(middle.estimate) > -margin

        def clear(z: float) -> bool:
            found = ratio_of_quantiles(control, variant, 2 * normal_upper(z))
            if int(found.why) != Why.DEFINED:
                return False
            ends = sorted((sign * float(found.ci_low), sign * float(found.ci_high)))
            return bool(ends[0] > -margin if kept else ends[1] < -margin)

        inside, outside = 0.0, FARTHEST
        for _ in range(STEPS):
            half = (inside + outside) / 2
            inside, outside = (half, outside) if clear(half) else (inside, half)
        tail = float(normal_upper(inside))
        return tail if kept else 1 - tail


def measure_quantile(
    spec: MetricSpec, found: Mapping[str, Quantiles], variants: tuple[str, ...], inference: Inference
) -> MeasuredQuantile:
    """Return a quantile as the scorecard compares it.

    Args:
        spec: the metric.
        found: by variant, all for one probability.
        variants: control first.
        inference: how it is judged.
    """
    quantiles = tuple(found[v] for v in variants)
    sample = sample_of(quantiles)
    return MeasuredQuantile(spec, sample, sample, 0, "quantile", inference, quantiles=quantiles)


def sample_of(quantiles: tuple[Quantiles, ...]) -> Sample:
    """Return estimates and standard errors as a sample, so that every comparison of samples serves."""
    n, mean, variance, why = [], [], [], []
    for one in quantiles:
        units = one.n if one.clusters is None else one.clusters
        low, high = (float(end) for end in one.ends(TAIL))
        error = (high - low) / (2 * float(normal_critical(TAIL)))
        reason = Why.DEFINED
        if one.estimate is None:
            reason = Why.NO_UNITS
        elif units < 2:
            reason = Why.TOO_FEW_UNITS
        elif np.isnan(error):
            reason = Why.BEYOND_THE_DATA
        elif error == 0:
            reason = Why.TIED_QUANTILE
        n.append(float(units))
        mean.append(np.nan if one.estimate is None else one.estimate)
        variance.append(error**2 * units if reason == Why.DEFINED else np.nan)
        why.append(int(reason))
    zero = np.zeros(len(quantiles))
    return Sample(np.array(n), np.array(mean), np.array(variance), np.array(why, dtype=np.int64), zero, zero)

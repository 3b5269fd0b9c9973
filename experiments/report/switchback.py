"""Switchback designs in the scorecard: effects judged by what chance could have assigned, within each place."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from experiments.measure.places import MAX_UNITS, PlacePeriods
from experiments.report.document import Reading, Text
from experiments.report.inference import Inference
from experiments.report.measured import Measured, MetricSpec, measure_metric
from stats.arrays import FloatArray
from stats.effects.result import Effect, hide
from stats.moments import Moments
from stats.switchback import RandomisationTest, randomisation_test
from stats.why import Why

MOST_DRAWN = 12_000_000
"""Units × assignments that are drawn for one comparison."""
SEED = 20_260_301


@dataclass(frozen=True, kw_only=True)
class MeasuredSwitchback(Measured):
    """A metric over places × periods; ``sample`` gives the variants' own figures."""

    places: PlacePeriods
    outcomes: npt.NDArray[np.float64]
    """Of each place and period; for a ratio its contribution, so that differences of means are those of ratios."""
    tests: dict[tuple[int, float], RandomisationTest] = field(default_factory=dict)
    """Those already made."""

    def effect(self, alpha: npt.ArrayLike) -> Effect:
        """Return variant − control within places, with the interval of effects that no assignment contradicts."""
        levels = np.broadcast_to(np.asarray(alpha, dtype=np.float64), (len(self.variants),))
        found = [self._test(i, float(level)) for i, level in zip(self.variants, levels, strict=True)]
        why = np.array([int(test.why) for test in found], dtype=np.int64)
        estimate, error, low, high, p_value = (
            np.array([getattr(test, name) for test in found], dtype=np.float64)
            for name in ("estimate", "std_error", "ci_low", "ci_high", "p_value")
        )
        endless = (why == 0) & ~(np.isfinite(low) & np.isfinite(high))
        why = np.where(endless, int(Why.TOO_FEW_ASSIGNMENTS), why)
        df = np.where(why == 0, np.inf, np.nan)
        return Effect(estimate, error, df, hide(low, why), hide(high, why), hide(p_value, why), why)

    def relative(self, alpha: npt.ArrayLike) -> Effect:
        """Return the effects as shares of control's mean, which is taken as known."""
        effect, base = self.effect(alpha), float(self.sample.mean[self.control])
        if base > 0:
            return replace(
                effect,
                estimate=effect.estimate / base,
                std_error=effect.std_error / base,
                ci_low=effect.ci_low / base,
                ci_high=effect.ci_high / base,
            )
        code = Why.BASELINE_NEGATIVE if base < 0 else Why.BASELINE_NEAR_ZERO
        why = np.where(effect.why == 0, int(code), effect.why)
        nothing = np.full(effect.shape, np.nan)
        return Effect(nothing, nothing, nothing, nothing, nothing, nothing, why)

    def guardrail(self, alpha: float) -> tuple[FloatArray, list[Reading]]:
        """Return, by variant, no p and the reading by the relative interval."""
        margin = self.spec.margin_relative or 0.0
        found = self.relative(alpha)
        sign = 1.0 if self.spec.direction == "increase" else -1.0
        readings: list[Reading] = []
        for low, high in zip(sign * found.ci_low, sign * found.ci_high, strict=True):
            worst, best = min(low, high), max(low, high)
            if np.isnan(worst) or np.isnan(best):
                readings.append("not_computed")
            elif worst > -margin:
                readings.append("within_limit")
            else:
                readings.append("broken" if best < -margin else "not_proven")
        return np.full(len(readings), np.nan), readings

    def variance_reduction(self) -> list[float | None]:
        """Return nothing: covariates are not used here."""
        return [None for _ in self.variants]

    def _test(self, variant: int, alpha: float) -> RandomisationTest:
        if (variant, alpha) not in self.tests:
            both = np.isin(self.places.variant, (self.control, variant))
            n = max(1, int(both.sum()))
            self.tests[variant, alpha] = randomisation_test(
                self.outcomes[both],
                self.places.variant[both] == variant,
                np.array(self.places.place)[both] if n > 1 else None,
                alpha=alpha,
                draws=int(np.clip(MOST_DRAWN // n, 999, 9_999)),
                seed=SEED,
            )
        return self.tests[variant, alpha]


def measure_switchback(
    spec: MetricSpec, moments: Moments, places: PlacePeriods, inference: Inference
) -> MeasuredSwitchback:
    """Return a metric as the scorecard compares it.

    Args:
        spec: the metric; its covariates are not used.
        moments: of its columns by variant, control first.
        places: the same, one row each.
        inference: at a fixed horizon.
    """
    plain = measure_metric(MetricSpec(spec.name, spec.label, "mean", spec.value, spec.denominator), moments, 0)
    outcomes = places.values[spec.value]
    if spec.denominator is not None:
        below = places.values[spec.denominator]
        base, total = float(np.nanmean(below)) if below.size else 0.0, float(np.nansum(below))
        ratio = float(np.nansum(outcomes)) / total if total else np.nan
        outcomes = ratio + (outcomes - ratio * below) / base if base else np.full(outcomes.shape, np.nan)
    return MeasuredSwitchback(
        spec, plain.sample, plain.raw, 0, "randomisation", inference, places=places, outcomes=outcomes
    )


def too_many_places_warning() -> Text:
    """Say that there are too many units for randomisation inference."""
    return {
        "en": f"More than {MAX_UNITS:,} places × periods: errors are those of independent units and may be too small.",
        "zh-CN": f"地点与时段的组合超过 {MAX_UNITS:,} 个：误差按相互独立的单元计算，可能偏小。",
    }

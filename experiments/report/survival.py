"""Times to an event in the report: the restricted mean in the scorecard, and Kaplan–Meier's curve of each variant."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from experiments.measure.survival import EventTimes
from experiments.report.document import SurvivalCurve, SurvivalPoint
from experiments.report.inference import Inference
from experiments.report.measured import Measured, MetricSpec
from stats.arrays import number
from stats.samples import stack
from stats.survival import FollowUp, kaplan_meier, restricted_mean
from stats.why import Why

MOST_POINTS = 120
"""Of a curve in the document; a curve of more steps keeps the last of each 1/120 of the window."""


def measure_survival(
    spec: MetricSpec, found: Mapping[str, EventTimes], variants: tuple[str, ...], inference: Inference
) -> Measured:
    """Return the mean days without the event within the window, in every variant, as the scorecard compares them.

    Args:
        spec: the metric.
        found: by variant.
        variants: control first.
        inference: how it is judged.
    """
    times = [found[v] for v in variants]
    sample = stack([restricted_mean(FollowUp(t.times, t.events, t.censored), t.horizon_days) for t in times])
    if sample.why.any() == 0 and not any(t.events.any() for t in times):
        nothing = np.full(sample.shape, int(Why.NO_OUTCOMES), dtype=np.int64)
        sample = type(sample)(sample.n, sample.mean, sample.variance, nothing, sample.shift_cov, sample.shift_var)
    return Measured(spec, sample, sample, 0, "restricted_mean", inference)


def survival_curves(
    spec: MetricSpec, found: Mapping[str, EventTimes], variants: tuple[str, ...], alpha: float
) -> list[SurvivalCurve]:
    """Return the share of each variant's units that still wait for the event, with pointwise intervals.

    Args:
        spec: the metric.
        found: by variant.
        variants: control first; those without units have no curve.
        alpha: of the intervals.
    """
    return [_curve(spec.name, v, found[v], alpha) for v in variants if found[v].n]


def _curve(metric: str, variant: str, times: EventTimes, alpha: float) -> SurvivalCurve:
    curve = kaplan_meier(times.times, times.events, times.censored, alpha)
    bins = np.minimum((curve.times / times.horizon_days * MOST_POINTS).astype(int), MOST_POINTS)
    last = np.flatnonzero(np.append(np.diff(bins) > 0, [True]))
    start = SurvivalPoint(day=0.0, at_risk=times.n, survival=1.0, ci_low=None, ci_high=None)
    points = [
        SurvivalPoint(
            day=float(curve.times[i]),
            at_risk=int(curve.at_risk[i]),
            survival=float(curve.share[i]),
            ci_low=number(curve.ci_low[i]),
            ci_high=number(curve.ci_high[i]),
        )
        for i in last.tolist()
    ]
    return SurvivalCurve(metric=metric, variant=variant, horizon_days=times.horizon_days, points=[start, *points])

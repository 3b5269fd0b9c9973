"""Effect over time, with a band that stays valid however often one looks.

A curve's estimates are made as the scorecard's are, with the same covariates and strata, so that it ends where that
stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

import numpy as np

from experiments.definitions.analysis import Adjustment
from experiments.measure.cells import Cells
from experiments.measure.days import day_text
from experiments.report.document import Curve, CurvePoint
from experiments.report.inference import Bayesian, GroupSequential, Inference, monitored
from experiments.report.looks import Looks
from experiments.report.measured import FIXED, Measured, MetricSpec, measure_metric
from experiments.report.strata import measure_stratified
from stats.arrays import number
from stats.effects.means import difference_of_means
from stats.effects.result import Effect
from stats.moments import Moments
from stats.sequential import mixture_band, tau2
from stats.why import Why


class Estimates(TypedDict):
    """How a curve's estimates are made: what covariates do, and whether strata adjust too."""

    adjustment: Adjustment
    stratified: bool


def by_experiment_day(
    spec: MetricSpec,
    cells: Cells,
    alpha: float,
    inference: Inference,
    *,
    adjustment: Adjustment = "cuped",
    stratified: bool = False,
) -> list[Curve]:
    """Return the effect on everyone who had entered by each day of the experiment.

    Args:
        spec: the metric.
        cells: by variant and day of entry.
        alpha: of the whole band (of the credible interval of each day, where inference is Bayesian).
        inference: always-valid or Bayesian.
        adjustment: what covariates do.
        stratified: whether the strata of ``cells`` adjust too.
    """
    measured = _measured(spec, cells.groups[spec.name].cumulative(2), inference, adjustment, stratified=stratified)
    first = cells.days[0]
    days = [day - first + 1 for day in cells.days]
    dates: list[str | None] = [day_text(day) for day in cells.days]
    return _curves(spec, cells.variants, measured, "experiment_day", days, dates, measured.effect(alpha))


def by_look(
    spec: MetricSpec,
    cells: Cells,
    alpha: float,
    looks: Looks,
    inference: GroupSequential,
    *,
    adjustment: Adjustment = "cuped",
    stratified: bool = False,
) -> list[Curve]:
    """Return the effect at every look of a group-sequential test, with the repeated interval of that look.

    Half an interval is how far the effect must lie from zero at that look to stop the test.
    """
    if not looks.days:
        return []
    history = looks.history(cells.groups[spec.name])
    measured = _measured(spec, history, inference, adjustment, stratified=stratified)
    contrast = measured.contrast()
    found = monitored(contrast, inference, alpha)
    low, high = (np.where(np.isfinite(end), end, np.nan) for end in (found.path_low, found.path_high))
    effect = Effect(
        estimate=contrast.estimate,
        std_error=contrast.std_error,
        df=contrast.df,
        ci_low=low,
        ci_high=high,
        p_value=np.full(low.shape, np.nan),
        why=contrast.why,
    )
    days = [day - looks.first_day + 1 for day in looks.days]
    dates: list[str | None] = [day_text(day) for day in looks.days]
    return _curves(spec, cells.variants, measured, "experiment_day", days, dates, effect)


def by_member_day(
    spec: MetricSpec,
    cells_by_day: Mapping[int, Cells],
    alpha: float,
    inference: Inference = FIXED,
    *,
    adjustment: Adjustment = "cuped",
    stratified: bool = False,
) -> list[Curve]:
    """Return the effect as the days after each unit's entry go by; the units are the same throughout.

    Args:
        spec: the metric; its columns change from day to day, its place in ``cells`` does not.
        cells_by_day: day after entry → moments, over variants.
        alpha: of the whole band (of the credible interval of each day, where inference is Bayesian).
        inference: of the report.
        adjustment: what covariates do.
        stratified: whether the strata of the cells adjust too.
    """
    if not cells_by_day:
        return []
    days = sorted(cells_by_day)
    looks = [_look(spec, cells_by_day[day], inference, adjustment, stratified=stratified) for day in days]
    cells = cells_by_day[days[-1]]
    no_dates: list[str | None] = [None] * len(days)
    if isinstance(inference, Bayesian):
        believed = _side_by_side([look.effect(alpha) for look in looks])
        return _curves(spec, cells.variants, looks[-1], "member_day", days, no_dates, believed)
    effects = [_plain(look) for look in looks]
    estimate = np.stack([e.estimate for e in effects], axis=1)
    error = np.stack([e.std_error for e in effects], axis=1)
    n = looks[-1].sample.n[0] + looks[-1].sample.n[looks[-1].variants]
    # One mixture for all looks, from the last one's precision: chosen anew at each it would not be a valid band.
    mixture = tau2(error[:, -1:], n[:, None], n[:, None], alpha)
    band = mixture_band(estimate, error, alpha, tau2=np.where(mixture > 0, mixture, 1.0))
    together = Effect(
        estimate=estimate,
        std_error=error,
        df=np.full(error.shape, np.inf),
        ci_low=band.ci_low,
        ci_high=band.ci_high,
        p_value=band.p_value,
        why=np.stack([e.why for e in effects], axis=1),
    )
    return _curves(spec, cells.variants, looks[-1], "member_day", days, no_dates, together)


def _side_by_side(effects: Sequence[Effect]) -> Effect:
    names = ("estimate", "std_error", "df", "ci_low", "ci_high", "p_value", "why")
    return Effect(*(np.stack([getattr(e, name) for e in effects], axis=1) for name in names))


def _measured(
    spec: MetricSpec, moments: Moments, inference: Inference, adjustment: Adjustment, *, stratified: bool
) -> Measured:
    """Return the estimates from moments of variants × strata × days."""
    if stratified:
        covariates = () if adjustment == "none" else spec.covariates
        return measure_stratified(spec, moments, inference, covariates=covariates)
    return measure_metric(spec, moments.sum(axis=1), 0, inference=inference, adjustment=adjustment)


def _look(
    spec: MetricSpec, cells: Cells, inference: Inference, adjustment: Adjustment, *, stratified: bool
) -> Measured:
    moments = cells.totals[spec.name]
    # The columns carry the day in their names; their order is that of the metric.
    names = moments.columns
    renamed = dict(zip(spec.columns, names, strict=True))
    changed = MetricSpec(
        name=spec.name,
        label=spec.label,
        kind=spec.kind,
        value=renamed[spec.value],
        denominator=renamed[spec.denominator] if spec.denominator else None,
        covariates=spec.covariates,
    )
    chosen = inference if isinstance(inference, Bayesian) else FIXED
    if stratified:
        return _measured(changed, cells.by_stratum(spec.name), chosen, adjustment, stratified=True)
    return measure_metric(changed, moments, 0, inference=chosen, adjustment=adjustment)


def _plain(measured: Measured) -> Effect:
    return difference_of_means(measured.sample[0], measured.sample[measured.variants], df=np.inf)


def _curves(
    spec: MetricSpec,
    variants: Sequence[str],
    measured: Measured,
    axis: str,
    days: Sequence[int],
    dates: Sequence[str | None],
    effect: Effect,
) -> list[Curve]:
    curves = []
    for j, place in enumerate(measured.variants):
        points = []
        for k, day in enumerate(days):
            why = Why(int(effect.why[j, k])).text
            n = measured.sample.n
            points.append(
                CurvePoint(
                    day=day,
                    date=dates[k],
                    n=int(n[0, k] + n[place, k]) if n.ndim > 1 else int(n[0] + n[place]),
                    estimate=number(effect.estimate[j, k]),
                    ci_low=None if why else number(effect.ci_low[j, k]),
                    ci_high=None if why else number(effect.ci_high[j, k]),
                    why=why,
                )
            )
        curves.append(
            Curve(
                metric=spec.name,
                variant=variants[place],
                axis="experiment_day" if axis == "experiment_day" else "member_day",
                points=points,
                clear_from_day=_clear_from(points),
            )
        )
    return curves


def _clear_from(points: Sequence[CurvePoint]) -> int | None:
    """Return the first day from which the band stays on one side of zero to the end."""
    clear = None
    for point in reversed(points):
        if point.ci_low is None or point.ci_high is None or point.ci_low <= 0 <= point.ci_high:
            break
        clear = point.day
    return clear

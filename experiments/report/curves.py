"""Effect over time, with a band that stays valid however often one looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from experiments.measure.cells import Cells
from experiments.measure.days import day_text
from experiments.report.document import Curve, CurvePoint
from experiments.report.estimates import Measured, MetricSpec, measure_metric
from stats.arrays import number
from stats.effects.means import difference_of_means
from stats.effects.result import Effect
from stats.sequential import mixture_band, tau2
from stats.why import Why


def by_experiment_day(spec: MetricSpec, cells: Cells, alpha: float, n_star: float) -> list[Curve]:
    """Return the effect on everyone who had entered by each day of the experiment.

    Args:
        spec: the metric.
        cells: by variant and day of entry.
        alpha: of the whole band.
        n_star: units of control and variant at which the band is narrowest.
    """
    measured = measure_metric(spec, cells.by_day(spec.name).cumulative(1), 0, n_star=n_star)
    first = cells.days[0]
    days = [day - first + 1 for day in cells.days]
    dates: list[str | None] = [day_text(day) for day in cells.days]
    return _curves(spec, cells.variants, measured, "experiment_day", days, dates, measured.effect(alpha))


def by_member_day(spec: MetricSpec, cells_by_day: Mapping[int, Cells], alpha: float) -> list[Curve]:
    """Return the effect as the days after each unit's entry go by; the units are the same throughout.

    Args:
        spec: the metric; its columns change from day to day, its place in ``cells`` does not.
        cells_by_day: day after entry → moments, over variants.
        alpha: of the whole band.
    """
    if not cells_by_day:
        return []
    days = sorted(cells_by_day)
    looks = [_look(spec, cells_by_day[day]) for day in days]
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
    cells = cells_by_day[days[-1]]
    return _curves(spec, cells.variants, looks[-1], "member_day", days, [None] * len(days), together)


def _look(spec: MetricSpec, cells: Cells) -> Measured:
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
    return measure_metric(changed, moments, 0)


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

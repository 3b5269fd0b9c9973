"""Effect over time: one panel a variant, one shared vertical axis a metric."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from api.web.charts import Chart, CurveLook, effect_curve
from api.web.charts.curve import curve_range, half_width
from api.web.charts.scale import round_ticks
from api.web.language import Language
from api.web.numbers import MISSING, Numbers
from api.web.scorecard import control_mean, variant_names
from api.web.vocabulary import units_word
from experiments.report.document import Curve, CurvePoint, MetricResult, Report
from experiments.report.whys import why_text


@dataclass(frozen=True, slots=True)
class Panel:
    """One variant's curve."""

    variant: str
    name: str
    last: str
    tone: str
    chart: Chart


@dataclass(frozen=True, slots=True)
class MetricPanels:
    """All variants' curves on one metric."""

    metric: str
    label: str
    axis: str
    panels: tuple[Panel, ...]


def build_over_time(report: Report, language: Language, numbers: Numbers) -> tuple[MetricPanels, ...]:
    """Turn a report's curves into panels, metrics in the report's order; curves without any estimate are left out."""
    names, units = variant_names(report, language), units_word(report.plan, language)
    result = []
    for metric in report.metrics:
        curves = [c for c in report.curves if c.metric == metric.name and any(p.estimate is not None for p in c.points)]
        if not curves:
            continue
        sequential = report.plan.inference == "group_sequential" and curves[0].axis == "experiment_day"
        low, high = curve_range([c.points for c in curves], bounds=sequential)
        crossed = {t.variant: t.crossed_day for t in report.sequential if t.metric == metric.name}
        panels = tuple(
            _panel(
                _marked(c, crossed.get(c.variant)) if sequential else c,
                metric,
                names.get(c.variant, c.variant),
                units,
                low,
                high,
                language,
                numbers,
                bounds=sequential,
            )
            for c in curves
        )
        _ = language.gettext
        axis = _("Days since each member entered") if curves[0].axis == "member_day" else _("Day of the experiment")
        result.append(MetricPanels(metric.name, language.text(metric.label) or metric.name, axis, panels))
    return tuple(result)


def _marked(curve: Curve, crossed_day: int | None) -> Curve:
    """Return the curve of a group-sequential test, marked on the day on which its bound was crossed."""
    return msgspec.structs.replace(curve, clear_from_day=crossed_day)


def _panel(
    curve: Curve,
    metric: MetricResult,
    name: str,
    units: str,
    low: float,
    high: float,
    language: Language,
    numbers: Numbers,
    *,
    bounds: bool,
) -> Panel:
    _ = language.gettext
    last = next(p for p in reversed(curve.points) if p.estimate is not None)
    size = control_mean(metric) if metric.unit == "share" else max(abs(low), abs(high))

    def write(value: float | None) -> str:
        return numbers.effect(value, metric.unit, scale=size)

    tone = "flat"
    if curve.clear_from_day is not None and last.estimate is not None:
        tone = "good" if (last.estimate > 0) == (metric.direction == "increase") else "bad"
    label = language.text(metric.label) or metric.name
    values = {"variant": name, "metric": label, "change": write(last.estimate), "day": last.day}
    if bounds and curve.clear_from_day is None:
        conclusion = _(
            "%(variant)s, cumulative effect on %(metric)s: %(change)s on day %(day)s, no bound crossed yet",
            **values,
        )
    elif bounds:
        conclusion = _(
            "%(variant)s, cumulative effect on %(metric)s: %(change)s on day %(day)s, bound crossed on day %(clear)s",
            clear=curve.clear_from_day,
            **values,
        )
    elif curve.clear_from_day is None:
        conclusion = _(
            "%(variant)s, cumulative effect on %(metric)s: %(change)s on day %(day)s, not clear yet", **values
        )
    else:
        conclusion = _(
            "%(variant)s, cumulative effect on %(metric)s: %(change)s on day %(day)s, clear from day %(clear)s",
            clear=curve.clear_from_day,
            **values,
        )
    columns = (_("Day"), units, _("Change"), _("Stops beyond") if bounds else _("Band"))
    rows = tuple(
        (
            f"{p.day}" if not p.date else _("%(day)s (%(date)s)", day=p.day, date=numbers.date(p.date)),
            numbers.count(p.n),
            write(p.estimate),
            why_text(p.why, language.tag)
            if p.estimate is None and p.why
            else _around(p, write)
            if bounds
            else numbers.range_in(p.ci_low, p.ci_high, "absolute", metric.unit, scale=size),
        )
        for p in curve.points
    )
    look = CurveLook(
        points=curve.points,
        low=low,
        high=high,
        tone=tone,
        clear_from_day=curve.clear_from_day,
        label=conclusion,
        clear_label=_clear_label(curve.clear_from_day, language, bounds=bounds),
        bounds=bounds,
    )
    ticks = round_ticks(low, high, 6)

    def tick(value: float) -> str:
        return numbers.tick(value, metric.unit, ticks[1] - ticks[0])

    chart = effect_curve(look, write=tick, columns=columns, rows=rows)
    return Panel(curve.variant, name, write(last.estimate), "" if tone == "flat" else tone, chart)


def _around(point: CurvePoint, write: Callable[[float | None], str]) -> str:
    half = half_width(point)
    return MISSING if half is None else "±" + write(half).lstrip("+")


def _clear_label(day: int | None, language: Language, *, bounds: bool) -> str:
    _ = language.gettext
    if day is None:
        return ""
    return _("bound crossed on day %(day)s", day=day) if bounds else _("clear from day %(day)s", day=day)

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
from experiments.report.document import Curve, CurvePoint, MetricResult, Report, SequentialTest
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
    notes: tuple[str, ...] = ()
    """How its bounds are to be read."""


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
        tests = {t.variant: t for t in report.sequential if t.metric == metric.name} if sequential else {}
        panels = tuple(
            _panel(
                c,
                tests.get(c.variant),
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
        if report.plan.source and curves[0].axis != "member_day" and all(p.date is None for p in curves[0].points):
            axis = _("Checkpoint")
        label = language.text(metric.label) or metric.name
        result.append(MetricPanels(metric.name, label, axis, panels, _notes(report, list(tests.values()), language)))
    return tuple(result)


def _notes(report: Report, tests: list[SequentialTest], language: Language) -> tuple[str, ...]:
    """Say at which level the bounds of a group-sequential test stand, and what its dotted line is."""
    _ = language.gettext
    said = []
    several = sum(len(m.comparisons) for m in report.metrics if m.role == "primary") > 1
    if tests and several and report.plan.multiplicity != "none":
        said.append(
            _(
                "These bounds are those of this comparison alone; the scorecard, which decides, is adjusted for all of "
                "them, so a bound may be crossed here before the scorecard reads “better”."
            )
        )
    if any(look.futility is not None for test in tests for look in test.looks):
        said.append(_("Dotted line: an effect no better than this leaves little hope; stopping then costs little."))
    return tuple(said)


def _hope(curve: Curve, test: SequentialTest, metric: MetricResult) -> list[float | None]:
    """Return the futility bound in the metric's unit at each look: the bounds of z and of the effect stand alike."""
    looks = {look.day: look for look in test.looks}
    sign = 1.0 if metric.direction == "increase" else -1.0
    found: list[float | None] = []
    for point in curve.points:
        look, half = looks.get(point.day), half_width(point)
        if look is None or look.futility is None or not look.bound or half is None:
            found.append(None)
        else:
            found.append(sign * look.futility / look.bound * half)
    return found


def _panel(
    curve: Curve,
    test: SequentialTest | None,
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
    if bounds:  # marked on the day on which its bound was crossed
        curve = msgspec.structs.replace(curve, clear_from_day=None if test is None else test.crossed_day)
    hope = [] if test is None else _hope(curve, test, metric)
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
    columns: tuple[str, ...] = (_("Day"), units, _("Change"), _("Stops beyond") if bounds else _("Band"))
    if any(limit is not None for limit in hope):
        columns = (*columns, _("Little hope at"))
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
            *([write(hope[at])] if len(columns) > 4 else []),
        )
        for at, p in enumerate(curve.points)
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
        futility=hope,
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

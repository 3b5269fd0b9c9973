"""Who responds: effects within the levels of attributes, exploratory, on one axis a metric."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
from markupsafe import Markup

from api.web.charts import Chart, ForestRow, IntervalLook, forest
from api.web.charts.markup import DataTable
from api.web.language import Language
from api.web.numbers import Numbers
from api.web.scorecard import bounds, control_mean, variant_names
from api.web.vocabulary import Badge, reading_badge, units_word
from experiments.report.document import Breakdown, BreakdownRow, MetricResult, Reading, Report
from experiments.report.whys import why_text
from stats.decision import read_effect


@dataclass(frozen=True, slots=True)
class ResponderLine:
    """One variant within one level."""

    level: str
    first: bool
    """The first line of its level, which carries the level's name."""
    span: int
    variant: str
    name: str
    units: str
    change: str
    interval: str
    shrunken: str
    """The effect pulled towards that of all levels."""
    p_value: str
    badge: Badge
    tone: str
    chart: Chart
    why: str


@dataclass(frozen=True, slots=True)
class ResponderGroup:
    """One attribute's levels."""

    attribute: str
    lines: tuple[ResponderLine, ...]
    differences: tuple[str, ...]
    """Whether the levels' effects differ, a sentence a variant."""


@dataclass(frozen=True, slots=True)
class Responders:
    """One metric's breakdowns."""

    metric: str
    label: str
    several: bool
    """More than one variant is compared, so lines carry variant names."""
    axis: Markup
    groups: tuple[ResponderGroup, ...]
    table: DataTable
    shrunken: bool
    """Some level has a shrunken effect."""


def build_responders(report: Report, language: Language, numbers: Numbers) -> tuple[Responders, ...]:
    """Turn a report's breakdowns into tables, one a metric, all attributes of it on one axis."""
    metrics = {m.name: m for m in report.metrics}
    result = []
    for name in dict.fromkeys(b.metric for b in report.breakdowns):
        metric = metrics.get(name)
        chosen = [_by_level(b) for b in report.breakdowns if b.metric == name and b.rows]
        if metric is not None and chosen:
            result.append(_responders(metric, chosen, report, language, numbers))
    return tuple(result)


def _by_level(breakdown: Breakdown) -> Breakdown:
    """Put the variants of a level next to each other, levels in the order in which they first come."""
    order = {level: index for index, level in enumerate(dict.fromkeys(r.level for r in breakdown.rows))}
    return msgspec.structs.replace(breakdown, rows=sorted(breakdown.rows, key=lambda r: order[r.level]))


def _reading(row: BreakdownRow, metric: MetricResult, alpha: float) -> Reading:
    """Read a level's effect as the scorecard does: by its adjusted p, or by its interval where there is none."""
    if row.p_value is None and row.why is None and row.effect.ci_low is not None and row.effect.ci_high is not None:
        if row.effect.ci_low <= 0 <= row.effect.ci_high:
            return "unclear"
        return "better" if (row.effect.ci_low > 0) == (metric.direction == "increase") else "worse"
    p_value = row.p_value_adjusted if row.p_value_adjusted is not None else row.p_value
    return read_effect(row.effect.estimate, p_value, metric.direction, alpha)


def _attribute(breakdown: Breakdown, language: Language) -> str:
    return language.text(breakdown.label) or breakdown.attribute


def _responders(
    metric: MetricResult, breakdowns: list[Breakdown], report: Report, language: Language, numbers: Numbers
) -> Responders:
    _ = language.gettext
    names = variant_names(report, language)
    level_name = numbers.share(1 - report.plan.alpha, 0)
    columns = (
        _("Group"),
        _("Variant"),
        units_word(report.plan, language),
        _("Change"),
        _("%(level)s interval", level=level_name),
        _("p (adjusted)"),
    )
    label = language.text(metric.label) or metric.name
    control = control_mean(metric)
    flat = [(b, r) for b in breakdowns for r in b.rows]
    rows = []
    for breakdown, row in flat:
        low, high, _adjusted = bounds(row.effect)
        attribute, level = _attribute(breakdown, language), language.text(row.label) or row.level
        values = [abs(v) for v in (low, row.effect.estimate, high) if v is not None]
        size = control or max(values, default=None)
        phrase = numbers.range_in(low, high, "absolute", metric.unit, scale=size)
        badge = reading_badge(_reading(row, metric, report.plan.alpha), language)
        p_value = row.p_value_adjusted if row.p_value_adjusted is not None else row.p_value
        units = numbers.count(row.n + row.n_control)
        name = names.get(row.variant, row.variant)
        change = numbers.effect(row.effect.estimate, metric.unit, scale=size)
        conclusion = _(
            "%(group)s, %(variant)s: %(change)s, interval %(interval)s, %(reading)s",
            group=f"{attribute} {level}",
            variant=name,
            change=change,
            interval=phrase,
            reading=badge.word,
        )
        look = IntervalLook(
            low,
            row.effect.estimate,
            high,
            reading=_reading(row, metric, report.plan.alpha),
            label=conclusion,
            planning_value=None if row.shrunken is None else row.shrunken.estimate,
        )
        rows.append(
            ForestRow(
                look,
                (
                    _("%(attribute)s: %(level)s", attribute=attribute, level=level),
                    name,
                    units,
                    change,
                    phrase,
                    numbers.p_value(p_value),
                ),
            )
        )
    drawn = forest(
        rows,
        caption=_("Effect on %(metric)s by group", metric=label),
        columns=columns,
        write=lambda v, step: numbers.tick(v, metric.unit, step),
    )
    several = len({r.variant for b in breakdowns for r in b.rows}) > 1
    groups = []
    position = 0
    for breakdown in breakdowns:
        lines = []
        spans = {level: sum(r.level == level for r in breakdown.rows) for level in {r.level for r in breakdown.rows}}
        seen: set[str] = set()
        for row in breakdown.rows:
            cells, chart = rows[position].cells, drawn.charts[position]
            reading = _reading(row, metric, report.plan.alpha)
            lines.append(
                ResponderLine(
                    level=language.text(row.label) or row.level,
                    first=row.level not in seen,
                    span=spans[row.level],
                    variant=row.variant,
                    name=cells[1],
                    units=cells[2],
                    change=cells[3],
                    interval=cells[4],
                    shrunken=_shrunken(row, metric, numbers),
                    p_value=cells[5],
                    badge=reading_badge(reading, language),
                    tone={"better": "good", "worse": "bad"}.get(reading, ""),
                    chart=chart,
                    why=why_text(row.why or row.effect.why, language.tag),
                )
            )
            seen.add(row.level)
            position += 1
        differences = _differences(breakdown, names, report.plan.alpha, language, numbers, metric)
        groups.append(ResponderGroup(_attribute(breakdown, language), tuple(lines), differences))
    shrunken = any(r.shrunken is not None and r.shrunken.estimate is not None for b in breakdowns for r in b.rows)
    return Responders(metric.name, label, several, drawn.axis, tuple(groups), drawn.table, shrunken)


def _shrunken(row: BreakdownRow, metric: MetricResult, numbers: Numbers) -> str:
    if row.shrunken is None or row.shrunken.estimate is None:
        return ""
    return numbers.effect(row.shrunken.estimate, metric.unit, scale=control_mean(metric))


def _differences(
    breakdown: Breakdown,
    names: dict[str, str],
    alpha: float,
    language: Language,
    numbers: Numbers,
    metric: MetricResult,
) -> tuple[str, ...]:
    """Say whether the levels' effects differ by more than chance: at most one sentence for every answer."""
    _ = language.gettext
    differ: list[str] = []
    alike: list[str] = []
    for test in breakdown.interactions:
        name = names.get(test.variant, test.variant)
        spread = breakdown.spread.get(test.variant)
        if test.p_value_adjusted is not None:
            value = _("p %(p)s", p=numbers.p_value(test.p_value_adjusted))
            found = test.p_value_adjusted <= alpha
        elif spread is not None:
            found = spread > 0
            size = numbers.effect(spread, metric.unit, scale=control_mean(metric)).lstrip("+")
            value = _("by about %(spread)s", spread=size) if found else ""
        else:
            continue
        if len(breakdown.interactions) > 1:
            value = _("%(variant)s %(value)s", variant=name, value=value).strip()
        (differ if found else alike).append(value)
    said = []
    if any(differ):
        said.append(_("the effect differs between groups (%(values)s)", values=_(", ").join(differ)))
    if any(alike):
        said.append(_("no sign that the effect differs between groups (%(values)s)", values=_(", ").join(alike)))
    elif alike:
        said.append(_("no sign that the effect differs between groups"))
    return tuple(said)

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
    everyone: tuple[ResponderLine, ...]
    """The effect on all, a line a variant: what groups are compared with."""
    said: tuple[str, ...]
    """Where groups differ beyond chance: who responds best, who worst."""
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
    several = len({r.variant for b in breakdowns for r in b.rows}) > 1
    everyone = _everyone(metric, breakdowns, language)
    shown = [everyone, *breakdowns]
    rows = []
    for breakdown, row in ((b, r) for b in shown for r in b.rows):
        low, high, _adjusted = bounds(row.effect)
        attribute, level = _attribute(breakdown, language), language.text(row.label) or row.level
        group = f"{attribute} {level}".strip()
        heading = _("%(attribute)s: %(level)s", attribute=attribute, level=level) if attribute else level
        values = [abs(v) for v in (low, row.effect.estimate, high) if v is not None]
        size = control or max(values, default=None)
        phrase = numbers.range_in(low, high, "absolute", metric.unit, scale=size)
        reading = _reading_of(breakdown, row, metric, report.plan.alpha)
        p_value = row.p_value_adjusted if row.p_value_adjusted is not None else row.p_value
        units = numbers.count(row.n + row.n_control)
        name = names.get(row.variant, row.variant)
        change = numbers.effect(row.effect.estimate, metric.unit, scale=size)
        conclusion = _(
            "%(group)s, %(variant)s: %(change)s, interval %(interval)s, %(reading)s",
            group=group,
            variant=name,
            change=change,
            interval=phrase,
            reading=reading_badge(reading, language).word,
        )
        look = IntervalLook(
            low,
            row.effect.estimate,
            high,
            reading=reading,
            label=conclusion,
            planning_value=None if row.shrunken is None else row.shrunken.estimate,
        )
        rows.append(ForestRow(look, (heading, name, units, change, phrase, numbers.p_value(p_value))))
    drawn = forest(
        rows,
        caption=_("Effect on %(metric)s by group", metric=label),
        columns=columns,
        write=lambda v, step: numbers.tick(v, metric.unit, step),
    )
    groups = []
    position = 0
    for breakdown in shown:
        lines = []
        spans = {level: sum(r.level == level for r in breakdown.rows) for level in {r.level for r in breakdown.rows}}
        seen: set[str] = set()
        for row in breakdown.rows:
            cells, chart = rows[position].cells, drawn.charts[position]
            reading = _reading_of(breakdown, row, metric, report.plan.alpha)
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
    said = tuple(
        sentence for b in breakdowns for sentence in _who(b, names, metric, report.plan.alpha, language, numbers)
    )
    first, *others = groups
    return Responders(metric.name, label, several, drawn.axis, first.lines, said, tuple(others), drawn.table, shrunken)


def _everyone(metric: MetricResult, breakdowns: list[Breakdown], language: Language) -> Breakdown:
    """Return the effects on all, as the scorecard has them, in the shape of a breakdown with one level."""
    units = {v.variant: v.n for v in metric.variants}
    compared = {r.variant for b in breakdowns for r in b.rows}
    rows = [
        BreakdownRow(
            level=language.gettext("All in the test"),
            variant=c.variant,
            n_control=units.get(metric.control, 0),
            n=units.get(c.variant, 0),
            effect=c.effect,
            relative=c.relative,
            p_value=c.p_value,
            p_value_adjusted=c.p_value_adjusted,
        )
        for c in metric.comparisons
        if c.variant in compared
    ]
    return Breakdown(attribute="", metric=metric.name, rows=rows)


def _reading_of(breakdown: Breakdown, row: BreakdownRow, metric: MetricResult, alpha: float) -> Reading:
    """Read a level's effect; that on all is read as the scorecard reads it."""
    if not breakdown.attribute:
        return next(c.reading for c in metric.comparisons if c.variant == row.variant)
    return _reading(row, metric, alpha)


def _who(
    breakdown: Breakdown,
    names: dict[str, str],
    metric: MetricResult,
    alpha: float,
    language: Language,
    numbers: Numbers,
) -> list[str]:
    """Say who responds best and who worst, of variants whose effect differs between groups beyond chance."""
    _ = language.gettext
    said = []
    for test in breakdown.interactions:
        if test.p_value_adjusted is None or test.p_value_adjusted > alpha:
            continue
        effects = [
            (r.shrunken.estimate, language.text(r.label) or r.level)
            for r in breakdown.rows
            if r.variant == test.variant and r.shrunken is not None and r.shrunken.estimate is not None
        ]
        if len(effects) < 2:
            continue
        best, worst = sorted(effects, reverse=metric.direction == "increase")[:: len(effects) - 1]
        size = control_mean(metric)
        most, least = (numbers.effect(value, metric.unit, scale=size) for value, _level in (best, worst))
        said.append(
            _(
                "%(variant)s by %(attribute)s: best with %(best)s (%(most)s), worst with %(worst)s (%(least)s).",
                variant=names.get(test.variant, test.variant),
                attribute=_attribute(breakdown, language),
                best=best[1],
                most=most,
                worst=worst[1],
                least=least,
            )
        )
    return said


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

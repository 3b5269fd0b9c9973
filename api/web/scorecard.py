"""The scorecard: every variant against control on every metric, in three forms, on axes that rows share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from markupsafe import Markup

from api.web.charts import Chart, IntervalLook, Scale, axis_header, interval, shared_scale
from api.web.language import Language, unbroken
from api.web.numbers import Form, Numbers, step_digits
from api.web.vocabulary import Badge, reading_badge
from experiments.report import figures
from experiments.report.document import Comparison, Estimate, MetricResult, Report
from experiments.report.whys import why_text

PLOT_WIDTH = 248.0
FORMS: tuple[Form, ...] = ("relative", "absolute", "total")


@dataclass(frozen=True, slots=True)
class EffectCell:
    """One effect in one form: written, with its interval, drawn."""

    change: str
    interval: str
    chart: Chart | None
    """None where the metric has no such form, as a ratio has no total."""
    why: str = ""
    """Why there is nothing or no bound to show."""


@dataclass(frozen=True, slots=True)
class VariantLine:
    """One variant under a metric."""

    key: str
    name: str
    value: str
    units: str
    tone: str
    """good | bad | empty, for the number."""
    wins: bool
    cells: dict[Form, EffectCell]
    certainty: str
    """The p-value that the reading rests on, or the chance to win."""
    loss: str
    """Bayesian inference: what choosing the variant costs on average."""
    stopped: str
    """Group sequential: the estimate after stopping, which is not too large for having stopped."""
    badge: Badge
    why: str


@dataclass(frozen=True, slots=True)
class MetricBlock:
    """One metric with its variants stacked under it."""

    name: str
    label: str
    details: str
    control: str
    control_units: str
    lines: tuple[VariantLine, ...]
    axes: dict[Form, Markup | None]
    """Own axes for the absolute and the total form, whose units differ between metrics; None without any number."""


@dataclass(frozen=True, slots=True)
class MetricGroup:
    """Decision metrics, secondary ones or guardrails."""

    role: str
    title: str
    metrics: tuple[MetricBlock, ...]


@dataclass(frozen=True, slots=True)
class Scorecard:
    """The whole table."""

    groups: tuple[MetricGroup, ...]
    axis: Markup
    """The relative form's axis, shared by all rows."""
    forms: tuple[Form, ...]
    adjusted: bool
    has_limits: bool
    metrics: int


def variant_names(report: Report, language: Language) -> dict[str, str]:
    """Return the name people read for every variant: its name, its offer's name or its key."""
    return {v.key: language.text(v.name) or language.text(v.offer_name) or v.key for v in report.plan.variants}


def bounds(estimate: Estimate) -> tuple[float | None, float | None, bool]:
    """Return the interval that a page shows and whether it is the adjusted one: adjusted where there is one."""
    if estimate.ci_low_adjusted is not None or estimate.ci_high_adjusted is not None:
        return estimate.ci_low_adjusted, estimate.ci_high_adjusted, True
    return estimate.ci_low, estimate.ci_high, False


def in_form(comparison: Comparison, form: Form) -> Estimate | None:
    """Pick an effect in one of its forms."""
    return {"relative": comparison.relative, "absolute": comparison.effect, "total": comparison.total}[form]


def limit_of(metric: MetricResult, form: Form) -> float | None:
    """Return where a guardrail's limit lies on the axis; it has none in the total form."""
    if metric.margin_relative is None or metric.role != "guardrail" or form == "total":
        return None
    signed = abs(metric.margin_relative) * (1.0 if metric.direction == "decrease" else -1.0)
    if form == "relative":
        return signed
    control = control_mean(metric)
    return None if control is None else signed * abs(control)


def control_mean(metric: MetricResult) -> float | None:
    """Return control's own value."""
    return next((v.mean for v in metric.variants if v.variant == metric.control), None)


def build_scorecard(report: Report, language: Language, numbers: Numbers) -> Scorecard:
    """Turn a report's metrics into rows of text and charts; nothing is computed anew."""
    relative = shared_scale(
        [_row_bounds(c.relative) for m in report.metrics for c in m.comparisons],
        width=PLOT_WIDTH,
        limits=[x for m in report.metrics if (x := limit_of(m, "relative")) is not None],
        about=8,
        tick_width=34.0,
    )
    names = variant_names(report, language)
    blocks = [(m, _block(m, report, names, relative, language, numbers)) for m in report.metrics]
    groups = tuple(
        MetricGroup(role, _group_title(role, [m for m, _ in blocks if m.role == role], language, numbers), metrics)
        for role in ("primary", "secondary", "guardrail")
        if (metrics := tuple(block for m, block in blocks if m.role == role))
    )
    _ = language.gettext
    comparisons = [c for m in report.metrics for c in m.comparisons]
    return Scorecard(
        groups=groups,
        axis=axis_header(
            relative,
            lambda v: numbers.change(v, digits=step_digits(100 * (relative.ticks[1] - relative.ticks[0]))),
            left=_("← lower than control"),
            right=_("higher →"),
        ),
        forms=FORMS if any(c.total is not None for c in comparisons) else FORMS[:2],
        adjusted=report.plan.multiplicity != "none"
        and any(bounds(c.relative)[2] or bounds(c.effect)[2] for c in comparisons),
        has_limits=any(limit_of(m, "relative") is not None for m in report.metrics),
        metrics=len(report.metrics),
    )


def _row_bounds(estimate: Estimate | None) -> tuple[float | None, float | None, float | None]:
    if estimate is None:
        return None, None, None
    low, high, _ = bounds(estimate)
    return low, estimate.estimate, high


def _group_title(role: str, metrics: list[MetricResult], language: Language, numbers: Numbers) -> str:
    _ = language.gettext
    if role == "primary":
        return _("Decision metrics")
    if role == "secondary":
        return _("Secondary metrics")
    margins = {abs(m.margin_relative) for m in metrics if m.margin_relative is not None}
    if len(margins) == 1 and all(m.margin_relative is not None for m in metrics):
        share = numbers.share(margins.pop(), 0)
        return _("Guardrails: must not get worse by more than %(limit)s", limit=share)
    return _("Guardrails")


def metric_details(metric: MetricResult, language: Language, numbers: Numbers) -> str:
    """Say in a line what is measured: description, window, variance reduction, winsorising, direction."""
    _ = language.gettext
    parts = [language.text(metric.description).rstrip(".。")]
    if metric.window_days is not None:
        days = metric.window_days
        parts.append(
            _("%(days)s-day window", days=numbers.count(days) if days == int(days) else f"{days:g}")
            if days >= 1
            else _("%(hours)s-hour window", hours=f"{days * 24:g}")
        )
    reductions = [c.variance_reduction for c in metric.comparisons if c.variance_reduction is not None]
    if reductions:
        mean = sum(reductions) / len(reductions)
        share = numbers.share(mean, 0)
        if metric.comparisons[0].method.startswith("post_stratified"):
            parts.append(_("stratified") if mean < 0.005 else _("stratified, variance −%(share)s", share=share))
        else:
            # Less than half a percent is written as nothing.
            parts.append("CUPED" if mean < 0.005 else _("CUPED, variance −%(share)s", share=share))
    if any(c.method == "randomisation" for c in metric.comparisons):
        parts.append(_("compared within places"))
    if metric.winsorised_at is not None:
        parts.append(_("winsorised at %(share)s", share=numbers.share(metric.winsorised_at)))
    if metric.direction == "decrease":
        parts.append(_("lower is better"))
    left_out = sum(metric.left_out.values())
    if left_out:
        parts.append(language.ngettext("%(n)s left out", "%(n)s left out", left_out, n=numbers.count(left_out)))
    return " · ".join(part for part in parts if part)


def _block(
    metric: MetricResult, report: Report, names: dict[str, str], relative: Scale, language: Language, numbers: Numbers
) -> MetricBlock:
    scales: dict[Form, Scale] = {"relative": relative}
    for form in FORMS[1:]:
        limit = limit_of(metric, form)
        scales[form] = shared_scale(
            [_row_bounds(in_form(c, form)) for c in metric.comparisons],
            width=PLOT_WIDTH,
            limits=[] if limit is None else [limit],
            about=5,
        )
    control = next((v for v in metric.variants if v.variant == metric.control), None)
    lines = tuple(_line(metric, c, names, scales, report, language, numbers) for c in metric.comparisons)
    axes: dict[Form, Markup | None] = dict.fromkeys(FORMS[1:])
    for form in FORMS[1:]:
        estimates = [in_form(c, form) for c in metric.comparisons]
        if any(e is not None and e.estimate is not None for e in estimates):
            axes[form] = axis_header(scales[form], _tick_writer(form, scales[form], metric, numbers))
    return MetricBlock(
        name=metric.name,
        label=language.text(metric.label) or metric.name,
        details=metric_details(metric, language, numbers),
        control=numbers.value(control.mean if control else None, metric.unit),
        control_units=numbers.count(control.n if control else None),
        lines=lines,
        axes=axes,
    )


def _tick_writer(form: Form, scale: Scale, metric: MetricResult, numbers: Numbers) -> Callable[[float], str]:
    if form == "total":
        return lambda v: numbers.total(v, metric.unit)
    step = scale.ticks[1] - scale.ticks[0]
    return lambda v: numbers.tick(v, metric.unit, step)


def _line(
    metric: MetricResult,
    comparison: Comparison,
    names: dict[str, str],
    scales: dict[Form, Scale],
    report: Report,
    language: Language,
    numbers: Numbers,
) -> VariantLine:
    own = next((v for v in metric.variants if v.variant == comparison.variant), None)
    badge = reading_badge(comparison.reading, language)
    name = names.get(comparison.variant, comparison.variant)
    cells = {
        form: _cell(metric, comparison, form, name, badge.word, scales[form], report, language, numbers)
        for form in FORMS
    }
    guarded = metric.role == "guardrail" and comparison.p_value_margin is not None
    adjusted = comparison.p_value_adjusted if comparison.p_value_adjusted is not None else comparison.p_value
    bayesian = report.plan.inference == "bayesian"
    p_value = numbers.p_value(comparison.p_value_margin if guarded else adjusted)
    _ = language.gettext
    loss = ""
    if comparison.expected_loss is not None and metric.role != "guardrail":
        loss = _(
            "loss %(loss)s",
            loss=figures.loss(comparison.expected_loss, metric.unit, report.plan.currency, lang=language.tag),
        )
    return VariantLine(
        key=comparison.variant,
        name=name,
        value=numbers.value(own.mean if own else None, metric.unit),
        units=numbers.count(own.n if own else None),
        tone={"better": "good", "worse": "bad", "broken": "bad"}.get(comparison.reading, ""),
        wins=comparison.reading == "better",
        cells=cells,
        certainty=chance_text(comparison.chance_to_win, numbers) if bayesian else p_value,
        loss=loss,
        stopped=_stopped(metric, comparison, language, numbers),
        badge=badge,
        why=why_text(comparison.why, language.tag),
    )


def chance_text(chance: float | None, numbers: Numbers) -> str:
    """Write a probability; never 0 % nor 100 %."""
    if chance is not None and not 0.001 <= chance <= 0.999:
        return figures.chance(chance)
    return numbers.share(chance, 1)


def _stopped(metric: MetricResult, comparison: Comparison, language: Language, numbers: Numbers) -> str:
    found = comparison.after_stopping
    if found is None or found.estimate is None:
        return ""
    size = control_mean(metric)
    said = language.gettext(
        "After stopping: %(change)s (%(interval)s)",
        change=numbers.effect(found.estimate, metric.unit, scale=size),
        interval=numbers.range_in(found.ci_low, found.ci_high, "absolute", metric.unit, scale=size),
    )
    return unbroken(said)


def _cell(
    metric: MetricResult,
    comparison: Comparison,
    form: Form,
    name: str,
    word: str,
    scale: Scale,
    report: Report,
    language: Language,
    numbers: Numbers,
) -> EffectCell:
    _ = language.gettext
    estimate = in_form(comparison, form)
    low, middle, high = _row_bounds(estimate)
    size = control_mean(metric) or max((abs(v) for v in (low, middle, high) if v is not None), default=None)
    change = numbers.by_form(middle, form, metric.unit, scale=size)
    phrase = numbers.range_in(low, high, form, metric.unit, scale=size)
    label = language.text(metric.label) or metric.name
    level = numbers.share(1 - report.plan.alpha, 0)
    if middle is None:
        conclusion = _("%(metric)s, %(variant)s: no effect computed", metric=label, variant=name)
    elif low is None and high is None:
        conclusion = _(
            "%(metric)s, %(variant)s: %(change)s, no interval, %(reading)s",
            metric=label,
            variant=name,
            change=change,
            reading=word,
        )
    else:
        conclusion = _(
            "%(metric)s, %(variant)s: %(change)s, %(level)s interval %(interval)s, %(reading)s",
            metric=label,
            variant=name,
            change=change,
            level=level,
            interval=phrase,
            reading=word,
        )
    look = IntervalLook(low, middle, high, reading=comparison.reading, label=conclusion, limit=limit_of(metric, form))
    columns = (_("Variant"), _("Change"), _("%(level)s interval", level=level))
    chart = interval(look, scale, columns=columns, row=(name, change, phrase)) if estimate is not None else None
    return EffectCell(change, phrase, chart, why=why_text(estimate.why, language.tag) if estimate else "")

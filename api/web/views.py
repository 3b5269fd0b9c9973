"""What the pages show that is no report: one row of the experiment list, and where the pages stand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from experiments.report.document import Comparison, DecisionCode, MetricResult, Reading, Report, Stands, Text
from experiments.report.whys import why_text

Attention = Literal["srm", "quality", "harm", "ready", "late"]
"""Why an experiment needs somebody: split is off, another quality check fails, a variant harms, a decision is due,
outcomes are late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The deployment that the pages belong to."""

    project: Text = field(default_factory=dict)
    """Its name, by language."""
    environment: str = ""
    time_zone: str = "UTC"
    """IANA name of the project's zone; every date on a page is in it."""
    simulated: bool = False
    """True when all the data come from the demo; every page then says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who looks at the pages."""

    name: str = ""
    """Of the key that was signed in with; empty while nobody needs to sign in."""
    keys_url: str = ""
    """Where API keys are kept, for those who may go there."""
    sign_out_url: str = ""
    outside: bool = False
    """Whether nobody has signed in yet, though somebody must."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BestEffect:
    """The variant of the first decision metric that does best, with its (adjusted) relative interval."""

    metric: Text
    variant: str
    variant_name: Text
    estimate: float
    """Share of control's mean: 0.09 is +9 %."""
    ci_low: float | None
    ci_high: float | None
    reading: Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentListRow:
    """One experiment in the list. Times are ISO 8601 UTC text, texts are language maps."""

    key: str
    title: Text
    state: str
    """draft | review | testing | running | paused | ended | decided"""
    decision: DecisionCode | None = None
    """What the latest report says; None without a report."""
    stands: Stands = "open"
    """Whether members or outcomes still come."""
    next_step: Text = field(default_factory=dict)
    """The report's sentence, or what a draft is missing."""
    attention: Attention | None = None
    audience: Text = field(default_factory=dict)
    variants: int = 0
    owner: str | None = None
    day: int | None = None
    """Days since the start, 1 on the first day."""
    planned_days: int | None = None
    units: int = 0
    planned_units: int | None = None
    best: BestEffect | None = None
    hidden_why: Text = field(default_factory=dict)
    """Why effects are not shown; empty when they are or when there are none."""
    data_time: str | None = None
    simulated: bool = False


def best_effect(report: Report) -> BestEffect | None:
    """Return the best variant on the first primary metric, None when no effect may be read.

    "Best" follows the metric's direction. An effect whose relative form is undefined is passed over.
    """
    metric = next((m for m in report.metrics if m.role == "primary"), None)
    if metric is None:
        return None
    readable = [c for c in metric.comparisons if c.readable and c.relative.estimate is not None]
    if not readable:
        return None
    best = max(readable, key=lambda c: _goodness(metric, c))
    names = {v.key: v.name for v in report.plan.variants}
    low, high = best.relative.ci_low_adjusted, best.relative.ci_high_adjusted
    if low is None and high is None:
        low, high = best.relative.ci_low, best.relative.ci_high
    estimate = best.relative.estimate
    assert estimate is not None  # noqa: S101 - filtered above; for the type checker
    return BestEffect(
        metric=metric.label,
        variant=best.variant,
        variant_name=names.get(best.variant, {}),
        estimate=estimate,
        ci_low=low,
        ci_high=high,
        reading=best.reading,
    )


def _goodness(metric: MetricResult, comparison: Comparison) -> float:
    estimate = comparison.relative.estimate or 0.0
    return estimate if metric.direction == "increase" else -estimate


def attention_of(state: str, report: Report | None) -> Attention | None:
    """Say why a person should look at this experiment now, None when nobody has to."""
    if report is None or report.verdict is None or state in {"draft", "review", "decided"}:
        return None
    if report.srm.status == "fail":
        return "srm"
    code = report.verdict.code
    if code == "do_not_read":
        return "quality" if any(check.status == "fail" for check in report.checks) else None
    if code == "stop_harm":
        return "harm"
    over = state == "ended" and report.verdict.stands != "waiting"
    return "ready" if over or code in {"roll_out", "stop_no_effect"} else None


def list_row(
    *,
    key: str,
    title: Text,
    state: str,
    report: Report | None = None,
    audience: Text | None = None,
    variants: int = 0,
    owner: str | None = None,
    day: int | None = None,
    planned_days: int | None = None,
    units: int | None = None,
    planned_units: int | None = None,
    next_step: Text | None = None,
    simulated: bool = False,
) -> ExperimentListRow:
    """Build a row from what the repository knows and, where there is one, the latest report.

    Args:
        key: the experiment's key.
        title: its name as a language map.
        state: draft | review | testing | running | paused | ended | decided.
        report: its latest report; effects, sentence and attention come from it.
        audience: who is addressed, for the stage column.
        variants: number of variants including control.
        owner: team or person.
        day: days since the start, 1 on the first day.
        planned_days: length declared before launch.
        units: members enrolled; by default the report's.
        planned_units: sample declared before launch.
        next_step: said in place of the report's sentence, for example what a draft is missing.
        simulated: True for demo data.

    Returns:
        The row, effects left out and ``hidden_why`` set while a quality check forbids reading them.
    """
    hidden: Text = {}
    best = None
    sentence: Text = next_step or {}
    decision: DecisionCode | None = None
    stands: Stands = "open"
    if report is not None:
        best = best_effect(report)
        if report.verdict is not None:
            decision, stands = report.verdict.code, report.verdict.stands
            sentence = next_step or report.verdict.sentence
        if best is None:
            hidden = hidden_reason(report)
    return ExperimentListRow(
        key=key,
        title=title,
        state=state,
        decision=decision,
        stands=stands,
        next_step=sentence,
        attention=attention_of(state, report),
        audience=audience or (report.plan.audience if report else {}),
        variants=variants or (len(report.plan.variants) if report else 0),
        owner=owner or (report.plan.owner if report else None),
        day=day,
        planned_days=planned_days or (report.plan.planned_days if report else None),
        units=units if units is not None else (report.population.assigned if report else 0),
        planned_units=planned_units or (report.plan.planned_units if report else None),
        best=best,
        hidden_why=hidden,
        data_time=report.data_time if report else None,
        simulated=simulated,
    )


def hidden_reason(report: Report) -> Text:
    """Say why no effect of the first decision metric is shown."""
    if report.bandit is not None:
        return report.bandit.sentence
    if report.srm.status == "fail":
        return {"en": "Hidden while the split is off", "zh-CN": "流量比例异常，暂不显示"}
    for metric in report.metrics:
        for comparison in metric.comparisons:
            if metric.role == "primary" and comparison.why:
                return {lang: why_text(comparison.why, lang) for lang in ("en", "zh-CN")}
    return {"en": "No effect yet", "zh-CN": "尚无结果"}

"""A report as its page shows it: head, decision, health, who is counted, and the method, all as written text."""

from __future__ import annotations

from dataclasses import dataclass

from api.web.designs import DesignSection, build_designs
from api.web.economics import EconomicsView, build_economics
from api.web.language import Language, unbroken
from api.web.numbers import MISSING, Numbers
from api.web.over_time import MetricPanels, build_over_time
from api.web.responders import Responders, build_responders
from api.web.scorecard import Scorecard, build_scorecard, variant_names
from api.web.vocabulary import (
    Badge,
    certainty_head,
    decision_badge,
    inference_word,
    intervals_phrase,
    left_out_word,
    over_time_phrase,
    state_badge,
    status_icon,
    status_word,
    units_word,
)
from experiments.report.document import Plan, Report, RuleResult, Verdict
from experiments.report.outlook import outlook_lines
from experiments.report.whys import why_text


@dataclass(frozen=True, slots=True)
class Fact:
    """One entry of the facts line."""

    name: str
    value: str
    badge: Badge | None = None
    mono: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule declared before launch and what came out."""

    label: str
    actual: str
    icon: str
    tone: str
    word: str


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision card."""

    badge: Badge
    tone: str
    rules_met: str
    sentence: str
    reasons: tuple[str, ...]
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class HealthCell:
    """One check of the health strip."""

    label: str
    value: str
    detail: str
    icon: str
    tone: str
    word: str
    more: str = ""
    """What lies behind it, folded away."""


@dataclass(frozen=True, slots=True)
class SplitLine:
    """One variant's planned and observed share."""

    name: str
    key: str
    control: bool
    offer: str
    planned: str
    expected: str
    observed: str
    difference: str


@dataclass(frozen=True, slots=True)
class ReportView:
    """Everything that the report's template prints."""

    title: str
    hypothesis: str
    facts: tuple[Fact, ...]
    decision: Decision | None
    summary: tuple[str, ...]
    """What the figures show, where no rules were declared."""
    declared: bool
    """Metrics were declared before launch, as a service's experiments are."""
    units: str
    health: tuple[HealthCell, ...]
    split: tuple[SplitLine, ...]
    counted: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    outlook: tuple[str, ...]
    """What the running test can still show."""
    readable: bool
    """False collapses every effect."""
    hidden_why: str
    split_failed: bool
    scorecard: Scorecard | None
    over_time: tuple[MetricPanels, ...]
    economics: EconomicsView | None
    """Did the offer pay for itself? Where a profit is measured."""
    responders: tuple[Responders, ...]
    designs: tuple[DesignSection, ...]
    methods: tuple[str, ...]
    intervals: str
    """What the scorecard's intervals are."""
    around: str
    """What surrounds the curves over time."""
    certainty: str
    """Name of the scorecard's column of p-values or probabilities."""
    bayesian: bool
    level: str
    data_time: str
    content_hash: str
    software: str
    has_data: bool


def build_report_view(report: Report, language: Language, numbers: Numbers, *, key: str | None = None) -> ReportView:
    """Turn a report into text and charts.

    Args:
        report: the stored document.
        language: of the page.
        numbers: formats in that language, currency and zone.
        key: the experiment's key when the report itself does not know it.
    """
    readable, why = _readability(report, language)
    level = numbers.share(1 - report.plan.alpha, 0)
    has_data = bool(report.metrics) and report.population.analysed > 0
    return ReportView(
        title=title_of(report.plan, language, key),
        hypothesis=language.text(report.plan.hypothesis),
        facts=facts_of(report.plan, language, numbers, key=key, report=report),
        decision=_decision(report, language, readable=readable),
        summary=tuple(unbroken(language.text(s)) for s in report.summary) if report.verdict is None else (),
        declared=report.plan.source is None,
        units=units_word(report.plan, language),
        health=_health(report, language, numbers),
        split=_split(report, language, numbers),
        counted=_counted(report, language, numbers),
        warnings=tuple(language.text(w) for w in report.warnings if language.text(w)),
        outlook=tuple(language.text(line) for line in outlook_lines(report)),
        readable=readable,
        hidden_why=why,
        split_failed=report.srm.status == "fail",
        scorecard=build_scorecard(report, language, numbers) if has_data else None,
        over_time=build_over_time(report, language, numbers),
        economics=build_economics(report, language, numbers) if has_data else None,
        responders=build_responders(report, language, numbers),
        designs=build_designs(report, language, numbers) if has_data else (),
        methods=tuple(language.text(m) for m in report.methods if language.text(m)),
        intervals=intervals_phrase(report.plan.inference, level, language),
        around=over_time_phrase(report.plan.inference, language),
        certainty=certainty_head(report.plan, language),
        bayesian=report.plan.inference == "bayesian",
        level=level,
        data_time=numbers.time(report.data_time) if report.data_time else "",
        content_hash=report.content_hash,
        software=report.software,
        has_data=has_data,
    )


def title_of(plan: Plan, language: Language, key: str | None = None) -> str:
    """Return the question that the experiment answers, else its file or key."""
    return language.text(plan.title) or plan.source or plan.experiment or key or language.gettext("Experiment")


def facts_of(
    plan: Plan, language: Language, numbers: Numbers, *, key: str | None = None, report: Report | None = None
) -> tuple[Fact, ...]:
    """Return the facts line: status, key, audience, dates, split, method, owner."""
    _ = language.gettext
    facts: list[Fact] = []
    if plan.state:
        facts.append(Fact(_("Status"), "", badge=state_badge(plan.state, language)))
    if plan.experiment or key:
        facts.append(Fact(_("Key"), plan.experiment or key or "", mono=True))
    if plan.source:
        facts.append(Fact(_("File"), plan.source, mono=True))
    if language.text(plan.audience):
        facts.append(Fact(_("Audience"), language.text(plan.audience)))
    if plan.started_at and plan.ended_at:
        span = _("%(start)s to %(end)s", start=numbers.date(plan.started_at), end=numbers.date(plan.ended_at))
        facts.append(Fact(_("Ran"), span))
    elif plan.started_at:
        facts.append(Fact(_("Started"), numbers.date(plan.started_at)))
    if plan.planned_units:
        facts.append(Fact(_("Planned sample"), numbers.count(plan.planned_units)))
    if plan.planned_days:
        days = plan.planned_days
        facts.append(Fact(_("Planned length"), language.ngettext("%(num)s day", "%(num)s days", days)))
    facts.append(Fact(_("Split"), _split_text(plan, numbers)))
    method = [inference_word(plan.inference, language), numbers.share(1 - plan.alpha, 0)]
    if report is not None and plan.adjustment != "none" and any(m.covariates for m in report.metrics):
        method.append(_("regression") if plan.adjustment == "regression" else "CUPED")
    facts.append(Fact(_("Method"), _(", ").join(method)))
    if report is not None and report.population.kind == "exposed":
        facts.append(Fact(_("Population"), _("exposed members")))
    if plan.phase and plan.phase > 1:
        facts.append(Fact(_("Phase"), numbers.count(plan.phase)))
    if plan.owner:
        facts.append(Fact(_("Owner"), plan.owner))
    return tuple(facts)


def _split_text(plan: Plan, numbers: Numbers) -> str:
    weights = [v.weight for v in plan.variants]
    if not weights:
        return MISSING
    if max(weights) - min(weights) < 1e-9:
        return f"{len(weights)} × {_share(weights[0], numbers)}"
    return " / ".join(_share(w, numbers) for w in weights)


def _share(value: float, numbers: Numbers) -> str:
    whole = abs(value * 100 - round(value * 100)) < 1e-9
    return numbers.share(value, 0 if whole else 1)


def _readability(report: Report, language: Language) -> tuple[bool, str]:
    """Say whether effects may be read at first sight, and why not."""
    _ = language.gettext
    if report.srm.status == "fail":
        p_value = Numbers(language).p_value(report.srm.p_value)
        return False, _(
            "The members are not split as designed (p %(p)s), so the groups may differ by more than the offer. "
            "Find the cause before you read effects.",
            p=p_value,
        )
    comparisons = [c for m in report.metrics for c in m.comparisons]
    if comparisons and not any(c.readable for c in comparisons):
        given = next((c.why for c in comparisons if c.why), None)
        return False, why_text(given, language.tag) or _("A quality check forbids reading effects at the moment.")
    if report.verdict is not None and report.verdict.code == "do_not_read":
        return False, language.text(report.verdict.sentence)
    return True, ""


ABOUT_EFFECTS = frozenset({"primary_better", "primary_not_harmed", "guardrail_within"})
"""Rules that effects decide; while effects are hidden they are neither met nor not, and their figures are hidden."""
ABOUT_PROGRESS = frozenset({"planned_sample", "planned_days", "whole_weeks", "outcomes_mature"})
"""Rules that time meets by itself while a test runs."""


def _decision(report: Report, language: Language, *, readable: bool) -> Decision | None:
    verdict = report.verdict
    if verdict is None:
        return None
    name = variant_names(report, language).get(verdict.variant or "", verdict.variant or "")
    badge = decision_badge(verdict.code, name, language, stands=verdict.stands)
    _ = language.gettext
    rules = tuple(_rule(rule, verdict, language, readable=readable) for rule in verdict.rules)
    met = sum(rule.icon == "ok" for rule in rules)
    if not rules:
        said = ""
    elif met == len(rules):
        said = language.ngettext(
            "The rule agreed before launch is met", "All %(num)s rules agreed before launch are met", met
        )
    else:
        said = _("%(met)s of %(all)s rules agreed before launch are met", met=met, all=len(rules))
    tone = {"good": "good", "bad": "bad", "warn": "warn"}.get(badge.tone, "flat")
    reasons = tuple(unbroken(language.text(r)) for r in verdict.reasons) if readable else ()
    return Decision(badge, tone, said, unbroken(language.text(verdict.sentence)), reasons, rules)


def _rule(rule: RuleResult, verdict: Verdict, language: Language, *, readable: bool) -> Rule:
    _ = language.gettext
    label, actual = language.text(rule.label), language.text(rule.actual)
    if rule.code in ABOUT_EFFECTS and not readable:
        return Rule(label, _("hidden"), "dash", "mut", _("Not known yet"))
    if rule.met is None:
        return Rule(label, actual, "dash", "mut", _("Not known yet"))
    if rule.met:
        return Rule(label, actual, "ok", "good", _("Met"))
    if verdict.stands != "over" and (rule.code in ABOUT_PROGRESS or (rule.code in ABOUT_EFFECTS and not rule.failed)):
        return Rule(label, actual, "clock", "mut", _("Not met yet"))
    return Rule(label, actual, "no", "bad", _("Not met"))


def _health(report: Report, language: Language, numbers: Numbers) -> tuple[HealthCell, ...]:
    """Return the report's checks; the split check comes first even if the report carries it only in `srm`."""
    _ = language.gettext
    cells = [
        HealthCell(
            language.text(c.label) or c.code,
            language.text(c.value),
            language.text(c.detail),
            *status_icon(c.status),
            status_word(c.status, language),
            language.text(c.more),
        )
        for c in report.checks
    ]
    if not any(c.code == "srm" for c in report.checks):
        words = {"ok": _("Balanced"), "caution": _("Look closer"), "fail": _("Off"), "info": _("Not checked")}
        p_value = _("χ² p %(p)s", p=numbers.p_value(report.srm.p_value)) if report.srm.p_value is not None else ""
        detail = p_value or why_text(report.srm.why, language.tag)
        cells.insert(
            0,
            HealthCell(
                _("Traffic split (SRM)"),
                words[report.srm.status],
                detail,
                *status_icon(report.srm.status),
                status_word(report.srm.status, language),
            ),
        )
    return tuple(cells)


def _split(report: Report, language: Language, numbers: Numbers) -> tuple[SplitLine, ...]:
    names = variant_names(report, language)
    total = sum(report.srm.observed.values())
    lines = []
    for variant in report.plan.variants:
        observed = report.srm.observed.get(variant.key)
        expected = report.srm.expected.get(variant.key)
        difference = MISSING
        if observed is not None and expected:
            difference = numbers.change(observed / expected - 1)
        share = f" ({numbers.share(observed / total)})" if observed is not None and total else ""
        lines.append(
            SplitLine(
                name=names[variant.key],
                key=variant.key,
                control=variant.is_control or variant.key == report.plan.control,
                offer=language.text(variant.offer_name) or variant.offer or "",
                planned=_share(variant.weight, numbers),
                expected=numbers.count(None if expected is None else round(expected)),
                observed=numbers.count(observed) + share,
                difference=difference,
            )
        )
    return tuple(lines)


def _counted(report: Report, language: Language, numbers: Numbers) -> tuple[tuple[str, str], ...]:
    _ = language.gettext
    population = report.population
    lines = [(_("Assigned"), numbers.count(population.assigned))]
    if population.exposed is not None:
        lines.append((_("Exposed"), numbers.count(population.exposed)))
    lines.append((_("In the analysis"), numbers.count(population.analysed)))
    if population.immature:
        lines.append((_("of these, with windows not over"), numbers.count(population.immature)))
    if population.unsent is not None:
        lines.append((_("of these, due and with no send reported"), numbers.count(population.unsent)))
    if population.linked:
        lines.append((_("Linked ids"), numbers.count(population.linked)))
        lines.append((_("members that these are"), numbers.count(population.linked_units)))
        lines.append((_("of these, in two variants"), numbers.count(population.linked_conflicts)))
    left_out = dict(population.left_out)
    if report.contaminated and "contaminated" not in left_out:
        left_out["contaminated"] = report.contaminated
    lines += [
        (_("Left out: %(reason)s", reason=left_out_word(reason, language)), numbers.count(n))
        for reason, n in left_out.items()
        if n
    ]
    if report.duplicates and "duplicate" not in left_out:
        lines.append((_("Repeated rows, counted once"), numbers.count(report.duplicates)))
    return tuple(lines)

"""The declared rules, applied: findings, quality and progress in, one of five decisions out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from stats.decision.forecast import more_days, more_units
from stats.decision.outlook import outlook_of
from stats.decision.parts import (
    WEEK_DAYS,
    Code,
    Decision,
    Direction,
    Finding,
    Numbers,
    Progress,
    Quality,
    Reason,
    Rule,
    VariantOutlook,
)

PLAN_RULES = ("planned_sample", "planned_days")
"""Rules that a crossed bound, or a small expected loss, makes needless."""


def read_effect(
    estimate: float | None, p_value_adjusted: float | None, direction: Direction, alpha: float = 0.05
) -> Literal["better", "worse", "unclear", "not_computed"]:
    """Return what an adjusted p and the estimate's sign say, given which way is better.

    >>> read_effect(0.4, 0.01, "increase"), read_effect(0.4, 0.01, "decrease"), read_effect(0.4, 0.3, "increase")
    ('better', 'worse', 'unclear')
    """
    if estimate is None or p_value_adjusted is None:
        return "not_computed"
    if p_value_adjusted > alpha:
        return "unclear"
    return "better" if (estimate > 0) == (direction == "increase") else "worse"


def decide(
    findings: Sequence[Finding],
    quality: Sequence[Quality],
    progress: Progress,
    *,
    no_effect_within: float | None = None,
) -> Decision:
    """Apply the declared rules.

    Args:
        findings: primary metrics in order of importance, and guardrails, for every variant but control.
        quality: every check; one that failed forbids reading.
        progress: how far the test is.
        no_effect_within: bound declared before launch below which an effect does not matter, positive, on the scale of
            the first primary metric's estimates.

    Raises:
        ValueError: there is no primary metric, a variant lacks the first one, or the bound is not positive.

    >>> a = Finding(metric="profit", variant="A", role="primary", direction="increase", reading="better",
    ...             estimate=0.09, ci_low=0.02, ci_high=0.16)
    >>> decision = decide([a], [Quality(code="srm", status="ok")], Progress(units=200, planned_units=180))
    >>> decision.code, decision.variant
    ('roll_out', 'A')
    >>> [(rule.code, rule.met) for rule in decision.rules[1:]]
    [('planned_sample', True), ('outcomes_mature', True), ('primary_better', True)]
    """
    if no_effect_within is not None and not no_effect_within > 0:
        raise ValueError(f"no_effect_within must be positive, not {no_effect_within}")
    first = next((finding.metric for finding in findings if finding.role == "primary"), None)
    if first is None:
        raise ValueError("there is no primary metric: name the metric that decides")
    outlooks = [
        outlook_of(variant, first, [f for f in findings if f.variant == variant], no_effect_within)
        for variant in dict.fromkeys(finding.variant for finding in findings)
    ]
    general = _general_rules(quality, progress)
    estimates = {f.variant: _good(f) for f in findings if f.metric == first and f.role == "primary"}

    winners = [o for o in outlooks if o.outcome == "winner"]
    ahead = _ahead_of_plan(winners, findings, first, general, progress, no_effect_within)
    if ahead:
        winners = ahead
        general = _without_plan(general, max(ahead, key=lambda o: estimates[o.variant]), findings, first, progress)

    def result(code: Code, variant: str | None, reasons: Sequence[Reason], **more: int | None) -> Decision:
        ranked = sorted(outlooks, key=lambda o: (o.outcome == "harmful", -estimates[o.variant]))
        shown = next((o for o in outlooks if o.variant == variant), ranked[0])
        ordered = tuple(
            VariantOutlook(o.variant, "also_better", o.rules, o.reasons)
            if o.outcome == "winner" and code == "roll_out" and o.variant != variant
            else o
            for o in outlooks
        )
        return Decision(
            code, variant, tuple(reasons), (*general, *shown.rules), ordered, stands=progress.stands, **more
        )

    failed = [check for check in quality if check.status == "fail"]
    if failed:
        return result("do_not_read", None, [Reason(f"{check.code}_failed", check.numbers) for check in failed])

    unmet = [rule for rule in general if rule.met is False]
    harmful = [o for o in outlooks if o.outcome == "harmful"]
    open_ended = [o for o in outlooks if o.outcome == "unclear"]
    if not unmet and winners:
        best = max(winners, key=lambda o: estimates[o.variant])
        return result("roll_out", best.variant, best.reasons)
    may_stop = not unmet or (progress.inference != "fixed" and not _in_first_week(progress))
    if may_stop and len(harmful) == len(outlooks):
        worst = min(harmful, key=lambda o: estimates[o.variant])
        return result("stop_harm", worst.variant, [reason for o in harmful for reason in o.reasons])
    if not unmet and not winners and not open_ended:
        if all(o.outcome == "no_effect" for o in outlooks):
            return result("stop_no_effect", None, [reason for o in outlooks for reason in o.reasons])
        worst = min(harmful, key=lambda o: estimates[o.variant])
        return result("stop_harm", worst.variant, [reason for o in outlooks for reason in o.reasons])

    reasons = [Reason(rule.code, rule.numbers) for rule in unmet]
    if _in_first_week(progress):
        reasons.insert(0, Reason("first_week", {"days": progress.days}))
    if progress.futile and not winners:
        reasons.append(Reason("futile", {"units": progress.units}))
    if not unmet:
        reasons += [reason for o in open_ended for reason in o.reasons]
    if ahead:
        progress = replace(progress, planned_units=None, planned_days=None)
    units = more_units(findings, open_ended, first, progress, no_effect_within, complete=not unmet)
    days = more_days(progress, unmet, units)
    return result("keep_running", None, reasons, more_units=units, more_days=days)


def _ahead_of_plan(
    winners: Sequence[VariantOutlook],
    findings: Sequence[Finding],
    first: str,
    general: Sequence[Rule],
    progress: Progress,
    bound: float | None,
) -> list[VariantOutlook]:
    """Return the winners that need no more of the plan, where something of it is left."""
    if not any(rule.code in PLAN_RULES and rule.met is False for rule in general):
        return []
    if progress.inference == "group_sequential":
        return list(winners)
    if progress.inference != "bayesian" or bound is None:
        return []
    losses = {f.variant: f.expected_loss for f in findings if f.metric == first and f.role == "primary"}
    return [o for o in winners if (loss := losses[o.variant]) is not None and loss <= bound]


def _without_plan(
    general: Sequence[Rule], best: VariantOutlook, findings: Sequence[Finding], first: str, progress: Progress
) -> tuple[Rule, ...]:
    """Return the rules with what is left of the plan replaced by why it is not needed."""
    kept = [rule for rule in general if not (rule.code in PLAN_RULES and rule.met is False)]
    if progress.inference == "group_sequential":
        numbers: Numbers = {"units": progress.units, "planned": progress.planned_units}
        return (*kept, Rule("bound_crossed", met=True, numbers=numbers))
    loss = next(f.expected_loss for f in findings if f.variant == best.variant and f.metric == first)
    return (*kept, Rule("loss_within", met=True, numbers={"expected_loss": loss}))


def _general_rules(quality: Sequence[Quality], progress: Progress) -> tuple[Rule, ...]:
    """Return the rules that are the test's, not a variant's; those without meaning here are left out."""
    rules = [
        Rule("quality", None if check.status == "info" else check.status != "fail", check.numbers, check.code)
        for check in quality
    ]
    if progress.planned_units is not None:
        reached = progress.units >= progress.planned_units
        rules.append(Rule("planned_sample", reached, {"units": progress.units, "planned": progress.planned_units}))
    if progress.planned_days is not None and progress.days is not None:
        passed = progress.days >= progress.planned_days
        rules.append(Rule("planned_days", passed, {"days": progress.days, "planned": progress.planned_days}))
    if progress.enrolment == "rolling" and progress.days is not None:
        # Once the plan is over, a few days more must not turn a decision back.
        over = progress.planned_days is not None and progress.days >= progress.planned_days
        whole = progress.days >= WEEK_DAYS and (over or progress.days % WEEK_DAYS == 0)
        rules.append(Rule("whole_weeks", whole, {"days": progress.days}))
    if progress.enrolment == "once":
        rules.append(Rule("outcomes_mature", progress.immature == 0, {"immature": progress.immature}))
    return tuple(rules)


def _in_first_week(progress: Progress) -> bool:
    return progress.enrolment == "rolling" and progress.days is not None and progress.days < WEEK_DAYS


def _good(finding: Finding) -> float:
    """Return the estimate counted so that more is better; the worst where there is none."""
    if finding.estimate is None:
        return -math.inf
    return finding.estimate if finding.direction == "increase" else -finding.estimate

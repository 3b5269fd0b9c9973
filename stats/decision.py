"""From readings to one of five decisions, by rules declared before launch; codes and numbers only, words come later.

    do_not_read      a quality check failed: no effect may be read
    roll_out         a variant meets every rule
    stop_harm        every variant that is left is worse on a decision metric or breaks a guardrail
    stop_no_effect   no variant has an effect beyond the bound declared before launch
    keep_running     none of these; with what is missing and, where it can be told, how much longer. Where nobody enters
                     any more ``Decision.stands`` says so: "waiting" for outcomes, or "over": then it is no answer, not
                     a call to go on

The first primary metric decides; further primary metrics must not be harmed. Guardrails must be *proved* within their
margin. With fixed-horizon inference nothing is concluded before the planned sample is there, its outcomes are mature
and, for rolling enrolment, whole weeks have passed. With always-valid inference harm stops a test at any look after the
first week; a roll-out still waits for the rules.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Code = Literal["roll_out", "stop_harm", "stop_no_effect", "keep_running", "do_not_read"]
Direction = Literal["increase", "decrease"]
Reading = Literal["better", "worse", "unclear", "within_limit", "not_proven", "broken", "not_computed"]
Status = Literal["ok", "caution", "fail", "info"]
Stands = Literal["open", "waiting", "over"]
Outcome = Literal["winner", "also_better", "harmful", "no_effect", "unclear"]
Numbers = Mapping[str, float | int | str | None]

WEEK_DAYS = 7
MOST_GROWTH = 50.0
"""A test that would need more than this many times its present sample is not said to need "n more days"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one metric says about one variant.

    Attributes:
        metric: its name.
        variant: its key.
        role: ``primary`` metrics decide, in the order given; ``guardrail`` metrics must hold.
        direction: which way is better.
        reading: from adjusted figures (``read_effect``, ``effects.read_guardrail``).
        estimate: effect, on the scale of ``no_effect_within`` for primary and of ``limit`` for guardrail metrics.
        ci_low: lower end of the adjusted interval, same scale.
        ci_high: upper end.
        limit: guardrails: the effect at the margin, signed (−0.02 or +0.3), same scale.
        why_code: why it is not computed.
    """

    metric: str
    variant: str
    role: Literal["primary", "guardrail"]
    direction: Direction
    reading: Reading
    estimate: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    limit: float | None = None
    why_code: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """One quality check, such as ``Quality(code="srm", status="ok", numbers={"p_value": 0.4})``."""

    code: str
    status: Status
    numbers: Numbers = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the test is.

    Attributes:
        enrolment: ``once`` (one list, one send) or ``rolling``.
        inference: ``fixed`` (one look at the end) or ``always_valid``.
        units: units in the analysis.
        planned_units: declared before launch, ``None`` where no number was.
        days: whole days since the first entry, ``None`` where time is not known (a file).
        planned_days: declared before launch.
        immature: units whose outcome windows are not over.
        days_to_mature: days until the last of them is.
        ended: nobody enters any more.
    """

    enrolment: Literal["once", "rolling"] = "once"
    inference: Literal["fixed", "always_valid"] = "fixed"
    units: int
    planned_units: int | None = None
    days: int | None = None
    planned_days: int | None = None
    immature: int = 0
    days_to_mature: int | None = None
    ended: bool = False

    @property
    def stands(self) -> Stands:
        """``open`` while units enter, ``waiting`` when only outcomes still come, ``over`` when nothing comes any more.

        A list (``once``) whose outcomes are all in is over even if nobody has ended it, unless planned days are left.

        >>> Progress(units=900, immature=20, ended=True).stands, Progress(units=900).stands
        ('waiting', 'over')
        """
        if self.immature:
            return "waiting" if self.ended else "open"
        days_left = self.planned_days is not None and self.days is not None and self.days < self.planned_days
        return "over" if self.ended or (self.enrolment == "once" and not days_left) else "open"


@dataclass(frozen=True, slots=True)
class Rule:
    """One declared rule and what came out.

    ``code`` is one of quality, planned_sample, planned_days, whole_weeks, outcomes_mature, primary_better,
    primary_not_harmed, guardrail_within; ``subject`` names the quality check or metric. ``met`` is ``None`` where the
    rule was not declared or cannot be judged.
    """

    code: str
    met: bool | None
    numbers: Numbers
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class Reason:
    """Why: a code and its numbers. ``variant`` and ``metric`` say of what."""

    code: str
    numbers: Numbers
    variant: str | None = None
    metric: str | None = None


@dataclass(frozen=True, slots=True)
class VariantOutlook:
    """Where one variant stands: its own rules, and why it is not (or is) to be rolled out."""

    variant: str
    outcome: Outcome
    rules: tuple[Rule, ...]
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """One of five codes with everything behind it.

    Attributes:
        code: the decision.
        variant: which to roll out, or which is worst where the code is ``stop_harm``.
        reasons: why this code.
        rules: the test's own rules, then those of ``variant`` (of the best candidate where none is named).
        variants: every variant's outlook.
        more_units: about how many more units are needed, where that can be told.
        more_days: about how many more days; ``None`` where the test is over.
        stands: whether units still enter, only outcomes still come, or nothing comes any more.
    """

    code: Code
    variant: str | None
    reasons: tuple[Reason, ...]
    rules: tuple[Rule, ...]
    variants: tuple[VariantOutlook, ...]
    more_units: int | None = None
    more_days: int | None = None
    stands: Stands = "open"


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
        _outlook(variant, first, [f for f in findings if f.variant == variant], no_effect_within)
        for variant in dict.fromkeys(finding.variant for finding in findings)
    ]
    general = _general_rules(quality, progress)
    estimates = {f.variant: _good(f) for f in findings if f.metric == first and f.role == "primary"}

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
    winners = [o for o in outlooks if o.outcome == "winner"]
    harmful = [o for o in outlooks if o.outcome == "harmful"]
    open_ended = [o for o in outlooks if o.outcome == "unclear"]
    if not unmet and winners:
        best = max(winners, key=lambda o: estimates[o.variant])
        return result("roll_out", best.variant, best.reasons)
    may_stop = not unmet or (progress.inference == "always_valid" and not _in_first_week(progress))
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
    if not unmet:
        reasons += [reason for o in open_ended for reason in o.reasons]
    more_units = _more_units(findings, open_ended, first, progress, no_effect_within, complete=not unmet)
    more_days = _more_days(progress, unmet, more_units)
    return result("keep_running", None, reasons, more_units=more_units, more_days=more_days)


def _outlook(variant: str, first: str, findings: Sequence[Finding], no_effect_within: float | None) -> VariantOutlook:
    """Judge one variant by its own readings."""
    rules, against = [], []
    deciding: Finding | None = None
    for finding in findings:
        numbers: Numbers = {
            "estimate": finding.estimate,
            "ci_low": finding.ci_low,
            "ci_high": finding.ci_high,
            "limit": finding.limit,
            "reading": finding.reading,
            "why": finding.why_code,
        }
        missing = finding.reading == "not_computed"
        if finding.role == "guardrail":
            code, met, bad = "guardrail_within", finding.reading == "within_limit", finding.reading == "broken"
            reason = "guardrail_broken" if bad else "guardrail_not_proven"
        elif finding.metric == first:
            deciding = finding
            code, met, bad = "primary_better", finding.reading == "better", finding.reading == "worse"
            reason = "primary_worse" if bad else "primary_unclear"
        else:
            code, met, bad = "primary_not_harmed", finding.reading != "worse", finding.reading == "worse"
            reason = "primary_worse"
        rules.append(Rule(code, None if missing else met, numbers, finding.metric))
        if missing or not met:
            against.append((bad, Reason("not_computed" if missing else reason, numbers, variant, finding.metric)))
    if deciding is None:
        raise ValueError(f"variant {variant!r} has no finding on the first primary metric {first!r}")
    if not against:
        won = Reason("all_rules_met", rules[findings.index(deciding)].numbers, variant, first)
        return VariantOutlook(variant, "winner", tuple(rules), (won,))
    if any(bad for bad, _ in against):
        return VariantOutlook(variant, "harmful", tuple(rules), tuple(reason for bad, reason in against if bad))
    if _within(deciding, no_effect_within) and deciding.reading == "unclear":
        bound: Numbers = {"within": no_effect_within, "ci_low": deciding.ci_low, "ci_high": deciding.ci_high}
        return VariantOutlook(variant, "no_effect", tuple(rules), (Reason("no_effect_beyond", bound, variant, first),))
    return VariantOutlook(variant, "unclear", tuple(rules), tuple(reason for _, reason in against))


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


def _within(finding: Finding, bound: float | None) -> bool:
    if bound is None or finding.ci_low is None or finding.ci_high is None:
        return False
    return -bound <= finding.ci_low and finding.ci_high <= bound


def _good(finding: Finding) -> float:
    """Return the estimate counted so that more is better; the worst where there is none."""
    if finding.estimate is None:
        return -math.inf
    return finding.estimate if finding.direction == "increase" else -finding.estimate


def _more_units(
    findings: Sequence[Finding],
    undecided: Sequence[VariantOutlook],
    first: str,
    progress: Progress,
    bound: float | None,
    *,
    complete: bool,
) -> int | None:
    """Return about how many more units settle what is open: the plan's, or by widths shrinking as 1/√units.

    It takes the estimate as it stands, so it is a rough forecast: the variant that needs least counts.
    """
    if progress.planned_units is not None and progress.units < progress.planned_units:
        return progress.planned_units - progress.units
    if not complete or not undecided or progress.units == 0:
        return None
    needs = []
    for outlook in undecided:
        growth = [
            _growth(finding, bound if finding.metric == first else None)
            for finding in findings
            if finding.variant == outlook.variant and finding.reading in ("unclear", "not_proven")
            if finding.role == "guardrail" or finding.metric == first
        ]
        if growth and None not in growth:
            needs.append(max(value for value in growth if value is not None))
    if not needs or min(needs) > MOST_GROWTH:
        return None
    return max(1, math.ceil(progress.units * (min(needs) - 1)))


def _growth(finding: Finding, bound: float | None) -> float | None:
    """Return by what factor the sample must grow for this interval to clear zero, the bound or the limit."""
    if finding.estimate is None or finding.ci_low is None or finding.ci_high is None:
        return None
    half = (finding.ci_high - finding.ci_low) / 2
    if finding.role == "guardrail":
        room = None if finding.limit is None else abs(finding.estimate - finding.limit)
    else:
        room = max(abs(finding.estimate), 0.0 if bound is None else bound - abs(finding.estimate))
    if not room or half <= 0:
        return None
    return max(1.0, (half / room) ** 2)


def _more_days(progress: Progress, unmet: Sequence[Rule], more_units: int | None) -> int | None:
    """Return about how many more days, in whole weeks where enrolment rolls."""
    if progress.stands == "over":
        return None
    if progress.stands == "waiting":
        return progress.days_to_mature
    if progress.enrolment == "once":
        return progress.days_to_mature if any(rule.code == "outcomes_mature" for rule in unmet) else None
    if progress.days is None:
        return None
    days = progress.days
    if more_units is not None:
        if progress.units == 0 or progress.days == 0:
            return None
        days += math.ceil(more_units * progress.days / progress.units)
    elif not unmet:
        return None
    if progress.planned_days is not None:
        days = max(days, progress.planned_days)
    return max(WEEK_DAYS, math.ceil(days / WEEK_DAYS) * WEEK_DAYS) - progress.days

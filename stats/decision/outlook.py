"""One variant judged by its own readings."""

from __future__ import annotations

from collections.abc import Sequence

from stats.decision.parts import Finding, Numbers, Reason, Rule, VariantOutlook


def outlook_of(variant: str, first: str, findings: Sequence[Finding], no_effect_within: float | None) -> VariantOutlook:
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


def _within(finding: Finding, bound: float | None) -> bool:
    if bound is None or finding.ci_low is None or finding.ci_high is None:
        return False
    return -bound <= finding.ci_low and finding.ci_high <= bound

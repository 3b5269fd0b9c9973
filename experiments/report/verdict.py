"""The declared rules applied to the scorecard, and the decision put into words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from experiments.report.document import Check, Comparison, MetricResult, Plan, RuleResult, Text, Verdict
from experiments.report.verdict_words import NO_SHARE, Writer
from stats.decision import Decision, Finding, Progress, Quality, decide

DECISIVE = ("srm", "srm_sequential", "contaminated", "balance")
"""Checks of quality; the others tell how far the test is."""


def decide_report(
    plan: Plan,
    metrics: Sequence[MetricResult],
    checks: Sequence[Check],
    progress: Progress,
    numbers: Mapping[str, Mapping[str, float | int | str | None]],
    *,
    no_effect_within: float | None,
) -> Verdict:
    """Return what to do.

    Args:
        plan: the declared plan.
        metrics: the scorecard, primary metrics in order of importance.
        checks: the health strip.
        progress: how far the test is.
        numbers: figures of each check, by its code.
        no_effect_within: declared relative effect below which nothing matters.
    """
    quality = [
        Quality(code=c.code, status=c.status, numbers=numbers.get(c.code, {})) for c in checks if c.code in DECISIVE
    ]
    decision = decide(_findings(metrics), quality, progress, no_effect_within=no_effect_within)
    writer = Writer(plan, {m.name: m for m in metrics}, {c.code: c for c in checks}, progress, no_effect_within)
    return Verdict(
        code=decision.code,
        variant=decision.variant,
        sentence=writer.sentence(decision),
        reasons=_reasons(decision, writer),
        stands=decision.stands,
        rules=[
            RuleResult(
                code=r.code,
                label=writer.rule(r),
                met=r.met,
                actual=writer.actual(r),
                failed=r.met is False and (r.code == "quality" or r.numbers.get("reading") in ("worse", "broken")),
            )
            for r in decision.rules
        ],
    )


def _reasons(decision: Decision, writer: Writer) -> list[Text]:
    """Say why not, for every variant that the sentence does not speak of."""
    return [
        writer.outlook(outlook, decision.stands)
        for outlook in decision.variants
        if decision.code != "do_not_read" and outlook.variant != decision.variant
    ]


def _findings(metrics: Sequence[MetricResult]) -> list[Finding]:
    """Turn readings into findings on the relative scale, on which margins and bounds are declared."""
    findings = []
    for metric in metrics:
        if metric.role == "secondary":
            continue
        sign = 1 if metric.direction == "decrease" else -1
        limit = None if metric.margin_relative is None else sign * metric.margin_relative
        for comparison in metric.comparisons:
            relative = comparison.relative
            # Where control's mean cannot be told from zero, the sign of the effect still orders the variants.
            fallback = comparison.effect.estimate
            estimate = relative.estimate
            if estimate is None and fallback is not None:
                estimate = math.copysign(NO_SHARE, fallback) if fallback else 0.0
            findings.append(
                Finding(
                    metric=metric.name,
                    variant=comparison.variant,
                    role="guardrail" if metric.role == "guardrail" else "primary",
                    direction=metric.direction,
                    reading=comparison.reading,
                    estimate=estimate,
                    ci_low=relative.ci_low_adjusted,
                    ci_high=relative.ci_high_adjusted,
                    limit=limit,
                    why_code=comparison.why,
                    expected_loss=_relative_loss(metric, comparison),
                )
            )
    return findings


def _relative_loss(metric: MetricResult, comparison: Comparison) -> float | None:
    """Return what choosing the variant costs on average, as a share of control's mean."""
    base = next((v.mean for v in metric.variants if v.variant == metric.control), None)
    return None if comparison.expected_loss is None or not base else comparison.expected_loss / abs(base)

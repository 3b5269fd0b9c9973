"""What a running test can still show: the smallest effect it would detect now, and how long to the target.

Detectable is what a test of the present size finds with 80 % power; it follows from the standard errors as they are,
not from the effect seen so far. (A "power at the observed effect" would say nothing that p does not say already.)
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np

from experiments.report import figures
from experiments.report.document import Comparison, MetricResult, Outlook, Plan, Report, Text, VariantSummary
from experiments.report.words import say
from stats.decision import Progress
from stats.power import Crossing, always_valid_bounds, level
from stats.sequential import Spending, bounds

POWER = 0.8
FEWEST_LOOKS, MOST_LOOKS = 2, 60
NO_BASELINE = "relative change is not defined: control's mean cannot be told from zero"
TOO_FEW = "too few units: 2 needed in each variant"
NOT_THIS_DESIGN = "not computed for clusters, switchbacks and factorial designs"
NO_MORE_COME = "one send: no more units come"
NOBODY_ENTERS = "ended: no more units come"


def outlook_of(
    metrics: Sequence[MetricResult],
    plan: Plan,
    progress: Progress,
    *,
    target: float | None = None,
) -> list[Outlook]:
    """Return the outlook of every primary metric and variant.

    Args:
        metrics: the scorecard.
        plan: kind of inference, alpha, adjustment and design.
        progress: units and days so far.
        target: the relative effect that matters (``no_effect_within``), if one was declared.
    """
    primary = [metric for metric in metrics if metric.role == "primary"]
    variants = max((len(metric.comparisons) for metric in primary), default=0)
    if not primary or not variants:
        return []
    method = {"holm": "holm", "hochberg": "hochberg", "dunnett": "dunnett", "none": "none"}.get(
        plan.multiplicity, "benjamini_hochberg"
    )
    alpha = level(plan.alpha, variants, len(primary), "none" if plan.inference == "bayesian" else method)  # type: ignore[arg-type]
    drift = _drift(alpha, plan, progress)
    return [
        _outlook(metric, comparison, plan, progress, drift, target)
        for metric in primary
        for comparison in metric.comparisons
    ]


def _outlook(
    metric: MetricResult,
    comparison: Comparison,
    plan: Plan,
    progress: Progress,
    drift: float,
    target: float | None,
) -> Outlook:
    found: dict[str, VariantSummary] = {v.variant: v for v in metric.variants}
    control, variant = found.get(metric.control), found.get(comparison.variant)
    detectable, why = None, None
    if plan.design != "units":
        why = NOT_THIS_DESIGN
    elif control is None or variant is None or control.std_error is None or variant.std_error is None:
        why = (control and control.why) or (variant and variant.why) or TOO_FEW
    elif not control.mean or control.mean < 2 * control.std_error:
        why = NO_BASELINE
    else:
        kept = 1 - max(comparison.variance_reduction or 0.0, 0.0)
        error = math.sqrt(kept * (control.std_error**2 + variant.std_error**2))
        detectable = drift * error / control.mean or None
        why = None if detectable else TOO_FEW
    needed, left = None, None
    if detectable is not None and target:
        needed = max(math.ceil(progress.units * (detectable / target) ** 2), 2)
        left, why = _days_left(needed, progress)
    return Outlook(
        metric=metric.name,
        variant=comparison.variant,
        mde_relative=detectable,
        target_relative=target,
        units_needed=needed,
        days_left=left,
        why=why,
    )


def _days_left(needed: int, progress: Progress) -> tuple[int | None, str | None]:
    """Return the days until so many units have entered at the present pace, or why that cannot be said."""
    if progress.units >= needed:
        return 0, None
    if progress.ended:
        return None, NOBODY_ENTERS
    if progress.enrolment == "once":
        return None, NO_MORE_COME
    # A watched test counts units as they mature; more than those have entered.
    entered = progress.units + (progress.immature if progress.inference == "group_sequential" else 0)
    if not progress.days or not entered:
        return None, None
    coming = math.ceil(max(needed - entered, 0) * progress.days / entered)
    return coming + ((progress.days_to_mature or 0) if entered > progress.units else 0), None


def _drift(alpha: float, plan: Plan, progress: Progress) -> float:
    """Return how many standard errors an effect must be away to be found with 80 % power by the end of such a test."""
    days = progress.planned_days or progress.days or 14
    looks = min(max(days, FEWEST_LOOKS), MOST_LOOKS)
    spending = None
    if plan.inference == "group_sequential" and plan.sequential is not None:
        spending = (plan.sequential.spending, plan.sequential.gamma)
    return _drift_of(round(alpha, 12), plan.inference, looks, spending)


@functools.lru_cache(maxsize=256)
def _drift_of(alpha: float, inference: str, looks: int, spending: tuple[str, float | None] | None) -> float:
    from scipy.special import ndtri

    fixed = float(-ndtri(alpha / 2) + ndtri(POWER))
    if inference not in ("group_sequential", "always_valid"):
        return fixed
    times = np.arange(1, looks + 1) / looks
    if inference == "always_valid":
        edges = always_valid_bounds(times, alpha)
    else:
        edges = bounds(times, alpha, Spending(*spending) if spending else Spending())  # type: ignore[arg-type]
    return fixed * math.sqrt(Crossing.of(edges, times).inflation(alpha, POWER))


def outlook_text(outlook: Outlook, label: Text, variant: Text, *, units: str = "member") -> Text:
    """Say an outlook in a sentence.

    Args:
        outlook: of one metric and variant.
        label: the metric's name.
        variant: the variant's name.
        units: what is randomised.

    >>> known = Outlook(metric="m", variant="a", mde_relative=0.1)
    >>> print(outlook_text(known, {"en": "Orders"}, {"en": "Coupon"})["zh-CN"])
    Orders（Coupon）：以目前样本，效果达到 ±10.0% 时有 80% 的把握检出。
    """
    out: Text = {}
    for lang in ("en", "zh-CN"):
        name, arm = say(label, lang) or outlook.metric, say(variant, lang) or outlook.variant
        if outlook.mde_relative is None:
            out[lang] = _FORMS["none"][lang].format(name=name, arm=arm)
            continue
        seen = figures.relative(outlook.mde_relative).lstrip("+")
        text = _FORMS["seen"][lang].format(name=name, arm=arm, seen=seen)
        if outlook.target_relative is not None and outlook.units_needed is not None:
            target = figures.relative(outlook.target_relative).lstrip("+")
            counted = _COUNTED["member" if units == "member" else "unit"][lang]
            needed = f"{outlook.units_needed:,} {counted}"
            text += _FORMS[_waiting(outlook)][lang].format(target=target, needed=needed, days=outlook.days_left)
        out[lang] = text
    return out


MOST_DAYS = 365
"""More days than this are not a plan."""


def _waiting(outlook: Outlook) -> str:
    if outlook.days_left is None:
        return "no_more" if outlook.why in (NO_MORE_COME, NOBODY_ENTERS) else "needed"
    if outlook.days_left == 0:
        return "enough"
    if outlook.days_left > MOST_DAYS:
        return "too_long"
    return "day" if outlook.days_left == 1 else "days"


_COUNTED: dict[str, Text] = {
    "member": {"en": "members", "zh-CN": "名会员"},
    "unit": {"en": "units", "zh-CN": "个单元"},
}
_FORMS: dict[str, Text] = {
    "none": {"en": "{name} ({arm}): no outlook.", "zh-CN": "{name}（{arm}）：无法估计可检出的效果。"},
    "seen": {
        "en": "{name} ({arm}): with the present sample an effect of ±{seen} would be found with 80% power.",
        "zh-CN": "{name}（{arm}）：以目前样本，效果达到 ±{seen} 时有 80% 的把握检出。",
    },
    "enough": {"en": " That is enough for ±{target}.", "zh-CN": "已足以检出 ±{target}。"},
    "needed": {"en": " For ±{target} it takes about {needed} in all.", "zh-CN": "检出 ±{target} 共需约 {needed}。"},
    "no_more": {
        "en": " For ±{target} it takes about {needed} in all, but no more come.",
        "zh-CN": "检出 ±{target} 共需约 {needed}，但不再有新的进入。",
    },
    "day": {
        "en": " For ±{target} it takes about {needed} in all, {days} more day at the present pace.",
        "zh-CN": "检出 ±{target} 共需约 {needed}，按目前速度还需 {days} 天。",
    },
    "days": {
        "en": " For ±{target} it takes about {needed} in all, {days:,} more days at the present pace.",
        "zh-CN": "检出 ±{target} 共需约 {needed}，按目前速度还需 {days:,} 天。",
    },
    "too_long": {
        "en": " ±{target} is out of reach: it takes about {needed} in all, more than a year at the present pace.",
        "zh-CN": "±{target} 难以检出：共需约 {needed}，按目前速度还需一年以上。",
    },
}


def outlook_lines(report: Report) -> list[Text]:
    """Return the outlook of a report in sentences; a test that is over has none."""
    if report.verdict is not None and report.verdict.stands == "over":
        return []
    metrics = {metric.name: metric.label for metric in report.metrics}
    variants = {variant.key: variant.name or variant.offer_name for variant in report.plan.variants}
    return [
        outlook_text(
            outlook,
            metrics.get(outlook.metric, {}),
            variants.get(outlook.variant, {}),
            units=report.plan.unit_type,
        )
        for outlook in report.outlook
        if outlook.mde_relative is not None
    ]

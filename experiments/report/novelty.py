"""The health strip's look for novelty: is the effect in the second half of the units' windows that of the first?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from experiments.measure.days import DAY_US
from experiments.measure.economics import NOVELTY, Beside
from experiments.report import figures
from experiments.report.document import Check, CheckStatus, Plan, Text
from experiments.report.words import say
from stats.moments import Moments
from stats.novelty import Novelty, novelty

LIMIT_P = 0.05
LABEL: Text = {"en": "Novelty", "zh-CN": "新奇效应"}
NONE_SEEN: Text = {"en": "None seen", "zh-CN": "未见"}
FADES: Text = {"en": "Effect fades", "zh-CN": "效果减弱"}
GROWS: Text = {"en": "Effect grows", "zh-CN": "效果增强"}
TURNS: Text = {"en": "Effect turns", "zh-CN": "效果反转"}
HALVES: Text = {"en": "days {a}–{b} against {c}–{d}", "zh-CN": "第 {a}–{b} 天对第 {c}–{d} 天"}
CHANGED: Text = {
    "en": "{name}: {first} in days {a}–{b}, {second} in days {c}–{d}, p {p}",
    "zh-CN": "“{name}”：第 {a}–{b} 天 {first}，第 {c}–{d} 天 {second}，p {p}",
}


def novelty_check(beside: Beside, moments: Mapping[str, Moments], variants: Sequence[str], plan: Plan) -> Check | None:
    """Return whether the effect fades or grows; ``None`` where no unit's window is over, or nothing has happened yet.

    A campaign that is sent once works when it is sent: that its effect fades is told, not warned of.

    Args:
        beside: what was measured beside the metrics.
        moments: of it, control first.
        variants: their keys, in the same order.
        plan: names, currency, and whether units enter over time.
    """
    table, metric = moments.get(NOVELTY), beside.halved
    if table is None or metric is None or not (table.n >= 2).all():
        return None
    found = novelty(table, *table.columns)
    if not np.isfinite(found.p_adjusted).any():
        return None
    start, half = metric.parts[0].start_us // DAY_US, beside.half_days
    days = {"a": start + 1, "b": start + half, "c": start + half + 1, "d": start + 2 * half}
    changed = [j for j, p in enumerate(found.p_adjusted) if p < LIMIT_P]
    if not changed:
        detail = {lang: say(HALVES, lang).format(**days) for lang in LABEL}
        return Check(code="novelty", status="ok", label=LABEL, value=NONE_SEEN, detail=detail)
    j = min(changed, key=lambda j: float(found.p_adjusted[j]))
    first, second = float(found.first.estimate[j]), float(found.second.estimate[j])
    name = next((v.name for v in plan.variants if v.key == variants[j + 1]), {})
    unit, currency = metric.spec.unit, plan.currency
    status: CheckStatus = "caution" if plan.enrolment == "rolling" else "info"
    detail = {
        lang: say(CHANGED, lang).format(
            name=say(name, lang) or variants[j + 1],
            first=figures.change(first, unit, currency, lang=lang),
            second=figures.change(second, unit, currency, like=first, lang=lang),
            p=figures.p_value(float(found.p_adjusted[j])),
            **days,
        )
        for lang in LABEL
    }
    return Check(
        code="novelty",
        status=status,
        label=LABEL,
        value=_how(found, j),
        detail=detail,
    )


def _how(found: Novelty, j: int) -> Text:
    """Return how the effect changes; it turns where both halves are told from zero, on different sides."""
    first, second = float(found.first.estimate[j]), float(found.second.estimate[j])
    if first * second < 0 and max(found.first.p_value[j], found.second.p_value[j]) < LIMIT_P:
        return TURNS
    return FADES if abs(second) < abs(first) else GROWS

"""The health strip's look for novelty: is the effect in the second half of the units' windows that of the first?

Where units enter over weeks it says as well what goes with it: the units' own days, or the calendar.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from experiments.measure.cells import Cells
from experiments.measure.days import DAY_US
from experiments.measure.economics import NOVELTY, Beside
from experiments.report import figures
from experiments.report.document import Check, CheckStatus, Plan, Text, Unit
from experiments.report.words import say
from stats.moments import Moments
from stats.novelty import ByEntry, Novelty, by_entry, novelty

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


BY_WEEK: Text = {
    "en": "Effect by week of entry, first → second half of the window: {weeks}",
    "zh-CN": "按进入周的效果，窗口前半 → 后半：{weeks}",
}
ONE_WEEK: Text = {"en": "week {week} {first} → {second}", "zh-CN": "第 {week} 周 {first} → {second}"}
WITH_DAYS: Text = {
    "en": "it goes with members' own days (p {age}), not with the calendar (p {calendar})",
    "zh-CN": "随会员自身天数变化（p {age}），而非随日历变化（p {calendar}）",
}
WITH_CALENDAR: Text = {
    "en": "it goes with the calendar (p {calendar}), for members old and new, not with their own days (p {age})",
    "zh-CN": "随日历变化（p {calendar}），新老会员皆然，而非随会员自身天数变化（p {age}）",
}
WITH_BOTH: Text = {
    "en": "it goes with members' own days (p {age}) and with the calendar (p {calendar})",
    "zh-CN": "既随会员自身天数变化（p {age}），也随日历变化（p {calendar}）",
}
WITH_EITHER: Text = {
    "en": "whether with members' own days (p {age}) or with the calendar (p {calendar}) cannot be told yet",
    "zh-CN": "尚无法区分是随会员自身天数（p {age}）还是随日历（p {calendar}）变化",
}
CALENDAR_ALONE: Text = {
    "en": "{name}: the effect changes with the calendar by {slope} a week (p {calendar}), for members old and new",
    "zh-CN": "“{name}”：效果随日历每周变化 {slope}（p {calendar}），新老会员皆然",
}
CALENDAR_STEADY: Text = {
    "en": "{weeks} weeks of entry: no change with the calendar (p {calendar})",
    "zh-CN": "{weeks} 个进入周：未见随日历的变化（p {calendar}）",
}
BETWEEN: Text = {"en": "; ", "zh-CN": "；"}
WEEKS_BETWEEN: Text = {"en": ", ", "zh-CN": "，"}
MOST_WEEKS = 12
"""Weeks of entry whose effects are written out; of more the first and the last ones are."""


def novelty_check(
    beside: Beside,
    moments: Mapping[str, Moments],
    variants: Sequence[str],
    plan: Plan,
    by_day: Cells | None = None,
) -> Check | None:
    """Return whether the effect fades or grows; ``None`` where no unit's window is over, or nothing has happened yet.

    A campaign that is sent once works when it is sent: that its effect fades is told, not warned of.

    Args:
        beside: what was measured beside the metrics.
        moments: of it, control first.
        variants: their keys, in the same order.
        plan: names, currency, and whether units enter over time.
        by_day: both halves by day of entry, where units enter over time.
    """
    table, metric = moments.get(NOVELTY), beside.halved
    if table is None or metric is None or not (table.n >= 2).all():
        return None
    found = novelty(table, *table.columns)
    if not np.isfinite(found.p_adjusted).any():
        return None
    start, half = metric.parts[0].start_us // DAY_US, beside.half_days
    days = {"a": start + 1, "b": start + half, "c": start + half + 1, "d": start + 2 * half}
    entry = None if by_day is None else _by_week(by_day, half)
    changed = [j for j, p in enumerate(found.p_adjusted) if p < LIMIT_P]
    if not changed:
        detail = {lang: say(HALVES, lang).format(**days) for lang in LABEL}
        if entry is not None:
            detail = _joined(detail, _steady(entry, variants, plan, metric.spec.unit))
        return Check(code="novelty", status="ok", label=LABEL, value=NONE_SEEN, detail=detail)
    j = min(changed, key=lambda j: float(found.p_adjusted[j]))
    first, second = float(found.first.estimate[j]), float(found.second.estimate[j])
    unit, currency = metric.spec.unit, plan.currency
    status: CheckStatus = "caution" if plan.enrolment == "rolling" else "info"
    detail = {
        lang: say(CHANGED, lang).format(
            name=_name(plan, variants[j + 1], lang),
            first=figures.change(first, unit, currency, lang=lang),
            second=figures.change(second, unit, currency, like=first, lang=lang),
            p=figures.p_value(float(found.p_adjusted[j])),
            **days,
        )
        for lang in LABEL
    }
    more: Text = {}
    if entry is not None:
        detail = _joined(detail, _goes_with(entry, j))
        more = _weeks(entry, j, metric.spec.unit, currency)
    return Check(
        code="novelty",
        status=status,
        label=LABEL,
        value=_how(found, j),
        detail=detail,
        more=more,
    )


def _how(found: Novelty, j: int) -> Text:
    """Return how the effect changes; it turns where both halves are told from zero, on different sides."""
    first, second = float(found.first.estimate[j]), float(found.second.estimate[j])
    if first * second < 0 and max(found.first.p_value[j], found.second.p_value[j]) < LIMIT_P:
        return TURNS
    return FADES if abs(second) < abs(first) else GROWS


def _by_week(by_day: Cells, half_days: int) -> ByEntry | None:
    """Return the effects by week of entry; ``None`` where fewer than two weeks hold enough units."""
    table = by_day.by_day(NOVELTY)
    weeks = (np.asarray(by_day.days) - by_day.days[0]) // 7
    each = sorted(set(weeks.tolist()))
    moments = Moments.stack([table[:, weeks == week].sum(axis=1) for week in each], axis=1)
    first, second = moments.columns
    found = by_entry(moments, first, second, each, half_days / 7)
    return found if np.isfinite(found.calendar_p).any() else None


def _goes_with(entry: ByEntry, j: int) -> Text:
    """Return what a change goes with: the units' own days, or the calendar."""
    age, calendar = float(entry.age_p[j]), float(entry.calendar_p[j])
    own, common = age < LIMIT_P, calendar < LIMIT_P
    text = WITH_BOTH if own and common else WITH_DAYS if own else WITH_CALENDAR if common else WITH_EITHER
    written = {"age": figures.p_value(age), "calendar": figures.p_value(calendar)}
    return {lang: say(text, lang).format(**written) for lang in LABEL}


def _steady(entry: ByEntry, variants: Sequence[str], plan: Plan, unit: Unit) -> Text:
    """Return whether effects change with the calendar where none changes within windows."""
    j = int(np.nanargmin(entry.calendar_p))
    p = figures.p_value(float(entry.calendar_p[j]))
    if entry.calendar_p[j] >= LIMIT_P:
        return {lang: say(CALENDAR_STEADY, lang).format(weeks=len(entry.weeks), calendar=p) for lang in LABEL}
    slope = float(entry.calendar[j])
    return {
        lang: say(CALENDAR_ALONE, lang).format(
            name=_name(plan, variants[j + 1], lang),
            slope=figures.change(slope, unit, plan.currency, lang=lang),
            calendar=p,
        )
        for lang in LABEL
    }


def _weeks(entry: ByEntry, j: int, unit: Unit, currency: str | None) -> Text:
    """Return the effects by week of entry."""
    shown = list(range(len(entry.weeks)))
    if len(shown) > MOST_WEEKS:
        shown = [*shown[: MOST_WEEKS // 2], *shown[-(MOST_WEEKS // 2) :]]
    largest = float(np.abs(entry.first[j]).max())
    return {
        lang: say(BY_WEEK, lang).format(
            weeks=say(WEEKS_BETWEEN, lang).join(
                say(ONE_WEEK, lang).format(
                    week=int(entry.weeks[k]) + 1,
                    first=figures.change(float(entry.first[j, k]), unit, currency, like=largest, lang=lang),
                    second=figures.change(float(entry.second[j, k]), unit, currency, like=largest, lang=lang),
                )
                for k in shown
            )
        )
        for lang in LABEL
    }


def _joined(*texts: Text) -> Text:
    return {lang: say(BETWEEN, lang).join(say(text, lang) for text in texts) for lang in LABEL}


def _name(plan: Plan, variant: str, lang: str) -> str:
    return say(next((v.name for v in plan.variants if v.key == variant), {}), lang) or variant

"""The sections of declared designs in the terminal: waves, reach, factors, other experiments, waiting times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from experiments.report import figures, render_economics
from experiments.report.document import Estimate, MetricResult, Report
from experiments.report.whys import why_text
from experiments.report.words import say

SHOWN_DAYS = 8
"""Of a waiting curve."""

TITLES = {
    "economics": render_economics.TITLE,
    "looks": {"en": "Looks", "zh-CN": "各次查看"},
    "waves": {"en": "Waves", "zh-CN": "批次"},
    "reached": {"en": "Effect on those reached", "zh-CN": "对触达者的效果"},
    "factors": {"en": "Factors", "zh-CN": "因素"},
    "others": {"en": "Other experiments: does the effect depend on them?", "zh-CN": "其他实验：效果是否取决于它们？"},
    "best": {"en": "Chance of being the best of all", "zh-CN": "为最优的概率"},
    "waiting": {"en": "Still waiting", "zh-CN": "尚未发生"},
}
HEADS: dict[str, dict[str, tuple[str, ...]]] = {
    "looks": {
        "en": ("Look", "n", "Of the plan", "Alpha spent", "Bound on |z|"),
        "zh-CN": ("查看", "n", "占计划", "已用显著性水平", "|z| 界限"),
    },
    "waves": {"en": ("Wave", "n", "Weight", "Change", "Interval"), "zh-CN": ("批次", "n", "权重", "变化", "区间")},
    "reached": {
        "en": ("Variant", "Reached", "In control", "Change", "Interval"),
        "zh-CN": ("方案", "触达", "对照组触达", "变化", "区间"),
    },
    "factors": {
        "en": ("Term", "Change", "Interval", "p (adj.)", "Cannot be told from"),
        "zh-CN": ("项", "变化", "区间", "p (校正)", "无法区分于"),
    },
    "others": {
        "en": ("Experiment", "n in both", "Does the effect depend on it?"),
        "zh-CN": ("实验", "共有 n", "效果是否取决于它？"),
    },
}
NO_SIGN = {"en": "no sign of it", "zh-CN": "没有迹象"}
DEPENDS = {"en": "yes: {which}", "zh-CN": "是：{which}"}
ALL_WAVES = {"en": "All waves", "zh-CN": "全部批次"}
DAY = {"en": "day {day:g}", "zh-CN": "第 {day:g} 天"}


def section_tables(report: Report, lang: str) -> Iterator[Table]:
    """Yield a table for each section and metric that the report has."""
    metrics = {m.name: m for m in report.metrics}
    names = {v.key: say(v.name, lang) or v.key for v in report.plan.variants}
    writer = _Writer(report, lang)
    rows: list[tuple[str, ...]]
    if report.economics is not None and report.economics.offers:
        columns = render_economics.HEADS["zh-CN" if lang.startswith("zh") else "en"]
        yield writer.table("economics", "", render_economics.economics_lines(report.economics, report, lang), columns)
    for test in [] if report.curves else report.sequential[:1]:  # a curve shows the looks already; bounds are the same
        rows = [
            (
                str(look.day),
                f"{look.units:,}",
                _share(look.information),
                f"{look.alpha_spent:.4f}",
                "–" if look.bound is None else f"±{look.bound:.2f}",
            )
            for look in test.looks
        ]
        yield writer.table("looks", "", rows)
    for pooled in report.pooled:
        metric = metrics[pooled.metric]
        rows = [
            (w.occasion or "–", f"{w.n:,}", _share(w.weight), *writer.effect(metric, w.effect)) for w in pooled.waves
        ]
        everyone = f"{sum(w.n for w in pooled.waves):,}"
        rows.append((say(ALL_WAVES, lang), everyone, "", *writer.effect(metric, pooled.effect)))
        yield writer.table("waves", f"{writer.label(metric)} · {names.get(pooled.variant, pooled.variant)}", rows)
    for name in dict.fromkeys(r.metric for r in report.reached):
        rows = [
            (
                names.get(r.variant, r.variant),
                _share(r.reached),
                _share(r.reached_control),
                *writer.effect(metrics[name], r.effect, r.why),
            )
            for r in report.reached
            if r.metric == name
        ]
        yield writer.table("reached", writer.label(metrics[name]), rows)
    for found in report.factorial:
        metric = metrics[found.metric]
        rows = [
            (
                " × ".join(t.factors),
                *writer.effect(metric, t.effect),
                *([] if report.plan.inference == "bayesian" else [figures.p_value(t.p_value_adjusted)]),
                ", ".join(" × ".join(a) or "1" for a in t.aliases) or "–",
            )
            for t in found.terms
        ]
        heads = HEADS["factors"]["zh-CN" if lang.startswith("zh") else "en"]
        shown = heads if report.plan.inference != "bayesian" else (*heads[:3], heads[4])
        yield writer.table("factors", writer.label(metric), rows, shown)
    if report.overlaps:
        yield writer.table(
            "others", "", [_other(report, s, writer) for s in dict.fromkeys(o.subject for o in report.overlaps)]
        )
    ranked = [m for m in report.metrics if m.chance_best and m.role == "primary" and len(m.chance_best) > 2]
    if ranked:
        rows = [
            (names.get(v, v), *(figures.chance(m.chance_best.get(v)) for m in ranked)) for v in ranked[0].chance_best
        ]
        heads = (say({"en": "Variant", "zh-CN": "方案"}, lang), *(writer.label(m) for m in ranked))
        yield writer.table("best", "", rows, heads)
    for name in dict.fromkeys(c.metric for c in report.survival):
        yield _waiting(report, metrics[name], names, writer)


def _other(report: Report, subject: str, writer: _Writer) -> tuple[str, ...]:
    """Say of one other experiment whether the effect depends on it; a Bayesian report has no p."""
    tests = [o for o in report.overlaps if o.subject == subject]
    units = tests[0].units
    row = (say(tests[0].label, writer.lang) or subject, "–" if units is None else f"{units:,}")
    judged = [(t, t.p_value_adjusted) for t in tests if t.p_value_adjusted is not None]
    if not judged:
        return (*row, why_text(tests[0].why, writer.lang) or "–")
    metrics = {m.name: writer.label(m) for m in report.metrics}
    names = {v.key: say(v.name, writer.lang) or v.key for v in report.plan.variants}

    def with_p(text: str, p_value: float) -> str:
        return text if report.plan.inference == "bayesian" else f"{text} (p {figures.p_value(p_value)})"

    found = [
        with_p(f"{metrics[t.metric]} · {names.get(t.variant, t.variant)}", p)
        for t, p in judged
        if p <= report.plan.alpha
    ]
    if found:
        return (*row, say(DEPENDS, writer.lang).format(which="; ".join(found)))
    return (*row, with_p(say(NO_SIGN, writer.lang), min(p for _test, p in judged)))


def _waiting(report: Report, metric: MetricResult, names: dict[str, str], writer: _Writer) -> Table:
    """Show the share still waiting at a few days, a row a variant."""
    curves = [c for c in report.survival if c.metric == metric.name]
    horizon = max(c.horizon_days for c in curves)
    days = [horizon * (i + 1) / SHOWN_DAYS for i in range(SHOWN_DAYS)]
    rows: list[tuple[str, ...]] = []
    for curve in curves:
        shares = [[p.survival for p in curve.points if p.day <= day] for day in days]
        rows.append((names.get(curve.variant, curve.variant), *(_share(s[-1] if s else None) for s in shares)))
    heads = (say({"en": "Variant", "zh-CN": "方案"}, writer.lang), *(say(DAY, writer.lang).format(day=d) for d in days))
    return writer.table("waiting", writer.label(metric), rows, heads)


class _Writer:
    """Writes figures of one report in one language."""

    def __init__(self, report: Report, lang: str) -> None:
        self.report, self.lang = report, lang

    def label(self, metric: MetricResult) -> str:
        return say(metric.label, self.lang) or metric.name

    def effect(self, metric: MetricResult, effect: Estimate, why: str | None = None) -> tuple[str, str]:
        """Return the change and its interval, or why there is none."""
        currency = self.report.plan.currency
        low, high = effect.ci_low_adjusted, effect.ci_high_adjusted
        if low is None or high is None:
            low, high = effect.ci_low, effect.ci_high
        change = figures.change(effect.estimate, metric.unit, currency)
        if low is None or high is None:
            return change, why_text(why or effect.why, self.lang) or "–"
        ends = [figures.change(v, metric.unit, currency, like=effect.estimate) for v in (low, high)]
        return change, ends[0].removesuffix(" pp") + say({"en": " to ", "zh-CN": " 至 "}, self.lang) + ends[1]

    def table(
        self, key: str, subject: str, rows: Sequence[tuple[str, ...]], heads: tuple[str, ...] | None = None
    ) -> Table:
        table = Table(box=SIMPLE_HEAD, show_edge=False, header_style="dim", title_justify="left", title_style="bold")
        table.title = Text("  " + say(TITLES[key], self.lang) + (f"   {subject}" if subject else ""))
        for index, head in enumerate(heads or HEADS[key]["zh-CN" if self.lang.startswith("zh") else "en"]):
            table.add_column(head, justify="left" if index == 0 else "right", no_wrap=True)
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        return table


def _share(value: float | None) -> str:
    return figures.amount(value, "share")

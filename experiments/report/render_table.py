"""A report in the terminal: the sentence first, then whether the numbers can be trusted, then the scorecard."""

from __future__ import annotations

from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from experiments.report import figures
from experiments.report.document import Breakdown, Comparison, MetricResult, Report
from experiments.report.words import READINGS, say

# Blue is better, orange is worse (no red and green), and a glyph says it too.
STYLES = {
    "better": "bold bright_blue",
    "worse": "bold orange3",
    "unclear": "dim",
    "within_limit": "bright_blue",
    "not_proven": "yellow",
    "broken": "bold orange3",
    "not_computed": "dim italic",
}
GLYPHS = {
    "better": "▲",
    "worse": "▼",
    "unclear": "○",
    "within_limit": "✓",
    "not_proven": "○",
    "broken": "▼",
    "not_computed": "·",
}
CHECK_STYLES = {"ok": "bright_blue", "caution": "yellow", "fail": "bold orange3", "info": "dim"}
CHECK_GLYPHS = {"ok": "✓", "caution": "!", "fail": "✗", "info": "·"}
ROLES = {
    "primary": {"en": "Decision metrics", "zh-CN": "核心指标"},
    "secondary": {"en": "Secondary", "zh-CN": "次要指标"},
    "guardrail": {"en": "Guardrails", "zh-CN": "护栏指标"},
}
VERDICT_STYLES = {
    "roll_out": "bold bright_blue",
    "stop_harm": "bold orange3",
    "stop_no_effect": "bold",
    "keep_running": "bold yellow",
    "do_not_read": "bold orange3",
}


def print_report(report: Report, console: Console | None = None, *, lang: str = "en") -> None:
    """Print a report; without a terminal the lines are as wide as they need to be and carry no colour."""
    target = console or Console(highlight=False)
    if not target.is_terminal and console is None:
        target = Console(highlight=False, width=140)
    target.print(render_table(report, lang=lang))


def render_table(report: Report, *, lang: str = "en") -> RenderableType:
    """Return the report as something that rich prints."""
    parts: list[RenderableType] = [Text(""), _heading(report, lang), Text("")]
    parts += [Padding(line, (0, 0, 0, 2), expand=False) for line in _summary(report, lang)]
    parts += [Text(""), *(Padding(line, (0, 0, 0, 2), expand=False) for line in _health(report, lang)), Text("")]
    parts.append(_scorecard(report, lang))
    parts += [_breakdown(report, b, lang) for b in report.breakdowns]
    parts += [Padding(line, (0, 0, 0, 2), expand=False) for line in _notes(report, lang)]
    return Group(*parts)


def _heading(report: Report, lang: str) -> Text:
    title = Text(" " + say(report.plan.title, lang), style="bold")
    facts = f"   {report.population.analysed:,} {_unit_word(report, lang)}"
    if report.plan.state:
        facts += f" · {report.plan.state}"
    if report.data_time:
        facts += " · " + say({"en": "data until", "zh-CN": "数据截至"}, lang) + f" {report.data_time}"
    return title.append(facts, style="dim")


def _unit_word(report: Report, lang: str) -> str:
    word = report.plan.unit_type
    if lang.startswith("zh"):
        return {"member": "名会员", "row": "行", "unit": "个单元"}.get(word, word)
    return word + "s"


def _summary(report: Report, lang: str) -> Iterator[Text]:
    for sentence in report.summary:
        yield Text(say(sentence, lang), style="bold")
    if report.verdict is not None:
        yield Text(say(report.verdict.sentence, lang), style=VERDICT_STYLES.get(report.verdict.code, "bold"))
        for reason in report.verdict.reasons:
            yield Text("• " + say(reason, lang))


def _health(report: Report, lang: str) -> Iterator[Text]:
    srm = report.srm
    line = Text()
    line.append(f"{CHECK_GLYPHS[srm.status]} ", style=CHECK_STYLES[srm.status])
    line.append(say({"en": "Split (SRM) ", "zh-CN": "流量比例 (SRM) "}, lang), style="bold")
    word = {
        "ok": {"en": "as planned", "zh-CN": "符合计划"},
        "caution": {"en": "doubtful", "zh-CN": "存疑"},
        "fail": {"en": "not as planned: do not read the effects", "zh-CN": "不符合计划：请勿解读效果"},
        "info": {"en": "not checked", "zh-CN": "未检查"},
    }[srm.status]
    line.append(say(word, lang), style=CHECK_STYLES[srm.status])
    line.append(f"  p {figures.p_value(srm.p_value)}   " if srm.p_value is not None else f"  {srm.why or ''}   ")
    line.append(" · ".join(f"{v} {n:,} ({srm.expected.get(v, 0):,.0f})" for v, n in srm.observed.items()), style="dim")
    yield line
    for check in report.checks:
        if check.code == "srm":
            continue
        text = Text(f"{CHECK_GLYPHS[check.status]} ", style=CHECK_STYLES[check.status])
        text.append(say(check.label, lang) + " ", style="bold")
        text.append(say(check.value, lang), style=CHECK_STYLES[check.status])
        if check.detail:
            text.append("  " + say(check.detail, lang), style="dim")
        yield text


def _scorecard(report: Report, lang: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=True, show_edge=False, header_style="dim", row_styles=[""])
    level = f"{100 * (1 - report.plan.alpha):g}%"
    heads = {
        "en": (
            "Metric",
            "Control",
            "Variant",
            "Value",
            "Change",
            f"{level} interval",
            "Relative",
            "p (adj.)",
            "Reading",
        ),
        "zh-CN": ("指标", "对照组", "方案", "数值", "变化", f"{level} 区间", "相对变化", "p (校正)", "解读"),
    }["zh-CN" if lang.startswith("zh") else "en"]
    for index, head in enumerate(heads):
        right = index in (1, 3, 4, 5, 6, 7)
        table.add_column(head, justify="right" if right else "left", no_wrap=index != 0)
    roles = [r for r in ("primary", "secondary", "guardrail") if any(m.role == r for m in report.metrics)]
    for role in roles:
        if len(roles) > 1:
            table.add_row(Text(say(ROLES[role], lang), style="underline"))
        for metric in (m for m in report.metrics if m.role == role):
            _metric_rows(table, report, metric, lang)
    return table


def _metric_rows(table: Table, report: Report, metric: MetricResult, lang: str) -> None:
    currency = report.plan.currency
    values = {v.variant: v for v in metric.variants}
    control = values[metric.control]
    for index, comparison in enumerate(metric.comparisons):
        variant = values[comparison.variant]
        effect = comparison.effect
        first = index == 0
        reading = Text(f"{GLYPHS[comparison.reading]} {say(READINGS[comparison.reading], lang)}")
        reading.stylize(STYLES[comparison.reading])
        if not comparison.readable and comparison.reading != "not_computed":
            reading = Text(say({"en": "do not read", "zh-CN": "请勿解读"}, lang), style="orange3")
        table.add_row(
            Text(say(metric.label, lang), style="bold") if first else "",
            figures.amount(control.mean, metric.unit, currency) if first else "",
            _variant_name(report, comparison.variant, lang),
            figures.amount(variant.mean, metric.unit, currency, like=control.mean),
            figures.change(effect.estimate, metric.unit, currency),
            _interval(metric, comparison, currency, lang),
            figures.relative(comparison.relative.estimate),
            figures.p_value(
                comparison.p_value_adjusted if comparison.p_value_adjusted is not None else comparison.p_value
            ),
            reading,
            end_section=index == len(metric.comparisons) - 1 and len(metric.comparisons) > 1,
        )


def _variant_name(report: Report, key: str, lang: str) -> str:
    for variant in report.plan.variants:
        if variant.key == key and variant.name:
            return say(variant.name, lang)
    return key


def _interval(metric: MetricResult, comparison: Comparison, currency: str | None, lang: str) -> Text:
    effect = comparison.effect
    adjusted = effect.ci_low_adjusted is not None and effect.ci_high_adjusted is not None
    low = effect.ci_low_adjusted if adjusted else effect.ci_low
    high = effect.ci_high_adjusted if adjusted else effect.ci_high
    if low is None or high is None:
        return Text(effect.why or comparison.why or "–", style="dim italic")
    like = effect.estimate
    to = say({"en": " to ", "zh-CN": " 至 "}, lang)
    first = figures.change(low, metric.unit, currency, like=like)
    first = first.removesuffix(" pp") if metric.unit == "share" else first
    return Text(f"{first}{to}{figures.change(high, metric.unit, currency, like=like)}")


def _breakdown(report: Report, breakdown: Breakdown, lang: str) -> RenderableType:
    metric = next(m for m in report.metrics if m.name == breakdown.metric)
    table = Table(box=SIMPLE_HEAD, show_edge=False, header_style="dim", title_justify="left", title_style="bold")
    explore = say({"en": "exploratory", "zh-CN": "探索性"}, lang)
    table.title = f"  {say(metric.label, lang)} × {breakdown.attribute}   [dim]({explore})[/dim]"
    for head, right in (
        (breakdown.attribute, False), ("Variant", False), ("n", True), ("Change", True), ("Interval", True),
        ("Relative", True), ("p (adj.)", True),
    ):  # fmt: skip
        table.add_column(head, justify="right" if right else "left", no_wrap=True)
    previous = None
    for row in breakdown.rows:
        low, high = row.effect.ci_low_adjusted, row.effect.ci_high_adjusted
        interval = "–"
        if low is not None and high is not None:
            like = row.effect.estimate
            interval = (
                f"{figures.change(low, metric.unit, report.plan.currency, like=like)} to "
                f"{figures.change(high, metric.unit, report.plan.currency, like=like)}"
            )
        table.add_row(
            row.level if row.level != previous else "",
            _variant_name(report, row.variant, lang),
            f"{row.n:,}",
            figures.change(row.effect.estimate, metric.unit, report.plan.currency),
            interval if row.why is None else Text(row.why, style="dim italic"),
            figures.relative(row.relative.estimate),
            figures.p_value(row.p_value_adjusted),
        )
        previous = row.level
    return Padding(table, (1, 0, 1, 0), expand=False)


def _notes(report: Report, lang: str) -> Iterator[Text]:
    for warning in report.warnings:
        yield Text("! " + say(warning, lang), style="yellow")
    for method in report.methods:
        yield Text(say(method, lang), style="dim")

"""A report in the terminal: the sentence first, then whether the numbers can be trusted, then the scorecard."""

from __future__ import annotations

import functools
from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from experiments.report import figures
from experiments.report.bandit.render_table import summary_lines
from experiments.report.bandit.render_table import tables as bandit_tables
from experiments.report.document import Breakdown, BreakdownRow, Comparison, Estimate, MetricResult, Report
from experiments.report.outlook import outlook_lines
from experiments.report.render_narrow import fitted, width_of
from experiments.report.render_sections import section_tables
from experiments.report.whys import why_text
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
    "primary": {"en": "Decision metrics", "zh-CN": "决策指标"},
    "secondary": {"en": "Secondary", "zh-CN": "次要指标"},
    "guardrail": {"en": "Guardrails", "zh-CN": "护栏指标"},
}
STATES = {
    "draft": {"en": "draft", "zh-CN": "草稿"},
    "review": {"en": "in review", "zh-CN": "审批中"},
    "testing": {"en": "testing", "zh-CN": "测试中"},
    "running": {"en": "running", "zh-CN": "运行中"},
    "paused": {"en": "paused", "zh-CN": "已暂停"},
    "ended": {"en": "ended", "zh-CN": "已结束"},
    "decided": {"en": "decided", "zh-CN": "已决策"},
}
VERDICT_STYLES = {
    "roll_out": "bold bright_blue",
    "stop_harm": "bold orange3",
    "stop_no_effect": "bold",
    "keep_running": "bold yellow",
    "do_not_read": "bold orange3",
}


PIPED_WIDTH = 140


def print_report(report: Report, console: Console | None = None, *, lang: str = "en") -> None:
    """Print a report; without a terminal the lines are as wide as they need to be and carry no colour."""
    # Names are text: "[b]" in one is no style, and ":tada:" no picture.
    plain = functools.partial(Console, highlight=False, markup=False, emoji=False)
    target = console or plain()
    if not target.is_terminal and console is None:
        tables = [*_main_tables(report, lang), *(_breakdown(report, b, lang) for b in report.breakdowns)]
        tables += section_tables(report, lang)
        target = plain(width=max(PIPED_WIDTH, *map(width_of, tables)))
    target.print(render_table(report, lang=lang, width=target.width))


def render_table(report: Report, *, lang: str = "en", width: int | None = None) -> RenderableType:
    """Return the report as something that rich prints; tables wider than ``width`` as lists."""
    parts: list[RenderableType] = [Text(""), _heading(report, lang), Text("")]
    parts += [Padding(line, (0, 0, 0, 2), expand=False) for line in _summary(report, lang)]
    parts += [Text(""), *(Padding(line, (0, 0, 0, 2), expand=False) for line in _health(report, lang)), Text("")]
    if report.bandit is None:
        parts.append(fitted(_scorecard(report, lang), width, name=2))
    else:
        tables = bandit_tables(report, report.bandit, lang)
        parts += [Padding(fitted(table, width, name=0), (0, 0, 1, 0), expand=False) for table in tables]
    for breakdown in report.breakdowns:
        table = fitted(_breakdown(report, breakdown, lang), width, name=1)
        parts.append(Padding(table, (1, 0, 1, 0), expand=False))
    parts += [
        Padding(fitted(table, width, name=1), (1, 0, 1, 0), expand=False) for table in section_tables(report, lang)
    ]
    parts += [Padding(line, (0, 0, 0, 2), expand=False) for line in _notes(report, lang)]
    return Group(*parts)


def _main_tables(report: Report, lang: str) -> list[Table]:
    return [_scorecard(report, lang)] if report.bandit is None else bandit_tables(report, report.bandit, lang)


def _heading(report: Report, lang: str) -> Text:
    title = Text(" " + say(report.plan.title, lang), style="bold")
    facts = f"   {report.population.analysed:,} {_unit_word(report, lang)}"
    if report.plan.state:
        facts += " · " + say(STATES.get(report.plan.state, {}), lang)
    if report.data_time:
        moment = figures.moment(report.data_time, report.plan.time_zone, "zh-CN" if lang.startswith("zh") else "en")
        facts += " · " + say({"en": "data until", "zh-CN": "数据截至"}, lang) + f" {moment}"
    return title.append(facts, style="dim")


def _unit_word(report: Report, lang: str) -> str:
    word = report.plan.unit_type
    if lang.startswith("zh"):
        return {"member": "名会员", "row": "行", "unit": "个单元"}.get(word, word)
    return word + "s"


def _summary(report: Report, lang: str) -> Iterator[Text]:
    if report.bandit is not None:
        yield from summary_lines(report.bandit, lang)
        return
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
    label = {"en": "Split (SRM) ", "zh-CN": "流量比例 (SRM) "}
    if report.bandit is not None:
        label = {"en": "Control group (SRM) ", "zh-CN": "对照组比例 (SRM) "}
    line.append(say(label, lang), style="bold")
    word = {
        "ok": {"en": "as planned", "zh-CN": "符合计划"},
        "caution": {"en": "doubtful", "zh-CN": "存疑"},
        "fail": {"en": "not as planned: do not read the effects", "zh-CN": "与计划不符：请勿解读效果"},
        "info": {"en": "not checked", "zh-CN": "未检查"},
    }[srm.status]
    line.append(say(word, lang), style=CHECK_STYLES[srm.status])
    line.append(
        f"  p {figures.p_value(srm.p_value)}   " if srm.p_value is not None else f"  {why_text(srm.why, lang)}   "
    )
    line.append(
        " · ".join(
            f"{_variant_name(report, v, lang)} {n:,} ({srm.expected.get(v, 0):,.0f})" for v, n in srm.observed.items()
        ),
        style="dim",
    )
    yield line
    for check in report.checks:
        if check.code == "srm":
            continue
        text = Text(f"{CHECK_GLYPHS[check.status]} ", style=CHECK_STYLES[check.status])
        text.append(say(check.label, lang) + " ", style="bold")
        text.append(say(check.value, lang), style=CHECK_STYLES[check.status])
        if check.detail:
            text.append("  " + say(check.detail, lang), style="dim")
        if check.more:
            text.append("\n    " + say(check.more, lang), style="dim")
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
            say(_certainty(report), "en"),
            "Reading",
        ),
        "zh-CN": (
            "指标",
            "对照组",
            "方案",
            "数值",
            "变化",
            f"{level} 区间",
            "相对变化",
            say(_certainty(report), "zh-CN"),
            "解读",
        ),
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
            _certain(report, metric, comparison, lang),
            reading,
            end_section=index == len(metric.comparisons) - 1 and len(metric.comparisons) > 1,
        )


def _certainty(report: Report) -> dict[str, str]:
    """Name the column of p-values or, where inference is Bayesian, of chances."""
    if report.plan.inference == "bayesian":
        return {"en": "Chance to win (loss)", "zh-CN": "胜出概率（期望损失）"}
    return {"en": "p (adj.)", "zh-CN": "p (校正)"}


def _certain(report: Report, metric: MetricResult, comparison: Comparison, lang: str) -> str:
    if report.plan.inference != "bayesian":
        return figures.p_value(_decisive_p(comparison))
    chance = figures.chance(comparison.chance_to_win)
    if comparison.expected_loss is None or metric.role == "guardrail":
        return chance
    return f"{chance} ({figures.loss(comparison.expected_loss, metric.unit, report.plan.currency, lang=lang)})"


def _decisive_p(comparison: Comparison) -> float | None:
    """Return the p that the reading rests on: a guardrail's against its margin, else the adjusted one."""
    found = (comparison.p_value_margin, comparison.p_value_adjusted, comparison.p_value)
    return next((p_value for p_value in found if p_value is not None), None)


def _variant_name(report: Report, key: str, lang: str) -> str:
    for variant in report.plan.variants:
        if variant.key == key and variant.name:
            return say(variant.name, lang)
    return key


def _interval(metric: MetricResult, comparison: Comparison, currency: str | None, lang: str) -> Text:
    ends = _ends(metric, comparison.effect, currency, lang)
    if ends is None:
        return Text(why_text(comparison.effect.why or comparison.why, lang) or "–", style="dim italic")
    return Text(ends)


def _ends(metric: MetricResult, effect: Estimate, currency: str | None, lang: str) -> str | None:
    """Return the adjusted interval, or the plain one where nothing is adjusted; the unit stands once."""
    low, high = effect.ci_low_adjusted, effect.ci_high_adjusted
    if low is None or high is None:
        low, high = effect.ci_low, effect.ci_high
    if low is None or high is None:
        return None
    first, second = (figures.change(v, metric.unit, currency, like=effect.estimate) for v in (low, high))
    return first.removesuffix(" pp") + say({"en": " to ", "zh-CN": " 至 "}, lang) + second


def _breakdown(report: Report, breakdown: Breakdown, lang: str) -> Table:
    metric = next(m for m in report.metrics if m.name == breakdown.metric)
    table = Table(box=SIMPLE_HEAD, show_edge=False, header_style="dim", title_justify="left", title_style="bold")
    explore = say({"en": "exploratory", "zh-CN": "探索性"}, lang)
    name = say(breakdown.label, lang) or breakdown.attribute
    table.title = Text(f"  {say(metric.label, lang)} × {name}   ").append(f"({explore})", style="dim")
    level = f"{100 * (1 - report.plan.alpha):g}%"
    heads = {
        "en": (name, "Variant", "n", "Change", f"{level} interval", "Relative", "Shrunken", "p (adj.)"),
        "zh-CN": (name, "方案", "n", "变化", f"{level} 区间", "相对变化", "收缩估计", "p (校正)"),
    }["zh-CN" if lang.startswith("zh") else "en"]
    columns = heads[:-2] if report.plan.inference == "bayesian" else heads
    for index, head in enumerate(columns):
        table.add_column(head, justify="left" if index < 2 else "right", no_wrap=True)
    previous = None
    for row in breakdown.rows:
        interval = Text(why_text(row.why, lang), style="dim italic")
        if row.why is None:
            interval = Text(_ends(metric, row.effect, report.plan.currency, lang) or "–")
        table.add_row(
            (say(row.label, lang) or row.level) if row.level != previous else "",
            _variant_name(report, row.variant, lang),
            f"{row.n:,}",
            figures.change(row.effect.estimate, metric.unit, report.plan.currency),
            interval,
            figures.relative(row.relative.estimate),
            *([] if report.plan.inference == "bayesian" else _shrunken_and_p(report, metric, row)),
        )
        previous = row.level
    return table


def _shrunken_and_p(report: Report, metric: MetricResult, row: BreakdownRow) -> tuple[str, str]:
    shrunken = None if row.shrunken is None else row.shrunken.estimate
    return figures.change(shrunken, metric.unit, report.plan.currency), figures.p_value(row.p_value_adjusted)


def _notes(report: Report, lang: str) -> Iterator[Text]:
    if report.economics is not None:
        for said in report.economics.sentences:
            yield Text("→ " + say(said, lang))
        for note in report.economics.notes:
            yield Text("  " + say(note, lang), style="dim")
    for warning in report.warnings:
        yield Text("! " + say(warning, lang), style="yellow")
    for line in outlook_lines(report):
        yield Text("→ " + say(line, lang))
    for method in report.methods:
        yield Text(say(method, lang), style="dim")

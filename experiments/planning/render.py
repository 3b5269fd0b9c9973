"""A plan in the terminal, as CSV and as JSON."""

from __future__ import annotations

import csv
import functools
import io
import json

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text as Line

from experiments.planning.document import BreakEven, PowerPlan, Target
from experiments.planning.words import INFERENCES, why_text
from experiments.report import figures
from experiments.report.render_csv import safe_text
from experiments.report.words import say

BAR = 40
PIPED_WIDTH = 140
CSV_COLUMNS = ("part", "units", "weeks", "effect", "relative", "power", "exact", "why")


def render_json(plan: PowerPlan) -> str:
    """Return the whole document."""
    return json.dumps(msgspec.to_builtins(plan), ensure_ascii=False, indent=2) + "\n"


def render_csv(plan: PowerPlan) -> str:
    """Return target, rows and curve, one line each: ``part`` says which."""
    out = io.StringIO()
    writer = csv.DictWriter(out, CSV_COLUMNS, lineterminator="\n", restval="")
    writer.writeheader()
    if plan.target is not None:
        t = plan.target
        writer.writerow(
            {"part": "target", "units": t.units, "weeks": t.weeks, "effect": t.effect, "relative": t.relative,
             "power": plan.power, "why": safe_text(t.why or "")}
        )  # fmt: skip
    for row in plan.rows:
        writer.writerow(
            {"part": "row", "units": row.units, "weeks": row.weeks, "effect": row.mde, "relative": row.mde_relative,
             "power": row.power, "exact": "true" if row.exact else "false", "why": safe_text(row.why or "")}
        )  # fmt: skip
    for point in plan.curve:
        writer.writerow(
            {"part": "curve", "units": plan.curve_units, "effect": point.effect, "relative": point.relative,
             "power": point.power}
        )  # fmt: skip
    return out.getvalue()


def print_plan(plan: PowerPlan, console: Console | None = None, *, lang: str = "en") -> None:
    """Print a plan: the answer first, then what other numbers of units show, then the curve."""
    plain = functools.partial(Console, highlight=False, markup=False, emoji=False)
    target = console or plain()
    if not target.is_terminal and console is None:
        target = plain(width=PIPED_WIDTH)
    for part in (*_heading(plan, lang), *_answer(plan, lang), _rows(plan, lang), *_curve(plan, lang)):
        target.print(part, soft_wrap=isinstance(part, Line))
    if plan.break_even is not None:
        for line in _break_even(plan, plan.break_even, lang):
            target.print(line, soft_wrap=True)
    for text in (*plan.notes, *plan.methods):
        target.print(Line(say(text, lang), style="dim"), soft_wrap=True)


def _heading(plan: PowerPlan, lang: str) -> list[Line]:
    base, chinese = plan.baseline, lang.startswith("zh")
    level = figures.amount(base.mean, base.unit, plan.currency)
    title = Line(f" {say(base.name, lang)}", style="bold")
    known = f"   基线 {level}" if chinese else f"   baseline {level}"
    if base.kind != "proportion" and base.sd is not None:
        spread = figures.amount(base.sd, base.unit, plan.currency)
        known += f"，标准差 {spread}" if chinese else f", standard deviation {spread}"
    title.append(known)
    shares = " / ".join(f"{name} {100 * share:.3g}%" for name, share in plan.split.items())
    facts = f" {shares}   α {plan.alpha:g}   " + (
        f"功效 {100 * plan.power:g}%" if chinese else f"power {100 * plan.power:g}%"
    )
    facts += "   " + say(INFERENCES[plan.inference], lang)
    if plan.inflation is not None and plan.looks is not None:
        facts += (
            f"（{plan.looks} 次查看，样本 ×{plan.inflation:.2f}）"
            if chinese
            else (f" ({plan.looks} looks, {plan.inflation:.2f} times the units of one look)")
        )
    if plan.design_effect is not None:
        facts += f"   设计效应 {plan.design_effect:.2f}" if chinese else f"   design effect {plan.design_effect:.2f}"
    lines = [Line(""), title, Line(facts, style="dim")]
    if base.source:
        lines.append(Line((" 基线来源：" if chinese else " measured on ") + say(base.source, lang), style="dim"))
    return [*lines, Line("")]


def _change(plan: PowerPlan, effect: float | None, relative: float | None, lang: str) -> str:
    if effect is None:
        return "–"
    absolute = figures.change(effect, plan.baseline.unit, plan.currency, lang=lang)
    return absolute if relative is None else f"{figures.relative(relative)} ({absolute})"


def _unsigned(text: str) -> str:
    return text.replace("+", "").replace(figures.MINUS, "")


def _answer(plan: PowerPlan, lang: str) -> list[Line]:
    chinese = lang.startswith("zh")
    if plan.target is None:
        return []
    t = plan.target
    asked = _change(plan, t.effect, t.relative, lang)
    if plan.goal == "non_inferiority":
        shown = _unsigned(asked)
        what = f"证明变差不超过 {shown}" if chinese else f"To prove that it is not worse by {shown}"
    else:
        what = f"检出 {asked}" if chinese else f"To find {asked}"
    if t.units is None:
        return [Line(f" {what}：{why_text(t.why, lang)}" if chinese else f" {what}: {t.why}", style="bold"), Line("")]
    parts = ", ".join(f"{name} {count:,}" for name, count in t.units_by_variant.items())
    text = f" {what}：共需 {t.units:,} 个单元（{parts}）" if chinese else f" {what}: {t.units:,} units ({parts})"
    lines = [Line(text, style="bold")]
    lines += [Line(" " + extra) for extra in _extras(t, plan.baseline.window_days, chinese)]
    if t.why:
        lines.append(Line(f" {why_text(t.why, lang)}", style="yellow"))
    if plan.assurance is not None:
        chance = f"{100 * plan.assurance:.0f}%"
        lines.append(
            Line(f" 按先验，得到明确提升的概率为 {chance}" if chinese else
                 f" With that prior the chance of a clear improvement is {chance}")
        )  # fmt: skip
    return [*lines, Line("")]


def _extras(t: Target, window_days: float, chinese: bool) -> list[str]:
    lines = []
    if t.clusters is not None:
        lines.append(f"共 {t.clusters:,} 个群组" if chinese else f"{t.clusters:,} clusters")
    if t.expected_units is not None:
        lines.append(
            f"若效果如此，平均 {t.expected_units:,} 个单元即可停止" if chinese
            else f"if the effect is as large it stops after {t.expected_units:,} units on average"
        )  # fmt: skip
    if t.weeks is not None and t.days is not None:
        weeks = "week" if t.weeks == 1 else "weeks"
        text = f"进入 {t.weeks} 周" if chinese else f"{t.weeks} {weeks} of entering"
        if window_days:
            text += (
                f"，再等 {window_days:g} 天观察窗口：共 {t.days} 天" if chinese
                else f", then {window_days:g} days until the last outcome counts: {t.days} days in all"
            )  # fmt: skip
        lines.append(text)
    return lines


def _rows(plan: PowerPlan, lang: str) -> Table:
    chinese = lang.startswith("zh")
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 1))
    weekly = any(row.weeks is not None for row in plan.rows)
    if weekly:
        table.add_column("周" if chinese else "weeks", justify="right")
    table.add_column("单元" if chinese else "units", justify="right")
    detect = (
        ("可证明的界限" if chinese else "provable margin")
        if plan.goal == "non_inferiority"
        else ("可检出的效果" if chinese else "detectable effect")
    )
    table.add_column(detect, justify="right")
    asked = any(row.power is not None for row in plan.rows)
    if asked and plan.target is not None:
        shown = (
            figures.relative(plan.target.relative)
            if plan.target.relative is not None
            else figures.change(plan.target.effect, plan.baseline.unit, plan.currency, lang=lang)
        )
        shown = _unsigned(shown) if plan.goal == "non_inferiority" else shown
        name = f"{shown} 的功效" if chinese else f"power for {shown}"
        table.add_column(name, justify="right")
    for row in plan.rows:
        effect = _change(plan, row.mde, row.mde_relative, lang)
        if plan.goal == "non_inferiority":
            effect = _unsigned(effect)
        cells = [f"{row.weeks}"] if weekly else []
        effect = why_text(row.why, lang) if row.mde is None else effect
        cells += [f"{row.units:,}", effect + (" *" if row.exact and row.mde is not None else "")]
        if asked and plan.target is not None:
            cells.append("–" if row.power is None else _percent(row.power))
        table.add_row(*cells)
    return table


def _percent(chance: float) -> str:
    return ">99%" if chance > 0.99 else ("<1%" if chance < 0.01 else f"{100 * chance:.0f}%")


def _curve(plan: PowerPlan, lang: str) -> list[Line]:
    if not plan.curve or plan.curve_units is None:
        return []
    chinese = lang.startswith("zh")
    if plan.goal == "non_inferiority":
        title = (
            f" {plan.curve_units:,} 个单元时，真实差异（正为更好）下通过护栏的概率"
            if chinese
            else f" Chance to prove the guardrail with {plan.curve_units:,} units, by how much better (+) it is"
        )
    else:
        title = f" {plan.curve_units:,} 个单元的功效曲线" if chinese else f" Power with {plan.curve_units:,} units"
    labels = [
        figures.relative(p.relative) if p.relative is not None
        else figures.change(p.effect, plan.baseline.unit, plan.currency, lang=lang)
        for p in plan.curve
    ]  # fmt: skip
    wide = max(map(len, labels))
    lines = [Line(title, style="bold")]
    for label, point in zip(labels, plan.curve, strict=True):
        chance = point.power or 0.0
        line = Line(f" {label:>{wide}} ")
        line.append("█" * round(BAR * chance), style="bright_blue" if chance >= plan.power else "dim")
        line.append(f" {_percent(chance)}" if point.power is not None else " –")
        lines.append(line)
    return [*lines, Line("")]


def _break_even(plan: PowerPlan, found: BreakEven, lang: str) -> list[Line]:
    chinese = lang.startswith("zh")
    margin, cost, contact = (figures.money(value, plan.currency) for value in (found.margin, found.cost, found.contact))
    offer = found.offer or ("优惠" if chinese else "the offer")
    title = f" {offer} 的盈亏平衡" if chinese else f" Break-even of {offer}"
    base = figures.amount(found.baseline, "share")
    share = f"{100 * found.redeemed:.0f}%"
    facts = (
        f" 每单毛利 {margin}，每次核销成本 {cost}（{share} 的订单可核销），每次触达 {contact}，自然购买率 {base}"
        if chinese
        else f" margin {margin} an order, cost {cost} a redemption (on {share} of orders), contact {contact}, "
        f"{base} buy anyway"
    )
    lines = [Line(title, style="bold"), Line(facts, style="dim")]
    if found.uplift is None:
        return [*lines, Line(f" {why_text(found.why, lang)}", style="bold orange3"), Line("")]
    need = figures.change(found.uplift, "share", lang=lang)
    relative = "" if found.relative is None else f" ({figures.relative(found.relative)})"
    text = (
        f" 购买率至少提升 {need}{relative} 才能回本" if chinese else f" It pays from an uplift of {need}{relative} on"
    )
    lines.append(Line(text, style="bold"))
    if found.mde is not None:
        seen = figures.change(found.mde, "share", lang=lang)
        enough = found.mde <= found.uplift
        if chinese:
            verdict = "本计划检得出盈亏平衡点的提升" if enough else "本计划检不出盈亏平衡点的提升，需要更多单元"
            lines.append(Line(f" 本计划可检出 {seen}：{verdict}"))
        else:
            verdict = (
                "so it finds the break-even uplift" if enough
                else "so the break-even uplift can go unseen: more units are needed"
            )  # fmt: skip
            lines.append(Line(f" This plan detects {seen}, {verdict}"))
    return [*lines, Line("")]

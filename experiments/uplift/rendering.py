"""A recommendation in the terminal, as CSV in long form, and as JSON."""

from __future__ import annotations

import csv
import functools
import io
from collections.abc import Iterator

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text as Line

from experiments.report import figures
from experiments.report.render_csv import safe_text
from experiments.report.words import say
from experiments.uplift.document import Curve, Interval, Recommendation
from experiments.uplift.figures import per_unit

PIPED_WIDTH = 150
BAR = 40
COLUMNS = ("part", "of", "item", "figure", "value", "ci_low", "ci_high", "why")
GLYPHS = {"ok": "✓", "caution": "!", "fail": "✗"}
_Row = tuple[str, str, str, str, float | str | None, float | None, float | None, str | None]


def render_json(document: Recommendation) -> str:
    """Return the whole document."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


def render_csv(document: Recommendation) -> str:
    """Return every figure, one row each; one that cannot be computed is an empty cell with its reason in ``why``."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for part, of, item, figure, value, low, high, why in _rows(document):
        shown = safe_text(value) if isinstance(value, str) else value
        writer.writerow((part, safe_text(of), safe_text(item), figure, shown, low, high, why))
    return out.getvalue()


def _rows(document: Recommendation) -> Iterator[_Row]:
    yield "recommendation", "", "", "recommended", document.recommended or "", None, None, None
    if document.offer is not None:
        yield "recommendation", "", "", "offer", document.offer, None, None, None
    for check in document.checks:
        yield "check", check.code, "", "status", check.status, None, None, say(check.value, "en")
    for arm in document.arms:
        yield "arm", arm.key, "", "units", arm.n, None, None, None
        yield "arm", arm.key, "", "mean", arm.mean, None, None, None
        yield from _of("arm", arm.key, "effect", arm.effect)
        yield from _of("arm", arm.key, "profit", arm.profit)
    for each in document.candidates:
        yield "learner", each.learner, "chosen" if each.chosen else "", "loss", each.loss, None, None, each.why
    for policy in document.policies:
        yield from _of("policy", policy.code, "value", policy.value)
        yield from _of("policy", policy.code, "gain", policy.gain)
        yield "policy", policy.code, "", "treated", policy.treated, None, None, None
        yield "policy", policy.code, "", "cost", policy.cost, None, None, None
        for key, share in policy.mix.items():
            yield "policy", policy.code, key, "share", share, None, None, None
    for curve in document.curves:
        yield from _of_curve(curve)
    for row in document.profile:
        yield "profile", row.attribute, row.level or "", f"target_{row.kind}", row.target, None, None, None
        yield "profile", row.attribute, row.level or "", f"rest_{row.kind}", row.rest, None, None, None


def _of(part: str, of: str, figure: str, found: Interval | None, item: str = "") -> Iterator[_Row]:
    if found is not None:
        yield part, of, item, figure, found.estimate, found.ci_low, found.ci_high, found.why


def _of_curve(curve: Curve) -> Iterator[_Row]:
    yield "curve", curve.arm, "", "best_share", curve.best_share, None, None, None
    for name in ("best_profit", "all_profit", "qini", "auuc", "rate"):
        yield from _of("curve", curve.arm, name, getattr(curve, name))
    for share, uplift in curve.uplift_at.items():
        yield "curve", curve.arm, share, "uplift_at", uplift, None, None, None
    for point in curve.points:
        yield "curve", curve.arm, f"{point.share:g}", "profit", point.profit, point.ci_low, point.ci_high, None


def print_recommendation(document: Recommendation, console: Console | None = None, *, lang: str = "en") -> None:
    """Print it: what to do first, then what it rests on."""
    plain = functools.partial(Console, highlight=False, markup=False, emoji=False)
    target = console or plain()
    if not target.is_terminal and console is None:
        target = plain(width=PIPED_WIDTH)
    chinese = lang.startswith("zh")
    target.print(Line(""))
    target.print(Line(f" {say(document.title, lang)}", style="bold"), soft_wrap=True)
    rows = f"{document.rows:,} 行" if chinese else f"{document.rows:,} rows"
    facts = f" {rows}   {say(document.outcome_label, lang) or document.outcome}   {', '.join(document.attributes)}"
    target.print(Line(facts, style="dim"), soft_wrap=True)
    target.print(Line(""))
    target.print(Line(f" {say(document.sentence, lang)}", style="bold"), soft_wrap=True)
    for reason in document.reasons:
        target.print(Line(f" {say(reason, lang)}"), soft_wrap=True)
    target.print(Line(""))
    colon = "：" if chinese else ": "
    for check in document.checks:
        target.print(
            Line(f" {GLYPHS[check.status]} {say(check.label, lang)}{colon}{say(check.value, lang)}"), soft_wrap=True
        )
        if check.status != "ok" and check.needed:
            needed = "需要" if chinese else "needed"
            target.print(Line(f"   {needed}{colon}{say(check.needed, lang)}", style="dim"), soft_wrap=True)
    if document.policies:
        target.print(policy_table(document, lang))
    for line in _curve_lines(document, lang):
        target.print(line, soft_wrap=True)
    if document.rule:
        label = "规则" if chinese else "In short"
        target.print(Line(f" {label}: {say(document.rule_text, lang)}"), soft_wrap=True)
    for text in (*document.warnings, *document.methods):
        target.print(Line(f" {say(text, lang)}", style="dim"), soft_wrap=True)


def policy_table(document: Recommendation, lang: str) -> Table:
    """Return every policy with its value, its gain over the best single choice, whom it treats and what it costs."""
    chinese = lang.startswith("zh")
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    level = f"{100 * (1 - document.alpha):g}%"
    heads = (
        ("策略", f"人均增益（{level}）", f"优于单一最佳（{level}）", "触达占比", "人均成本")
        if chinese
        else ("Policy", f"Gain a unit ({level})", f"Over best single ({level})", "Sent to", "Cost a unit")
    )
    for place, head in enumerate(heads):
        table.add_column(head, justify="left" if place == 0 else "right", no_wrap=place > 0)
    for policy in document.policies:
        table.add_row(
            ("→ " if policy.code == document.recommended else "  ") + say(policy.label, lang),
            _interval(document, policy.value, lang),
            "" if policy.gain is None else _interval(document, policy.gain, lang),
            figures.plain(100 * policy.treated, 0) + "%",
            "" if policy.cost is None else per_unit(document, policy.cost, lang),
        )
    return table


def _interval(document: Recommendation, found: Interval, lang: str) -> str:
    estimate = per_unit(document, found.estimate, lang, sign=True)
    if found.ci_low is None or found.ci_high is None:
        return estimate
    low, high = (per_unit(document, value, lang, sign=True) for value in (found.ci_low, found.ci_high))
    return f"{estimate} [{low}, {high}]"


def _curve_lines(document: Recommendation, lang: str) -> list[Line]:
    """Return a bar for each tenth of the units of the first curve."""
    if not document.curves:
        return []
    curve = document.curves[0]
    tenths = [point for point in curve.points if round(point.share * 10, 6) == round(point.share * 10)]
    top = max((abs(point.profit or 0.0) for point in tenths), default=0.0)
    if not top:
        return []
    chinese = lang.startswith("zh")
    head = "按预测增量从高到低发放时的人均增益" if chinese else "Gain a unit, sent to the top by predicted gain"
    lines = [Line(f" {head}", style="dim")]
    for point in tenths:
        bar = "█" * round(BAR * max(point.profit or 0.0, 0.0) / top)
        lines.append(Line(f" {point.share:>5.0%} {bar} {per_unit(document, point.profit, lang, sign=True)}"))
    return [*lines, Line("")]

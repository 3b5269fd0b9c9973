"""A validation in the terminal, as JSON and as CSV."""

from __future__ import annotations

import csv
import functools
import io

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from experiments.report import figures
from experiments.report.render_csv import safe_text
from experiments.report.render_narrow import fitted, width_of
from experiments.report.validation_document import Validation, ValidationRow
from experiments.report.validation_words import method_name
from experiments.report.words import say

STYLES = {
    "as_promised": "bright_blue",
    "too_many": "bold orange3",
    "too_few": "yellow",
    "no_promise": "dim",
    "not_computed": "dim italic",
}
GLYPHS = {"as_promised": "✓", "too_many": "✗", "too_few": "○", "no_promise": "·", "not_computed": "·"}
SHARES = ("false_alarms", "coverage", "power", "wrong_sign", "effect_coverage", "relative_coverage")
PIPED_WIDTH = 140


def render_validation_json(found: Validation) -> str:
    """Return the whole document as JSON."""
    return msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n"


def render_validation_csv(found: Validation) -> str:
    """Return a row for each metric and method."""
    out = io.StringIO()
    columns = ["metric", "method", "reading", "simulations", "not_computed"]
    for name in SHARES:
        columns += [name, f"{name}_low", f"{name}_high"]
    columns += ["relative_effect", "sample_used", "verdict"]
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for row in found.results:
        cells: list[object] = [safe_text(row.metric), row.method, row.reading, row.simulations, row.not_computed]
        for name in SHARES:
            cells += getattr(row, name) or [None, None, None]
        writer.writerow([*cells, row.relative_effect, row.sample_used, row.verdict["en"]])
    return out.getvalue()


def print_validation(found: Validation, console: Console | None = None, *, lang: str = "en") -> None:
    """Print a validation; without a terminal the lines are as wide as they need to be and carry no colour."""
    plain = functools.partial(Console, highlight=False, markup=False, emoji=False)
    target = console or plain()
    if not target.is_terminal and console is None:
        target = plain(width=max(PIPED_WIDTH, width_of(_table(found, lang))))
    target.print(render_validation(found, lang=lang, width=target.width))


def render_validation(found: Validation, *, lang: str = "en", width: int | None = None) -> RenderableType:
    """Return the validation as something that rich prints."""
    parts: list[RenderableType] = [Text(""), _heading(found, lang), Text("")]
    parts.append(fitted(_table(found, lang), width, name=2))
    parts.append(Text(""))
    for row in found.results:
        line = Text(f"{GLYPHS[row.reading]} ", style=STYLES[row.reading])
        line.append(f"{_metric(row, lang)} · {say(method_name(row.method), lang)}: ", style="bold")
        line.append(say(row.verdict, lang))
        parts.append(Padding(line, (0, 0, 0, 2), expand=False))
    parts += [Text(""), *(Padding(Text(say(note, lang), style="dim"), (0, 0, 0, 2)) for note in _notes(found))]
    return Group(*parts)


def _heading(found: Validation, lang: str) -> Text:
    title = {"en": f" Validation on {found.source}", "zh-CN": f" 在 {found.source} 上验证"}
    total = sum(found.variants.values())
    split = " / ".join(f"{name} {100 * weight / total:.3g}%" for name, weight in found.variants.items())
    facts = {
        "en": f"   {found.units:,} units · {found.simulations:,} simulated experiments · {split} · seed {found.seed}",
        "zh-CN": f"   {found.units:,} 个单元 · 模拟实验 {found.simulations:,} 次 · {split} · 种子 {found.seed}",
    }
    return Text(say(title, lang), style="bold").append(say(facts, lang), style="dim")


def _table(found: Validation, lang: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=True, show_edge=False, header_style="dim")
    effect = f"{100 * found.effect:+.3g}%".replace("-", figures.MINUS)
    heads = {
        "en": ["Metric", "Method", "False alarms", "Coverage"],
        "zh-CN": ["指标", "方法", "误报率", "覆盖率"],
    }["zh-CN" if lang.startswith("zh") else "en"]
    if found.effect:
        more = {"en": [f"Power at {effect}", "Coverage of it"], "zh-CN": [f"{effect} 时的功效", "其覆盖率"]}
        heads = heads + more["zh-CN" if lang.startswith("zh") else "en"]
    for place, head in enumerate(heads):
        table.add_column(head, justify="left" if place < 2 else "right", no_wrap=place != 0)
    previous = None
    for row in found.results:
        cells = [row.false_alarms, row.coverage, *([row.power, row.effect_coverage] if found.effect else [])]
        table.add_row(
            Text(_metric(row, lang) if row.metric != previous else "", style="bold"),
            Text(f"{GLYPHS[row.reading]} {say(method_name(row.method), lang)}", style=STYLES[row.reading]),
            *(_percent(cell) for cell in cells),
        )
        previous = row.metric
    return table


def _metric(row: ValidationRow, lang: str) -> str:
    return say({"en": "All", "zh-CN": "全部"}, lang) if row.metric == "*" else row.metric


def _percent(cell: list[float] | None) -> str:
    if cell is None:
        return "–"
    value, low, high = (100 * part for part in cell)
    return f"{value:.1f}% [{low:.1f}, {high:.1f}]"


def _notes(found: Validation) -> list[dict[str, str]]:
    level, confidence = f"{100 * found.alpha:g}%", f"{100 * (1 - found.alpha):g}%"
    notes = [
        {
            "en": f"Promised are {level} false alarms and {confidence} coverage; brackets are 95% binomial intervals. "
            "Units keep their outcomes, variants are drawn anew each time.",
            "zh-CN": f"承诺：误报率 {level}，覆盖率 {confidence}；方括号内为 95% 二项区间。"
            "单元的结果不变，每次重新随机分组。",
        }
    ]
    if found.effect:
        notes.append(
            {
                "en": "The effect multiplies treated units' values (numerators of ratios); of a proportion, units "
                "drawn once change from 0 to 1 (or back).",
                "zh-CN": "效果的加法：实验组数值（比率为分子）乘以相应倍数；"
                "比例指标则固定抽取一批单元由 0 变 1（或相反）。",
            }
        )
    if found.units < found.units_in_file:
        notes.append(
            {
                "en": f"A random {found.units:,} of the file's {found.units_in_file:,} units.",
                "zh-CN": f"从文件的 {found.units_in_file:,} 个单元中随机抽取 {found.units:,} 个。",
            }
        )
    words = {
        "unnamed": (
            "{n} rows without unit, cluster or stratum were left out.",
            "已剔除 {n} 行：缺少单元、群组或分层。",
        ),
        "duplicate": ("{n} repeated rows of a unit were left out.", "已剔除 {n} 行：单元重复。"),
    }
    for reason, n in found.left_out.items():
        english, chinese = words[reason]
        notes.append({"en": english.format(n=f"{n:,}"), "zh-CN": chinese.format(n=f"{n:,}")})
    if found.clusters is not None:
        notes.append(
            {
                "en": f"{found.clusters:,} clusters were randomised, not units: methods that take units as independent "
                "are shown to be judged.",
                "zh-CN": f"随机化对象为 {found.clusters:,} 个群组而非单元：把单元当作独立的方法仅列出以供评判。",
            }
        )
    return notes

"""An audience on the terminal and as JSON; nothing is computed here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from experiments.report import figures
from experiments.targeting.document import Audience
from experiments.targeting.words import cost_text

if TYPE_CHECKING:
    from rich.console import Console

WORDS: dict[str, dict[str, str]] = {
    "en": {
        "offer": "offer", "members": "members", "gain": "expected gain", "cost": "expected cost",
        "liability": "if all redeemed", "stock": "stock", "why": "Why", "floors": "Floors", "of": "of at least",
        "missed": "At most {gap} is missed of the best possible choice.",
        "price": "One more unit of budget would add {price}.",
        "kept": "Audience {id}: {rows} rows in {path}, sha256 {sha}",
    },
    "zh-CN": {
        "offer": "优惠", "members": "人数", "gain": "预计增量", "cost": "预计成本", "liability": "全部核销成本",
        "stock": "库存", "why": "原因", "floors": "保底", "of": "至少",
        "missed": "与最优选择相比最多少得 {gap}。",
        "price": "预算每增加 1 单位可多得 {price}。",
        "kept": "人群包 {id}：{rows} 行，文件 {path}，sha256 {sha}",
    },
}  # fmt: skip


def render_json(made: Audience) -> str:
    """Return the document as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(made), indent=2).decode() + "\n"


def print_audience(made: Audience, *, lang: str, written: str, console: Console | None = None) -> None:
    """Print who gets what, and why.

    Args:
        made: the audience.
        lang: ``en`` or ``zh-CN``.
        written: where the file is.
        console: by default the terminal's.
    """
    from rich.console import Console as Terminal
    from rich.table import Table

    out, words = console or Terminal(highlight=False), WORDS[lang]

    def line(text: str) -> None:
        out.print(text, markup=False, soft_wrap=True)

    line(made.sentence[lang])
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("offer", "members", "gain", "cost", "liability", "stock"):
        table.add_column(words[name], justify="left" if name == "offer" else "right")
    for arm in made.arms:
        cost = "–" if arm.expected_cost is None else cost_text(arm.expected_cost, made.currency, lang)
        table.add_row(
            arm.name.get(lang) or arm.name.get("en") or arm.arm,
            f"{arm.members:,}",
            figures.plain(arm.predicted_gain, 2),
            cost,
            cost_text(arm.liability, made.currency, lang),
            "–" if arm.stock is None else f"{arm.stock:,}",
        )
    out.print()
    out.print(table)
    line(f"\n{words['why']}")
    for reason, rows in sorted(made.reasons.items(), key=lambda item: (-item[1], item[0])):
        line(f"  {rows:>10,}  {reason}")
    if made.floors:
        line(f"\n{words['floors']}")
        for floor in made.floors:
            line(f"  {floor.attribute}={floor.level}: {floor.reached:,} {words['of']} {floor.least:,}")
    out.print()
    line(words["missed"].format(gap=figures.plain(made.gap, 2)))
    if made.budget is not None:
        line(words["price"].format(price=figures.plain(made.budget_price, 2)))
    for warning in made.warnings:
        line(warning[lang])
    line(words["kept"].format(id=made.id, rows=f"{made.rows:,}", path=written, sha=made.sha256))

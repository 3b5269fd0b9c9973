"""The programme's return as text, JSON and CSV."""

from __future__ import annotations

import csv
import io
from typing import Any

import msgspec

from experiments.programme.document import Figure, HoldoutResult, Programme
from experiments.programme.words import TEXTS

FIGURES = ("profit", "profit_per_member", "extra_margin", "extra_buyers", "cost", "roi")
PIPED_WIDTH = 110


def render_json(programme: Programme) -> str:
    """Return the document as JSON."""
    return msgspec.json.format(msgspec.json.encode(programme), indent=2).decode() + "\n"


def render_csv(programme: Programme) -> str:
    """Return every figure, one row each: holdout, figure (of a month: with it), estimate, ends."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("holdout", "figure", "estimate", "ci_low", "ci_high", "why"))
    for result in programme.holdouts:
        for name in ("held_out", "reached", "split_p"):
            writer.writerow((result.holdout, name, getattr(result, name), "", "", ""))
        for name in FIGURES:
            figure = _figure(result, name)
            writer.writerow((result.holdout, name, figure.estimate, figure.ci_low, figure.ci_high, figure.why))
        for month in result.months:
            each = month.profit_per_member
            name = f"profit_per_member {month.month}"
            writer.writerow((result.holdout, name, each.estimate, each.ci_low, each.ci_high, each.why))
    return out.getvalue()


def _figure(result: HoldoutResult, name: str) -> Figure:
    found = getattr(result, name)
    return found if isinstance(found, Figure) else Figure(estimate=found, ci_low=None, ci_high=None)


def print_programme(programme: Programme, lang: str = "en") -> None:
    """Print what each holdout tells, the sentence first."""
    from rich.console import Console

    plain = Console(highlight=False, markup=False, emoji=False)
    target = plain if plain.is_terminal else Console(highlight=False, markup=False, emoji=False, width=PIPED_WIDTH)
    for result in programme.holdouts:
        target.print("")
        target.print(
            f"{TEXTS['title'][lang]}: {result.name.get(lang) or next(iter(result.name.values()))}", style="bold"
        )
        target.print(result.verdict[lang])
        if result.since is not None:
            shown: dict[str, Any] = {"held": result.held_out, "reached": result.reached, "share": _share(result.share)}
            target.print(TEXTS["members"][lang].format(**shown, since=result.since[:10]))
            target.print(TEXTS["left_out"][lang].format(would_not=result.would_not, both=result.both))
        if result.linked:
            target.print(TEXTS["linked"][lang].format(linked=result.linked, crossed=result.crossed))
        if result.readable:
            target.print(_table(programme, result, lang))
        if len(result.months) > 1:
            target.print(_months(programme, result, lang))
        if result.detectable is not None:
            target.print(TEXTS["detectable"][lang].format(detectable=f"{result.detectable:,.2f}"))
    target.print("")
    for note in programme.notes:
        target.print(f"· {note[lang]}")


def _share(text: str) -> str:
    return text if text.endswith("%") else f"{float(text):.3g}" if float(text) > 1 else f"{float(text):.1%}"


def _table(programme: Programme, result: HoldoutResult, lang: str) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD)
    table.add_column(TEXTS["figure"][lang])
    table.add_column(TEXTS["estimate"][lang], justify="right")
    table.add_column(TEXTS["interval"][lang].format(level=1 - programme.alpha), justify="right")
    for name in FIGURES:
        figure = _figure(result, name)
        between = "" if figure.ci_low is None else f"{_shown(name, figure.ci_low)} … {_shown(name, figure.ci_high)}"
        table.add_row(TEXTS[name][lang], _shown(name, figure.estimate), between)
    return table


def _months(programme: Programme, result: HoldoutResult, lang: str) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD)
    table.add_column(TEXTS["month"][lang])
    for name in ("held_out", "reached", "profit_per_member"):
        table.add_column(TEXTS[name][lang], justify="right")
    table.add_column(TEXTS["interval"][lang].format(level=1 - programme.alpha), justify="right")
    for month in result.months:
        each = month.profit_per_member
        between = "" if each.ci_low is None else f"{each.ci_low:,.2f} … {each.ci_high:,.2f}"
        shown = _shown("profit_per_member", each.estimate)
        table.add_row(month.month, f"{month.held_out:,}", f"{month.reached:,}", shown, between)
    return table


def _shown(name: str, value: float | None) -> str:
    if value is None:
        return "–"
    if name == "roi":
        return f"{value:+.1%}"
    return f"{value:,.2f}" if name == "profit_per_member" else f"{value:,.0f}"

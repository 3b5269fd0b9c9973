"""A table that a terminal is too narrow for, as a list: no figure is ever cut off."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

ENDLESS = 10_000


def width_of(table: RenderableType) -> int:
    """Return how many columns of a terminal something needs to be shown whole.

    >>> table = Table("Metric", "Value", box=None, pad_edge=False)
    >>> table.add_row("visit", "18.3%")
    >>> width_of(table)
    13
    """
    wide = Console(width=ENDLESS, markup=False, emoji=False)
    return Measurement.get(wide, wide.options, table).maximum


def fitted(table: Table, width: int | None, left: int = 0) -> RenderableType:
    """Return the table, or its list where ``width`` is too small for it."""
    if width is None or width_of(table) + left <= width:
        return table
    return Group(*([Text(str(table.title)), Text("")] if table.title else []), *_lines(table), Text(""))


def _lines(table: Table) -> Iterator[RenderableType]:
    """Yield each row: its first cell as a heading (once), the second as a name, the rest with their columns' names."""
    heads = [_text(column.header) for column in table.columns]
    for row in zip(*(column.cells for column in table.columns), strict=True):
        cells = [_text(cell) for cell in row]
        filled = [place for place, cell in enumerate(cells) if cell.plain.strip()]
        if not filled:
            continue
        if filled[0] == 0:
            yield Padding(_bold(cells[0]), (0, 0, 0, 2), expand=False)
        line = Text()
        for place in (p for p in filled if p > 0):
            if line:
                line.append("  ")
            if not heads[place].plain[:1] or cells[place].style:
                line.append_text(cells[place])
            else:
                line.append(f"{heads[place].plain} ", style="dim").append_text(cells[place])
        if line:
            yield Padding(line, (0, 0, 0, 4), expand=False)


def _text(cell: RenderableType) -> Text:
    return cell if isinstance(cell, Text) else Text(str(cell))


def _bold(text: Text) -> Text:
    copy = text.copy()
    copy.stylize("bold")
    return copy

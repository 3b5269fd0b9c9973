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


def fitted(table: Table, width: int | None, *, name: int) -> RenderableType:
    """Return the table, or its list where ``width`` is too small for it.

    Args:
        table: made of text; its first column is a heading over several rows.
        width: columns of the terminal; ``None``: enough.
        name: place of the column that names a row. What stands before it goes with the heading.
    """
    if width is None or width_of(table) <= width:
        return table
    title = [table.title, Text("")] if isinstance(table.title, Text) else []
    return Group(*title, *_lines(table, name), Text(""))


def _lines(table: Table, name: int) -> Iterator[RenderableType]:
    heads = [_text(column.header).plain for column in table.columns]
    for row in zip(*(column.cells for column in table.columns), strict=True):
        cells = {place: _text(cell) for place, cell in enumerate(row)}
        filled = [place for place, cell in cells.items() if cell.plain.strip()]
        for places, plain, indent in (
            ([p for p in filled if p < name], 0, 2),
            ([p for p in filled if p >= name], name, 4),
        ):
            line = Text()
            for place in places:
                line.append("  " if line else "")
                line.append("" if place == plain else f"{heads[place]} ", style="dim")
                line.append_text(cells[place])
            if line:
                yield Padding(line, (0, 0, 0, indent), expand=False)


def _text(cell: RenderableType) -> Text:
    return cell if isinstance(cell, Text) else Text(str(cell))

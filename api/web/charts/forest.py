"""Effects within groups on one axis: the whole picture, and the parts that a table shows row by row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from api.web.charts.interval import IntervalLook, axis_header, interval
from api.web.charts.markup import Chart, DataTable
from api.web.charts.scale import shared_scale

WIDTH = 264.0


@dataclass(frozen=True, slots=True)
class ForestRow:
    """One level of an attribute for one variant."""

    look: IntervalLook
    cells: tuple[str, ...]
    """The row as written text, under the forest's columns."""


@dataclass(frozen=True, slots=True)
class Forest:
    """The axis for the table's head, one chart a row, and all the numbers."""

    axis: Markup
    charts: tuple[Chart, ...]
    table: DataTable


def forest(
    rows: Sequence[ForestRow],
    *,
    caption: str,
    columns: tuple[str, ...],
    write: Callable[[float, float], str],
    width: float = WIDTH,
) -> Forest:
    """Draw the effects of several groups on one shared axis.

    Args:
        rows: the groups in order.
        caption: what the table is about.
        columns: headings of the data table.
        write: turns a tick, given the step between ticks, into text.
        width: of the picture in pixels.
    """
    scale = shared_scale([(r.look.low, r.look.estimate, r.look.high) for r in rows], width=width, about=5)
    step = scale.ticks[1] - scale.ticks[0]
    charts = tuple(interval(row.look, scale, columns=columns, row=row.cells) for row in rows)
    return Forest(
        axis_header(scale, lambda v: write(v, step)), charts, DataTable(caption, columns, tuple(r.cells for r in rows))
    )

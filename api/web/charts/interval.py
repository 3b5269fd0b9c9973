"""One estimate with its interval on an axis that the whole table shares, and that axis."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

from markupsafe import Markup

from api.web.charts.markup import Chart, DataTable, drawing, element, text_width
from api.web.charts.scale import Scale
from experiments.report.document import Reading

ROW_HEIGHT = 25.0
# Grid lines reach over the row's edge, so that they join between rows.
OVERHANG = 7.0
TONES: dict[Reading, str] = {
    "better": "good",
    "worse": "bad",
    "broken": "bad",
    "not_proven": "warn",
    "unclear": "flat",
    "within_limit": "flat",
    "not_computed": "flat",
}


@dataclass(frozen=True, slots=True)
class IntervalLook:
    """How one interval is drawn and described."""

    low: float | None
    estimate: float | None
    high: float | None
    reading: Reading = "unclear"
    label: str = ""
    """The conclusion: what, which variant, how much, interval, reading."""
    limit: float | None = None
    """Guardrail limit, drawn as a dashed line."""
    planning_value: float | None = None
    """Estimate shrunken towards the overall one, drawn as a diamond."""


def grid(scale: Scale, top: float, bottom: float) -> list[Markup]:
    """Return vertical lines at the ticks, zero stronger."""
    return [
        element("line", x1=scale.x(t), x2=scale.x(t), y1=top, y2=bottom, class_="zero" if abs(t) < 1e-12 else "grid")
        for t in scale.ticks
    ]


def interval_marks(look: IntervalLook, scale: Scale, middle: float) -> list[Markup]:
    """Return bar, point, limit and off-scale arrows of one row, centred on a height."""
    tone = TONES[look.reading]
    marks: list[Markup] = []
    if look.low is not None or look.high is not None:
        low = scale.low if look.low is None else look.low
        high = scale.high if look.high is None else look.high
        left, right = scale.x(low), scale.x(high)
        # A bar of no width would vanish.
        width = max(right - left, 1.5)
        marks.append(
            element("rect", x=left, y=middle - 3.5, width=width, height=7.0, rx="3.5", class_=f"f-{tone} iv-band")
        )
        if look.low is None or (scale.beyond(look.low) and look.low < scale.low):
            marks.append(_arrow(scale.x(scale.low), middle, -1))
        if look.high is None or (scale.beyond(look.high) and look.high > scale.high):
            marks.append(_arrow(scale.x(scale.high), middle, 1))
    if look.limit is not None and not scale.beyond(look.limit):
        x = scale.x(look.limit)
        marks.append(element("line", x1=x, x2=x, y1=middle - 8.0, y2=middle + 8.0, class_="s-bad limit"))
    if look.planning_value is not None and not scale.beyond(look.planning_value):
        x = scale.x(look.planning_value)
        path = f"M{x:.1f} {middle - 5:.1f}l4 5l-4 5l-4-5z"
        marks.append(element("path", d=path, class_="s-ink diamond"))
    if look.estimate is not None:
        marks.append(_point(scale.x(look.estimate), middle, tone))
    return marks


def _arrow(x: float, y: float, towards: int) -> Markup:
    tip = x + 4.0 * towards
    base = x - 4.0 * towards
    return element("path", d=f"M{tip:.1f} {y:.1f}L{base:.1f} {y - 5:.1f}V{y + 5:.1f}Z", class_="f-warn off-scale")


def _point(x: float, y: float, tone: str) -> Markup:
    if tone == "flat":
        # Not clear: hollow, so that it differs without colour.
        return element("circle", cx=x, cy=y, r="3.6", class_="f-surf s-flat pt-hollow")
    return element("circle", cx=x, cy=y, r="4.4", class_=f"f-{tone} pt")


def interval(look: IntervalLook, scale: Scale, *, columns: tuple[str, ...], row: tuple[str, ...]) -> Chart:
    """Draw one interval as a table cell.

    Args:
        look: numbers, reading and conclusion.
        scale: the axis that the table shares.
        columns: headings of the data table.
        row: the same numbers as written text.

    Returns:
        The picture and its one-row table. Without an estimate only the grid is drawn.
    """
    marks = grid(scale, -OVERHANG, ROW_HEIGHT + OVERHANG) + interval_marks(look, scale, ROW_HEIGHT / 2)
    svg = drawing(scale.width, ROW_HEIGHT, *marks, label=look.label or None, class_="iv")
    return Chart(svg, DataTable(look.label, columns, (row,)))


LABEL_GAP = 12.0
"""Pixels between two labels of an axis; a sign of the next one must not read as a dash."""


def axis_header(scale: Scale, write: Callable[[float], str], *, left: str = "", right: str = "") -> Markup:
    """Draw the shared axis for the table's head: tick labels, and in words what left and right mean.

    Args:
        scale: the axis.
        write: turns a tick into text; zero is written "0".
        left: meaning of the left side, such as "← lower than control".
        right: meaning of the right side.
    """
    height = 28.0 if left or right else 16.0
    marks = [
        element(
            "text",
            text,
            x=scale.x(t),
            y=height - 5.0,
            class_="ti" if abs(t) < 1e-12 else "t3",
            text_anchor="middle",
        )
        for t, text in labels(scale, write)
    ]
    if left:
        marks.append(element("text", left, x=2.0, y=9.0, class_="t3", text_anchor="start"))
    if right:
        marks.append(element("text", right, x=scale.width - 2.0, y=9.0, class_="t3", text_anchor="end"))
    return drawing(scale.width, height, *marks, label=None, class_="iv")


def labels(scale: Scale, write: Callable[[float], str]) -> list[tuple[float, str]]:
    """Choose every n-th tick from zero, with the smallest n at which labels fit side by side; zero always has one."""
    zero = min(range(len(scale.ticks)), key=lambda index: abs(scale.ticks[index]))
    chosen: list[tuple[float, str]] = []
    for every in range(1, len(scale.ticks) + 1):
        ticks = [t for index, t in enumerate(scale.ticks) if (index - zero) % every == 0]
        chosen = [(t, "0" if abs(t) < 1e-12 else write(t)) for t in ticks]
        extents = [_extent(scale, tick, text) for tick, text in chosen]
        if all(right[0] - left[1] > LABEL_GAP for left, right in itertools.pairwise(extents)):
            break
    return chosen


def _extent(scale: Scale, tick: float, text: str) -> tuple[float, float]:
    width, at = text_width(text), scale.x(tick)
    return at - width / 2, at + width / 2

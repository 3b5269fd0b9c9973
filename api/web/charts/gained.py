"""What was gained up to each day, with a band that holds at all days, on an axis with zero."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from api.web.charts.area import day_labels
from api.web.charts.markup import Chart, DataTable, drawing, element, text_width
from api.web.charts.scale import round_ticks

WIDTH, HEIGHT = 430.0, 206.0
TOP, BOTTOM, RIGHT = 14.0, 182.0, 416.0


@dataclass(frozen=True, slots=True)
class GainLook:
    """The curve, and how it is described."""

    days: Sequence[str]
    estimate: Sequence[float | None]
    low: Sequence[float | None]
    high: Sequence[float | None]
    tone: str
    """good | bad | flat"""
    last: str
    """Written at the last point, such as "+¥396k"."""
    label: str
    """The conclusion in a sentence."""


def gain_range(look: GainLook) -> tuple[float, float]:
    """Return the range shown: zero, all estimates, and the band once a third of the days are over."""
    values = [0.0, *(v for v in look.estimate if v is not None)]
    late = len(look.days) // 3
    for ends in (look.low, look.high):
        values += [v for v in ends[late:] if v is not None]
    low, high = min(values), max(values)
    return (low, high) if high > low else (-1.0, 1.0)


def gain_curve(
    look: GainLook,
    *,
    write: Callable[[float], str],
    columns: tuple[str, ...],
    rows: tuple[tuple[str, ...], ...],
) -> Chart:
    """Draw what was gained.

    Args:
        look: days, estimates and band.
        write: turns a value of the vertical axis into text.
        columns: headings of the data table.
        rows: its rows, one a day.

    Returns:
        The picture, 430 × 206 and fluid, and its table.
    """
    low, high = gain_range(look)
    ticks = round_ticks(low, high, 4)
    low, high = min(ticks[0], low), max(ticks[-1], high)
    left = 12.0 + max((text_width(write(t)) for t in ticks), default=20.0)
    count = max(len(look.days), 1)

    def x(index: float) -> float:
        return left + index / max(count - 1, 1) * (RIGHT - left)

    def y(value: float) -> float:
        return TOP + (high - min(max(value, low), high)) / (high - low) * (BOTTOM - TOP)

    marks: list[Markup] = []
    for tick in ticks:
        zero = abs(tick) < 1e-12
        marks.append(element("line", x1=left, x2=RIGHT, y1=y(tick), y2=y(tick), class_="zero" if zero else "grid"))
        said = "0" if zero else write(tick)
        marks.append(element("text", said, x=left - 6, y=y(tick) + 4, class_="ti" if zero else "t3", text_anchor="end"))
    marks += day_labels(look.days, x, HEIGHT - 6, parts=2)
    banded = [
        (x(i), y(a), y(b))
        for i, (a, b) in enumerate(zip(look.low, look.high, strict=True))
        if a is not None and b is not None
    ]
    if len(banded) > 1:
        outline = [(a, upper) for a, _, upper in banded] + [(a, lower) for a, lower, _ in banded[::-1]]
        path = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in outline) + "Z"
        marks.append(element("path", d=path, class_=f"f-{look.tone} band"))
    line = [(x(i), y(value)) for i, value in enumerate(look.estimate) if value is not None]
    if len(line) > 1:
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in line)
        marks.append(element("polyline", points=points, class_=f"ln s-{look.tone}", fill="none"))
    if line:
        end = line[-1]
        marks.append(element("circle", cx=end[0], cy=end[1], r="4", class_=f"f-{look.tone}"))
        above = end[1] - 12 if end[1] > TOP + 20 else end[1] + 20
        marks.append(element("text", look.last, x=end[0] - 8, y=above, class_="ti", text_anchor="end"))
    marks += [
        element("rect", x=x(i) - 3.0, y=TOP, width=6.0, height=BOTTOM - TOP, class_="hit", data_row=str(i))
        for i, value in enumerate(look.estimate)
        if value is not None
    ]
    svg = drawing(WIDTH, HEIGHT, *marks, label=look.label, class_="curve", fluid=True)
    return Chart(svg, DataTable(look.label, columns, rows))

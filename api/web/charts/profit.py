"""What sending an offer to more and more members earns: the curve with its band, whom to send it to, and all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from api.web.charts.markup import Chart, DataTable, drawing, element, text_width
from api.web.charts.scale import nice_step, round_ticks

WIDTH, HEIGHT = 548.0, 292.0
TOP, BOTTOM, RIGHT = 16.0, 240.0, 534.0


@dataclass(frozen=True, slots=True)
class ProfitPoint:
    """Sending it to the first ``share``."""

    share: float
    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class ProfitLook:
    """One curve and what is marked on it."""

    points: Sequence[ProfitPoint]
    """From nobody to everybody."""
    marked: float | None
    """Share that is recommended; ``None`` marks only everybody."""
    marked_label: str
    all_label: str
    random_label: str
    axis_label: str
    label: str
    """The conclusion in a sentence."""


def profit_curve(
    look: ProfitLook,
    *,
    write: Callable[[float, float], str],
    share: Callable[[float], str],
    columns: tuple[str, ...],
    rows: tuple[tuple[str, ...], ...],
) -> Chart:
    """Draw a curve.

    Args:
        look: points, marks and labels.
        write: turns (value, step between ticks) of the vertical axis into text.
        share: turns a share into text.
        columns: headings of the data table.
        rows: its rows, as written text.

    Returns:
        The picture, 548 × 292 and fluid, and its table.
    """
    low, high = _range(look.points)
    ticks = round_ticks(low, high, 5)
    low, high = min(low, ticks[0]), max(high, ticks[-1])
    step = nice_step(high - low, 5) if len(ticks) < 2 else ticks[1] - ticks[0]
    left = 14.0 + max(text_width("0" if abs(t) < 1e-12 else write(t, step)) for t in ticks)

    def x(part: float) -> float:
        return left + part * (RIGHT - left)

    def y(value: float) -> float:
        return TOP + (high - min(max(value, low), high)) / (high - low) * (BOTTOM - TOP)

    marks: list[Markup] = []
    for tick in ticks:
        zero = abs(tick) < 1e-12
        marks.append(element("line", x1=left, x2=RIGHT, y1=y(tick), y2=y(tick), class_="zero" if zero else "grid"))
        text = "0" if zero else write(tick, step)
        marks.append(element("text", text, x=left - 6, y=y(tick) + 4, class_="t3", text_anchor="end"))
    marks += [
        element(
            "text",
            share(part / 5),
            x=x(part / 5),
            y=BOTTOM + 20,
            class_="t3",
            text_anchor="end" if part == 5 else "middle",
        )
        for part in range(6)
    ]
    marks.append(element("text", look.axis_label, x=x(0.5), y=HEIGHT - 6, class_="t3", text_anchor="middle"))
    marks += _curve(look, x, y)
    svg = drawing(WIDTH, HEIGHT, *marks, label=look.label, class_="curve", fluid=True)
    return Chart(svg, DataTable(look.label, columns, rows))


def _range(points: Sequence[ProfitPoint]) -> tuple[float, float]:
    """Return the range of the curve with its band, which includes 0 and is not empty."""
    values = [0.0]
    for point in points:
        values += [point.value, *(v for v in (point.low, point.high) if v is not None)]
    low, high = min(values), max(values)
    return (low, high) if high - low > 0 else (-1.0, 1.0)


def _curve(look: ProfitLook, x: Callable[[float], float], y: Callable[[float], float]) -> list[Markup]:
    points = look.points
    last = points[-1]
    marks: list[Markup] = []
    banded = [p for p in points if p.low is not None and p.high is not None]
    if len(banded) > 1:
        upper = [(x(p.share), y(p.high or 0.0)) for p in banded]
        lower = [(x(p.share), y(p.low or 0.0)) for p in banded]
        outline = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in upper + lower[::-1]) + "Z"
        marks.append(element("path", d=outline, class_="f-good band"))
    marks.append(element("line", x1=x(0.0), y1=y(0.0), x2=x(1.0), y2=y(last.value), class_="ref"))
    line = " ".join(f"{x(p.share):.1f},{y(p.value):.1f}" for p in points)
    marks.append(element("polyline", points=line, class_="ln s-good", fill="none"))
    middle = last.value * 0.3
    marks.append(element("text", look.random_label, x=x(0.32), y=y(middle) + 16, class_="t3", text_anchor="start"))
    marks.append(element("circle", cx=x(1.0), cy=y(last.value), r="4", class_="f-flat"))
    at = None if look.marked is None else value_at(points, look.marked)
    height = y(last.value)
    if look.marked is not None and at is not None:
        place = x(look.marked)
        marks.append(element("line", x1=place, x2=place, y1=y(at), y2=BOTTOM, class_="ref"))
        marks.append(element("circle", cx=place, cy=y(at), r="4.5", class_="f-good"))
        marks.append(_said(look.marked_label, place, max(y(at) - 10, 11.0), "tg"))
    # Below the band's end, clear of the curve and of the other label.
    height = height if last.low is None else y(last.low)
    marks.append(
        element("text", look.all_label, x=RIGHT, y=min(height + 17, BOTTOM - 6), class_="ti", text_anchor="end")
    )
    return marks


def _said(label: str, at: float, height: float, style: str) -> Markup:
    """Write a label over a point, inside the picture."""
    half = text_width(label) / 2
    middle = min(max(at, half + 4), WIDTH - half - 4)
    return element("text", label, x=middle, y=height, class_=style, text_anchor="middle")


def value_at(points: Sequence[ProfitPoint], share: float) -> float | None:
    """Return the curve's value at a share, between points on the straight line.

    >>> value_at([ProfitPoint(0.0, 0.0, None, None), ProfitPoint(1.0, 2.0, None, None)], 0.25)
    0.5
    """
    for before, after in pairwise(points):
        if before.share <= share <= after.share:
            part = (share - before.share) / (after.share - before.share)
            return before.value + part * (after.value - before.value)
    return None

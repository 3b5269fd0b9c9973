"""Cumulative effect over days with a band that is valid at every look, marked from when it is clear."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from api.web.charts.markup import Chart, DataTable, drawing, element, text_width
from api.web.charts.scale import round_ticks
from experiments.report.document import CurvePoint

WIDTH, HEIGHT = 356.0, 176.0
TOP, BOTTOM, RIGHT = 10.0, 152.0, 346.0


@dataclass(frozen=True, slots=True)
class CurveLook:
    """One panel; all panels of a row share ``low`` and ``high``."""

    points: Sequence[CurvePoint]
    low: float
    high: float
    tone: str
    """good | bad | flat, by the last band."""
    clear_from_day: int | None
    label: str
    """The conclusion in a sentence."""
    clear_label: str = ""
    """Such as "clear from day 21"."""
    bounds: bool = False
    """Draw how far from zero the effect must be to stop the test, not a band around the effect."""
    futility: Sequence[float | None] = ()
    """Effect at or beyond which, towards the bad side, there is little hope left; one a point, dotted."""


def half_width(point: CurvePoint) -> float | None:
    """Return how far from zero a point's effect must be at that look: half of its interval's width."""
    if point.ci_low is None or point.ci_high is None:
        return None
    return (point.ci_high - point.ci_low) / 2


def curve_range(curves: Sequence[Sequence[CurvePoint]], *, bounds: bool = False) -> tuple[float, float]:
    """Return the range that the panels share: all estimates, and the bands as they are once half the days are over.

    The first days' bands are so wide that they would flatten the rest; they run off the picture instead.
    """
    low, high = 0.0, 0.0
    for points in curves:
        drawn = [p for p in points if p.estimate is not None]
        for index, point in enumerate(drawn):
            values: list[float] = [] if point.estimate is None or index < len(drawn) // 8 else [point.estimate]
            half = half_width(point)
            if index >= len(drawn) // 2 and half is not None:
                values += [-half, half] if bounds else [v for v in (point.ci_low, point.ci_high) if v is not None]
            low, high = min([low, *values]), max([high, *values])
    if high - low <= 0:
        return -1.0, 1.0
    room = 0.35 * (high - low)
    low, high = low - room * (low < 0) - 0.1 * room, high + room * (high > 0) + 0.1 * room
    return low, high


def effect_curve(
    look: CurveLook,
    *,
    write: Callable[[float], str],
    columns: tuple[str, ...],
    rows: tuple[tuple[str, ...], ...],
    axis_label: str = "",
) -> Chart:
    """Draw one variant's cumulative effect by day.

    Args:
        look: points, range, tone and conclusion.
        write: turns a value of the vertical axis into text.
        columns: headings of the data table.
        rows: its rows, one a day, as written text.
        axis_label: said under the axis, such as "day".

    Returns:
        The picture, 356 × 176 and fluid, and its table. Days without an estimate are not drawn.
    """
    ticks = [t for t in round_ticks(look.low, look.high, 6) if look.low <= t <= look.high]
    left = 12.0 + max((text_width(write(t)) for t in ticks), default=20.0)
    days = [p.day for p in look.points] or [1]
    first, last = min(days), max(days)

    def x(day: float) -> float:
        return left + (day - first) / max(last - first, 1) * (RIGHT - left)

    def y(value: float) -> float:
        inside = min(max(value, look.low), look.high)
        return TOP + (look.high - inside) / (look.high - look.low) * (BOTTOM - TOP)

    marks: list[Markup] = []
    for tick in ticks:
        zero = abs(tick) < 1e-12
        marks.append(element("line", x1=left, x2=RIGHT, y1=y(tick), y2=y(tick), class_="zero" if zero else "grid"))
        text = "0" if zero else write(tick)
        marks.append(element("text", text, x=left - 6, y=y(tick) + 4, class_="ti" if zero else "t3", text_anchor="end"))
    marks += [
        element("text", str(day), x=x(day), y=HEIGHT - 6, class_="t3", text_anchor="middle")
        for day in _day_ticks(first, last)
    ]
    if axis_label:
        marks.append(element("text", axis_label, x=left - 6, y=HEIGHT - 6, class_="t3", text_anchor="end"))

    drawn = [p for p in look.points if p.estimate is not None]
    banded = [p for p in drawn if p.ci_low is not None and p.ci_high is not None]
    if len(banded) > 1:
        ends = [
            (-(half_width(p) or 0.0), half_width(p) or 0.0) if look.bounds else (p.ci_low, p.ci_high) for p in banded
        ]
        upper = [(x(p.day), y(high or 0.0)) for p, (_, high) in zip(banded, ends, strict=True)]
        lower = [(x(p.day), y(low or 0.0)) for p, (low, _) in zip(banded, ends, strict=True)]
        outline = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in upper + lower[::-1]) + "Z"
        tone, edge = ("flat", "ref") if look.bounds else (look.tone, f"ln s-{look.tone} edge")
        marks.append(element("path", d=outline, class_=f"f-{tone} band"))
        marks += [element("polyline", points=_line(line), class_=edge, fill="none") for line in (upper, lower)]
    hope = [
        (x(p.day), y(limit))
        for p, limit in zip(look.points, look.futility, strict=False)
        if limit is not None and look.low <= limit <= look.high
    ]
    if len(hope) > 1:
        marks.append(element("polyline", points=_line(hope), class_="ln s-warn futility", fill="none"))
    line = [(x(p.day), y(p.estimate or 0.0)) for p in drawn]
    if len(line) > 1:
        marks.append(element("polyline", points=_line(line), class_=f"ln s-{look.tone}"))
    marks += _clear_mark(look, x, y)
    if line:
        marks.append(element("circle", cx=line[-1][0], cy=line[-1][1], r="3.6", class_=f"f-{look.tone}"))
    marks += [
        element("rect", x=x(p.day) - 3.0, y=TOP, width=6.0, height=BOTTOM - TOP, class_="hit", data_row=str(index))
        for index, p in enumerate(look.points)
        if p.estimate is not None
    ]
    svg = drawing(WIDTH, HEIGHT, *marks, label=look.label, class_="curve", fluid=True)
    return Chart(svg, DataTable(look.label, columns, rows))


def _clear_mark(look: CurveLook, x: Callable[[float], float], y: Callable[[float], float]) -> list[Markup]:
    point = next((p for p in look.points if p.day == look.clear_from_day), None)
    if point is None or point.estimate is None:
        return []
    at = x(point.day)
    right = at < WIDTH * 0.45
    return [
        element("line", x1=at, x2=at, y1=TOP, y2=BOTTOM, class_="ref"),
        element("circle", cx=at, cy=y(point.estimate), r="3.4", class_=f"f-surf s-{look.tone} pt-hollow"),
        element(
            "text",
            look.clear_label,
            x=at + (5.0 if right else -5.0),
            y=TOP + 9,
            class_="ti",
            text_anchor="start" if right else "end",
        ),
    ]


def _day_ticks(first: int, last: int) -> list[int]:
    """Return the first day, weeks, and the last day; fewer weeks on a long axis."""
    span = last - first
    if span < 7:
        return list(range(first, last + 1))
    step = 7 * max(1, round(span / 28))
    ticks = [first, *range(step, last + 1, step)]
    if last - ticks[-1] > step / 3:
        ticks.append(last)
    else:
        ticks[-1] = last
    return ticks


def _line(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in points)

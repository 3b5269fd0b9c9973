"""What a larger budget would earn with a list: the curve, and where its audience stands on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from api.web.charts.markup import Chart, DataTable, drawing, element, text_width
from api.web.charts.scale import nice_step, round_ticks

WIDTH, HEIGHT = 548.0, 270.0
TOP, BOTTOM, RIGHT = 24.0, 216.0, 526.0


@dataclass(frozen=True, slots=True)
class Spent:
    """What spending so much earns."""

    budget: float
    value: float


@dataclass(frozen=True, slots=True)
class BudgetLook:
    """One curve and the audience on it."""

    points: Sequence[Spent]
    """From nothing to all that pays, budgets growing."""
    chosen: Spent
    chosen_label: str
    axis_label: str
    label: str
    """The conclusion in a sentence."""


def budget_curve(
    look: BudgetLook,
    *,
    write: Callable[[float, float], str],
    spend: Callable[[float, float], str],
    columns: tuple[str, ...],
    rows: tuple[tuple[str, ...], ...],
) -> Chart:
    """Draw a curve.

    Args:
        look: points and labels.
        write: turns (value, step between ticks) of the vertical axis into text.
        spend: the same of budgets.
        columns: headings of the data table.
        rows: its rows, as written text.

    Returns:
        The picture, 548 × 270 and fluid, and its table.
    """
    everything = [*look.points, look.chosen]
    highs, high = _axis([point.value for point in everything])
    places, most = _axis([point.budget for point in everything])
    low = min(highs[0], 0.0)
    step, stride = _step(highs, high - low), _step(places, most)
    left = 14.0 + max(text_width("0" if abs(tick) < 1e-12 else write(tick, step)) for tick in highs)

    def x(budget: float) -> float:
        return left + budget / most * (RIGHT - left)

    def y(value: float) -> float:
        return TOP + (high - value) / (high - low) * (BOTTOM - TOP)

    marks: list[Markup] = []
    for tick in highs:
        zero = abs(tick) < 1e-12
        marks.append(element("line", x1=left, x2=RIGHT, y1=y(tick), y2=y(tick), class_="zero" if zero else "grid"))
        text = "0" if zero else write(tick, step)
        marks.append(element("text", text, x=left - 6, y=y(tick) + 4, class_="t3", text_anchor="end"))
    for tick in places:
        text = "0" if abs(tick) < 1e-12 else spend(tick, stride)
        half = text_width(text) / 2
        middle = min(max(x(tick), half), WIDTH - half - 2)
        marks.append(element("text", text, x=middle, y=BOTTOM + 20, class_="t3", text_anchor="middle"))
    marks.append(element("text", look.axis_label, x=x(most / 2), y=HEIGHT - 6, class_="t3", text_anchor="middle"))
    line = " ".join(f"{x(point.budget):.1f},{y(point.value):.1f}" for point in look.points)
    marks.append(element("polyline", points=line, class_="ln s-good", fill="none"))
    marks += _chosen(look, x(look.chosen.budget), y(look.chosen.value), left)
    svg = drawing(WIDTH, HEIGHT, *marks, label=look.label, class_="curve", fluid=True)
    return Chart(svg, DataTable(look.label, columns, rows))


def _axis(values: Sequence[float]) -> tuple[list[float], float]:
    """Return round ticks around 0 and some values, and where the axis ends."""
    low, high = min(0.0, *values), max(0.0, *values)
    if high - low <= 0:
        high = 1.0
    ticks = list(round_ticks(low, high, 5))
    return ticks, max(high, ticks[-1])


def _step(ticks: Sequence[float], whole: float) -> float:
    return ticks[1] - ticks[0] if len(ticks) > 1 else nice_step(whole, 5)


def _chosen(look: BudgetLook, place: float, height: float, left: float) -> list[Markup]:
    """Mark the audience, with its label where there is room beside it."""
    width = text_width(look.chosen_label)
    before = place - left > width + 14
    return [
        element("line", x1=place, x2=place, y1=height, y2=BOTTOM, class_="ref"),
        element("circle", cx=place, cy=height, r="4.5", class_="f-good"),
        element(
            "text",
            look.chosen_label,
            x=place - 8 if before else min(place + 8, WIDTH - width - 4),
            y=max(height - 9, 12.0),
            class_="tg",
            text_anchor="end" if before else "start",
        ),
    ]

"""Shares that come down in steps over time, one line a variant: how many still wait for an event."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from api.web.charts.markup import Chart, DataTable, drawing, element, text_width
from api.web.charts.scale import round_ticks

WIDTH, HEIGHT = 1100.0, 260.0
TOP, BOTTOM, RIGHT = 10.0, 232.0, 960.0
TONES = ("flat", "good", "warn", "bad", "ink")


@dataclass(frozen=True, slots=True)
class StepLine:
    """One variant's curve."""

    name: str
    points: Sequence[tuple[float, float, float | None, float | None]]
    """Time, share from then on, and its interval."""


def step_chart(
    lines: Sequence[StepLine],
    *,
    end: float,
    write: Callable[[float], str],
    label: str,
    columns: tuple[str, ...],
    rows: tuple[tuple[str, ...], ...],
    axis_label: str,
) -> Chart:
    """Draw curves that start at 1 on one picture, control first.

    Args:
        lines: the variants.
        end: last time.
        write: turns a share into text.
        label: the conclusion in a sentence.
        columns: headings of the data table.
        rows: its rows.
        axis_label: unit of time, under the axis.
    """
    lowest = min((p[2] if p[2] is not None else p[1] for line in lines for p in line.points), default=0.0)
    low = 0.0 if lowest < 0.5 else max(0.0, lowest - 0.15 * (1 - lowest) - 1e-3)
    ticks = [t for t in round_ticks(low, 1.0, 5) if low <= t <= 1.0]
    left = 12.0 + max(text_width(write(t)) for t in (*ticks, 1.0))

    def x(day: float) -> float:
        return left + min(day, end) / end * (RIGHT - left)

    def y(share: float) -> float:
        return TOP + (1.0 - share) / (1.0 - low) * (BOTTOM - TOP)

    marks: list[Markup] = []
    for tick in ticks:
        marks.append(element("line", x1=left, x2=RIGHT, y1=y(tick), y2=y(tick), class_="grid"))
        marks.append(element("text", write(tick), x=left - 6, y=y(tick) + 4, class_="t3", text_anchor="end"))
    days = [t for t in round_ticks(0.0, end, 7) if t <= end]
    marks += [element("text", f"{d:g}", x=x(d), y=HEIGHT - 10, class_="t3", text_anchor="middle") for d in days]
    marks.append(element("text", axis_label, x=RIGHT + 8, y=HEIGHT - 10, class_="t3", text_anchor="start"))
    ends: list[tuple[float, str, str]] = []
    for place, line in enumerate(lines):
        tone = TONES[place % len(TONES)]
        banded = [p for p in line.points if p[2] is not None and p[3] is not None]
        if banded:
            upper = _steps([(x(p[0]), y(p[3] or 0.0)) for p in banded])
            lower = _steps([(x(p[0]), y(p[2] or 0.0)) for p in banded])
            outline = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in upper + lower[::-1]) + "Z"
            marks.append(element("path", d=outline, class_=f"f-{tone} band"))
        steps = _steps([(x(p[0]), y(p[1])) for p in line.points])
        marks.append(element("polyline", points=" ".join(f"{a:.1f},{b:.1f}" for a, b in steps), class_=f"ln s-{tone}"))
        ends.append((steps[-1][1], line.name, tone))
    above = TOP - 15.0
    for at, name, tone in sorted(ends):
        # Names stand at their lines' ends, one under the other where ends are close; a bar shows whose they are.
        above = max(at, above + 15.0)
        marks.append(element("line", x1=RIGHT + 8, x2=RIGHT + 22, y1=above, y2=above, class_=f"ln s-{tone}"))
        marks.append(element("text", name, x=RIGHT + 28, y=above + 4, class_="ti", text_anchor="start"))
    svg = drawing(WIDTH, HEIGHT, *marks, label=label, class_="curve", fluid=True)
    return Chart(svg, DataTable(label, columns, rows))


def _steps(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the corners of a curve that stays until the next point and then goes straight down."""
    corners: list[tuple[float, float]] = []
    for point in points:
        if corners:
            corners.append((point[0], corners[-1][1]))
        corners.append(point)
    return corners

"""Values with their intervals on an axis that a table shares, where zero need not be on it: what each offer earns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from markupsafe import Markup

from api.web.charts.interval import OVERHANG, ROW_HEIGHT
from api.web.charts.markup import drawing, element
from api.web.charts.scale import Bounds, Scale, round_ticks


def level_scale(rows: Iterable[Bounds], *, width: float, reference: float | None = None, about: int = 4) -> Scale:
    """Fit one axis to all rows, and to a value that they are compared with.

    >>> level_scale([(6.0, 6.3, 6.6), (8.4, 8.6, 8.8)], width=340).ticks
    (6.0, 7.0, 8.0, 9.0)
    """
    values = [v for row in rows for v in row if v is not None]
    if reference is not None:
        values.append(reference)
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if high - low <= 1e-12 * max(abs(low), abs(high), 1e-300):
        low, high = low - 0.5, high + 0.5
    ticks = round_ticks(low, high, about)
    return Scale(ticks[0], ticks[-1], ticks, width)


def level_row(
    scale: Scale, bounds: Bounds, *, fill: str, reference: float | None = None, label: str = "", hollow: bool = False
) -> Markup:
    """Draw one row's value and interval.

    Args:
        scale: the axis.
        bounds: low, estimate, high; nothing is drawn of what is missing.
        fill: class of the marks' colour.
        reference: drawn as a dashed line.
        label: the conclusion.
        hollow: the point is a ring: not clear.
    """
    top, bottom, middle = -OVERHANG, ROW_HEIGHT + OVERHANG, ROW_HEIGHT / 2
    marks = [element("line", x1=scale.x(t), x2=scale.x(t), y1=top, y2=bottom, class_="grid") for t in scale.ticks]
    if reference is not None:
        at = scale.x(reference)
        marks.append(element("line", x1=at, x2=at, y1=top, y2=bottom, class_="ref"))
    low, estimate, high = bounds
    if low is not None and high is not None:
        left = scale.x(low)
        width = max(scale.x(high) - left, 1.5)
        marks.append(
            element("rect", x=left, y=middle - 3.5, width=width, height=7.0, rx="3.5", class_=f"{fill} iv-band")
        )
    if estimate is not None:
        kind = "f-surf s-flat pt-hollow" if hollow else f"{fill} pt"
        marks.append(element("circle", cx=scale.x(estimate), cy=middle, r="3.6" if hollow else "4.4", class_=kind))
    return drawing(scale.width, ROW_HEIGHT, *marks, label=label or None, class_="iv")


def level_axis(scale: Scale, written: Sequence[str]) -> Markup:
    """Draw the axis for the table's head, with a text for each tick; every other one where they are many."""
    every = 1 if len(written) <= 5 else 2
    marks = [
        element("text", text, x=scale.x(tick), y=11.0, class_="t3", text_anchor="middle")
        for index, (tick, text) in enumerate(zip(scale.ticks, written, strict=True))
        if index % every == 0
    ]
    return drawing(scale.width, 16.0, *marks, label=None, class_="iv")

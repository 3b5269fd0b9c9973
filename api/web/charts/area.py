"""Shares over days as stacked areas that always add to 100 %, with direct labels and lines where something changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from api.web.charts.markup import Chart, DataTable, drawing, element, text_width

WIDTH, HEIGHT = 1130.0, 236.0
LEFT, TOP, BOTTOM = 40.0, 22.0, 210.0
LABEL_HEIGHT = 14.0
COLOURS = 8
"""Fills ``fc0`` … of the style sheet; more areas than these take them again."""


@dataclass(frozen=True, slots=True)
class Area:
    """One area, from the bottom up."""

    name: str
    shares: Sequence[float]
    """One a day, 0 to 1."""
    label: str
    """Said at its right end, such as "No offer 7%"."""


def fill(index: int) -> str:
    """Return the class of an area's, or a row's, colour."""
    return f"fc{index % COLOURS}"


def stacked_area(
    areas: Sequence[Area],
    days: Sequence[str],
    *,
    marks: Sequence[tuple[int, str]] = (),
    label: str,
    columns: tuple[str, ...],
    rows: tuple[tuple[str, ...], ...],
) -> Chart:
    """Draw shares over days.

    Args:
        areas: from the bottom up; their shares of a day add to 1, or are all 0 on a day without anything.
        days: each day as text.
        marks: (index of the day, what began then), dashed lines.
        label: the conclusion in a sentence.
        columns: headings of the data table.
        rows: its rows, one a day.

    Returns:
        The picture, 1130 × 236 and fluid, and its table.
    """
    right = WIDTH - 14.0 - max((text_width(area.label) for area in areas), default=60.0)
    count = max(len(days), 1)

    def x(index: float) -> float:
        return LEFT + (index / max(count - 1, 1)) * (right - LEFT)

    def y(share: float) -> float:
        return BOTTOM - min(max(share, 0.0), 1.0) * (BOTTOM - TOP)

    drawn: list[Markup] = []
    below = [0.0] * len(days)
    wanted: list[float] = []
    for index, area in enumerate(areas):
        above = [low + share for low, share in zip(below, area.shares, strict=True)]
        # One day alone is a band across the picture.
        over = above * 2 if len(above) == 1 else above
        under = below * 2 if len(below) == 1 else below
        places = [LEFT, right] if len(above) == 1 else [x(i) for i in range(len(above))]
        outline = [(a, y(s)) for a, s in zip(places, over, strict=True)]
        outline += [(a, y(s)) for a, s in zip(places[::-1], under[::-1], strict=True)]
        path = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in outline) + "Z"
        drawn.append(element("path", d=path, class_=f"{fill(index)} area"))
        wanted.append((y(above[-1]) + y(below[-1])) / 2 if above else BOTTOM)
        below = above
    for place, area in zip(apart(wanted), areas, strict=True):
        drawn.append(element("text", area.label, x=right + 8, y=place + 4, class_="ti", text_anchor="start"))
    drawn += [
        element("text", f"{tick}%", x=LEFT - 6, y=y(tick / 100) + 4, class_="t3", text_anchor="end")
        for tick in (0, 25, 50, 75, 100)
    ]
    until = -100.0
    for index, said in marks:
        at = x(index)
        drawn.append(element("line", x1=at, x2=at, y1=TOP - 4, y2=BOTTOM, class_="s-ink since"))
        # Names of marks that lie too close are left to the table of versions.
        if at - text_width(said) / 2 > until + 4:
            drawn.append(element("text", said, x=at, y=12.0, class_="t3", text_anchor="middle"))
            until = at + text_width(said) / 2
    drawn += day_labels(days, x, HEIGHT - 8)
    return Chart(
        drawing(WIDTH, HEIGHT, *drawn, label=label, class_="curve", fluid=True), DataTable(label, columns, rows)
    )


def day_labels(days: Sequence[str], x: object, at: float, *, parts: int = 4) -> list[Markup]:
    """Write the first day, the last, and some between."""
    last = len(days) - 1
    if last < 0:
        return []
    chosen = sorted({round(last * part / parts) for part in range(parts + 1)}) if last >= parts else [0, last]
    return [
        element(
            "text",
            days[index],
            x=x(index),  # type: ignore[operator]
            y=at,
            class_="t3",
            text_anchor="start" if index == 0 else "end" if index == last else "middle",
        )
        for index in sorted(set(chosen))
    ]


def apart(wanted: Sequence[float], gap: float = LABEL_HEIGHT, low: float = TOP, high: float = BOTTOM) -> list[float]:
    """Move heights, ordered from the bottom up, so that none is nearer to the next than ``gap``.

    >>> apart([200.0, 195.0, 100.0])
    [204.5, 190.5, 100.0]
    """
    places = list(wanted)
    for _ in range(200):
        moved = False
        for i in range(len(places) - 1):
            near = gap - (places[i] - places[i + 1])
            if near > 1e-6:
                places[i] += near / 2
                places[i + 1] -= near / 2
                moved = True
        if places:
            places[0] = min(places[0], high)
            places[-1] = max(places[-1], low)
        if not moved:
            break
    return places

"""How often each range of a share occurs, as bars from zero."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from markupsafe import Markup

from api.web.charts.markup import Chart, DataTable, drawing, element
from api.web.charts.scale import nice_step

WIDTH, HEIGHT = 352.0, 150.0
LEFT, RIGHT, TOP, BOTTOM = 34.0, 344.0, 8.0, 116.0


def histogram(
    counts: Sequence[int],
    *,
    label: str,
    axis: str,
    share: Callable[[float], str],
    columns: tuple[str, ...],
    rows: tuple[tuple[str, ...], ...],
) -> Chart:
    """Draw bars over equal ranges of 0 to 1.

    Args:
        counts: one for each range.
        label: the conclusion in a sentence.
        axis: what lies along it.
        share: writes a share of all.
        columns: headings of the data table.
        rows: its rows, one a range.

    Returns:
        The picture, 352 × 150 and fluid, and its table. Bars start at zero.
    """
    total = sum(counts) or 1
    top = max(counts, default=0) / total or 1.0
    step = nice_step(top, 3)
    highest = step * max(1, -(-top // step))

    def y(value: float) -> float:
        return BOTTOM - value / highest * (BOTTOM - TOP)

    marks: list[Markup] = []
    tick = 0.0
    while tick <= highest * 1.0001:
        kind = "zero" if tick == 0 else "grid"
        marks.append(element("line", x1=LEFT, x2=RIGHT, y1=y(tick), y2=y(tick), class_=kind))
        marks.append(element("text", share(tick), x=LEFT - 6, y=y(tick) + 4, class_="t3", text_anchor="end"))
        tick += step
    width = (RIGHT - LEFT) / max(len(counts), 1)
    for index, count in enumerate(counts):
        height = BOTTOM - y(count / total)
        if count:
            marks.append(
                element(
                    "rect",
                    x=LEFT + index * width + 1,
                    y=BOTTOM - max(height, 1.0),
                    width=width - 2,
                    height=max(height, 1.0),
                    rx="1.5",
                    class_="f-acc bar",
                )
            )
    for value, anchor in ((0.0, "start"), (0.25, "middle"), (0.5, "middle"), (0.75, "middle"), (1.0, "end")):
        place = LEFT + value * (RIGHT - LEFT)
        marks.append(element("text", f"{value:g}", x=place, y=BOTTOM + 16, class_="t3", text_anchor=anchor))
    marks.append(element("text", axis, x=(LEFT + RIGHT) / 2, y=HEIGHT - 2, class_="t3", text_anchor="middle"))
    return Chart(
        drawing(WIDTH, HEIGHT, *marks, label=label, class_="curve hist", fluid=True), DataTable(label, columns, rows)
    )

"""Margin, cost and profit of one offer as bars around zero, the profit with its interval; offers share one axis."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup

from api.web.charts.markup import Chart, DataTable, drawing, element

WIDTH, HEIGHT = 250.0, 36.0
ROWS = (3.0, 13.0, 24.0)
BAR = 8.0
EDGE = 6.0
REACH = 2.0
"""An interval may stretch the axis to this many times the longest bar; beyond it an arrow says that it goes on."""


@dataclass(frozen=True, slots=True)
class MoneyLook:
    """One offer's totals; cost is positive and drawn to the left."""

    margin: float | None
    cost: float | None
    profit: float | None
    low: float | None
    high: float | None
    tone: str
    """good | bad | flat"""
    label: str
    """The conclusion in a sentence."""


def money_reach(looks: Iterable[MoneyLook]) -> float:
    """Return the amount at both ends of the axis that all offers share.

    Example:
        >>> money_reach([MoneyLook(90.0, 40.0, 50.0, 20.0, 80.0, "good", "")])
        90.0
    """
    looks = list(looks)
    bars = [abs(v) for look in looks for v in (look.margin, look.cost, look.profit) if v is not None]
    longest = max(bars, default=0.0)
    ends = [min(abs(v), REACH * longest) for look in looks for v in (look.low, look.high) if v is not None]
    return max([longest, *ends]) or 1.0


def money_bars(look: MoneyLook, reach: float, *, columns: tuple[str, ...], row: tuple[str, ...]) -> Chart:
    """Draw one offer.

    Args:
        look: amounts, tone and conclusion.
        reach: amount at both ends of the axis.
        columns: headings of the data table.
        row: the same amounts as written text.
    """
    middle = WIDTH / 2

    def x(value: float) -> float:
        return middle + min(max(value / reach, -1.0), 1.0) * (middle - EDGE)

    marks: list[Markup] = [element("line", x1=middle, x2=middle, y1=-6.0, y2=HEIGHT + 4, class_="zero")]
    cost = None if look.cost is None else -look.cost
    for value, top, class_ in zip(
        (look.margin, cost, look.profit), ROWS, ("f-flat", "fc2", f"f-{look.tone}"), strict=True
    ):
        if value is not None:
            left, right = sorted((middle, x(value)))
            width = max(right - left, 1.5)
            marks.append(element("rect", x=left, y=top, width=width, height=BAR, rx="1.5", class_=class_))
    if look.low is not None and look.high is not None:
        y = ROWS[2] + BAR / 2
        marks.append(element("line", x1=x(look.low), x2=x(look.high), y1=y, y2=y, class_="s-ink whisker"))
        marks += [_arrow(x(end), y, sign) for end, sign in ((look.low, -1), (look.high, 1)) if sign * end > reach]
    return Chart(drawing(WIDTH, HEIGHT, *marks, label=look.label or None, class_="iv"), DataTable("", columns, (row,)))


def _arrow(x: float, y: float, towards: int) -> Markup:
    tip, base = x + 4.0 * towards, x - 3.0 * towards
    return element("path", d=f"M{tip:.1f} {y:.1f}L{base:.1f} {y - 4:.1f}V{y + 4:.1f}Z", class_="f-warn off-scale")

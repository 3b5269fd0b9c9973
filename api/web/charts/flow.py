"""What came in and what went out, as two bars from one line: to the right and to the left."""

from __future__ import annotations

from markupsafe import Markup

from api.web.charts.markup import drawing, element

HEIGHT = 18.0
BAR = 9.0


def flow_row(came: float, went: float, largest: float, *, width: float, label: str) -> Markup:
    """Draw one row: what came in to the right of the middle, what went out to the left.

    Args:
        came: at least 0.
        went: at least 0.
        largest: what fills half of the width, of all rows.
        width: in CSS pixels.
        label: the conclusion.

    >>> flow_row(2, 1, 4, width=100.0, label="2 came, 1 left").count("<rect")
    2
    """
    middle, scale = width / 2, (width / 2 - 2) / max(largest, 1e-9)
    top = (HEIGHT - BAR) / 2
    marks = [element("line", x1=middle, x2=middle, y1=0.0, y2=HEIGHT, class_="zero")]
    if went:
        length = max(went * scale, 1.0)
        marks.append(element("rect", x=middle - length, y=top, width=length, height=BAR, rx="2", class_="f-flat bar"))
    if came:
        marks.append(
            element("rect", x=middle, y=top, width=max(came * scale, 1.0), height=BAR, rx="2", class_="f-acc bar")
        )
    return drawing(width, HEIGHT, *marks, label=label, class_="iv")


def share_bar(share: float, *, width: float, fill: str) -> Markup:
    """Draw a share of all as a bar; the number stands beside it."""
    length = max(min(share, 1.0) * width, 1.0 if share else 0.0)
    track = element("rect", x=0.0, y=(HEIGHT - BAR) / 2, width=width, height=BAR, rx="2", class_="pb-track")
    part = element("rect", x=0.0, y=(HEIGHT - BAR) / 2, width=length, height=BAR, rx="2", class_=fill)
    return drawing(width, HEIGHT, track, part, label=None, class_="iv")

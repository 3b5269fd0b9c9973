"""How far an experiment is: a bar that is never truncated."""

from __future__ import annotations

from api.web.charts.markup import Chart, DataTable, drawing, element

WIDTH = 104.0


def progress_bar(share: float, *, label: str, row: tuple[str, ...], columns: tuple[str, ...]) -> Chart:
    """Draw a share of the plan as a bar.

    Args:
        share: 0 to 1; more than the plan fills the bar.
        label: the conclusion, such as "57% of the planned days".
        row: the same as written text.
        columns: headings of the data table.
    """
    done = min(max(share, 0.0), 1.0)
    marks = [element("rect", x=0.0, y=0.0, width=WIDTH, height=5.0, rx="2.5", class_="pb-track")]
    if done > 0:
        tone = "pb-done" if share >= 1 else "pb-part"
        marks.append(element("rect", x=0.0, y=0.0, width=max(WIDTH * done, 4.0), height=5.0, rx="2.5", class_=tone))
    return Chart(drawing(WIDTH, 5.0, *marks, label=label, class_="pb"), DataTable(label, columns, (row,)))

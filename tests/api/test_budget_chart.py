"""The curve of budgets: everything inside the picture, whatever is earned, and the audience where it stands."""

from __future__ import annotations

import re

import pytest

from api.web.charts.budget import BOTTOM, HEIGHT, RIGHT, TOP, WIDTH, BudgetLook, Spent, budget_curve


def drawn(points: list[Spent], chosen: Spent) -> str:
    look = BudgetLook(points, chosen, "this audience: +¥3,751.37 for ¥19,998.00", "Budget", "what it comes to")
    chart = budget_curve(
        look,
        write=lambda value, step: f"{value:.0f}",
        spend=lambda value, step: f"¥{value:.0f}",
        columns=("Budget", "Gain"),
        rows=(("¥1", "+¥2"),),
    )
    assert chart.table.rows == (("¥1", "+¥2"),)
    return str(chart.svg)


@pytest.mark.parametrize(
    ("points", "chosen"),
    [
        ([Spent(0, 0), Spent(50_000, 20_000), Spent(90_000, 30_000)], Spent(20_000, 3_751)),
        ([Spent(0, 0), Spent(50_000, 20_000), Spent(90_000, 30_000)], Spent(90_000, 30_000)),
        ([Spent(0, 0), Spent(10, 1)], Spent(60_000, -250_000)),  # explored at a loss, beyond what pays
        ([Spent(0, 0), Spent(0.2, 0.1)], Spent(0.0, 0.0)),
        ([Spent(0, 5), Spent(3, 5)], Spent(3, 5)),
    ],
)
def test_everything_is_inside_the_picture(points: list[Spent], chosen: Spent) -> None:
    svg = drawn(points, chosen)
    assert "nan" not in svg.lower()
    numbers = {
        name: [float(text) for text in re.findall(rf'\b{name}="(-?[0-9.]+)"', svg)]
        for name in ("x", "x1", "x2", "cx", "y", "y1", "y2", "cy")
    }
    for name, values in numbers.items():
        edge = WIDTH if "x" in name else HEIGHT
        assert all(0 <= value <= edge for value in values), (name, values)
    line = re.search(r'points="([^"]+)"', svg)
    assert line is not None
    places = [tuple(float(part) for part in pair.split(",")) for pair in line[1].split()]
    assert [x for x, _ in places] == sorted(x for x, _ in places)
    assert all(x <= RIGHT + 0.05 and TOP - 0.05 <= y <= BOTTOM + 0.05 for x, y in places)


def test_the_audience_stands_on_the_curve_where_it_spends_as_the_curve_does() -> None:
    svg = drawn([Spent(0, 0), Spent(50, 20), Spent(100, 30)], Spent(50, 20))
    place = re.search(r'<circle cx="([0-9.]+)" cy="([0-9.]+)"', svg)
    line = re.search(r'points="([^"]+)"', svg)
    assert place is not None
    assert line is not None
    assert [float(part) for part in line[1].split()[1].split(",")] == pytest.approx(
        [float(place[1]), float(place[2])], abs=0.06
    )

"""Charts: right coordinates, right tables, well-formed and escaped markup, nothing that needs a script or a style."""

from __future__ import annotations

import itertools
import math
import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from api.web.charts import (
    Chart,
    CurveLook,
    ForestRow,
    IntervalLook,
    Scale,
    axis_header,
    effect_curve,
    forest,
    interval,
    progress_bar,
    shared_scale,
)
from api.web.charts.curve import curve_range
from api.web.charts.interval import labels
from api.web.charts.markup import element, text_width
from api.web.charts.scale import nice_step, round_ticks
from experiments.report.document import CurvePoint
from tests.api.web_reports import NASTY, curve


def parsed(svg: Markup) -> ET.Element:
    """Parse as XML: markup must be well-formed whatever it was made from."""
    return ET.fromstring(str(svg))


def plain(value: float) -> str:
    return f"{value:+g}"


def one(look: IntervalLook, scale: Scale) -> Chart:
    return interval(look, scale, columns=("Variant", "Change"), row=("A", "+9.0%"))


SCALE = Scale(-0.2, 0.4, round_ticks(-0.2, 0.4, 6), 248.0)


@pytest.mark.parametrize(
    ("span", "about", "step"), [(1.0, 5, 0.2), (0.63, 6, 0.2), (700.0, 6, 200.0), (0.6, 6, 0.1), (9e-5, 3, 5e-5)]
)
def test_steps_are_round(span: float, about: int, step: float) -> None:
    assert nice_step(span, about) == pytest.approx(step)


@given(
    low=st.floats(-1e6, 0),
    high=st.floats(1e-3, 1e6),
    about=st.integers(2, 8),
)
def test_ticks_cover_the_range_and_contain_zero(low: float, high: float, about: int) -> None:
    ticks = round_ticks(low, high, about)
    step = ticks[1] - ticks[0]
    assert ticks[0] <= low + 1e-6 * step
    assert ticks[-1] >= high - 1e-6 * step
    assert min(abs(t) for t in ticks) <= 1e-9 * max(step, 1)
    assert len(ticks) <= about + 3


@given(
    rows=st.lists(st.tuples(st.floats(-50, 50), st.floats(0.001, 100)), min_size=1, max_size=12),
)
def test_a_shared_axis_shows_zero_and_keeps_every_pixel_inside(rows: list[tuple[float, float]]) -> None:
    scale = shared_scale([(m - h, m, m + h) for m, h in rows], width=248.0)
    assert scale.low <= 0 <= scale.high
    for middle, half in rows:
        for value in (middle - half, middle, middle + half):
            assert 0 <= scale.x(value) <= 248
    assert scale.x(scale.low) < scale.x(0.0) < scale.x(scale.high)


def test_one_wide_row_does_not_squeeze_the_others() -> None:
    rows = [(-0.05, 0.0, 0.05), (0.0, 0.1, 0.2), (-0.1, 0.02, 0.14), (-30.0, 0.1, 30.0)]
    scale = shared_scale(rows, width=248.0)
    assert scale.high < 1
    assert scale.beyond(30.0)
    svg = one(IntervalLook(-30.0, 0.1, 30.0, label="wide"), scale).svg
    assert svg.count("off-scale") == 2


@pytest.mark.parametrize("size", [1e-13, 3.6e-15, 1e-300])
def test_figures_next_to_nothing_have_an_axis(size: float) -> None:
    """Differences that are the last digits' noise."""
    scale = shared_scale([(-size, 0.0, size)], width=248.0)
    assert scale.low < -size < size < scale.high
    assert scale.x(0.0) == pytest.approx(124.0)


def test_an_axis_without_numbers_is_still_an_axis() -> None:
    scale = shared_scale([(None, None, None)], width=248.0)
    assert scale.low == -scale.high < 0


def test_interval_coordinates_follow_the_axis() -> None:
    svg = parsed(one(IntervalLook(0.02, 0.09, 0.16, reading="better", label="ok"), SCALE).svg)
    bar = next(e for e in svg.iter("rect"))
    # 248 px less 18 px padding on both sides spans 0.6: x = 18 + (v + 0.2) / 0.6 · 212
    assert float(bar.get("x", "")) == pytest.approx(18 + 0.22 / 0.6 * 212, abs=0.06)
    assert float(bar.get("width", "")) == pytest.approx(0.14 / 0.6 * 212, abs=0.11)
    point = next(e for e in svg.iter("circle"))
    assert float(point.get("cx", "")) == pytest.approx(18 + 0.29 / 0.6 * 212, abs=0.06)


@pytest.mark.parametrize(
    ("reading", "tone", "hollow"),
    [
        ("better", "good", False),
        ("worse", "bad", False),
        ("broken", "bad", False),
        ("not_proven", "warn", False),
        ("unclear", "flat", True),
        ("within_limit", "flat", True),
    ],
)
def test_what_is_not_clear_is_hollow(reading: str, tone: str, hollow: bool) -> None:
    svg = str(one(IntervalLook(0.0, 0.1, 0.2, reading=reading, label="x"), SCALE).svg)  # type: ignore[arg-type]
    assert f"f-{tone}" in svg
    assert ("pt-hollow" in svg) is hollow


def test_a_missing_estimate_draws_only_the_grid() -> None:
    svg = str(one(IntervalLook(None, None, None, reading="not_computed", label="none"), SCALE).svg)
    assert "circle" not in svg
    assert "iv-band" not in svg
    assert "grid" in svg


def test_a_half_open_interval_runs_off_the_axis() -> None:
    svg = one(IntervalLook(0.0, 0.1, None, label="open"), SCALE).svg
    assert svg.count("off-scale") == 1


def test_a_limit_is_drawn_only_where_it_is_on_the_axis() -> None:
    assert "limit" in one(IntervalLook(0.0, 0.1, 0.2, limit=0.3, label="x"), SCALE).svg
    assert "limit" not in one(IntervalLook(0.0, 0.1, 0.2, limit=3.0, label="x"), SCALE).svg


def test_a_chart_says_its_conclusion_and_carries_its_table() -> None:
    chart = one(IntervalLook(0.02, 0.09, 0.16, reading="better", label=NASTY), SCALE)
    svg = parsed(chart.svg)
    assert svg.get("role") == "img"
    assert svg.get("aria-label") == NASTY
    assert chart.table.rows == (("A", "+9.0%"),)
    assert "<script" not in chart.svg


def test_axis_labels_never_touch_and_zero_is_named() -> None:
    for width, factor in itertools.product((120.0, 248.0), (0.01, 1.0, 1234.0)):
        scale = shared_scale([(-0.3 * factor, 0.1 * factor, 0.55 * factor)], width=width)
        chosen = labels(scale, lambda v: f"{v:+.3g}")
        assert "0" in [text for _, text in chosen]
        edges = []
        for tick, text in chosen:
            at, wide = scale.x(tick), text_width(text)
            left = at - wide / 2
            edges.append((left, left + wide))
        assert all(b[0] - a[1] > 5 for a, b in itertools.pairwise(edges))
    header = axis_header(SCALE, plain, left="← lower", right="higher →")
    assert parsed(header).get("aria-hidden") == "true"


def test_curve_draws_from_day_with_estimate_and_marks_when_clear() -> None:
    data = curve("m", "a", 0.38, 0.30, 21)
    low, high = curve_range([data.points])
    look = CurveLook(data.points, low, high, "good", 21, "rises", "clear from day 21")
    chart = effect_curve(look, write=plain, columns=("Day",), rows=tuple((str(p.day),) for p in data.points))
    svg = parsed(chart.svg)
    line = next(e for e in svg.iter("polyline") if e.get("class") == "ln s-good")
    points = [tuple(map(float, p.split(","))) for p in line.get("points", "").split()]
    assert len(points) == 27  # day 1 has no estimate
    assert all(a[0] < b[0] for a, b in itertools.pairwise(points))
    assert "clear from day 21" in [e.text for e in svg.iter("text")]
    assert len(chart.table.rows) == 28
    for x, y in points:
        assert 0 <= x <= 356
        assert 10 <= y <= 152


@pytest.mark.parametrize("days", [1, 2, 6, 14, 60, 400])
def test_curves_of_any_length_are_well_formed(days: int) -> None:
    points = [
        CurvePoint(
            day=d, date=None, n=d, estimate=math.sin(d) / d, ci_low=math.sin(d) / d - 1 / d, ci_high=math.sin(d) / d + 1
        )
        for d in range(1, days + 1)
    ]
    low, high = curve_range([points])
    look = CurveLook(points, low, high, "flat", None, "x")
    svg = parsed(effect_curve(look, write=plain, columns=("Day",), rows=()).svg)
    labels_below = [e for e in svg.iter("text") if e.get("y") == "170.0"]
    assert 1 <= len(labels_below) <= 9


def test_forest_rows_share_one_axis_and_one_table() -> None:
    rows = [
        ForestRow(IntervalLook(0.1, 0.5, 0.9, label="gold"), ("Gold", "+0.5")),
        ForestRow(IntervalLook(-0.4, 0.1, 0.6, label="silver"), ("Silver", "+0.1")),
    ]
    drawn = forest(rows, caption="by tier", columns=("Tier", "Change"), write=lambda v, _step: plain(v))
    zeros = {re.search(r'x1="([\d.]+)"[^>]*class="zero"', c.svg).group(1) for c in drawn.charts}  # type: ignore[union-attr]
    assert len(zeros) == 1
    assert drawn.table.rows == (("Gold", "+0.5"), ("Silver", "+0.1"))


@pytest.mark.parametrize(("share", "width"), [(0.0, None), (0.5, 52.0), (1.0, 104.0), (1.7, 104.0)])
def test_progress_is_never_longer_than_its_track(share: float, width: float | None) -> None:
    chart = progress_bar(share, label="half", columns=("Progress",), row=("Day 5 of 10",))
    bars = [e for e in parsed(chart.svg).iter("rect") if e.get("class") != "pb-track"]
    assert [float(b.get("width", "")) for b in bars] == ([] if width is None else [width])


@given(st.text(max_size=40))
def test_no_text_breaks_out_of_an_element(text: str) -> None:
    markup = element("text", text, title=text)
    assert markup.count("<") == 2
    assert markup.count(">") == 2


def test_charts_have_no_inline_style_script_or_reference() -> None:
    data = curve("m", "a", 0.38, 0.30, 21)
    low, high = curve_range([data.points])
    svg = effect_curve(CurveLook(data.points, low, high, "good", 21, "x"), write=plain, columns=(), rows=()).svg
    for forbidden in ("style=", "<script", "href", "url(", "onload"):
        assert forbidden not in svg

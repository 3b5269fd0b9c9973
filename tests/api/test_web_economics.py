"""The section "Did the offer pay for itself?" on the page: the figures of the document, written and drawn."""

from __future__ import annotations

import html
import re

import msgspec
import pytest

from api.web.charts.money import WIDTH, MoneyLook, money_bars, money_reach
from api.web.economics import EconomicsView, build_economics
from api.web.language import language
from api.web.numbers import Numbers
from api.web.pages import render_report
from experiments.report.document import Report
from tests.api import web_reports


def view(report: Report, tag: str = "en") -> EconomicsView:
    """The section's view."""
    words = language(tag)
    found = build_economics(report, words, Numbers(words, "CNY", "Asia/Shanghai"))
    assert found is not None
    return found


def test_every_figure_is_written_as_the_document_has_it() -> None:
    a, b, c = view(web_reports.REPORT).lines
    assert (a.buyers.text, a.buyers.below) == ("+568", "n 48,987")
    assert (a.margin.text, a.cost.text, a.cost.below) == ("¥44,480", "−¥25,669", "2.62% redeemed")
    assert (a.profit.text, a.profit.below, a.tone) == ("+¥18,811", "+¥4,211 to +¥33,411", "good")
    assert (a.roi.text, a.roi.below, a.buyer_cost.text, a.sure.text) == ("+73%", "+16% to +130%", "¥45", "52%")
    assert (b.profit.text, b.tone, b.roi.text) == ("−¥17,309", "bad", "−31%")
    assert (c.tone, c.buyer_cost.text, c.buyer_cost.why) == ("", "–", "extra buyers cannot be told from none")
    assert c.sure.text == "0%", "more extra buyers than redemptions are no negative share"


def test_the_sentence_says_who_paid_and_who_lost_money_and_why() -> None:
    said = " ".join(view(web_reports.REPORT).said).replace("\u2060", "")
    assert "¥20 off ¥100 returned ¥1.73 of extra margin for each ¥1 it cost." in said
    assert (
        "15% off, cap ¥40 brought the most extra buyers and still lost money: −¥17,309 after costs of ¥55,114; " in said
    )
    assert "62% of its redemptions went to members who would have bought anyway." in said
    assert "500 bonus points pays for itself is unclear: its profit lies between −¥14,698 and +¥14,502." in said
    chinese = "".join(view(web_reports.REPORT, "zh-CN").said)
    assert "每花 ¥1 带回 ¥1.73 增量毛利" in chinese
    assert "62% 的核销发给了本来就会下单的会员" in chinese


def test_notes_tell_of_the_dip_the_naive_roi_and_the_cut() -> None:
    notes = view(web_reports.REPORT).notes
    assert any("in days 15 to 28, after the window, its members earned ¥0.04 less" in note for note in notes)
    assert any("would show an ROI of +190% instead of −31%" in note for note in notes)
    assert any("99.5% quantile" in note for note in notes)


def test_what_lies_behind_has_control_and_says_what_is_not_there() -> None:
    more = view(web_reports.REPORT).more
    assert more.rows[0][0] == "No offer"
    assert more.rows[0][3:5] == ("¥158.40", "¥54.10")
    assert more.rows[2][7] == "no uplift would"
    assert more.rows[3][8] == "not over yet"
    assert all(len(row) == len(more.columns) for row in more.rows)


def test_the_section_stands_on_the_page_and_only_where_a_profit_is_measured() -> None:
    page = render_report(web_reports.REPORT, "en", key="x")
    assert 'id="roi"' in page
    assert 'href="#roi"' in page
    assert page.index('id="ts"') < page.index('id="roi"') < page.index('id="sg"')
    without = render_report(msgspec.structs.replace(web_reports.REPORT, economics=None), "en", key="x")
    assert 'id="roi"' not in without


def test_it_is_hidden_while_effects_must_not_be_read() -> None:
    page = render_report(web_reports.broken_split(), "en", key="x")
    assert page.index("hidden-effects") < page.index('id="roi"')
    assert 'href="#roi"' not in page


@pytest.mark.parametrize("tag", ["en", "zh-CN"])
def test_bars_share_one_axis_and_say_their_conclusion(tag: str) -> None:
    lines = view(web_reports.REPORT, tag).lines
    widths = [[float(w) for w in re.findall(r'<rect[^>]* width="([\d.]+)"', str(line.chart.svg))] for line in lines]
    # Margin, cost and profit of a and b in one scale: 44,480 : 55,114 is the margin of a to the cost of b.
    assert widths[0][0] / widths[1][1] == pytest.approx(44_480 / 55_114, rel=0.01)
    assert widths[0][2] / widths[0][1] == pytest.approx(18_811 / 25_669, rel=0.01)
    assert all("aria-label" in html.unescape(str(line.chart.svg)) for line in lines)


def test_an_interval_off_the_axis_has_an_arrow_and_stays_inside() -> None:
    look = MoneyLook(10.0, 5.0, 5.0, -400.0, 410.0, "flat", "unclear")
    reach = money_reach([look])
    assert reach == 20.0
    svg = str(money_bars(look, reach, columns=(), row=()).svg)
    assert svg.count("off-scale") == 2
    xs = [float(x) for x in re.findall(r'x[12]="([\d.]+)"', svg)]
    assert all(0 <= x <= WIDTH for x in xs)


def test_nothing_known_draws_only_the_axis() -> None:
    svg = str(money_bars(MoneyLook(None, None, None, None, None, "flat", ""), 1.0, columns=(), row=()).svg)
    assert "<rect" not in svg

"""What a declared analysis adds to the page: bounds, chances, sections, in words that its kind of inference bears."""

from __future__ import annotations

import html
import re

import msgspec
import pytest

from api.web.language import language
from api.web.numbers import Numbers
from api.web.pages import render_report
from api.web.report_view import ReportView, build_report_view
from experiments.report.document import Report, SequentialPlan
from tests.api import web_designs, web_reports


def view_of(report: Report, lang: str = "en") -> ReportView:
    words = language(lang)
    return build_report_view(report, words, Numbers(words, "CNY"))


def text_of(report: Report, lang: str = "en") -> str:
    """Return the page's text without what is only drawn."""
    drawn = re.compile(r"<svg.*?</svg>|<style.*?</style>|<script.*?</script>", re.DOTALL)
    page = drawn.sub("", render_report(report, lang))
    return html.unescape(re.sub(r"<[^>]+>", " ", page))


def test_the_futility_bound_is_drawn_where_it_lies() -> None:
    report = web_designs.watched()
    panel = view_of(report).over_time[0].panels[0]
    assert panel.chart.svg.count("futility") == 1
    assert panel.chart.table.columns[-1] == "Little hope at"
    points, test = report.curves[0].points, report.sequential[0]
    for row, point in zip(panel.chart.table.rows, points, strict=True):
        look = next((x for x in test.looks if x.day == point.day), None)
        if look is None or look.futility is None:
            assert row[-1] == "–"
            continue
        assert point.ci_high is not None
        assert point.ci_low is not None
        assert look.bound is not None
        # Both bounds are of z, so their effects stand in the same proportion.
        limit = look.futility / look.bound * (point.ci_high - point.ci_low) / 2
        assert float(row[-1].replace("−", "-").replace("¥", "")) == pytest.approx(limit, abs=0.006)


def test_a_futility_bound_lies_on_the_other_side_where_less_is_better() -> None:
    report = web_designs.watched()
    fewer = [msgspec.structs.replace(report.metrics[0], direction="decrease"), *report.metrics[1:]]
    up, down = (
        view_of(r).over_time[0].panels[0].chart.table.rows[-1][-1]
        for r in (report, msgspec.structs.replace(report, metrics=fewer))
    )
    assert up.startswith("+¥")
    assert down == up.replace("+", "−")


def test_bounds_of_one_comparison_are_called_so() -> None:
    (first, _second) = view_of(web_designs.watched()).over_time
    assert [note.split(":")[0] for note in first.notes] == [first.notes[0].split(":")[0], "Dotted line"]
    assert "this comparison alone" in first.notes[0]
    alone = msgspec.structs.replace(web_designs.watched().plan, multiplicity="none")
    unadjusted = view_of(msgspec.structs.replace(web_designs.watched(), plan=alone)).over_time[0]
    assert not any("this comparison alone" in note for note in unadjusted.notes)
    assert all(not metric.notes for metric in view_of(web_reports.REPORT).over_time)


def test_a_rule_that_may_still_be_met_is_not_crossed_out() -> None:
    decision = view_of(web_designs.watched()).decision
    assert decision is not None
    assert [(r.icon, r.word) for r in decision.rules] == [
        ("clock", "Not met yet"),
        ("clock", "Not met yet"),
        ("no", "Not met"),
    ]


def test_groups_that_differ_and_groups_that_do_not_are_said_in_words() -> None:
    group = view_of(web_designs.watched()).responders[0].groups[0]
    name = {v.key: v.name["en"] for v in web_reports.PLAN.variants}
    assert group.differences == (
        f"the effect differs between groups ({name['a']} p 0.004)",
        f"no sign that the effect differs between groups ({name['b']} p 0.53)",
    )
    page = render_report(web_designs.watched(), "en")
    assert page.count("diamond") > 5
    assert "plan with this figure" in page
    without = view_of(web_designs.believed()).responders[0].groups[0]
    assert without.differences == (f"no sign that the effect differs between groups ({name['a']}, {name['b']})",)


@pytest.mark.parametrize(("lang", "title"), web_designs.HOME_PAGE.items())
def test_other_experiments_have_names_and_a_row_each(lang: str, title: str) -> None:
    section = next(s for s in view_of(web_designs.watched(), lang).designs if s.key == "others")
    (table,) = section.tables
    assert [line.cells[0] for line in table.lines] == [title, "points-reminder"]
    assert "p 0.006" in table.lines[0].cells[-1]
    assert "0.64" in table.lines[1].cells[-1]
    assert "home-page-picks" not in text_of(web_designs.watched(), lang)


@pytest.mark.parametrize("lang", ["en", "zh-CN"])
def test_a_bayesian_page_has_chances_and_losses_and_no_p_of_an_effect(lang: str) -> None:
    text = text_of(web_designs.believed(), lang)
    # The split's p stands above; the first mention of the scorecard is the link to it.
    effects = text.split({"en": "Scorecard", "zh-CN": "指标总览"}[lang], 2)[2]
    assert not re.search(r"\bp [<>0-9]|p \(|p 值", effects)
    assert "93.0%" in text
    assert {"en": "loss <¥0.01", "zh-CN": "损失 <¥0.01"}[lang] in text
    assert "90.0%" in text  # the best of all


def test_a_guardrail_has_no_loss() -> None:
    card = view_of(web_designs.believed()).scorecard
    assert card is not None
    losses = {group.role: {line.loss for m in group.metrics for line in m.lines} for group in card.groups}
    assert losses["guardrail"] == {""}
    assert "" not in losses["primary"]


def test_metrics_without_an_effect_on_those_reached_take_no_empty_table() -> None:
    section = next(s for s in view_of(web_designs.watched()).designs if s.key == "reached")
    assert [table.label for table in section.tables] == ["Profit per member"]
    assert section.note.endswith("; not defined for 14-day repurchase rate")


def test_a_fixed_report_with_looks_beside_it_is_not_called_group_sequential() -> None:
    """Replayed checkpoints have a plan of looks although the figures are those of one look."""
    looked = SequentialPlan(spending="obrien_fleming", planned_units=100_000)
    plan = msgspec.structs.replace(web_reports.PLAN, inference="fixed", sequential=looked)
    report = msgspec.structs.replace(web_reports.REPORT, plan=plan, methods=[])
    assert "group sequential" not in text_of(report).lower()
    assert "成组序贯" not in text_of(report, "zh-CN")

"""The section "Who responds": all first, then the groups; a sentence where they differ beyond chance."""

from __future__ import annotations

import msgspec
import pytest

from api.web.language import language
from api.web.numbers import Numbers
from api.web.responders import Responders, build_responders
from experiments.report.document import Breakdown, Interaction, Report
from tests.api import web_reports


def responders(report: Report, tag: str = "en") -> Responders:
    words = language(tag)
    return build_responders(report, words, Numbers(words, "CNY", "Asia/Shanghai"))[0]


def differing(p_value: float) -> Report:
    """The report with shrunken effects in its first breakdown, and the p of their difference for variant a."""
    first, *others = web_reports.REPORT.breakdowns
    rows = [msgspec.structs.replace(r, shrunken=r.effect) for r in first.rows]
    test = Interaction(
        kind="attribute", subject=first.attribute, metric=first.metric, variant="a", statistic=9.0, df=2,
        p_value=p_value, p_value_adjusted=p_value,
    )  # fmt: skip
    breakdown: Breakdown = msgspec.structs.replace(first, rows=rows, interactions=[test])
    return msgspec.structs.replace(web_reports.REPORT, breakdowns=[breakdown, *others])


def test_all_stand_first_as_the_scorecard_has_them() -> None:
    found = responders(web_reports.REPORT)
    assert [(line.level, line.variant, line.change) for line in found.everyone] == [
        ("All in the test", "a", "+¥0.38"),
        ("All in the test", "b", "−¥0.35"),
    ]
    assert [line.badge.word for line in found.everyone] == ["Better", "Worse"]
    assert found.everyone[0].span == 2
    assert [group.attribute for group in found.groups] == ["days since last order", "tier"]
    # Every line is in the data table, that of all under no attribute.
    assert found.table.rows[0][0] == "All in the test"
    assert len(found.table.rows) == 2 + sum(len(b.rows) for b in web_reports.REPORT.breakdowns)


def test_who_responds_best_is_said_where_groups_differ_beyond_chance() -> None:
    assert responders(differing(0.004)).said == (
        "¥20 off ¥100 by days since last order: best with 91–120 (+¥0.71), worst with 151–180 (−¥0.06).",
    )
    assert responders(differing(0.2)).said == ()
    assert responders(web_reports.REPORT).said == ()


@pytest.mark.parametrize("tag", ["en", "zh-CN"])
def test_less_is_better_where_the_metric_says_so(tag: str) -> None:
    report = differing(0.004)
    first = msgspec.structs.replace(report.metrics[0], direction="decrease")
    turned = msgspec.structs.replace(report, metrics=[first, *report.metrics[1:]])
    said = responders(turned, tag).said[0]
    assert said.index("151–180") < said.index("91–120")

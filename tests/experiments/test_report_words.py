"""What a report says, in both languages: verdicts of finished tests, dates, reasons, audiences."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from experiments.definitions import Experiment, Project, Segment, StageRule
from experiments.definitions.catalogue import Catalogue
from experiments.lifecycle.transition import transition
from experiments.log.rows import DAY_US
from experiments.report import figures
from experiments.report.audience import Names, audience_text, rule_text
from experiments.report.build import build_report
from experiments.report.document import Report
from experiments.report.quality import completeness_check, contaminated_check
from experiments.report.whys import FIRST_WEEK, SPLIT_OFF, why_text
from experiments.store import Store, open_store
from experiments.store.migrate import upgrade
from stats.why import Why
from tests.experiments.measuring import NOW_US, START_US, define, experiment, record
from tests.experiments.test_report_build import ARMS, BUYERS, OFFER, PROFIT, QUIT, campaign

CHINESE = re.compile(r"[\u4e00-\u9fff]")


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Store]:
    store = open_store(f"sqlite:///{tmp_path / 'equipoise.sqlite'}")
    upgrade(store)
    yield store
    store.close()


def finished(shop: Store, *, now: int = NOW_US, end: int | None = None, lift: float = 0.0, **fields: Any) -> Report:
    metrics = {"primary": ["profit", "buyers"], "guardrails": [{"metric": "quit", "margin": "100%"}]}
    define(shop, OFFER, BUYERS, PROFIT, QUIT, experiment(metrics, variants=ARMS, **fields))
    record(shop, campaign(lift=lift, days=10))
    for state in ("review", "running", *(["ended"] if end is not None else [])):
        at = end if state == "ended" and end is not None else START_US
        transition(shop, "winback", state, "test", reason="test", now=at)
    return build_report(shop, "winback", now)


def sentences(report: Report) -> tuple[str, str]:
    assert report.verdict is not None
    return report.verdict.sentence["en"], report.verdict.sentence["zh-CN"]


@pytest.mark.parametrize("enrolment", ["once", "rolling"])
def test_a_finished_test_without_a_proof_never_says_keep_running(shop: Store, enrolment: str) -> None:
    report = finished(shop, end=START_US + 28 * DAY_US, enrolment=enrolment, planned_days=28)
    assert report.verdict is not None
    assert (report.verdict.code, report.verdict.stands) == ("keep_running", "over")
    english, chinese = sentences(report)
    assert english.startswith("No answer: the test is over, and no variant meets every rule (not met: “profit: better”")
    assert chinese.startswith("没有结论：实验已结束，没有方案满足全部规则（未满足：“profit：更好”")
    said = str(report.verdict)
    assert "Keep running" not in said
    assert "继续运行" not in said


def test_a_test_that_ended_early_names_the_rule_it_did_not_reach(shop: Store) -> None:
    report = finished(shop, end=START_US + 14 * DAY_US, enrolment="rolling", planned_units=9000, lift=0.2)
    english, chinese = sentences(report)
    assert english == (
        "No answer: the test ended with 2,000 of 9,000 planned members. Run it again with at least 9,000."
    )
    assert chinese == "没有结论：计划 9,000 名会员，实验结束时只进组 2,000 名。请以至少 9,000 名会员重新实验。"
    assert report.verdict is not None
    assert report.verdict.reasons[0]["en"].startswith("¥5 off is not proven to keep quit within +100%: ")


def test_a_list_whose_outcomes_are_all_in_is_over_though_nobody_ended_it(shop: Store) -> None:
    english, chinese = sentences(finished(shop, planned_units=2500))
    assert english == (
        "No answer: all outcomes are in, but from 2,000 of 2,500 planned members. Enrol 500 more, or end the test."
    )
    assert "再进组 500 名" in chinese


def test_an_ended_test_waits_for_its_last_outcomes(shop: Store) -> None:
    report = finished(shop, end=START_US + 12 * DAY_US, now=START_US + 15 * DAY_US, enrolment="rolling")
    english, chinese = sentences(report)
    assert re.match(
        r"Wait for outcomes, about 9 more days: the outcome windows of [\d,]+ members are not over\.", english
    )
    assert chinese.startswith("等待结果，约还需 9 天：")


def test_every_rule_has_what_came_out_in_both_languages(shop: Store) -> None:
    report = finished(shop, enrolment="rolling", planned_units=2000, planned_days=28)
    assert report.verdict is not None
    assert {r.code for r in report.verdict.rules} >= {"quality", "planned_sample", "planned_days", "whole_weeks"}
    for rule in report.verdict.rules:
        assert rule.actual["en"]
        assert rule.actual["zh-CN"]
        assert CHINESE.search(rule.label["zh-CN"])


def test_moments_are_written_in_the_projects_zone_and_language() -> None:
    check = completeness_check(10, 2, "2026-11-21T21:53:49Z", "Asia/Shanghai")
    assert check.detail["en"] == "2 members within their window, to 22 Nov 2026 05:53 CST"
    assert check.detail["zh-CN"] == "2 名会员仍在观察窗口内，截至 2026年11月22日 05:53 CST"
    assert figures.moment("2026-07-01T00:00:00", "America/Sao_Paulo") == "30 Jun 2026 21:00 UTC-03"


def test_nobody_in_two_variants_is_said_in_a_word() -> None:
    assert (contaminated_check(0, 0, 900).value["en"], contaminated_check(0, 0, 900).detail) == ("None", {})
    few = contaminated_check(3, 0, 900)
    assert (few.value["zh-CN"], few.detail["zh-CN"]) == ("0.33%", "已剔除 3 个")
    assert contaminated_check(1, 0, 100_000).value["en"] == "<0.01%"


def test_every_reason_is_said_in_chinese() -> None:
    for why in Why:
        if why.text is not None:
            assert CHINESE.search(why_text(why.text, "zh-CN")), why
            assert why_text(why.text, "en") == why.text
    assert CHINESE.search(why_text(FIRST_WEEK, "zh-CN"))
    assert "SRM p <0.001" in why_text(SPLIT_OFF.format(p="<0.001"), "zh-CN")
    assert CHINESE.search(why_text(SPLIT_OFF.format(p="<0.001"), "zh-CN"))


def test_money_is_large_in_the_readers_way() -> None:
    assert figures.money(461_000, "CNY", sign=True, lang="zh-CN") == "+¥46.1万"
    assert figures.money(461_000, "CNY", sign=True) == "+¥461,000"
    assert figures.whole_money(-6279.5, "CNY", "zh-CN") == "¥6,280"
    assert figures.whole_money(2.5e8, "CNY", "zh-CN") == "¥2.50亿"


STAGES = StageRule.model_validate(
    {
        "kind": "stage_rule",
        "key": "life",
        "stages": [
            {"stage": "dormant", "name": {"en": "Dormant", "zh-CN": "沉睡"},
             "rule": {"attribute": "last_order_at", "op": "days_since", "gte": 91}},
            {"stage": "active", "name": {"en": "Active", "zh-CN": "活跃"}},
        ],
    }
)  # fmt: skip
PROJECT = Project.model_validate(
    {
        "kind": "project",
        "name": "Shop",
        "currency": "CNY",
        "time_zone": "Asia/Shanghai",
        "attributes": {
            "stage": {"type": "string"},
            "tier": {"type": "string", "label": {"en": "Tier", "zh-CN": "会员等级"}},
            "last_order_at": {"type": "date", "label": {"en": "Last order", "zh-CN": "最近下单"}},
        },
    }
)
GOLD = Segment.model_validate(
    {"kind": "segment", "key": "gold", "rule": {"attribute": "tier", "op": "eq", "value": "gold"}}
)
CATALOGUE = Catalogue.of([PROJECT, STAGES, GOLD])


@pytest.mark.parametrize(
    ("rule", "english", "chinese"),
    [
        ({"attribute": "stage", "op": "eq", "value": "dormant"}, "Dormant", "沉睡"),
        ({"attribute": "stage", "op": "in", "value": ["dormant", "active"]}, "Dormant or Active", "沉睡、活跃"),
        ({"attribute": "stage", "op": "ne", "value": "dormant"}, "stage is not Dormant", "stage不为沉睡"),
        (
            {"all": [
                {"attribute": "last_order_at", "op": "days_since", "gte": 91, "lte": 180},
                {"any": [{"attribute": "tier", "op": "eq", "value": "gold"},
                         {"attribute": "orders", "op": "gte", "value": 1000}]},
                {"not": {"attribute": "staff", "op": "eq", "value": True}},
            ]},
            "Last order 91–180 days ago; (Tier is gold or orders at least 1,000); not (staff is yes)",
            "最近下单在 91–180 天前，且（会员等级为gold，或orders至少 1,000），且非（staff为是）",
        ),
        ({"attribute": "city", "op": "in", "value": list("abcdef")}, "city is a, b, c, d and 2 more",
         "city为a、b、c、d等 6 项"),
        ({"attribute": "city", "op": "exists", "value": False}, "city not known", "city未知"),
    ],
)  # fmt: skip
def test_an_audience_is_said_as_people_say_it(rule: dict[str, Any], english: str, chinese: str) -> None:
    assert rule_text(rule, Names.of(CATALOGUE)) == {"en": english, "zh-CN": chinese}


def test_a_segment_and_a_rule_are_joined() -> None:
    fields = experiment({"primary": ["buyers"]})
    assert audience_text(Experiment.model_validate(fields), CATALOGUE) == {"en": "Everyone", "zh-CN": "全部会员"}
    both = fields | {"segment": "gold", "audience": {"attribute": "stage", "op": "eq", "value": "active"}}
    assert audience_text(Experiment.model_validate(both), CATALOGUE)["en"] == "Tier is gold; Active"


def test_the_report_says_for_whom(shop: Store) -> None:
    report = finished(shop, audience={"attribute": "tier", "op": "in", "value": ["gold", "silver"]})
    assert report.plan.audience == {"en": "tier is gold or silver", "zh-CN": "tier为gold、silver"}

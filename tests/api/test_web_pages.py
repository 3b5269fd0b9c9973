"""Pages: everything of a report is on them, nothing is executed or fetched, and they say why when there is nothing."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser

import msgspec
import pytest

from api.web.language import language
from api.web.list_view import build_list_view, status_of
from api.web.numbers import Numbers
from api.web.pages import Page, render_experiments, render_missing, render_plan, render_report
from api.web.report_view import build_report_view
from api.web.views import Site, attention_of, best_effect, list_row
from experiments.report.document import Report, RuleResult
from stats.why import Why
from tests.api import web_reports

REPORTS = {
    "full": web_reports.REPORT,
    "broken": web_reports.broken_split(),
    "nasty": web_reports.nasty(),
    "empty": web_reports.empty(),
}
VOID = {"meta", "link", "input", "br", "img"}


class Checker(HTMLParser):
    """Collects what a page loads and checks that elements nest and ids are unique."""

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.ids: list[str] = []
        self.loads: list[str] = []
        self.scripts = 0
        self.problems: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if values.get("id"):
            self.ids.append(str(values["id"]))
        for name, value in attrs:
            if name.startswith("on") or name == "style":
                self.problems.append(f"{tag} has {name}")
            if name == "src" or (name == "href" and tag == "link"):
                self.loads.append(str(value))
        self.scripts += tag == "script"
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.stack.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        if not self.stack or self.stack[-1] != tag:
            self.problems.append(f"</{tag}> closes {self.stack[-3:]}")
        else:
            self.stack.pop()


def check_page(page: str) -> Checker:
    checker = Checker()
    checker.feed(page)
    assert checker.problems == []
    assert checker.stack == []
    assert len(checker.ids) == len(set(checker.ids))
    return checker


@pytest.mark.parametrize("lang", ["en", "zh-CN"])
@pytest.mark.parametrize("name", REPORTS)
def test_reports_are_well_formed_and_load_only_our_files(name: str, lang: str) -> None:
    checker = check_page(render_report(REPORTS[name], lang))
    assert all(load.startswith("/assets/") for load in checker.loads)
    assert checker.scripts <= 2


@pytest.mark.parametrize("name", REPORTS)
def test_a_standalone_report_needs_nothing(name: str) -> None:
    page = render_report(REPORTS[name], "en", standalone=True)
    checker = check_page(page)
    assert checker.loads == []
    assert checker.scripts == 0
    assert "url(" not in page
    assert "@import" not in page
    assert "http://" not in page.replace("http://HOST", "")
    assert "https://" not in page
    assert 'name="form"' in page or name == "empty"


def test_nasty_strings_stay_text() -> None:
    page = render_report(REPORTS["nasty"], "en")
    assert "<script>alert" not in page
    assert "{{7*7}}" in html.unescape(page)
    assert page.count(html.escape(web_reports.NASTY).split(";")[0]) > 10
    rows = [list_row(key="x", title={"en": web_reports.NASTY}, state="running", report=REPORTS["nasty"])]
    listed = render_experiments(rows, "en", search=web_reports.NASTY)
    assert "<script>alert" not in listed
    assert "<script>alert" not in render_missing(web_reports.NASTY, "en")
    check_page(listed)


def test_the_page_prints_what_the_report_says() -> None:
    page = html.unescape(render_report(REPORTS["full"], "en"))
    assert web_reports.PLAN.title["en"] in page
    assert web_reports.VERDICT.sentence["en"] in page
    for reason in web_reports.VERDICT.reasons:
        assert reason["en"] in page
    for written in (
        "+9.0%",
        "+2.0% to +16.0%",
        "−15.3% to −1.3%",
        "¥4.26",
        "6.42%",
        "0.010",
        "<0.001",
        "Not proven",
        "Limit broken",
        "Within limit",
        "clear from day 21",
        "too few outcomes: 3 of 30 needed",
        "Left out: set to a variant by hand",
        "Guardrails: must not get worse by more than 30%",
        web_reports.REPORT.content_hash,
        "31 Mar 2026 06:10 CST",
        "All 5 rules agreed before launch are met",
    ):
        assert written in page, written
    assert "/v1/experiments/dormant-winback/report?format=json" in page


def test_every_effect_is_on_the_page_in_every_form() -> None:
    page = render_report(REPORTS["full"], "en")
    comparisons = sum(len(m.comparisons) for m in REPORTS["full"].metrics)
    assert page.count('role="img"') >= 3 * comparisons
    for form in ("relative", "absolute", "total"):
        assert f'id="f-{form}"' in page


def test_chinese_page_is_chinese() -> None:
    page = render_report(REPORTS["full"], "zh-CN")
    assert '<html lang="zh-CN"' in page
    for written in ("对照组", "护栏指标", "随时有效", "第 21 天起明确", "尚未证明", "+2.0% 至 +16.0%", "流量比例"):
        assert written in page
    # What the report carries only in English may stay; our own sentences may not.
    ours = re.sub(r"<[^>]+>", " ", page)
    assert "Scorecard" not in ours
    assert "Who is counted" not in ours


def test_a_broken_split_hides_effects_but_keeps_them() -> None:
    page = html.unescape(render_report(REPORTS["broken"], "en"))
    shown, hidden = page.split('<details class="card hidden-effects">')
    assert "Do not read" in shown
    assert "52,911" in shown
    assert "+8.1%" in shown
    assert 'class="score"' not in shown
    assert "members are not split as designed" in hidden
    assert "+2.0% to +16.0%" in hidden
    assert "hidden-effects" not in render_report(REPORTS["full"], "en")


def test_effects_are_hidden_before_they_may_be_read() -> None:
    why = "The first full week is not over"
    metrics = [
        msgspec.structs.replace(
            m, comparisons=[msgspec.structs.replace(c, readable=False, why=why) for c in m.comparisons]
        )
        for m in web_reports.METRICS
    ]
    early = msgspec.structs.replace(web_reports.REPORT, metrics=metrics, verdict=None)
    page = render_report(early, "en")
    assert "hidden-effects" in page
    assert why in page
    assert best_effect(early) is None


def test_a_report_without_data_says_what_to_do() -> None:
    page = render_report(REPORTS["empty"], "en")
    assert "No outcomes to analyse yet" in page
    assert "Check that your application asks for decisions" in page


def test_no_page_shows_nan_or_none() -> None:
    for report in REPORTS.values():
        for lang in ("en", "zh-CN"):
            text = re.sub(r"<[^>]+>", " ", render_report(report, lang))
            assert not re.search(r"\b(nan|NaN|None|inf)\b", text)


def test_a_draft_shows_its_plan_and_what_is_missing() -> None:
    draft = msgspec.structs.replace(
        web_reports.PLAN, state="draft", planned_units=None, owner=None, hypothesis={}, started_at=None, ended_at=None
    )
    caution = {"en": "10% off gives Gold members nothing", "zh-CN": "“9折”对金卡会员没有额外优惠"}
    assert caution["zh-CN"] in render_plan(draft, "zh-CN", key="dormant-winback", cautions=[caution])
    page = render_plan(draft, "en", key="dormant-winback", cautions=[caution])
    check_page(page)
    missing = ("planned sample is missing", "hypothesis is missing", "owner is missing", "25%", "no offer")
    for said in (*missing, caution["en"]):
        assert said in page
    running = render_plan(msgspec.structs.replace(web_reports.PLAN, state="running"), "zh-CN")
    assert "尚无报告" in running


def test_a_plain_file_report_has_no_decision_card() -> None:
    plan = msgspec.structs.replace(
        web_reports.PLAN, experiment=None, state=None, title={"en": "results.csv"}, source="results.csv"
    )
    page = render_report(msgspec.structs.replace(web_reports.REPORT, plan=plan, verdict=None), "en", standalone=True)
    assert 'class="decision' not in page
    assert "results.csv" in page


def test_the_list_shows_every_kind_of_experiment() -> None:
    page = html.unescape(render_experiments(web_reports.list_rows(), "en", page=Page(site=Site(simulated=True))))
    check_page(render_experiments(web_reports.list_rows(), "zh-CN"))
    for said in (
        "Simulated data.",
        "Traffic split is off.",
        "Ready to decide.",
        "Roll out ¥20 off ¥100",
        "Hidden while the split is off",
        "Needs sample size",
        "Day 16 of 28",
        "28 of 28 days",
        "+9.0%",
        "195,912",
    ):
        assert said in page, said


def test_an_empty_list_says_what_to_do_next() -> None:
    page = render_experiments([], "en")
    check_page(page)
    assert "No experiments yet" in page
    assert "equipoise apply" in page


@pytest.mark.parametrize(
    ("status", "keys"),
    [
        ("all", 5),
        ("running", 2),
        ("ready", 1),
        ("draft", 1),
        ("decided", 1),
        ("nonsense", 5),
    ],
)
def test_tabs_filter_and_count(status: str, keys: int) -> None:
    words = language("en")
    view = build_list_view(web_reports.list_rows(), words, Numbers(words), status=status)
    assert len(view.lines) == keys
    assert {t.status: t.count for t in view.tabs} == {
        "all": "5",
        "running": "2",
        "ready": "1",
        "draft": "1",
        "decided": "1",
    }


def test_search_finds_in_both_languages_and_by_key() -> None:
    words = language("en")

    def found(search: str) -> list[str]:
        return [row.key for row in build_list_view(web_reports.list_rows(), words, Numbers(words), search=search).lines]

    assert found("沉睡会员") == ["dormant-winback"]
    assert found("NUDGE second") == ["second-order-nudge"]
    assert found("nothing like it") == []
    page = render_experiments(web_reports.list_rows(), "en", search="nothing like it")
    assert "No experiment fits" in page


def test_attention_and_best_effect_follow_the_report() -> None:
    full: Report = web_reports.REPORT
    assert attention_of("ended", full) == "ready"
    assert attention_of("decided", full) is None
    assert attention_of("running", web_reports.broken_split()) == "srm"
    best = best_effect(full)
    assert best is not None
    assert (best.variant, best.estimate) == ("a", 0.090)
    assert best.ci_low == pytest.approx(0.02)
    assert status_of(web_reports.list_rows()[1]) == "running"


def test_total_without_numbers_is_not_offered() -> None:
    assert 'id="f-total"' not in render_report(REPORTS["nasty"], "en")


def test_an_ended_experiment_without_clear_effects_asks_for_a_decision() -> None:
    verdict = msgspec.structs.replace(web_reports.VERDICT, code="keep_running", variant=None)
    unclear = msgspec.structs.replace(web_reports.REPORT, verdict=verdict)
    over = msgspec.structs.replace(unclear, verdict=msgspec.structs.replace(verdict, stands="over"))
    waiting = msgspec.structs.replace(unclear, verdict=msgspec.structs.replace(verdict, stands="waiting"))
    rows = [
        list_row(key="over", title={"en": "Over"}, state="ended", report=over),
        list_row(key="waiting", title={"en": "Waiting"}, state="ended", report=waiting),
        list_row(key="unclear", title={"en": "Unclear"}, state="ended", report=unclear),
        list_row(key="fresh", title={"en": "Fresh"}, state="ended"),
    ]
    words = language("en")
    view = build_list_view(rows, words, Numbers(words))
    assert [(line.badge.word, line.next_step) for line in view.lines] == [
        ("Ended", "No answer"),
        ("Ended", "Decide: effects are unclear"),
        ("Ended", "No report yet"),
        ("Ended", "Wait for outcomes"),
    ]
    assert [(need.key, need.head) for need in view.needs] == [
        ("over", "Waits for your decision."),
        ("unclear", "Waits for your decision."),
    ]
    assert build_list_view(rows[3:], words, Numbers(words)).axis is None


def test_a_file_report_says_what_its_figures_show() -> None:
    plan = msgspec.structs.replace(web_reports.PLAN, experiment=None, state=None, source="results.csv")
    report = msgspec.structs.replace(
        web_reports.REPORT, plan=plan, verdict=None, summary=[{"en": "A is better on visits.", "zh-CN": "A 更好。"}]
    )
    page = render_report(report, "en", standalone=True)
    assert "A is better on visits." in page
    assert "no rules were declared before" in page
    assert "declared before launch" not in page.replace("no rules were declared before", "")
    assert "Units" in page


def test_while_effects_are_hidden_the_rules_hide_them_too() -> None:
    # Rules and reasons stand above the closed fold: their figures would be the effects.
    rules = [
        RuleResult(code="quality", label={"en": "Split"}, met=False, actual={"en": "p <0.001"}),
        RuleResult(code="primary_better", label={"en": "Profit: better"}, met=True, actual={"en": "+31.7%"}),
        RuleResult(code="planned_days", label={"en": "Days"}, met=False, actual={"en": "9 of 21"}),
    ]
    verdict = msgspec.structs.replace(
        web_reports.VERDICT, code="do_not_read", rules=rules, reasons=[{"en": "B changes by +31.7%."}]
    )
    words = language("zh-CN")
    view = build_report_view(
        msgspec.structs.replace(web_reports.broken_split(), verdict=verdict), words, Numbers(words, "CNY")
    )
    assert view.decision is not None
    assert [(r.word, r.actual) for r in view.decision.rules] == [
        ("未满足", "p <0.001"),
        ("尚未知晓", "已隐藏"),
        ("尚未满足", "9 of 21"),
    ]
    assert view.decision.reasons == ()


def test_reasons_are_chinese_on_chinese_pages() -> None:
    metric = web_reports.REPORT.metrics[0]
    why = Why.NO_OUTCOMES.text
    missing = [msgspec.structs.replace(c, why=why, readable=False, reading="not_computed") for c in metric.comparisons]
    others = web_reports.REPORT.metrics[1:]
    report = msgspec.structs.replace(
        web_reports.REPORT, metrics=[msgspec.structs.replace(metric, comparisons=missing), *others]
    )
    html = render_report(report, "zh-CN")
    assert "两个方案都还没有结果" in html
    assert why not in html
    assert why in render_report(report, "en")

"""The page of a policy that learns: everything of its report is on it, in both languages, and its buttons work."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from flask.testing import FlaskClient

from api.app import create_app
from api.web.charts.area import Area, apart, stacked_area
from api.web.charts.gained import GainLook, gain_curve
from api.web.charts.histogram import histogram
from api.web.charts.levels import level_row, level_scale
from api.web.pages import Page, render_experiments, render_report
from api.web.views import Account, list_row
from experiments.keeping import audit
from experiments.learning import versions
from experiments.lifecycle.transition import transition
from experiments.log.rows import DAY_US
from experiments.report.bandit.document import Mask
from experiments.report.document import Report
from experiments.report.render_csv import render_csv
from experiments.report.render_rows import render_rows_csv
from experiments.report.render_table import print_report
from experiments.settings import Settings
from experiments.store import Store, open_store
from experiments.store.migrate import upgrade
from tests.api.test_web_pages import check_page
from tests.api.web_bandit import learned
from tests.experiments.measuring import START_US, record
from tests.experiments.test_bandit_report import defined, learned_versions, log_of

OURS = {"Sec-Fetch-Site": "same-origin"}
MANAGER = Page(account=Account(keys_url="/keys"))


def opened(folder: Path) -> Store:
    store = open_store(f"sqlite:///{folder / 'equipoise.sqlite'}")
    upgrade(store)
    defined(store)
    record(store, log_of(3_000), START_US + 60 * DAY_US)
    learned_versions(store)
    return store


@pytest.fixture(scope="module")
def report() -> Report:
    return learned()


@pytest.fixture
def client(tmp_path: Path) -> Iterator[FlaskClient]:
    store = opened(tmp_path)
    for state in ("review", "testing", "running"):
        transition(store, "winback", state, "test", "test")
    with store.begin() as connection:
        versions.move(connection, "winback", 2, "waiting", now=START_US + 10 * DAY_US)
    store.close()
    app = create_app(settings=Settings(tmp_path / "data", store.url))
    yield app.test_client()
    app.extensions["equipoise"].store.close()


@pytest.mark.parametrize("lang", ["en", "zh-CN"])
def test_the_page_is_well_formed_and_says_what_the_report_says(report: Report, lang: str) -> None:
    page = render_report(report, lang, page=MANAGER)
    checker = check_page(page)
    assert set(checker.ids) >= {"dec", "hs", "al", "rw", "hm", "pp", "op", "pv", "how"}
    assert report.bandit is not None
    text = page.replace("\u2060", "").replace("\u00a0", " ")
    assert report.bandit.sentence[lang].split("（")[0].split("(")[0].strip() in text
    for check in report.checks:
        assert check.value[lang] in page
    for variant in report.plan.variants:
        assert variant.name[lang] in page
    assert report.content_hash in page
    assert not re.search(r"\bnan\b|\bNone\b|%\(", page)
    assert "Scorecard" not in page
    assert "style=" not in page


def test_a_standalone_page_needs_nothing_and_has_no_buttons(report: Report) -> None:
    page = render_report(report, "en", standalone=True)
    assert check_page(page).loads == []
    assert "/policies/" not in page


def test_only_who_may_manage_sees_the_buttons(report: Report) -> None:
    assert "/experiments/winback/policies/1/roll-back" in render_report(report, "en", page=MANAGER)
    assert "/policies/1/roll-back" not in render_report(report, "en", page=Page())


def test_names_are_text_and_masks_are_told(report: Report) -> None:
    nasty = "<script>alert(1)</script>"
    assert report.bandit is not None
    arms = [msgspec.structs.replace(arm, masked=True) for arm in report.bandit.arms]
    masks = [Mask(variant="coupon", since="2026-03-20T00:00:00Z", reason=nasty)]
    bandit = msgspec.structs.replace(
        report.bandit, arms=arms, masks=masks, reasons=[{"en": f"Coupon is taken out: {nasty}"}]
    )
    variants = [msgspec.structs.replace(v, name={"en": nasty}) for v in report.plan.variants]
    plan = msgspec.structs.replace(report.plan, variants=variants, title={"en": nasty})
    page = render_report(msgspec.structs.replace(report, plan=plan, bandit=bandit), "en")
    check_page(page)
    assert nasty not in page
    assert "Taken out" in page


def test_the_list_says_what_the_policy_earns(report: Report) -> None:
    row = list_row(key="winback", title={"en": "Win-back"}, state="running", report=report)
    assert row.best is None
    page = render_experiments([row], "en")
    check_page(page)
    assert "The policy earns" in page


def test_terminal_and_csv_say_the_same(report: Report, capsys: pytest.CaptureFixture[str]) -> None:
    for lang, words in (("en", "What each variant earns"), ("zh-CN", "各方案的收益")):
        print_report(report, lang=lang)
        printed = capsys.readouterr().out
        assert words in printed
        assert report.bandit is not None
        assert report.bandit.sentence[lang] in printed.replace("\n", "")
    lines = render_csv(report).splitlines()
    assert len(lines) == 4
    assert lines[1].startswith("buyers,money,control,")
    details = render_rows_csv(report)
    assert "gain,buyers,,gain,,estimate," in details
    assert "versions,buyers,,v1 live,,rows,600," in details


@pytest.mark.slow
def test_a_version_is_approved_and_rolled_back_by_page(client: FlaskClient) -> None:
    store = client.application.extensions["equipoise"].store
    address = "/experiments/winback/policies/2"
    page = client.get(f"{address}/approve")
    check_page(page.text)
    assert "Its ramp begins" in page.text
    assert "批准 v2" in client.get(f"{address}/approve?lang=zh-CN").text
    assert client.post(f"{address}/approve").status_code == 403  # not from a page of ours
    done = client.post(f"{address}/approve", data={"reason": "checked"}, headers=OURS)
    assert done.status_code == 303
    assert done.headers["Location"].endswith("/experiments/winback#pv")
    with store.read() as connection:
        assert versions.one(connection, "winback", 2).state == "ramping"
    # The report was computed anew: its page shows where the versions stand now.
    shown = client.get("/experiments/winback?lang=en").text
    check_page(shown)
    assert "Ramping up, 10%" in shown
    assert client.post(f"{address}/approve", headers=OURS).status_code == 409
    assert client.post(f"{address}/roll-back", headers=OURS).status_code == 303
    with store.read() as connection:
        assert versions.one(connection, "winback", 2).state == "rolled_back"
        assert versions.one(connection, "winback", 1).state == "live"
    assert {row.action for row in audit.rows(store)} >= {"policy_approved", "policy_rolled_back"}
    for wrong in ("/experiments/winback/policies/9/approve", f"{address}/praise", "/experiments/no/policies/1/reject"):
        assert client.get(wrong).status_code == 404


def test_areas_fill_the_picture_and_their_labels_stay_apart() -> None:
    areas = [Area("a", [0.5, 0.02], "a 2%"), Area("b", [0.25, 0.02], "b 2%"), Area("c", [0.25, 0.96], "c 96%")]
    chart = stacked_area(areas, ["1 Jan", "2 Jan"], marks=[(1, "v1")], label="x", columns=("d",), rows=())
    paths = re.findall(r'<path d="M([^Z]+)Z"', chart.svg)
    tops = [min(float(point.split()[1]) for point in path.split("L")) for path in paths]
    assert tops[-1] == 22.0  # 100 %
    places = apart([208.0, 205.0, 203.0])
    assert all(low - high >= 13.9 for low, high in itertools.pairwise(places))
    one = stacked_area([Area("a", [1.0], "a")], ["1 Jan"], label="x", columns=("d",), rows=())
    assert "nan" not in one.svg


def test_bars_start_at_zero_and_add_up() -> None:
    chart = histogram([1, 3, 0], label="x", axis="p", share="{:.0%}".format, columns=("p",), rows=())
    heights = [float(h) for h in re.findall(r'height="([0-9.]+)" rx', chart.svg)]
    assert heights[1] == pytest.approx(3 * heights[0], abs=0.2)
    assert len(heights) == 2


def test_a_curve_of_any_length_is_drawn() -> None:
    for n in (0, 1, 2, 60):
        look = GainLook([f"d{i}" for i in range(n)], list(range(n)), [-1.0] * n, [n] * n, "good", "+1", "x")
        assert "nan" not in gain_curve(look, write=str, columns=("d",), rows=()).svg


def test_an_axis_of_levels_need_not_hold_zero_and_holds_every_row() -> None:
    scale = level_scale([(6.0, 6.3, 6.6), (8.4, 8.6, 8.8)], width=340, reference=6.9)
    assert scale.low == 6.0
    for row in ((6.0, 6.3, 6.6), (None, 7.0, None), (None, None, None)):
        assert "<svg" in level_row(scale, row, fill="fc1", reference=6.9)
    assert level_scale([(None, None, None)], width=100).ticks
    assert level_scale([(2.0, 2.0, 2.0)], width=100).low < 2

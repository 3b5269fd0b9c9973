"""Did the offer pay for itself? From the log to the document: identities, sentences, dips, and who is told nothing."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from experiments.log.rows import DAY_US, DecisionRow, EventRow
from experiments.report.build import build_report
from experiments.report.content import content_hash
from experiments.report.document import Report
from experiments.report.render_rows import render_rows_csv
from experiments.report.render_table import render_table
from experiments.store import Store, open_store
from experiments.store.migrate import upgrade
from tests.experiments.measuring import NOW_US, START_US, decided, define, experiment, happened, metric, record

PROFIT = metric("profit", "profit", margin={"rate": "0.4"}, covariate={"days": 28})
BUYERS = metric("buyers", "proportion")
OFFER = {
    "kind": "offer",
    "key": "save",
    "name": "¥30 off",
    "type": "fixed_coupon",
    "face_value": "30.00",
    "contact_cost": {"sms": "0.05"},
}
ARMS = [
    {"key": "control", "name": {"en": "No offer", "zh-CN": "无优惠"}},
    {"key": "a", "name": {"en": "¥30 off", "zh-CN": "30元券"}, "offer": "save", "channel": "sms"},
]
VALUE = 10_000
MARGIN = 0.4 * VALUE


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Store]:
    """An SQLite store; that both databases measure alike is tested in test_measure_oracle."""
    store = open_store(f"sqlite:///{tmp_path / 'equipoise.sqlite'}")
    upgrade(store)
    yield store
    store.close()


def defined(shop: Store, *, primary: tuple[str, ...] = ("profit", "buyers"), **fields: Any) -> None:
    define(shop, OFFER, BUYERS, PROFIT, experiment({"primary": list(primary)}, variants=ARMS, **fields))


def campaign(
    n: int = 3000, *, lift: float = 0.05, moved: float = 0.0, late: bool = False, rolling: bool = False, seed: int = 3
) -> list[DecisionRow | EventRow]:
    """Half get the coupon and all its buyers redeem it; control buys at 10 % in each of two fortnights.

    Args:
        n: members.
        lift: more buyers with the offer.
        moved: share of the second fortnight's buyers whom the offer makes buy in the first.
        late: whether the offer's extra buyers come in the window's second half.
        rolling: whether members enter over ten days.
        seed: of the draw.
    """
    rng = np.random.default_rng(seed)
    rows: list[DecisionRow | EventRow] = []
    for i in range(n):
        unit, variant = f"u{i:05d}", ("control", "a")[i % 2]
        at = START_US + (int(rng.integers(0, 10 * DAY_US)) if rolling else 0)
        rows.append(decided(unit, variant, at))
        first, extra, second = rng.random() < 0.1, rng.random() < lift and variant == "a", rng.random() < 0.1
        moves = second and variant == "a" and rng.random() < moved
        if rng.random() < 0.2:
            rows.append(happened("Order Completed", unit, at - DAY_US, VALUE, object_id=f"p{i}"))
        if first or extra or moves:
            mine = extra and not first
            day = rng.uniform(7, 14) if mine and late else rng.uniform(0.1, 7 if mine else 14)
            rows.append(happened("Order Completed", unit, at + int(day * DAY_US), VALUE, object_id=f"o{i}"))
            if variant == "a":
                rows.append(happened("Coupon Redeemed", unit, at + int(day * DAY_US), object_id=f"o{i}"))
        if second and not moves:
            day = rng.uniform(14, 28)
            rows.append(happened("Order Completed", unit, at + int(day * DAY_US), VALUE, object_id=f"q{i}"))
    return rows


def reported(shop: Store, rows: list[DecisionRow | EventRow], now: int = NOW_US) -> Report:
    record(shop, rows)
    return build_report(shop, "winback", now)


def test_the_money_adds_up_to_the_scorecards_profit(shop: Store) -> None:
    """Totals by hand from the rows; profit and its interval are the scorecard's own, adjusted by CUPED and Holm."""
    defined(shop)
    rows = campaign()
    report = reported(shop, rows)
    assert report.economics is not None
    one, result = report.economics.offers[0], report.metrics[0]
    bought = {r.unit for r in rows if isinstance(r, EventRow) and (r.object_id or "")[0] == "o"}
    redeemed = sum(isinstance(r, EventRow) and r.name == "Coupon Redeemed" for r in rows)
    arm = {r.unit: r.variant for r in rows if isinstance(r, DecisionRow)}
    buyers = {v: sum(arm[u] == v for u in bought) for v in ("control", "a")}
    assert one.redemptions == redeemed
    assert one.redemption_cost == pytest.approx(30.0 * redeemed)
    assert one.contact_cost == pytest.approx(0.05 * 1500)
    assert one.cost == pytest.approx(30.0 * redeemed + 75.0)
    assert one.extra_buyers.estimate == pytest.approx(buyers["a"] - buyers["control"])
    assert one.sure_buyers.estimate == pytest.approx(1 - (buyers["a"] - buyers["control"]) / redeemed)
    assert one.order_value == pytest.approx(100.0)
    assert one.order_value_change.estimate == 0.0
    assert one.order_kept == pytest.approx(10.0)

    total = result.comparisons[0].total
    assert total is not None
    assert (one.profit.estimate, one.profit.ci_low, one.profit.ci_high) == pytest.approx(
        (total.estimate, total.ci_low_adjusted, total.ci_high_adjusted), rel=1e-9
    )
    assert one.extra_margin.estimate == pytest.approx((one.profit.estimate or 0) + (one.cost or 0), rel=1e-9)
    assert one.roi.estimate == pytest.approx((one.profit.estimate or 0) / (one.cost or 1), rel=1e-9)
    assert one.naive_roi == pytest.approx((40.0 * buyers["a"] - (one.cost or 0)) / (one.cost or 1))


def test_an_offer_that_pays_for_sure_buyers_loses_money_in_a_sentence(shop: Store) -> None:
    """¥30 of a ¥40 margin for every buyer, half of whom would have bought: its own books say it doubled its money."""
    defined(shop)
    economics = reported(shop, campaign(lift=0.1)).economics
    assert economics is not None
    one = economics.offers[0]
    assert one.reading == "worse"
    assert one.roi.ci_high is not None
    assert one.roi.ci_high < 0 < (one.naive_roi or 0)
    assert economics.sentences[0]["en"].startswith("¥30 off lost money: −¥")
    assert "of its redemptions went to members who would have bought anyway." in economics.sentences[0]["en"]
    assert "30元券" in economics.sentences[0]["zh-CN"]
    assert one.break_even is not None
    assert one.uplift.estimate is not None
    assert one.uplift.estimate < one.break_even


def test_purchases_that_only_moved_are_found_after_the_window(shop: Store) -> None:
    defined(shop)
    economics = reported(shop, campaign(6000, lift=0.0, moved=0.7)).economics
    assert economics is not None
    after = economics.offers[0].after
    assert after is not None
    assert (after.units, after.from_day, after.to_day) == (3000, 14.0, 28.0)
    assert after.after.ci_high is not None
    assert after.after.ci_high < 0
    assert any("purchases that the offer only moved forward" in note["en"] for note in economics.notes)


@pytest.mark.slow
def test_the_time_after_is_told_only_of_those_for_whom_it_is_over(shop: Store) -> None:
    defined(shop)
    rows = campaign(400)
    rows = [msgspec.structs.replace(r, at=r.at + 20 * DAY_US) if r.unit >= "u00200" else r for r in rows]
    economics = reported(shop, rows, START_US + 30 * DAY_US).economics
    assert economics is not None
    assert economics.offers[0].after is not None
    assert economics.offers[0].after.units == 100
    early = build_report(shop, "winback", START_US + 15 * DAY_US).economics
    assert early is not None
    assert early.offers[0].after is None


def test_there_is_none_without_a_profit_and_before_anybody_is_in(shop: Store) -> None:
    defined(shop, primary=("buyers",))
    report = reported(shop, campaign(200))
    assert report.economics is None
    assert "economics" not in {str(m["group"]) for m in report.moments}
    assert content_hash(report) == report.content_hash


@pytest.mark.slow
def test_nobody_in_has_no_economics(shop: Store) -> None:
    defined(shop)
    report = build_report(shop, "winback", NOW_US)
    assert report.economics is None


def test_a_broken_split_keeps_the_figures_in_the_document(shop: Store) -> None:
    """JSON and CSV always contain effects; the page hides the section (tests/api/test_web_economics.py)."""
    defined(shop)
    rows = [r for r in campaign(1500) if r.unit[-1] not in "13" or r.unit > "u01000"]
    report = reported(shop, rows)
    assert report.srm.status == "fail"
    assert report.economics is not None
    one = report.economics.offers[0]
    assert one.profit.estimate is not None
    assert not one.readable
    assert one.why is not None
    assert one.why.startswith("the split is not as planned")
    assert report.economics.sentences == []
    assert "economics,profit,a,readable,,value,0," in render_rows_csv(report)


@pytest.mark.slow
@pytest.mark.parametrize("adjustment", ["none", "regression"])
def test_whatever_the_adjustment_the_money_adds_up(shop: Store, adjustment: str) -> None:
    defined(shop, analysis={"adjustment": adjustment, "strata": ["tier"]})
    report = reported(shop, campaign(1000))
    assert report.economics is not None
    one, total = report.economics.offers[0], report.metrics[0].comparisons[0].total
    assert total is not None
    assert one.profit.estimate == pytest.approx(total.estimate, rel=1e-9)
    assert one.extra_margin.estimate == pytest.approx((one.profit.estimate or 0) + (one.cost or 0), rel=1e-9)
    assert one.roi.estimate == pytest.approx((one.profit.estimate or 0) / (one.cost or 1), rel=1e-9)


def test_nothing_has_happened_yet(shop: Store) -> None:
    """Members, and no event: no figure is made up, and nothing is said of novelty."""
    defined(shop)
    report = reported(shop, [r for r in campaign(60) if isinstance(r, DecisionRow)])
    assert report.economics is not None
    one = report.economics.offers[0]
    assert (one.redemptions, one.naive_roi, one.order_value, one.break_even) == (0, -1.0, None, None)
    assert one.sure_buyers.why == "too few redemptions to tell their share from zero"
    assert "novelty" not in {c.code for c in report.checks}


@pytest.mark.parametrize("inference", [pytest.param("always_valid", marks=pytest.mark.slow), "bayesian"])
def test_intervals_are_those_of_the_reports_inference(shop: Store, inference: str) -> None:
    """The return's interval leaves out zero just where the profit's does, whatever the kind of inference."""
    defined(shop, enrolment="rolling", analysis={"inference": inference})
    report = reported(shop, campaign(rolling=True))
    assert report.economics is not None
    one, effect = report.economics.offers[0], report.metrics[0].comparisons[0].effect
    low = effect.ci_low if effect.ci_low_adjusted is None else effect.ci_low_adjusted
    assert low is not None
    assert one.profit.ci_low == pytest.approx(low * 1500, rel=1e-9)
    assert one.roi.ci_low is not None
    assert np.sign(one.roi.ci_low) == np.sign(low)


def test_a_watched_tests_money_is_that_of_its_last_look(shop: Store) -> None:
    """Group sequential: only members whose windows were over by the last look, as in the scorecard."""
    defined(shop, enrolment="rolling", planned_units=3000, analysis={"inference": "group_sequential"})
    rows = campaign(rolling=True)
    report = reported(shop, rows, START_US + 20 * DAY_US)
    assert report.economics is not None
    one, total = report.economics.offers[0], report.metrics[0].comparisons[0].total
    assert total is not None
    assert 0 < one.units < 1500
    assert one.units == report.metrics[0].variants[1].n
    assert (one.profit.estimate, one.profit.ci_low) == pytest.approx((total.estimate, total.ci_low_adjusted), rel=1e-9)
    assert one.extra_margin.estimate == pytest.approx((one.profit.estimate or 0) + (one.cost or 0), rel=1e-9)
    early = build_report(shop, "winback", START_US + 12 * DAY_US)
    assert early.economics is None


@pytest.mark.slow
def test_members_that_hang_together_have_no_intervals_but_the_profits(shop: Store) -> None:
    defined(shop, analysis={"cluster": "tier", "randomised_by_cluster": True})
    rows = [
        msgspec.structs.replace(r, frozen=json.dumps({"tier": f"s{int(r.unit[1:]) % 60}"}))
        if isinstance(r, DecisionRow)
        else r
        for r in campaign(1200)
    ]
    report = reported(shop, rows)
    assert report.economics is not None
    one = report.economics.offers[0]
    assert one.profit.ci_low is not None
    assert one.roi.estimate is not None
    assert (one.roi.ci_low, one.roi.why) == (None, "units hang together: no interval is given")
    assert "novelty" not in {c.code for c in report.checks}


def test_novelty_is_told_of_one_send_and_warned_of_where_members_keep_entering(shop: Store, tmp_path: Path) -> None:
    found = {}
    for rolling in (False, True):
        store = open_store(f"sqlite:///{tmp_path / f'novel{rolling}.sqlite'}")
        upgrade(store)
        defined(store, primary=("buyers",), enrolment="rolling" if rolling else "once")
        report = reported(store, campaign(4000, lift=0.1, rolling=rolling))
        found[rolling] = next(c for c in report.checks if c.code == "novelty")
        store.close()
    assert [found[rolling].status for rolling in (False, True)] == ["info", "caution"]
    assert found[True].value["en"] == "Effect fades"
    assert found[True].detail["en"].startswith("¥30 off: +")
    assert "in days 1–7, " in found[True].detail["en"]
    assert "it goes with members' own days (p 0.002), not with the calendar (p " in found[True].detail["en"]
    assert "first → second half of the window: week 1 +" in found[True].more["en"]
    assert "随会员自身天数变化" in found[True].detail["zh-CN"]
    assert "week" not in found[False].detail["en"]


@pytest.mark.slow
def test_a_later_effect_grows_and_a_steady_one_is_not_seen(shop: Store, tmp_path: Path) -> None:
    defined(shop, primary=("buyers",))
    check = next(c for c in reported(shop, campaign(4000, lift=0.1, late=True)).checks if c.code == "novelty")
    assert (check.status, check.value["en"]) == ("info", "Effect grows")
    store = open_store(f"sqlite:///{tmp_path / 'steady.sqlite'}")
    upgrade(store)
    defined(store, primary=("buyers",))
    check = next(c for c in reported(store, campaign(2000, lift=0.0)).checks if c.code == "novelty")
    assert (check.status, check.value["en"]) == ("ok", "None seen")
    store.close()


@pytest.mark.slow
def test_an_effect_that_fades_with_the_calendar_is_said_to(shop: Store) -> None:
    """The offer works in the first days of the campaign alone, whoever has just entered or not."""
    defined(shop, primary=("buyers",), enrolment="rolling")
    rng = np.random.default_rng(4)
    rows: list[DecisionRow | EventRow] = []
    for i in range(9000):
        unit, variant, at = f"u{i}", ("control", "a")[i % 2], START_US + int(rng.integers(0, 28 * DAY_US))
        rows.append(decided(unit, variant, at))
        for day in range(14):
            rate = 0.01 + (0.02 * max(0.0, 1 - (at - START_US + day * DAY_US) / (28 * DAY_US)) if variant == "a" else 0)
            if rng.random() < rate:
                rows.append(happened("Order Completed", unit, at + day * DAY_US + 1, VALUE, object_id=f"{i}-{day}"))
    check = next(c for c in reported(shop, rows).checks if c.code == "novelty")
    assert (check.status, check.value["en"]) == ("caution", "Effect fades")
    assert "it goes with the calendar (p <0.001), for members old and new" in check.detail["en"]


@pytest.mark.parametrize("lang", [pytest.param("en", marks=pytest.mark.slow), "zh-CN"])
def test_terminal_and_csv_have_it_too(shop: Store, lang: str) -> None:
    from rich.console import Console

    defined(shop)
    report = reported(shop, campaign(600))
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(render_table(report, lang=lang))
    text = console.export_text()
    assert {"en": "Did the offer pay for itself?", "zh-CN": "优惠划算吗？"}[lang] in text
    table = render_rows_csv(report)
    assert "economics,profit,a,roi,,value," in table
    assert "economics_after,profit,a,after,,ci_low," in table
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report

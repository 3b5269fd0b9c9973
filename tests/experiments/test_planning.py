"""Baselines from the log, against figures worked out by hand from the same rows."""

from __future__ import annotations

import statistics

import pytest

from experiments.errors import InputError
from experiments.log.rows import DAY_US
from experiments.log.traits import Statement, merge
from experiments.planning.economics import economics, past_orders
from experiments.planning.history import baseline_from_log, planned_experiment, purchases
from experiments.planning.planning import plan_power
from experiments.planning.question import Amount, Question
from experiments.sources.log import open_log
from experiments.store import Store
from stats.power import Means, mde
from tests.experiments.measuring import NOW_US, decided, define, experiment, happened, metric, record

SPEND = metric("spend", "sum", value="value", covariate={"days": 28})
PROFIT = metric("profit", "profit", margin={"rate": "0.4"})
SAVE = {
    "kind": "offer",
    "key": "save-20",
    "name": "Save 20",
    "type": "spend_x_save_y",
    "face_value": "20",
    "minimum_spend": "100",
    "contact_cost": {"sms": "0.045"},
}
SENT = NOW_US - 14 * DAY_US
"""When a list would have been sent so that its 14-day window is over now."""


def known(store: Store, units: list[str]) -> None:
    with store.begin() as connection:
        merge(connection, [Statement("member", unit, SENT - 90 * DAY_US, {"tier": "gold"}) for unit in units])


def spent(unit: int) -> int:
    return 1000 * (unit % 5) if unit % 2 else 0


def test_a_list_is_measured_as_if_sent_one_window_ago(store: Store) -> None:
    define(store, SPEND, experiment({"primary": ["spend"]}))
    units = [f"m{i:03d}" for i in range(120)]
    known(store, units)
    rows = [happened("Order Completed", u, SENT + DAY_US, spent(i)) for i, u in enumerate(units) if spent(i)]
    rows += [happened("Order Completed", u, SENT - DAY_US, spent(i) + 500) for i, u in enumerate(units)]
    rows += [happened("Order Completed", "stranger", SENT + DAY_US, 10**7)]
    record(store, rows)
    planned = planned_experiment(store, "winback", NOW_US)
    found = baseline_from_log(store, planned, NOW_US)
    values = [spent(i) / 100 for i in range(120)]
    assert found.units == found.list_units == 120
    assert found.mean == pytest.approx(statistics.mean(values))
    assert found.sd == pytest.approx(statistics.stdev(values))
    assert found.reduction == pytest.approx(1.0), "the covariate is the metric and a constant"
    plan = plan_power(found, Question(effect=Amount(0.1, is_relative=True), units=found.list_units))
    assert [row.units for row in plan.rows] == [30, 60, 90, 120]


def test_who_enters_by_and_by_is_counted_by_week(store: Store) -> None:
    define(store, SPEND, experiment({"primary": ["spend"]}, enrolment="rolling"))
    start = NOW_US - 14 * DAY_US - 28 * DAY_US
    rows = []
    for i in range(60):
        week = 0 if i < 30 else (1 if i < 50 else 3)
        entered = start + week * 7 * DAY_US + DAY_US
        rows.append(happened("Page Viewed", f"m{i:03d}", entered))
        rows.append(happened("Page Viewed", f"m{i:03d}", entered + 9 * DAY_US))
        if i % 3 == 0:
            rows.append(happened("Order Completed", f"m{i:03d}", entered + 2 * DAY_US, 9000))
        rows.append(happened("Order Completed", f"m{i:03d}", entered + 15 * DAY_US, 5000))
    record(store, rows)
    found = baseline_from_log(store, planned_experiment(store, "winback", NOW_US), NOW_US)
    assert (found.units, found.per_week) == (60, [30, 20, 0, 10])
    assert found.mean == pytest.approx(30.0)
    bought = baseline_from_log(store, purchases(planned_experiment(store, "winback", NOW_US)), NOW_US)
    assert (bought.kind, bought.mean) == ("proportion", pytest.approx(1 / 3))


def test_its_own_control_group_goes_first(store: Store) -> None:
    define(store, SPEND, experiment({"primary": ["spend"]}))
    units = [f"m{i:03d}" for i in range(300)]
    known(store, units)
    at = NOW_US - 20 * DAY_US
    rows = [decided(u, "a" if i % 2 else "control", at) for i, u in enumerate(units)]
    late = [decided(f"n{i}", "control", NOW_US - 3 * DAY_US) for i in range(50)]
    rows += late
    rows += [happened("Order Completed", u, at + DAY_US, 100 * i) for i, u in enumerate(units)]
    record(store, rows)
    found = baseline_from_log(store, planned_experiment(store, "winback", NOW_US), NOW_US)
    assert found.units == 150, "the late ones' windows are not over"
    assert found.mean == pytest.approx(statistics.mean(float(i) for i in range(0, 300, 2)))
    assert "control group" in found.source["en"]
    plan = plan_power(found, Question(units=300))
    assert plan.rows[-1].mde == pytest.approx(
        float(mde(Means(found.sd or 0, reduction=found.reduction), 150)), rel=1e-9
    )


def test_an_audience_chosen_by_the_outcome_is_said(store: Store) -> None:
    define(store, SPEND, experiment({"primary": ["spend"]}))
    known(store, ["m1", "m2", "m3"])
    record(store, [happened("Order Completed", "m9", SENT + DAY_US, 500)])
    with pytest.raises(InputError, match="audience is chosen by this very outcome"):
        baseline_from_log(store, planned_experiment(store, "winback", NOW_US), NOW_US)
    with pytest.raises(InputError, match="spent"):
        planned_experiment(store, "winback", NOW_US, "spent")


def test_an_offer_is_priced_on_past_orders(store: Store) -> None:
    define(store, PROFIT, SAVE, experiment({"primary": ["profit"]}))
    values = [5000, 9999, 10_000, 20_000, 30_000]
    record(store, [happened("Order Completed", f"m{i}", NOW_US - DAY_US, v) for i, v in enumerate(values)])
    planned = planned_experiment(store, "winback", NOW_US)
    store.close()
    with open_log(store.url) as log:
        from experiments.definitions import Offer

        offer = Offer(**SAVE)
        orders = past_orders(log, offer, "CNY", "member", NOW_US, planned.metrics["profit"])
    assert orders is not None
    assert (orders.number, orders.redeemed, orders.cost) == (5, 0.6, 20.0)
    assert orders.value == pytest.approx(149.998)
    assert orders.margin == pytest.approx(0.4 * 149.998)
    found = economics(offer, "CNY", 0.02, orders=orders)
    left = 0.4 * 149.998 - 0.6 * 20
    assert found.uplift == pytest.approx((12 * 0.02 + 0.045) / left)
    given = economics(offer, "CNY", 0.02, margin=60, order_value=120)
    assert (given.cost, given.redeemed) == (20.0, 1.0)
    with pytest.raises(InputError, match="--order-value"):
        economics(offer, "CNY", 0.02, margin=60)

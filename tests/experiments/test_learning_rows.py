"""What decisions earned, read from real stores: attribution, late news, refunds, costs, and who is left out.

The independent answer of the random test is plain loops over the rows (`told`), which share no code with
experiments.learning or experiments.measure.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.errors import InputError
from experiments.keeping.repository import Repository
from experiments.learning.rows import LearningRows, matured
from experiments.log.absorb import absorb
from experiments.log.rows import AliasRow, DecisionRow, EventRow
from experiments.measure.parts import REDEEMED
from experiments.store import Store, open_store
from experiments.store.migrate import upgrade
from tests.experiments.learning_shop import (
    KEY,
    METRICS,
    OFFERS,
    SHOP,
    VARIANTS,
    allocation,
    bandit,
    by_decision,
    days,
    drawn,
    shop,
)
from tests.experiments.measuring import NOW_US, START_US, define, happened, metric, record
from tests.experiments.small_shop import walk

DAY_14 = days(14)


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Store]:
    """A fresh embedded store, for what does not depend on the database."""
    opened = open_store(f"sqlite:///{tmp_path / 'local.sqlite'}")
    upgrade(opened)
    yield opened
    opened.close()


def read(store: Store, key: str = KEY, until: int = NOW_US, **more: Any) -> LearningRows:
    return matured(store, Repository(store).experiment(key), until, **more)


def test_an_order_belongs_to_the_last_decision_before_it_or_to_all(store: Store) -> None:
    shop(store, bandit(), bandit("both", allocation=allocation(reward={"attribution": "all"})))
    made, both = (
        [drawn("m-1", "save", START_US, key=key), drawn("m-1", "control", START_US + days(5), key=key),
         drawn("m-2", "gift", START_US, key=key)]
        for key in (KEY, "both")
    )  # fmt: skip
    events = [
        happened("Order Completed", "m-1", START_US + days(1), 20_000, object_id="1"),  # only the first's
        happened("Order Completed", "m-1", START_US + days(6), 10_000, object_id="2"),  # in both windows
        happened("Order Completed", "m-1", START_US + days(5) + DAY_14, 99_000, object_id="3"),  # in nobody's
        happened("Order Completed", "m-2", START_US, 5_000, object_id="4"),  # at the very moment: after the decision
        happened("Order Completed", "m-2", START_US - 1, 7_000, object_id="5"),  # before it
    ]
    record(store, [*made, *both, *events])
    last, every = read(store), read(store, "both")
    assert by_decision(last, made, "amount") == [80.0, 40.0, 20.0]
    assert by_decision(every, both, "amount") == [120.0, 40.0, 20.0]
    assert (last.outcomes, last.overlaps) == (every.outcomes, every.overlaps) == (3, 1)
    assert by_decision(last, made, "reward") == [79.5, 40.0, 19.5]  # less ¥0.50 for a message; control gets none
    assert last.converted.all()
    assert (last.n, last.immature, dict(last.left_out)) == (3, 0, {})


def test_refunds_and_redemptions_go_with_their_order_however_late(local: Store) -> None:
    shop(local, bandit())
    made = [drawn(f"m-{i}", variant, START_US) for i, variant in enumerate(["save", "save", "gift", "control"])]
    late = START_US + days(30)
    events = [
        # Two redeem the coupon of ¥20. The first order is returned in part a month later, the second fully.
        *[happened("Order Completed", f"m-{i}", START_US + days(2), 20_000, object_id=str(i)) for i in range(4)],
        *[happened("Coupon Redeemed", f"m-{i}", START_US + days(2), object_id=str(i)) for i in range(3)],
    ]
    record(local, [*made, *events])
    before = read(local)
    assert by_decision(before, made, "amount") == [60.0, 60.0, 72.0, 80.0]
    record(local, [
        happened("Order Refunded", "m-0", late, 5_000, object_id="0"),
        happened("Order Refunded", "m-1", late, object_id="1"),
        happened("Order Refunded", "m-2", late, object_id="2"),
        happened("Order Updated", "m-3", late, 30_000, object_id="3"),
    ])  # fmt: skip
    after = read(local)
    # The coupon comes back with a refunded order, the gift does not (refund_returns_cost: false).
    assert by_decision(after, made, "amount") == [40.0, 0.0, -8.0, 120.0]
    assert by_decision(after, made, "converted") == [True, False, True, True]
    assert read(local, until=late - 1).amount.tolist() == before.amount.tolist()  # as it was known then


def test_conversions_may_have_a_worth_and_then_costs_count(local: Store) -> None:
    shop(
        local,
        bandit(primary="buys"),
        bandit("worth", primary="buys", allocation=allocation(reward={"worth": "40"})),
        bandit("visit", primary="visits"),
        bandit("spent", primary="spend"),
    )
    made = {key: [drawn("m-1", "save", START_US, key=key), drawn("m-2", "control", START_US, key=key),
                  drawn("m-3", "gift", START_US, key=key)]
            for key in (KEY, "worth", "visit", "spent")}  # fmt: skip
    events = [
        happened("Order Completed", "m-1", START_US + days(2), 20_000, object_id="1"),
        happened("Order Completed", "m-1", START_US + days(3), 30_000, object_id="2"),
        happened("Coupon Redeemed", "m-1", START_US + days(2), object_id="1"),
        happened("Order Completed", "m-3", START_US + days(1), 20_000, object_id="3"),
        *[happened("Visit", "m-2", START_US + days(day)) for day in (1, 2, 3, 40)],
    ]
    record(local, [*[row for rows in made.values() for row in rows], *[e for e in events if e.name != REDEEMED]])
    # Where nobody reports redemptions, an order is taken to redeem what its decision gave.
    assert by_decision(read(local, "worth"), made["worth"], "amount") == [20.0, 0.0, 32.0]
    record(local, [event for event in events if event.name == REDEEMED])
    plain, worth, visits, spent = (read(local, key) for key in made)
    assert by_decision(plain, made[KEY], "amount") == by_decision(plain, made[KEY], "reward") == [1.0, 0.0, 1.0]
    assert by_decision(worth, made["worth"], "amount") == [20.0, 0.0, 40.0]  # ¥40 less the coupon of ¥20
    assert by_decision(worth, made["worth"], "reward") == [19.5, 0.0, 39.5]
    assert by_decision(visits, made["visit"], "amount") == [0.0, 3.0, 0.0]
    assert by_decision(spent, made["spent"], "reward") == [500.0, 0.0, 200.0]  # revenue: no costs


def test_only_matured_drawn_decisions_count_and_the_others_are_counted(store: Store) -> None:
    shop(store, bandit(exclude=["staff"]))
    p = {"control": 0.1, "save": 0.9}
    made = [
        drawn("m-1", "save", START_US, p=p, version=3, frozen={"stage": "new", "orders": 2}),
        drawn("m-2", "control", START_US + 1, group="uniform", frozen={"stage": "old"}),
        drawn("m-3", "control", START_US + 2, p={}, version=3),  # nobody was eligible
        drawn("m-4", "save", NOW_US - DAY_14 + 1),  # its window is open
        drawn("staff", "save", START_US),
        drawn("tester", "save", START_US, kind="override", propensity=None, policy=None),
        drawn("tester", "gift", START_US + 5),
        drawn("m-5", "gift", START_US, propensity=None),
        drawn("m-6", "gift", START_US, propensity=0.5),  # not what its probabilities say
        drawn("m-7", "other", START_US),
        drawn("m-9", "gift", START_US, policy='{"version":3}'),
        drawn("m-8", "save", START_US, occasion="x"),
        drawn("m-8", "gift", START_US + 1, occasion="x"),  # contradicts the one before
    ]
    record(store, made)
    rows = read(store)
    assert rows.decision_id.tolist() == [made[i].decision_id for i in range(3)]
    assert rows.group.tolist() == ["policy", "uniform", "policy"]
    assert rows.version.tolist() == [3, 0, 3]
    assert rows.p.tolist() == [[0.1, 0.9, 0.0], [1 / 3] * 3, [1.0, 0.0, 0.0]]
    assert rows.eligible.tolist() == [[True, True, False], [True] * 3, [True, False, False]]
    assert rows.propensity.tolist() == [0.9, 1 / 3, 1.0]
    assert rows.columns["stage"].tolist() == ["new", "old", None]
    assert rows.columns["orders"].tolist() == [2, None, None]
    assert rows.immature == 1
    assert dict(rows.left_out) == {
        "conflicting": 1, "excluded": 1, "no_propensity": 1, "not_drawn": 1, "override": 1, "propensity_differs": 2,
    }  # fmt: skip
    learned = rows.rows()
    assert (learned.n, rows.rows("uniform").n, rows.rows(None).n) == (2, 1, 3)
    assert learned.age_days.tolist() == [60.0, pytest.approx(60.0)]
    assert read(store, since=START_US + 1).n == 2
    assert read(store, until=START_US + DAY_14).n == 1


def test_the_ids_of_one_member_share_outcomes(store: Store) -> None:
    shop(store, bandit())
    made = [drawn("m-1", "save", START_US), drawn("app-1", "gift", START_US + days(3))]
    link = AliasRow("crm", "member", "m-1", "app-1", START_US, START_US)
    events = [happened("Order Completed", "m-1", START_US + days(4), 10_000, object_id="1")]
    record(store, [*made, *events])
    with store.begin() as connection:
        absorb(connection, [link], NOW_US)
    rows = read(store)
    assert by_decision(rows, made, "amount") == [0.0, 40.0]
    assert len(set(rows.unit.tolist())) == 1


def test_amounts_are_cut_where_the_metric_says(local: Store) -> None:
    cut = metric("capped", "sum", value="value", winsorise=0.9)
    shop(local, bandit(primary="profit"))
    define(local, *OFFERS, *METRICS, cut, bandit("capped", primary="capped"), project=SHOP)
    walk(local, "capped", "review", "testing", "running", now=START_US)
    made = [drawn(f"m-{i}", "control", START_US, key="capped") for i in range(21)]
    record(local, made)
    record(local, [happened("Order Completed", f"m-{i}", START_US, i * 100, object_id=str(i)) for i in range(21)])
    assert by_decision(read(local, "capped"), made, "amount") == [*[float(i) for i in range(19)], 18.0, 18.0]


def test_windows_may_start_at_the_send(local: Store) -> None:
    shop(local, bandit(windows_start="send"))
    made = [
        drawn("m-1", "save", START_US, send_at=START_US + days(2)),
        drawn("m-2", "save", START_US, send_at=START_US + days(2)),
        drawn("m-3", "control", START_US),
    ]
    events = [
        *[happened("Order Completed", f"m-{i}", START_US + days(2.5), 10_000, object_id=str(i)) for i in (1, 2, 3)],
        happened("Message Sent", "m-2", START_US + days(3), decision_id=made[1].decision_id),
    ]
    record(local, [*made, *events])
    assert by_decision(read(local), made, "amount") == [40.0, 0.0, 40.0]
    assert read(local, until=START_US + days(15)).n == 1


def test_an_experiment_without_a_policy_is_read_too(local: Store) -> None:
    hashed = bandit("ab", variants=[{"key": "control", "weight": 3}, {"key": "save", "offer": "save-20"}])
    del hashed["allocation"]
    shop(local, hashed)
    made = [drawn("m-1", "save", START_US, key="ab", policy=None, propensity=0.25, occasion="")]
    record(local, made)
    rows = read(local, "ab")
    assert (rows.group.tolist(), rows.p.tolist()) == (["hash"], [[0.75, 0.25]])


def test_what_cannot_be_learned_is_refused(local: Store) -> None:
    hashed = bandit("ab", primary="gone")
    del hashed["allocation"]
    shop(local, hashed)
    with pytest.raises(InputError, match="nothing can be learned from metric gone: less of it is better"):
        read(local, "ab")


# a random log -------------------------------------------------------------------------------------------------------


@dataclass
class Order:
    unit: str
    placed_at: int
    stated: list[tuple[int, int]]
    """(when, value) of each statement."""
    refunds: list[tuple[int, int]]
    redeemed: bool
    cancelled: bool = False


def random_orders(chance: random.Random, units: Sequence[str]) -> list[Order]:
    orders = []
    for _ in range(400):
        at = START_US + days(chance.uniform(-3, 40))
        value = chance.randrange(5_000, 30_000)
        order = Order(chance.choice(units), at, [(at, value)], [], chance.random() < 0.4)
        if chance.random() < 0.2:
            order.stated.append((at + days(chance.uniform(0.1, 20)), chance.randrange(5_000, 30_000)))
        if chance.random() < 0.2:
            order.refunds.append((at + days(chance.uniform(0.1, 20)), chance.randrange(1_000, 40_000)))
        order.cancelled = chance.random() < 0.1
        orders.append(order)
    return orders


def events_of(orders: Sequence[Order]) -> list[EventRow]:
    rows = []
    for number, order in enumerate(orders):
        key = f"order-{number}"
        for n, (at, value) in enumerate(order.stated):
            rows.append(happened("Order Updated" if n else "Order Completed", order.unit, at, value, object_id=key))
        rows += [happened("Order Refunded", order.unit, at, value, object_id=key) for at, value in order.refunds]
        if order.cancelled:
            rows.append(happened("Order Cancelled", order.unit, order.placed_at + days(1), object_id=key))
        if order.redeemed:
            rows.append(happened("Coupon Redeemed", order.unit, order.placed_at + 1, object_id=key))
    return rows


def told(decisions: Sequence[DecisionRow], orders: Sequence[Order], attribution: str) -> tuple[list[int], int, int]:
    """Return what each decision earned in minor units, how many orders counted, and how many for several."""
    earned = dict.fromkeys((row.decision_id for row in decisions), 0)
    counted = shared = 0
    for order in orders:
        mine = [row for row in decisions if row.unit == order.unit and row.at <= order.placed_at < row.at + DAY_14]
        mine.sort(key=lambda row: (row.at, row.decision_id))
        given = mine if attribution == "all" else mine[-1:]
        gross, refunded = max(order.stated)[1], sum(value for _, value in order.refunds)
        back = order.cancelled or refunded >= gross
        margin = 0 if back else (2 * 4 * (gross - refunded) + 10) // 20
        amounts = []
        for row in given:
            cost = 0
            if order.redeemed and row.variant == "save" and not back and gross >= 10_000:
                cost = 2_000
            if order.redeemed and row.variant == "gift":
                cost = 800  # not given back
            earned[row.decision_id] += margin - cost
            amounts.append(margin - cost)
        if any(amounts):
            counted += 1
            shared += len(mine) > 1
    return list(earned.values()), counted, shared


@pytest.mark.parametrize("attribution", ["last", "all"])
def test_random_logs_say_what_plain_loops_say(store: Store, attribution: str) -> None:
    chance = random.Random(f"rows {attribution}")
    shop(store, bandit(allocation=allocation(reward={"attribution": attribution})))
    units = [f"m-{i}" for i in range(60)]
    decisions = [
        drawn(chance.choice(units), chance.choice(VARIANTS), START_US + days(chance.uniform(0, 30))) for _ in range(200)
    ]
    orders = random_orders(chance, units)
    rows: list[DecisionRow | EventRow] = [*decisions, *events_of(orders)]
    chance.shuffle(rows)
    for start in range(0, len(rows), 300):
        record(store, rows[start : start + 300])
    found = read(store)
    amounts, counted, shared = told(decisions, orders, attribution)
    assert [round(100 * value) for value in by_decision(found, decisions, "amount")] == amounts
    assert (found.outcomes, found.overlaps) == (counted, shared)
    assert shared > 10
    assert np.isfinite(found.reward).all()

"""What is learned from an experiment's log: who counts, what was known before, what an outcome is worth."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.errors import InputError
from experiments.keeping.repository import Repository
from experiments.log.rows import DAY_US
from experiments.report.build import build_report, declared_of
from experiments.sources.log import open_log
from experiments.store import Store, open_store
from experiments.store.migrate import upgrade
from experiments.uplift.learned import Learned, rows_of_experiment
from experiments.uplift.of_experiment import recommend_experiment, wanted_of
from experiments.uplift.options import Wanted
from experiments.uplift.order_facts import RECENCY, facts_of_units
from tests.experiments.measuring import NOW_US, START_US, decided, happened, record
from tests.experiments.uplift_shop import KEY, rows, shop


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """SQLite alone: one test below asks both databases."""
    opened = open_store(f"sqlite:///{tmp_path / 'equipoise.sqlite'}")
    upgrade(opened)
    yield opened
    opened.close()


def learned(store: Store, now: int = NOW_US, **wanted: Any) -> Learned:
    declared = declared_of(Repository(store), KEY)
    store.close()
    with open_log(store.url) as log:
        return rows_of_experiment(log, declared, now, Wanted(**wanted))


def test_units_arms_outcomes_and_money_are_those_of_the_log(store_url: str) -> None:
    store = open_store(store_url)
    upgrade(store)
    shop(store)
    found = learned(store)
    by_hand = {row.unit: row for row in rows() if hasattr(row, "variant")}
    buyers = {row.unit for row in rows() if getattr(row, "name", "") == "Order Completed" and row.at > START_US}
    assert found.arms == ("control", "a")
    assert found.units.tolist() == sorted(by_hand)
    assert [found.arms[arm] for arm in found.trial.arm] == [by_hand[unit].variant for unit in found.units]
    assert [bool(y) for y in found.trial.outcome] == [unit in buyers for unit in found.units]
    assert found.trial.propensity.tolist() == [[0.5, 0.5]] * len(by_hand)
    # Orders of ¥150 leave 40 %; every coupon of ¥20 is redeemed, and each message costs ¥3.
    assert found.prices.worth == pytest.approx([60.0, 60.0])
    assert found.prices.redemption.tolist() == [0.0, 20.0]
    assert found.prices.redeemed == pytest.approx([0.0, 1.0])
    assert found.prices.contact.tolist() == [0.0, 3.0]
    assert found.earned is not None
    in_arm = found.trial.arm == 1
    bought = found.trial.outcome
    assert found.earned == pytest.approx(60 * bought - in_arm * (20 * bought + 3.0))
    assert (found.currency, found.outcome, found.assumed) == ("CNY", "buys", ())
    store.close()


@pytest.mark.slow
def test_one_offer_for_all_is_worth_what_the_report_says(store: Store) -> None:
    shop(store)
    document = recommend_experiment(store, KEY, NOW_US)
    report = build_report(store, KEY, NOW_US)
    (profit,) = [metric for metric in report.metrics if metric.name == "profit"]
    means = {variant.variant: variant.mean or 0.0 for variant in profit.variants}
    single = document.arms[1].profit
    assert single is not None
    assert single.estimate is not None
    assert single.ci_low is not None
    plain = means["a"] - means["control"]
    # Doubly robust values differ from the plain difference by what attributes explain: less than half its interval.
    assert abs(single.estimate - plain) < (single.estimate - single.ci_low) / 2


def test_attributes_are_frozen_ones_and_dates_count_back_from_the_decision(store: Store) -> None:
    shop(store, members=600)
    found = learned(store)
    assert list(found.columns)[:3] == ["age", "joined_at", "tier"]
    assert found.columns["tier"].dtype == object
    assert found.columns["age"].min() >= 20
    # 2026-01-01 midnight in Shanghai is 61.5 days before noon of 3 March.
    assert found.columns["joined_at"].max() == pytest.approx(61.5)
    assert found.facts[0] == RECENCY


def test_facts_are_what_was_known_before_the_decision(store: Store) -> None:
    shop(store, members=400)
    record(
        store,
        [
            decided("kept", "a", frozen='{"tier":"gold"}'),
            happened("Order Completed", "kept", START_US - 30 * DAY_US, 8_000, object_id="k1"),
            # Given back after the decision: an effect of it perhaps, and not known then.
            happened("Order Refunded", "kept", START_US + DAY_US, 8_000, object_id="k1"),
            decided("gone", "a", frozen='{"tier":"gold"}'),
            happened("Order Completed", "gone", START_US - 30 * DAY_US, 8_000, object_id="g1"),
            happened("Order Cancelled", "gone", START_US - 29 * DAY_US, object_id="g1"),
            happened("Order Completed", "gone", START_US - 200 * DAY_US, 5_000, object_id="g2"),
        ],
    )
    found = learned(store)
    place = {unit: number for number, unit in enumerate(found.units)}
    kept = {name: found.columns[name][place["kept"]] for name in found.facts}
    gone = {name: found.columns[name][place["gone"]] for name in found.facts}
    assert kept == pytest.approx(
        {RECENCY: 30, "$orders_90d": 1, "$orders_365d": 1, "$spend_90d": 80, "$spend_365d": 80}
    )
    assert gone == pytest.approx(
        {RECENCY: 200, "$orders_90d": 0, "$orders_365d": 1, "$spend_90d": 0, "$spend_365d": 50}
    )
    with open_log(store.url) as log:
        later = facts_of_units(log, ["gone", "nobody", "kept"], "member", START_US + 5 * DAY_US, unit=100)
    assert later["$orders_90d"].tolist() == [0, 0, 0]
    assert later[RECENCY][0] == pytest.approx(205)
    assert np.isnan(later[RECENCY][1:]).all()


def test_units_whose_window_is_open_and_those_that_do_not_count_are_left_out(store: Store) -> None:
    shop(store, members=600)
    late = [decided(f"late{n}", "a", NOW_US - DAY_US) for n in range(5)]
    record(store, [*late, decided("twice", "a"), decided("twice", "control", START_US + 1, occasion="x")])
    found = learned(store)
    assert found.left_out == {"immature": 5}
    assert not {"twice", "late0"} & set(found.units)


def test_a_value_that_is_given_takes_the_place_of_margins(store: Store) -> None:
    shop(store, members=600)
    found = learned(store, value=100.0)
    assert found.prices.worth.tolist() == [100.0, 100.0]
    assert (found.earned, found.assumed) == (None, ("given_value",))


@pytest.mark.slow
def test_money_itself_may_be_the_outcome(store: Store) -> None:
    shop(store, members=600)
    by_money, by_outcome = learned(store, outcome="profit"), learned(store)
    assert by_outcome.earned is not None
    assert by_money.trial.outcome == pytest.approx(by_outcome.earned)
    assert by_money.prices.contact.tolist() == [0.0, 0.0]


def test_what_a_log_says_of_propensities_comes_before_the_split(store: Store) -> None:
    shop(store, members=500)
    record(store, [decided("rare", "a", propensity=0.2)])
    found = learned(store)
    (place,) = np.flatnonzero(found.units == "rare")
    assert found.trial.propensity[place] == pytest.approx([0.8, 0.2])


@pytest.mark.slow
def test_the_same_rows_and_settings_give_the_same_document(store: Store) -> None:
    shop(store)
    first = recommend_experiment(store, KEY, NOW_US)
    wanted, now = wanted_of(dict(first.settings))
    assert recommend_experiment(store, KEY, now, wanted).content_hash == first.content_hash


def test_nothing_is_recommended_before_the_end_or_from_too_few(store: Store) -> None:
    shop(store, members=120, state="running")
    with pytest.raises(InputError, match="is running: who should get which offer is recommended when it has ended"):
        recommend_experiment(store, KEY, NOW_US)
    with pytest.raises(InputError, match="100 are the least to learn from"):
        learned(store)
    with pytest.raises(InputError, match="did you mean 'buys'"):
        learned(store, outcome="buy")

"""Stages from orders: boundaries of days, time zones, order states, history, what is stored, and computing twice."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from experiments.errors import InputError
from experiments.stages import runs
from experiments.stages.computing import compute
from experiments.stages.document import Move
from experiments.store import Store
from experiments.store.log_tables import identities
from experiments.store.stage_tables import stage_history
from tests.experiments.stages.shop import RULE, at, define, happened, ordered, record, state, stored

NOON = at("2026-05-20T12:00")


def stages(store: Store) -> dict[str, object]:
    return {unit: known.get("stage") for unit, known in stored(store).items()}


CASES = {
    # The article's 30 and 60 days: whole days of the calendar, whatever the hour.
    "Asia/Shanghai": [
        ("2026-04-20T23:59", "2026-05-20T00:00", "dormant"),  # 30 days
        ("2026-04-19T12:00", "2026-05-20T00:00", "dormant"),  # 31
        ("2026-03-21T23:59", "2026-05-20T00:01", "lost"),  # 60
        ("2026-03-20T12:00", "2026-05-20T00:01", "lost"),  # 61
        ("2026-04-21T00:00", "2026-05-20T23:59", "active"),  # 29
        ("2026-03-22T00:00", "2026-05-20T23:59", "dormant"),  # 59
    ],
    # Clocks went forward on 29 March, and back on 2 November: a day of 23 or 25 hours is a day.
    "Europe/Berlin": [
        ("2026-03-01T00:30", "2026-03-30T23:30", "active"),
        ("2026-03-01T23:30", "2026-03-31T00:00", "dormant"),
    ],
    "America/New_York": [("2025-10-15T23:59", "2025-11-14T00:00", "dormant")],
}


@pytest.mark.parametrize("zone", CASES)
def test_days_are_whole_local_days(sqlite_store: Store, zone: str) -> None:
    define(sqlite_store, zone=zone)
    cases = CASES[zone]
    record(sqlite_store, [ordered(f"m-{i}", at(last, zone)) for i, (last, _, _) in enumerate(cases)])
    for moment in dict.fromkeys(as_of for _, as_of, _ in cases):
        compute(sqlite_store, "lifecycle", at(moment, zone))
        found = stages(sqlite_store)
        assert {(i, found[f"m-{i}"]) for i, (_, as_of, _) in enumerate(cases) if as_of == moment} == {
            (i, stage) for i, (_, as_of, stage) in enumerate(cases) if as_of == moment
        }


def test_the_same_moment_is_another_day_elsewhere(sqlite_store: Store) -> None:
    """30 days in Shanghai, 29 in New York."""
    define(sqlite_store, zone="America/New_York")
    record(sqlite_store, [ordered("m-1", at("2026-04-20T23:59"))])
    compute(sqlite_store, "lifecycle", at("2026-05-20T00:00"))
    assert stages(sqlite_store) == {"m-1": "active"}


def test_an_order_is_its_latest_state(store: Store) -> None:
    define(store)
    day = at("2026-05-10T12:00")
    record(
        store,
        [
            ordered("cancelled", day, order="o1"),
            happened("Order Cancelled", "cancelled", day + 1, "o1"),
            ordered("returned", day, 5_000, order="o2"),
            happened("Order Refunded", "returned", day + 1, "o2", 5_000),
            ordered("partly", day, 5_000, order="o3"),
            happened("Order Refunded", "partly", day + 1, "o3", 2_000),
            ordered("twice", day, 5_000, order="o4"),
            happened("Order Completed", "twice", day + 5, "o4", 5_000, source="app"),
            happened("Order Updated", "updated", day, "o5", 5_000),
            ordered("later", NOON + 1),
        ],
    )
    run = compute(store, "lifecycle", NOON)
    found = stored(store)
    # No order is left to the first two; the last one's is still to come, and nobody knows of it.
    assert {unit: known["stage"] for unit, known in found.items()} == {
        "cancelled": "potential", "returned": "potential", "partly": "active", "twice": "active", "updated": "active",
    }  # fmt: skip
    assert found["twice"]["orders_90d"] == 1
    assert found["twice"]["last_order_at"] == "2026-05-10T04:00:00Z"
    assert "last_order_at" not in found["cancelled"]
    assert run.counts == {"active": 3, "potential": 2}
    assert sum(cell.spend for cell in run.detail.grid) == 30 + 50 + 50


def test_a_cancellation_counts_from_when_it_is_known(sqlite_store: Store) -> None:
    define(sqlite_store)
    day = at("2026-05-10T12:00")
    record(sqlite_store, [ordered("m-1", day, order="o1"), happened("Order Cancelled", "m-1", NOON + 1, "o1")])
    compute(sqlite_store, "lifecycle", NOON)
    assert stages(sqlite_store) == {"m-1": "active"}
    compute(sqlite_store, "lifecycle", NOON + 2)
    assert stages(sqlite_store) == {"m-1": "potential"}


def test_ids_that_are_one_member_share_their_orders(store: Store) -> None:
    define(store)
    with store.begin() as connection:
        rows = [{"unit_type": "member", "unit": unit, "root": "m-1"} for unit in ("m-1", "phone-1")]
        connection.execute(sa.insert(identities), rows)
    record(store, [ordered("phone-1", at("2026-05-10T12:00")), ordered("m-1", at("2026-03-01T12:00"))])
    run = compute(store, "lifecycle", NOON)
    assert stages(store) == {"m-1": "active", "phone-1": "active"}
    assert stored(store)["m-1"]["orders_90d"] == 2
    assert run.units == 1


def test_history_holds_changes_only_and_twice_is_once(store: Store) -> None:
    define(store)
    first, second = at("2026-05-10T12:00"), at("2026-06-09T12:00")
    record(store, [ordered("m-1", first), ordered("m-2", at("2026-06-01T12:00"))])
    compute(store, "lifecycle", first + 1)
    compute(store, "lifecycle", first + 2)
    for _ in range(2):
        run = compute(store, "lifecycle", second)
    assert run.changed == 2
    with store.read() as connection:
        found = [tuple(row) for row in connection.execute(sa.select(stage_history).order_by("unit", "since"))]
        assert len(runs.since(connection, "lifecycle", 0)) == 3
    assert found == [
        ("lifecycle", "member", "m-1", first + 1, "active", 1),
        ("lifecycle", "member", "m-1", second, "dormant", 1),
        ("lifecycle", "member", "m-2", second, "active", 1),
    ]
    with pytest.raises(InputError, match="was computed as of 2026-06-09T04:00:00Z already"):
        compute(store, "lifecycle", second - 1)


def test_weeks_before_the_first_run_show_who_moved(sqlite_store: Store) -> None:
    define(sqlite_store)
    # 2026-05-20 is a Wednesday; the week began on the 18th.
    record(sqlite_store, [ordered("m-1", at("2026-04-19T12:00")), ordered("m-2", at("2026-05-19T12:00"))])
    state(sqlite_store, "m-2", 5, tier="gold")
    run = compute(sqlite_store, "lifecycle", NOON, weeks=3)
    with sqlite_store.read() as connection:
        kept = runs.since(connection, "lifecycle", 0)
    assert [found.at for found in reversed(kept)] == [
        at(f"2026-05-{day}T00:00") - 1_000_000 + 999_999 for day in ("04", "11", "18")
    ] + [NOON]
    assert run.detail.week == "2026-05-18"
    assert run.detail.moves == [
        Move(before="active", after="dormant", units=1),
        Move(before="potential", after="active", units=1),
    ]
    assert kept[-1].detail.moves is None


def test_what_somebody_states_later_counts_until_the_next_day(sqlite_store: Store) -> None:
    """The stage is an attribute like others: the latest statement counts, and the next computing states it anew."""
    define(sqlite_store)
    record(sqlite_store, [ordered("m-1", at("2026-05-10T12:00"))])
    state(sqlite_store, "m-1", NOON + 10, stage="vip", tier="gold")
    compute(sqlite_store, "lifecycle", NOON)
    assert stored(sqlite_store)["m-1"] == {
        "stage": "vip", "tier": "gold", "last_order_at": "2026-05-10T04:00:00Z", "orders_90d": 1,
    }  # fmt: skip
    compute(sqlite_store, "lifecycle", NOON + 20)
    assert stages(sqlite_store) == {"m-1": "active"}


def test_before_joining_is_no_stage(sqlite_store: Store) -> None:
    define(sqlite_store, RULE.replace("{keep: [last_order_at, orders_90d]}", "{joined: joined_at}"))
    state(sqlite_store, "m-1", 5, joined_at="2026-05-21")
    state(sqlite_store, "m-2", 5, joined_at="2026-05-19")
    state(sqlite_store, "m-3", 5, tier="gold")
    run = compute(sqlite_store, "lifecycle", NOON)
    assert stages(sqlite_store) == {"m-1": None, "m-2": "potential", "m-3": "potential"}
    assert run.counts == {"": 1, "potential": 2}
    assert compute(sqlite_store, "lifecycle", at("2026-05-22T12:00")).changed == 1
    assert stages(sqlite_store)["m-1"] == "potential"


def test_logins_and_other_events_that_are_orders(sqlite_store: Store) -> None:
    rule = """
kind: stage_rule
key: lifecycle
computed: {order: Purchase, login: App Visited}
stages:
  - {stage: recall, rule: {attribute: last_login_at, op: days_since, gte: 90}}
  - {stage: buyer, rule: {attribute: spend, op: gte, value: 30}}
  - {stage: visitor}
"""
    define(sqlite_store, rule)
    record(
        sqlite_store,
        [
            happened("App Visited", "away", at("2026-02-19T23:00")),
            happened("App Visited", "here", at("2026-02-20T00:00")),
            happened("Purchase", "buys", at("2026-05-01T10:00"), "p1", 2_000),
            happened("Purchase", "buys", at("2026-05-02T10:00"), None, 1_000),
            happened("Order Completed", "other", at("2026-05-02T10:00"), "o1", 9_000),
        ],
    )
    compute(sqlite_store, "lifecycle", NOON)
    assert stages(sqlite_store) == {"away": "recall", "here": "visitor", "buys": "buyer"}


def test_a_rule_that_is_not_computed_changes_nothing(sqlite_store: Store) -> None:
    define(sqlite_store, RULE.replace("computed: {keep: [last_order_at, orders_90d]}\n", "").replace(
        "{attribute: orders, op: eq, value: 0}", "{attribute: tier, op: eq, value: none}"))  # fmt: skip
    with pytest.raises(InputError, match="is not computed here: add computed"):
        compute(sqlite_store, "lifecycle", NOON)
    with pytest.raises(InputError, match="no stage rule 'other' is defined; there are: lifecycle"):
        compute(sqlite_store, "other", NOON)

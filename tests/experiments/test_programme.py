"""The programme's return: a shop of two campaigns that decides for itself, against plain loops over what was logged."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from allocation.compiled import compile_snapshot
from allocation.decide import decide
from allocation.plan import Snapshot
from api.cli import cli
from experiments.errors import InputError
from experiments.keeping.repository import Repository
from experiments.lifecycle.transition import transition
from experiments.log.rows import DAY_US, DecisionRow, EventRow
from experiments.programme.asking import ProgrammeOptions, usual_metric
from experiments.programme.build import build_programme
from experiments.programme.document import HoldoutResult
from experiments.programme.population import passes
from experiments.publishing.plans import plan_of
from experiments.store import Store, open_store
from experiments.store.migrate import upgrade
from tests.experiments.measuring import NOW_US, START_US, define, experiment, happened, metric, record

UNITS = 3000
DOCUMENTS: list[dict[str, Any]] = [
    {"kind": "layer", "key": "coupons", "made": {"salt": "1a2b3c4d5e6f7a8b"}},
    {"kind": "holdout", "key": "everyone", "share": "20%", "made": {"salt": "00112233445566aa"}},
    {"kind": "holdout", "key": "later", "share": "5%", "made": {"salt": "aabb112233445566"},
     "scope": {"experiments": ["second"]}},
    {"kind": "offer", "key": "save", "name": "¥5 off", "type": "fixed_coupon", "face_value": "5.00",
     "contact_cost": {"sms": "0.045"}},
    metric("profit", "profit", margin={"rate": "0.4"}),
    metric("buyers", "proportion"),
]  # fmt: skip
ARMS = [{"key": "control"}, {"key": "a", "offer": "save", "channel": "sms"}]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Store]:
    """Two running campaigns: one takes half of a layer and 60 % of its traffic, one everybody of the other half."""
    store = open_store(f"sqlite:///{tmp_path / 'equipoise.sqlite'}")
    upgrade(store)
    slots = {"first": ["0", "0.5"], "second": ["0.5", "1"]}
    salts = {"first": "0f0e0d0c0b0a0908", "second": "1020304050607080"}
    campaigns = [
        experiment(
            {"primary": ["profit"]},
            key=key,
            variants=ARMS,
            traffic="0.6" if key == "first" else "1",
            layer={"key": "coupons", "slots": [slots[key]]},
            made={"salt": salts[key]},
        )
        for key in slots
    ]
    define(store, *DOCUMENTS, *campaigns)
    for key in ("first", "second"):
        for state in ("review", "testing", "running"):
            transition(store, key, state, "ann", "because", now=START_US - DAY_US)
    yield store
    store.close()


def decided_by_itself(store: Store, *, drop_held: float = 0.0) -> list[DecisionRow]:
    """Everybody asks for both campaigns, each within two weeks; what the service would log."""
    repository = Repository(store)
    plans = {r.key: plan_of(repository, r) for r in repository.experiments()}
    snapshot = compile_snapshot(Snapshot(version="v", effective_at=0, experiments=plans))
    rng = np.random.default_rng(7)
    rows = []
    for number in range(UNITS):
        for key in plans:
            answer = decide(snapshot, key, f"m{number}", now=START_US + int(rng.integers(0, 14 * DAY_US)))
            if answer.logged and not (answer.kind == "holdout" and rng.random() < drop_held):
                rows.append(DecisionRow.from_decision(answer))
    return rows


def lived(rows: list[DecisionRow], lift: float) -> list[EventRow]:
    """Orders before and after; who was given the offer orders more often and redeems it."""
    rng = np.random.default_rng(8)
    events = []
    by_unit = rows_of(rows)
    for number in range(UNITS):
        unit = f"m{number}"
        given = any(row.variant == "a" for row in by_unit.get(unit, []))
        for k in range(int(rng.poisson(0.5 + (lift if given else 0)))):
            at = START_US + int(rng.integers(-10 * DAY_US, 40 * DAY_US))
            events.append(
                happened("Order Completed", unit, at, int(rng.integers(2000, 30_000)), object_id=f"{unit}-{k}")
            )
            if given and rng.random() < 0.5:
                events.append(happened("Coupon Redeemed", unit, at, 500, object_id=f"{unit}-{k}"))
    return events


def rows_of(rows: list[DecisionRow]) -> dict[str, list[DecisionRow]]:
    by_unit: dict[str, list[DecisionRow]] = {}
    for row in rows:
        by_unit.setdefault(row.unit, []).append(row)
    return by_unit


def by_hand(store: Store, rows: list[DecisionRow], events: list[EventRow], holdout: str) -> tuple[np.ndarray, ...]:
    """Profit, and its cost, of each member of both sides: loops, and `decide` itself without the holdout."""
    repository = Repository(store)
    records = {r.key: r for r in repository.experiments() if holdout in (r.pinned.holdouts if r.pinned else ())}
    free = {}
    for key, one in records.items():
        plan = plan_of(repository, one)
        others = tuple(h for h in plan.holdouts if h.key != holdout)
        free[key] = msgspec.structs.replace(plan, holdouts=others)
    snapshot = compile_snapshot(Snapshot(version="v", effective_at=0, experiments=free))
    entered: dict[str, tuple[str, int, float]] = {}
    for unit, theirs in rows_of(rows).items():
        held = [r for r in theirs if r.kind == "holdout" and r.holdout == holdout and r.experiment in records]
        held = [r for r in held if decide(snapshot, r.experiment, unit, now=r.at).kind == "enrolled"]
        reached = [r for r in theirs if r.kind == "enrolled" and r.experiment in records]
        if held:
            entered[unit] = ("held", min(r.at for r in held), 0.0)
        elif reached:
            entered[unit] = ("reached", min(r.at for r in reached), 0.045 * sum(r.variant == "a" for r in reached))
    orders: dict[str, float] = {}
    redeemed: dict[str, float] = {}
    for event in events:
        if event.unit in entered and entered[event.unit][1] <= event.at <= NOW_US:
            into = orders if event.name == "Order Completed" else redeemed
            minor = event.value_minor or 0
            # A margin of 40 % in whole fen of each order, halves up.
            minor = (4 * minor + 5) // 10 if into is orders else minor
            into[event.unit] = into.get(event.unit, 0) + minor / 100
    sides = {}
    for side in ("held", "reached"):
        units = [unit for unit, (where, *_) in entered.items() if where == side]
        cost = np.array([redeemed.get(u, 0) + entered[u][2] for u in units])
        sides[side] = np.array([orders.get(u, 0) for u in units]) - cost, cost
    return *sides["held"], *sides["reached"]


@pytest.mark.parametrize("holdout", ["everyone", pytest.param("later", marks=pytest.mark.slow)])
def test_return_is_what_loops_say(shop: Store, holdout: str) -> None:
    rows = decided_by_itself(shop)
    events = lived(rows, lift=0.6)
    record(shop, [*rows, *events])
    held, _, reached, cost = by_hand(shop, rows, events, holdout)
    found = one(build_programme(shop, ProgrammeOptions(holdout=holdout, fixed_cost=100.0), NOW_US).holdouts)
    assert (found.held_out, found.reached) == (len(held), len(reached))
    assert min(len(held), len(reached)) > 50
    assert found.split_p is not None
    assert found.split_p > 0.001
    difference = reached.mean() - held.mean()
    error = np.sqrt(held.var(ddof=1) / len(held) + reached.var(ddof=1) / len(reached))
    n = len(reached)
    assert found.profit.estimate == pytest.approx(n * difference - 100, rel=1e-9)
    assert found.profit.ci_low == pytest.approx(n * (difference - 1.959963984540054 * error) - 100, rel=1e-9)
    assert found.profit_per_member.estimate == pytest.approx(difference - 100 / n, rel=1e-9)
    assert found.cost == pytest.approx(cost.sum() + 100, rel=1e-9)
    assert found.roi.estimate == pytest.approx((n * difference - 100) / (cost.sum() + 100), rel=1e-9)
    spread = np.sqrt((held.var(ddof=1) * len(held) + reached.var(ddof=1) * n) / (len(held) + n))
    least = 2.801585218 * spread * np.sqrt(1 / len(held) + 1 / n)  # z(.975) + z(.8)
    assert found.detectable == pytest.approx(least, rel=1e-8)


def test_who_was_kept_out_would_have_been_enrolled(shop: Store) -> None:
    """The gates are those of `decide`: 4,000 units, with every other holdout, slot and traffic."""
    repository = Repository(shop)
    for one_record in repository.experiments():
        plan = plan_of(repository, one_record)
        free = msgspec.structs.replace(plan, holdouts=tuple(h for h in plan.holdouts if h.key != "everyone"))
        snapshot = compile_snapshot(Snapshot(version="v", effective_at=0, experiments={plan.key: free}))
        told = [passes(plan, one_record, f"x{i}", START_US, "everyone") for i in range(2000)]
        real = [decide(snapshot, plan.key, f"x{i}", now=START_US).kind == "enrolled" for i in range(2000)]
        assert told == real
        assert 0.1 < np.mean(told) < 0.6


def test_a_side_that_loses_members_is_not_read(shop: Store) -> None:
    rows = decided_by_itself(shop, drop_held=0.3)
    record(shop, [*rows, *lived(rows, lift=0.6)])
    found = one(build_programme(shop, ProgrammeOptions(holdout="everyone"), NOW_US).holdouts)
    assert not found.readable
    assert found.why_not is not None
    assert "not as large" in found.why_not["en"]
    assert found.profit.estimate is None
    assert found.roi.estimate is None


def test_nothing_to_compare_yet(shop: Store) -> None:
    found = build_programme(shop, ProgrammeOptions(), NOW_US)
    assert [result.holdout for result in found.holdouts] == ["everyone", "later"]
    for result in found.holdouts:
        assert not result.readable
        assert result.why_not is not None
        assert result.since is None


def test_no_effect_says_unclear_and_how_many_are_needed(shop: Store) -> None:
    rows = decided_by_itself(shop)
    record(shop, [*rows, *[e for e in lived(rows, lift=0.0) if e.name == "Order Completed"]])
    options = ProgrammeOptions(holdout="everyone", difference=1.0)
    found = one(build_programme(shop, options, NOW_US).holdouts)
    assert found.profit.ci_low is not None
    assert found.profit.ci_high is not None
    assert found.profit.ci_low < 0 < found.profit.ci_high
    assert found.verdict["en"].startswith("Unclear")
    assert found.needed is not None
    assert f"{found.needed:,}" in found.verdict["en"]


def test_unknown_names_are_refused(shop: Store) -> None:
    with pytest.raises(InputError, match="no holdout 'nobody'"):
        build_programme(shop, ProgrammeOptions(holdout="nobody"), NOW_US)
    with pytest.raises(InputError, match="no profit metric 'buyers'"):
        build_programme(shop, ProgrammeOptions(metric="buyers"), NOW_US)


def test_the_usual_metric_is_what_most_experiments_measure(shop: Store) -> None:
    assert usual_metric(Repository(shop)) == "profit"
    define(shop, metric("all-profit", "profit", margin={"rate": "0.4"}))
    assert usual_metric(Repository(shop)) == "profit"  # the campaigns measure it


def test_command(shop: Store, tmp_path: Path) -> None:
    rows = decided_by_itself(shop)
    record(shop, [*rows, *lived(rows, lift=0.6)])
    shop.close()
    asked = ["--data", str(tmp_path), "programme", "--holdout", "everyone"]
    runner = CliRunner()
    table = runner.invoke(cli, [*asked, "--lang", "zh-CN"])
    assert table.exit_code == 0, table.output
    assert "投资回报率" in table.output
    printed = runner.invoke(cli, [*asked, "--output", "json"])
    assert printed.exit_code == 0, printed.exception
    profit = json.loads(printed.output)["holdouts"][0]["profit"]
    lines = list(csv.DictReader(runner.invoke(cli, [*asked, "--output", "csv"]).output.splitlines()))
    row = next(line for line in lines if line["figure"] == "profit")
    assert float(row["estimate"]) == pytest.approx(profit["estimate"])
    wrong = runner.invoke(cli, [*asked, "--difference", "0"])
    assert wrong.exit_code == 2
    assert "--difference 0" in wrong.output


def one(results: list[HoldoutResult]) -> HoldoutResult:
    assert len(results) == 1
    return results[0]

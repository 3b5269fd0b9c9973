"""What a policy that learns says about other definitions is checked, and what of it may change while it runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from experiments.definitions import DefinitionError
from experiments.definitions.catalogue import Catalogue, check
from experiments.definitions.loader import load_text
from experiments.keeping.repository import Repository
from experiments.store import Store, open_store
from experiments.store.migrate import upgrade
from tests.experiments.learning_shop import KEY, METRICS, OFFERS, SHOP, allocation, bandit, shop
from tests.experiments.measuring import experiment
from tests.experiments.small_shop import walk


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Store]:
    """A fresh embedded store, for what does not depend on the database."""
    opened = open_store(f"sqlite:///{tmp_path / 'local.sqlite'}")
    upgrade(opened)
    yield opened
    opened.close()


def problems(*experiments: dict[str, Any]) -> list[str]:
    text = "\n---\n".join(json.dumps(document) for document in (SHOP, *OFFERS, *METRICS, *experiments))
    return [str(problem) for _, problem in check(Catalogue.of(loaded.definition for loaded in load_text(text)))]


def test_what_fits_is_taken() -> None:
    whole = allocation(
        pairs=[["stage", "orders"]],
        eligible={"gift": {"attribute": "orders", "op": "gte", "value": 3}},
        min_share={"control": "0.05"},
        reward={"metric": "buys", "worth": "40.00", "attribution": "all"},
        warm_start="ab",
    )
    ab = bandit("ab")
    del ab["allocation"]
    assert problems(ab, bandit(primary="buys", allocation=whole)) == []


@pytest.mark.parametrize(
    ("primary", "fields", "message"),
    [
        ("gone", {}, "/allocation/reward/metric: nothing can be learned from \"gone\": less of it is better"),
        ("basket", {}, "mean_per_event is not one number for each decision; choose one of proportion, count, sum"),
        ("profit", {"reward": {"worth": "40"}}, '/allocation/reward/worth: worth belongs to a proportion, and'),
        ("buys", {"reward": {"worth": "1.23456"}}, None),
        ("spend", {"policy": "beta_thompson", "features": []}, "/allocation/policy: beta_thompson learns conversions"),
        ("buys", {"policy": "tree", "parameters": {"n_clusters": 4}}, "/allocation/parameters/n_clusters: n_clus"),
        ("buys", {"policy": "clusters", "parameters": {"n_clusters": 1}}, "must be a whole number from 2, not 1"),
        ("buys", {"features": [{"attribute": "sage"}]}, '"sage" is not an attribute; declare it under attributes'),
        ("buys", {"features": [{"attribute": "tags"}]}, '/allocation/features/0: "tags" is a list, which no policy'),
        (
            "buys",
            {"features": [{"attribute": "stage", "kind": "numeric"}]},
            '/allocation/features/0/kind: numeric features are numbers and dates: "stage" is a string',
        ),
        (
            "buys",
            {"features": [{"attribute": "stage", "transform": "log"}]},
            "/allocation/features/0/transform: log is taken of numbers",
        ),
        (
            "buys",
            {"eligible": {"gift": {"attribute": "oders", "op": "gte", "value": 3}}},
            "/allocation/eligible/gift/attribute",
        ),
        ("buys", {"warm_start": KEY}, "/allocation/warm_start: names the experiment itself"),
        ("buys", {"warm_start": "winbac"}, '/allocation/warm_start: experiment "winbac" is not defined'),
        ("buys", {"warm_start": "stores"}, "stores is about stores and this one about members; leave it out"),
        ("buys", {"warm_start": "strange"}, "strange has 1 of this experiment's variants in common"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(primary: str, fields: dict[str, Any], message: str | None) -> None:
    others = [
        experiment({"primary": ["buys"]}, key="stores", unit_type="store"),
        experiment({"primary": ["buys"]}, key="strange", variants=[{"key": "control"}, {"key": "save"}]),
    ]
    shown = [line for line in problems(bandit(primary=primary, allocation=allocation(**fields)), *others)
             if "unit_type" not in line]  # fmt: skip
    if message is None:  # a fraction of a minor unit is worth something too
        assert shown == []
    else:
        assert len(shown) == 1
        assert message in shown[0]


def changed(store: Store, **fields: Any) -> None:
    document = bandit(allocation=allocation(**fields))
    Repository(store).apply(load_text(json.dumps(document)), "ann")


def test_how_it_learns_may_change_while_it_runs(local: Store) -> None:
    shop(local, bandit())
    changed(
        local,
        policy="thompson",
        explore="0.05",
        features=[{"attribute": "orders"}, {"attribute": "stage", "min_rows": 50}],
        pairs=[["orders", "stage"]],
        update={"every_hours": 12},
        gate={"approval": "manual"},
        min_share={"control": "0.1"},
        eligible={"gift": {"attribute": "orders", "op": "gte", "value": 3}},
    )
    record = Repository(local).experiment(KEY)
    assert record.revision == 2
    assert record.phase is not None
    assert record.phase.number == 1  # nobody is drawn by another salt


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"reward": {"attribution": "all"}}, "/allocation/reward: cannot change after launch: what is learned was"),
        ({"control": {"share": "0.2"}}, "/allocation/control: cannot change after launch: members would move"),
        (
            {"features": [{"attribute": "stage"}]},
            "/allocation/features: features can be added, not removed: versions that draw read orders",
        ),
    ],
)
def test_what_earlier_versions_stand_on_may_not(local: Store, fields: dict[str, Any], message: str) -> None:
    shop(local, bandit())
    with pytest.raises(DefinitionError, match=message):
        changed(local, **fields)


def test_who_draws_never_changes_under_way_and_nothing_after_the_end(local: Store) -> None:
    plain = bandit()
    del plain["allocation"]
    shop(local, bandit())
    with pytest.raises(DefinitionError, match="/allocation: cannot change: who draws stops to learn"):
        Repository(local).apply(load_text(json.dumps(plain)), "ann")
    walk(local, KEY, "ended")
    with pytest.raises(DefinitionError, match="/allocation: cannot change, the experiment is ended"):
        changed(local, explore="0.05")

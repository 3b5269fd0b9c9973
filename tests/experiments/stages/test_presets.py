"""Presets apply as they are written, and mean what their thresholds say; what is wrong with a rule is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.definitions import StageRule
from experiments.definitions.catalogue import Catalogue, check
from experiments.definitions.errors import DefinitionError
from experiments.definitions.loader import load_text, load_values
from experiments.errors import InputError
from experiments.keeping.exporting import to_yaml
from experiments.keeping.repository import Repository
from experiments.stages.from_file import OrderColumns, compute_file, rule_of
from experiments.stages.presets import PRESETS, Thresholds, preset
from experiments.store import Store
from tests.experiments.stages.shop import PROJECT, define

ORDERS = """member,time,amount
first,2026-05-20 09:00,10
first29,2026-04-21 00:00,10
first30,2026-04-20 23:59,10
quiet59,2026-03-22,10
quiet60,2026-03-21,10
regular,2026-01-05,10
regular,2026-02-05,10
regular,2026-03-05,10
regular,2026-04-05,10
regular,2026-05-05,10
future,2026-05-21,10
"""


def stages(tmp_path: Path, name: str, thresholds: Thresholds | None = None) -> dict[str, str]:
    path = tmp_path / "orders.csv"
    path.write_bytes(ORDERS.encode("gb18030"))
    rule = rule_of(None, name, thresholds or Thresholds(), "CNY", "Asia/Shanghai")
    counts, rows = compute_file(
        path, OrderColumns("member", "time", "amount"), rule,
        as_of="2026-05-20T12:00", zone="Asia/Shanghai", currency="CNY", target=None,
    )  # fmt: skip
    found = {row[0]: row[1] for row in rows[1:]}
    assert sum(counts.values()) == len(found) == 6
    return found


def test_the_three_stages(tmp_path: Path) -> None:
    assert stages(tmp_path, "3-stage") == {
        "first": "new", "first29": "new", "first30": "lost", "quiet59": "lost", "quiet60": "lost", "regular": "active",
    }  # fmt: skip


def test_the_five_stages(tmp_path: Path) -> None:
    assert stages(tmp_path, "5-stage", Thresholds(quiet_days=60)) == {
        "first": "activated", "first29": "activated", "first30": "activated", "quiet59": "activated",
        "quiet60": "lost", "regular": "loyal",
    }  # fmt: skip


def test_the_six_stages(tmp_path: Path) -> None:
    name = "potential-new-active-loyal-churn"
    assert stages(tmp_path, name) == {
        "first": "new", "first29": "new", "first30": "dormant", "quiet59": "dormant", "quiet60": "churned",
        "regular": "loyal",
    }  # fmt: skip
    # 90 days without an order, as another shop counts, and six orders to be loyal.
    other = stages(tmp_path, name, Thresholds(quiet_days=59, lost_days=90, loyal_orders=6, new_days=20))
    assert other == {
        "first": "new", "first29": "active", "first30": "active", "quiet59": "dormant", "quiet60": "dormant",
        "regular": "active",
    }  # fmt: skip


def test_presets_apply_as_they_are_printed(sqlite_store: Store) -> None:
    for name in PRESETS:
        define(sqlite_store, to_yaml(preset(name, Thresholds(login="App Visited"))))
        heads = Repository(sqlite_store).heads()
        (rule,) = [head.definition for (kind, _), head in heads.items() if kind == "stage_rule"]
        assert isinstance(rule, StageRule)
        assert all(stage.name and {"en", "zh-CN"} <= stage.name.keys() for stage in rule.stages)


def problems(rule: str) -> list[tuple[str, str]]:
    text = f"{PROJECT.format(zone='UTC')}---\nkind: stage_rule\nkey: lifecycle\n{rule}"
    try:
        loaded = load_text(text)
    except DefinitionError as error:
        return [(problem.pointer, problem.message) for problem in error.problems]
    return [(problem.pointer, problem.message) for _, problem in check(Catalogue.of(d.definition for d in loaded))]


@pytest.mark.parametrize(
    ("rule", "pointer", "words"),
    [
        ("computed: {keep: [orders_31d]}\nstages: [{stage: a}]", "/computed/keep/0", "is not a fact; there are"),
        ("computed: {keep: [days_since_order]}\nstages: [{stage: a}]", "/computed/keep/0", "keep last_order_at"),
        ("computed: {keep: [spend]}\nstages: [{stage: a}]", "/computed/keep/0", "stored attribute of type number"),
        ("computed: {joined: tier}\nstages: [{stage: a}]", "/computed/joined", "stored attribute of type date"),
        ("computed: {unit_type: house}\nstages: [{stage: a}]", "/computed/unit_type", "is not a unit type"),
        ("computed: {rfm: {recency: [30, 10], frequency: [1, 2], monetary: [1, 2]}}\nstages: [{stage: a}]",
         "/computed/rfm/recency", "must increase"),
        ("computed: {rfm: {recency: [30, 60], frequency: [1, 2]}}\nstages: [{stage: a}]",
         "/computed/rfm/monetary", "is missing"),
        ("attribute: mood\ncomputed: {}\nstages: [{stage: a}]", "/attribute", "stored attribute of type string"),
        ("computed: {}\nstages: [{stage: a, rule: {attribute: last_login_at, op: days_since, gte: 90}}]",
         "/stages/0/rule", "needs to know what a login is"),
        ("computed: {}\nstages: [{stage: a, rule: {attribute: cart, op: gte, value: 1}}]",
         "/stages/0/rule", "known only while a decision is asked for"),
        ("stages: [{stage: a, rule: {attribute: orders, op: gte, value: 1}}]",
         "/stages/0/rule/attribute", "'orders' is not declared"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_where(rule: str, pointer: str, words: str) -> None:
    found = problems(rule)
    assert [(place, words in said) for place, said in found] == [(pointer, True)], found


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("unit,at\na,yesterday\n", {}, "row 1, column 'at': 'yesterday' is not a time"),
        ("unit,at,value\na,2026-01-01,x\n", {"value": "value"}, "row 1, column 'value': 'x' is not an amount in CNY"),
        ("unit,at\n,2026-01-01\n", {}, "row 1, column 'unit': the unit is empty"),
        ("unit,when\na,2026-01-01\n", {}, "no column 'at'"),
        ("unit,at\na,2027-01-01\n", {}, "no order is earlier than --as-of"),
        ("unit,at\n", {}, "has a header but no rows"),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path: Path, text: str, options: dict[str, str], words: str) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(text)
    rule = rule_of(None, "3-stage", Thresholds(), "CNY", "UTC")
    with pytest.raises(InputError, match=words):
        compute_file(path, OrderColumns(**options), rule, as_of="2026-05-20", zone="UTC", currency="CNY", target=None)


def test_a_rule_of_a_file_may_ask_for_orders_only(tmp_path: Path) -> None:
    path = tmp_path / "rule.yaml"
    path.write_text("kind: stage_rule\nkey: a\nstages: [{stage: b, rule: {attribute: tier, op: eq, value: gold}}]\n")
    with pytest.raises(DefinitionError, match="'tier' is not declared"):
        rule_of(path, None, Thresholds(), "CNY", "UTC")
    path.write_text("kind: layer\nkey: a\n")
    with pytest.raises(InputError, match="holds 0 stage rules"):
        rule_of(path, None, Thresholds(), "CNY", "UTC")
    assert load_values([preset("5-stage")])

"""Sizes of segments: the members that the decision takes in, counted in the database; and when they are counted."""

from __future__ import annotations

import random
from pathlib import Path

import sqlalchemy as sa

from allocation.compiled import compile_snapshot
from allocation.decide import decide
from allocation.decision import MemberState
from experiments.definitions.loader import load_text
from experiments.jobs import handlers, queue
from experiments.keeping.repository import Repository
from experiments.lifecycle.transition import transition
from experiments.log.traits import Statement, merge
from experiments.publishing.plans import snapshot_of
from experiments.segments.asking import KIND, ask_for_sizes, latest
from experiments.segments.counting import Size, count_segments
from experiments.settings import Settings
from experiments.store import Store
from experiments.store.log_tables import identities

NOW = 1_772_496_000_000_000
DAY_US = 86_400_000_000
SHOP = """
kind: project
name: Shop
currency: CNY
time_zone: Asia/Shanghai
attributes:
  tier: {type: string}
  orders: {type: number}
  joined_at: {type: date}
  tags: {type: list}
  cart: {type: number, kept: request}
---
kind: holdout
key: everybody
share: "20%"
---
kind: segment
key: regulars
rule:
  all:
    - {attribute: tier, op: in, value: [gold, "it's"]}
    - any: [{attribute: orders, op: gte, value: 3}, {not: {attribute: joined_at, op: days_since, gte: 30}}]
---
kind: segment
key: tagged
rule: {attribute: tags, op: contains, value: vip}
---
kind: segment
key: full-cart
rule: {attribute: cart, op: gt, value: 5}
---
kind: offer
key: gift
name: Gift
type: content_only
---
kind: metric
key: bought
name: Bought
type: proportion
event: Order Completed
window: {days: 7}
---
kind: experiment
key: try
name: Try
enrolment: rolling
segment: regulars
variants: [{key: control, weight: 1}, {key: a, weight: 1, offer: gift}]
control: control
metrics: {primary: [bought]}
"""


def members() -> dict[str, dict[str, object]]:
    """Attributes of 400 members: some unknown, some of another type than declared."""
    draw = random.Random(5)
    found = {}
    for number in range(400):
        attributes: dict[str, object] = {}
        if draw.random() < 0.9:
            attributes["tier"] = draw.choice(["gold", "silver", "it's", 3])
        if draw.random() < 0.9:
            attributes["orders"] = draw.choice([0, 2, 3, 4.5, "4"])
        if draw.random() < 0.8:
            attributes["joined_at"] = draw.choice(["2026-02-01", "2026-01-05T10:00:00Z", "2026-02-20", "yesterday"])
        if draw.random() < 0.5:
            attributes["tags"] = draw.choice([["vip", "new"], ["new"], []])
        found[f"m-{number}"] = attributes
    return found


def filled(store: Store) -> dict[str, dict[str, object]]:
    """Define the shop and state its members; every eighth opted out."""
    Repository(store).apply(load_text(SHOP), "tests", now=NOW - 9 * DAY_US)
    people = members()
    with store.begin() as connection:
        said = [
            Statement("member", unit, NOW - DAY_US, attributes, opted_out=number % 8 == 0)
            for number, (unit, attributes) in enumerate(people.items())
        ]
        merge(connection, [*said, Statement("device", "d-1", NOW - DAY_US, {"tier": "gold", "orders": 5})])
    return people


def test_who_is_counted_is_who_is_decided_for(store: Store) -> None:
    people = filled(store)
    for state in ("review", "testing", "running"):
        transition(store, "try", state, "tests", "go", NOW - DAY_US)
    snapshot = compile_snapshot(snapshot_of(Repository(store), "v", NOW))
    kinds = {
        unit: decide(snapshot, "try", unit, now=NOW, state=MemberState(attributes=attributes)).kind
        for unit, attributes in people.items()
    }
    inside = [unit for unit, kind in kinds.items() if kind in ("enrolled", "holdout")]
    held = [unit for unit in inside if kinds[unit] == "holdout"]
    out = [unit for unit in inside if int(unit[2:]) % 8 == 0]
    assert min(len(inside), len(held), len(out)) > 5
    found = count_segments(store, NOW)
    assert found["regulars"] == Size(
        revision=1, unit_type="member", members=len(inside), opted_out=len(out), held_out=len(held)
    )
    assert found["tagged"].members == sum("vip" in each.get("tags", ()) for each in people.values())  # type: ignore[operator]
    assert (found["full-cart"].members, found["full-cart"].why) == (None, "only a request tells cart")
    # Two ids of one member are one member, opted out and held out when either is.
    plain = next(u for u in inside if u not in held and u not in out)
    other = next(u for u in held if u in out)
    with store.begin() as connection:
        pair = [{"unit_type": "member", "unit": unit, "root": plain} for unit in (plain, other)]
        connection.execute(sa.insert(identities), pair)
    linked = count_segments(store, NOW)["regulars"]
    assert (linked.members, linked.opted_out, linked.held_out) == (len(inside) - 1, len(out), len(held))


def test_counted_once_a_day_and_when_a_rule_changes(store: Store, tmp_path: Path) -> None:
    assert ask_for_sizes(store, now=NOW) is None  # nothing is defined
    filled(store)
    assert latest(store) is None
    settings = Settings(tmp_path, store.url)

    def work() -> dict[str, Size]:
        job = queue.claim(store, "tests", [KIND], now=NOW + 9 * DAY_US)
        assert job is not None
        queue.finish(store, job, handlers.load(KIND)(store, settings, job, lambda _done, _total: None, None))  # type: ignore[arg-type]
        counted = latest(store)
        assert counted is not None
        return counted.segments

    assert ask_for_sizes(store, now=NOW)
    assert ask_for_sizes(store, now=NOW + 1) is None
    assert work()["regulars"].revision == 1
    again = SHOP.replace("value: vip", "value: new")
    Repository(store).apply(load_text(again), "tests", now=NOW + 2)
    assert ask_for_sizes(store, now=NOW + 2)
    assert work()["tagged"].revision == 2
    assert ask_for_sizes(store, now=NOW + 3) is None
    assert ask_for_sizes(store, now=NOW + DAY_US)

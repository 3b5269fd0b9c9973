"""A small set of definitions that the tests of lifecycle, publishing and preview share."""

from __future__ import annotations

from experiments.definitions import Experiment
from experiments.definitions.loader import load_text
from experiments.keeping.records import ExperimentRecord
from experiments.keeping.repository import Repository
from experiments.lifecycle.transition import transition
from experiments.store import Store

NOW = 1_772_500_000_000_000
"""2026-03-03 01:06:40 UTC in microseconds."""
SECOND = 1_000_000

SHOP = """
kind: project
name: {en: Shop, zh-CN: 商店}
currency: CNY
time_zone: Asia/Shanghai
unit_types: [member, store]
attributes:
  stage: {type: string, changes_with_offer: true}
  tier: {type: string}
exclude: {member: [robot]}
---
kind: layer
key: coupons
---
kind: holdout
key: everyone
share: 10%
---
kind: offer
key: save-20
name: {en: ¥20 off ¥100, zh-CN: 满100减20}
type: spend_x_save_y
face_value: "20"
minimum_spend: "100"
contact_cost: {sms: "0.045"}
---
kind: metric
key: repurchase
name: Repurchase
type: proportion
event: Order Completed
window: {days: 14}
---
kind: metric
key: visits
name: Visits
type: count
event: Visit
window: {days: 14}
---
kind: experiment
key: winback
name: {en: Win back, zh-CN: 唤醒}
audience: {attribute: stage, op: eq, value: dormant}
breakdowns: [stage, tier]
layer: {key: coupons, slots: [["0", "0.5"]]}
traffic: "0.5"
variants:
  - {key: control}
  - {key: a, offer: save-20, channel: sms}
control: control
metrics: {primary: [repurchase]}
overrides: {tester: a}
exclude: [staff]
"""


def definitions(store: Store) -> Repository:
    """Apply the shop."""
    repository = Repository(store)
    repository.apply(load_text(SHOP), "ann", now=NOW)
    return repository


def walk(store: Store, key: str, *states: str, now: int = NOW) -> ExperimentRecord:
    """Move an experiment through states."""
    for state in states:
        record = transition(store, key, state, "ann", "because", now=now)
    return record


def launched(store: Store) -> Repository:
    """Apply the shop and start its experiment."""
    repository = definitions(store)
    walk(store, "winback", "review", "testing", "running")
    return repository


def changed(repository: Repository, **fields: object) -> Experiment:
    """Return the experiment with some fields changed, checked anew."""
    current = repository.experiment("winback").definition
    return Experiment.model_validate({**current.model_dump(mode="json", exclude_none=True), **fields})


def split(control: int, a: int, *more: dict[str, object]) -> list[dict[str, object]]:
    """Return the variants with other weights."""
    return [
        {"key": "control", "weight": control},
        {"key": "a", "weight": a, "offer": "save-20", "channel": "sms"},
        *more,
    ]

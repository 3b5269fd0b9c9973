"""A finished campaign whose members answer differently, in a store: what audiences are made from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.log.absorb import absorb
from experiments.log.rows import DAY_US, TraitsRow
from experiments.store import Store
from experiments.uplift import archive
from experiments.uplift.document import Recommendation
from experiments.uplift.of_experiment import recommend_experiment
from tests.experiments.measuring import NOW_US, START_US, decided, define, experiment, happened, metric, record
from tests.experiments.small_shop import walk

PROJECT: dict[str, Any] = {
    "kind": "project",
    "name": "Shop",
    "currency": "CNY",
    "time_zone": "Asia/Shanghai",
    "attributes": {
        "tier": {"type": "string", "kept": "stored"},
        "age": {"type": "number", "kept": "stored"},
    },
    "exclude": {"member": ["staff"]},
}
OFFERS = [
    {"kind": "offer", "key": key, "name": {"en": name, "zh-CN": name}, "type": "fixed_coupon", "face_value": face,
     "contact_cost": {"sms": "0.05"}}
    for key, name, face in (("small", "¥5 off", "5.00"), ("large", "¥20 off", "20.00"))
]  # fmt: skip
METRICS = [
    metric("buyers", "proportion"),
    metric("profit", "profit", margin={"rate": "0.4"}),
    metric("quit", "proportion", event="Unsubscribed", direction="decrease"),
]
VARIANTS: list[dict[str, Any]] = [
    {"key": "control", "name": {"en": "No offer", "zh-CN": "不发"}},
    {"key": "a", "name": {"en": "¥5 off", "zh-CN": "减5元"}, "offer": "small", "channel": "sms"},
    {"key": "b", "name": {"en": "¥20 off", "zh-CN": "减20元"}, "offer": "large", "channel": "sms"},
]


def gains(tier: str, age: float) -> tuple[float, float, float]:
    """Return the probability of an order under each arm: gold members answer to the small one, the old to the large."""
    return 0.10, 0.10 + (0.25 if tier == "gold" else 0.0), 0.10 + (0.45 if age > 50 else 0.0)


def campaign(
    store: Store,
    members: int = 3_000,
    *,
    seed: int = 3,
    evidence: bool = True,
    offers: Sequence[Mapping[str, Any]] = OFFERS,
    **project: Any,
) -> Recommendation:
    """Define, launch, log and end an experiment, store its members, and keep the recommendation from it."""
    definition = experiment(
        {"primary": ["buyers"], "secondary": ["profit"], "guardrails": [{"metric": "quit", "margin": "100%"}]},
        variants=VARIANTS,
        breakdowns=["tier"],
        analysis={"features": ["age"]},
        planned_units=members,
    )
    define(
        store, *offers, *METRICS, {"kind": "holdout", "key": "global", "name": "Global", "share": "5%"},
        definition, project=PROJECT | project,
    )  # fmt: skip
    walk(store, "winback", "review", "testing", "running", now=START_US)
    rng = np.random.default_rng(seed)
    rows: list[Any] = []
    traits = []
    for number in range(members):
        unit, tier, age = f"m-{number:05d}", ("gold", "basic")[number % 2], float(rng.integers(18, 80))
        held = {"tier": tier, "age": age}
        traits.append(TraitsRow("crm", "member", unit, START_US, START_US, json.dumps(held), number % 100 == 7))
        arm = int(rng.integers(0, 3))
        key = ("control", "a", "b")[arm]
        rows.append(decided(unit, key, frozen=json.dumps(held), propensity=1 / 3))
        chance = gains(tier, age)[arm] if evidence else (0.10, 0.30, 0.12)[arm]
        if rng.random() < chance:
            rows.append(happened("Order Completed", unit, START_US + DAY_US, 20_000, object_id=f"o{number}"))
            if arm:
                rows.append(happened("Coupon Redeemed", unit, START_US + DAY_US, None, object_id=f"o{number}"))
    with store.begin() as connection:
        absorb(connection, traits, START_US)
    record(store, rows)
    walk(store, "winback", "ended", now=NOW_US)
    found = recommend_experiment(store, "winback", NOW_US)
    archive.save(store, found, NOW_US)
    return found

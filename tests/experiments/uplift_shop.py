"""A small shop in which a coupon makes gold members buy and nobody else: definitions, decisions and orders."""

from __future__ import annotations

from typing import Any

import numpy as np

from experiments.keeping.repository import Repository
from experiments.log.rows import DAY_US, DecisionRow, EventRow
from experiments.store import Store
from tests.experiments.measuring import NOW_US, PROJECT, START_US, decided, define, experiment, happened, metric, record
from tests.experiments.small_shop import walk

KEY = "winback"
SHOP: dict[str, Any] = PROJECT | {
    "attributes": {
        "tier": {"type": "string", "label": {"en": "Tier", "zh-CN": "等级"}},
        "age": {"type": "number"},
        "joined_at": {"type": "date"},
    }
}
COUPON: dict[str, Any] = {
    "kind": "offer", "key": "save-20", "name": {"en": "¥20 off", "zh-CN": "减20元"}, "type": "fixed_coupon",
    "face_value": "20", "contact_cost": {"sms": "3"},
}  # fmt: skip
METRICS: tuple[dict[str, Any], ...] = (
    metric("buys", "proportion"),
    metric("profit", "profit", margin={"rate": "0.4"}),
)


def design(**fields: Any) -> dict[str, Any]:
    """The experiment: half of the members get the coupon."""
    base: dict[str, Any] = {
        "variants": [
            {"key": "control"},
            {"key": "a", "name": {"en": "¥20 off", "zh-CN": "减20元"}, "offer": "save-20", "channel": "sms"},
        ],
        "breakdowns": ["tier"],
        "analysis": {"features": ["age", "joined_at"]},
    }
    return experiment({"primary": ["buys"], "secondary": ["profit"]}, **(base | fields))


def rows(members: int = 2_000, *, seed: int = 1, effect: float = 0.4) -> list[DecisionRow | EventRow]:
    """Decisions and orders: a tenth buy anyway; of gold members with the coupon ``effect`` more do.

    Orders are of ¥150, of which 40 % are margin; whoever buys with the coupon redeems it.
    """
    rng = np.random.default_rng(seed)
    out: list[DecisionRow | EventRow] = []
    for number in range(members):
        unit = f"m{number:05d}"
        tier = "gold" if rng.random() < 0.5 else "basic"
        arm = "a" if rng.random() < 0.5 else "control"
        age = int(rng.integers(20, 60))
        frozen = f'{{"age":{age},"joined_at":"2026-01-0{1 + number % 9}","tier":"{tier}"}}'
        out.append(decided(unit, arm, frozen=frozen))
        out += [happened("Order Completed", unit, START_US - 100 * DAY_US, 9_000)] if rng.random() < 0.3 else []
        if rng.random() < 0.1 + (effect if tier == "gold" and arm == "a" else 0.0):
            order = f"o{number}"
            out.append(happened("Order Completed", unit, START_US + DAY_US, 15_000, object_id=order))
            if arm == "a":
                out.append(happened("Coupon Redeemed", unit, START_US + DAY_US, 2_000, object_id=order))
    return out


def shop(store: Store, *, members: int = 2_000, effect: float = 0.4, state: str = "ended", **fields: Any) -> Repository:
    """Define the shop, let the experiment run and end, and fill the log."""
    define(store, COUPON, *METRICS, design(**fields), project=SHOP)
    walk(store, KEY, "review", "testing", "running", *(["ended"] if state == "ended" else []))
    record(store, rows(members, effect=effect), NOW_US)
    return Repository(store)

"""A small shop whose experiment learns: definitions, decisions as a policy logs them, and outcomes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from allocation.decision import decision_id
from experiments.log.rows import DAY_US, DecisionRow
from experiments.store import Store
from tests.experiments.measuring import PROJECT, START_US, define, experiment, metric
from tests.experiments.small_shop import walk

KEY = "winback"
VARIANTS = ("control", "save", "gift")
SHOP: dict[str, Any] = PROJECT | {
    "attributes": {"stage": {"type": "string"}, "orders": {"type": "number"}, "tags": {"type": "list"}}
}
OFFERS: tuple[dict[str, Any], ...] = (
    {
        "kind": "offer", "key": "save-20", "name": "¥20 off", "type": "spend_x_save_y", "face_value": "20",
        "minimum_spend": "100", "contact_cost": {"sms": "0.5"},
    },
    {
        "kind": "offer", "key": "a-gift", "name": "Gift", "type": "gift", "redemption_cost": "8",
        "contact_cost": {"sms": "0.5"}, "refund_returns_cost": False,
    },
)  # fmt: skip
METRICS: tuple[dict[str, Any], ...] = (
    metric("profit", "profit", margin={"rate": "0.4"}),
    metric("buys", "proportion"),
    metric("spend", "sum", value="value"),
    metric("visits", "count", event="Visit"),
    metric("gone", "proportion", event="Unsubscribed", direction="decrease"),
    metric("basket", "mean_per_event", value="value"),
)


def allocation(**fields: Any) -> dict[str, Any]:
    """An allocation that looks at the stage and the number of orders."""
    base: dict[str, Any] = {"policy": "igw", "features": [{"attribute": "stage"}, {"attribute": "orders"}]}
    return base | fields


def bandit(key: str = KEY, primary: str = "profit", **fields: Any) -> dict[str, Any]:
    """An experiment of three variants that learns."""
    variants = [
        {"key": "control"},
        {"key": "save", "offer": "save-20", "channel": "sms"},
        {"key": "gift", "offer": "a-gift", "channel": "sms"},
    ]
    more = {"key": key, "variants": variants, "allocation": allocation(), "enrolment": "rolling"}
    metrics = fields.pop("metrics", {"primary": [primary]})
    return experiment(metrics, **(more | fields))


def shop(store: Store, *experiments: Mapping[str, Any], started_at: int = START_US) -> None:
    """Define the shop and start its experiments."""
    define(store, *OFFERS, *METRICS, *experiments, project=SHOP)
    for each in experiments:
        walk(store, each["key"], "review", "testing", "running", now=started_at)


def drawn(
    unit: str,
    variant: str,
    at_us: int,
    *,
    p: Mapping[str, float] | None = None,
    version: int = 0,
    group: str = "policy",
    key: str = KEY,
    **changes: Any,
) -> DecisionRow:
    """A decision that a policy drew; by default each variant alike."""
    chances = dict.fromkeys(VARIANTS, 1 / 3) if p is None else p
    said = {"version": version, "group": group, "eligible": list(chances), "p": list(chances.values()), "x": []}
    frozen = json.dumps(changes.pop("frozen", {}))
    occasion = changes.pop("occasion", f"o-{at_us}")
    values: dict[str, Any] = {
        "decision_id": decision_id(key, 1, "member", unit, occasion), "experiment": key, "revision": 1, "phase": 1,
        "unit_type": "member", "unit": unit, "occasion": occasion, "kind": "enrolled", "variant": variant,
        "reason": "assigned", "propensity": chances.get(variant, 1.0), "at": at_us, "frozen": frozen,
        "policy": json.dumps(said),
    }  # fmt: skip
    return DecisionRow(**(values | changes))


def days(number: float) -> int:
    """So many days in microseconds."""
    return round(number * DAY_US)


def by_decision(rows: Any, decisions: Sequence[DecisionRow], name: str) -> list[Any]:
    """Return one column of learning rows in the order of some decisions; ``None`` where a decision is not there."""
    found = dict(zip(rows.decision_id.tolist(), getattr(rows, name).tolist(), strict=True))
    return [found.get(decision.decision_id) for decision in decisions]

"""Small plans to decide with."""

from __future__ import annotations

from typing import Any

from allocation import (
    AttributePlan,
    CompiledSnapshot,
    ExperimentPlan,
    HoldoutPlan,
    LayerPlan,
    PhasePlan,
    Snapshot,
    VariantPlan,
    compile_snapshot,
)

SALT = "3a1f00d2c4b59687"
DORMANT = {"attribute": "stage", "op": "eq", "value": "dormant"}
STAGE_SENT = {"stage": AttributePlan("string", "request")}
STAGE_STORED = {"stage": AttributePlan("string", "stored")}
EVERYBODY_HELD = HoldoutPlan("control-group", "b" * 16, "1")
NO_SLOT = LayerPlan("coupons", "c" * 16, (("0", "0"),))


def experiment(*, weights: tuple[int, ...] = (1, 1), traffic: str = "1", **fields: Any) -> ExperimentPlan:
    """Return a running experiment with variants control, a, b … and a coupon behind each but the first."""
    keys = ("control", "a", "b", "c", "d")[: len(weights)]
    variants = tuple(VariantPlan(key, {"key": f"coupon-{key}"} if i else None) for i, key in enumerate(keys))
    phases = (PhasePlan(1, SALT, weights, traffic),)
    return ExperimentPlan(
        **{"key": "x", "revision": 1, "state": "running", "variants": variants, "phases": phases, **fields}
    )


def compiled(*plans: ExperimentPlan, **fields: Any) -> CompiledSnapshot:
    """Return a snapshot of the plans, ready to decide."""
    return compile_snapshot(Snapshot("v1", 0, {plan.key: plan for plan in plans}, **fields))

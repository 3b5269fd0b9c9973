"""Experiments that draw by a policy, ready to decide."""

from __future__ import annotations

from typing import Any

from allocation import ExperimentPlan, compile_snapshot
from allocation.bandits.policy import Policy
from allocation.compiled import CompiledSnapshot
from allocation.plan import AttributePlan, BanditPlan, PolicyPlan, Snapshot
from tests.allocation.bandit_policies import contextual
from tests.allocation.plans import experiment

TYPES = {"age": "number", "spend": "number", "stage": "string", "shop": "string"}
ATTRIBUTES = {name: AttributePlan(kind, "request") for name, kind in TYPES.items()}  # type: ignore[arg-type]


def bandit(known: dict[str, Policy] | None = None, weights: tuple[int, ...] = (1,) * 5, **fields: Any) -> Any:
    """Return a snapshot of experiment x, which draws by some policies, and its plan's other fields."""
    own = {name: fields.pop(name) for name in list(fields) if name in BanditPlan.__struct_fields__}
    plan: ExperimentPlan = experiment(
        weights=weights,
        attributes=ATTRIBUTES,
        frozen=tuple(TYPES),
        allocation="bandit",
        bandit=BanditPlan(features=tuple(TYPES), **own),
        **fields,
    )
    held = known or {}
    return compile_snapshot(Snapshot("v1", 0, {"x": plan}), held.__getitem__)


def learned(policy: Policy | None = None, share: str = "1", **fields: Any) -> CompiledSnapshot:
    """Return the same with one version, 7."""
    found: CompiledSnapshot = bandit(
        {"f" * 64: policy or contextual()}, policies=(PolicyPlan(7, "f" * 64, share),), **fields
    )
    assert not found.refused
    return found

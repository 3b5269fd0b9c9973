"""Drawing for many is deciding for each."""

from __future__ import annotations

from typing import Any

import pytest

from allocation.answers import nothing
from allocation.compiled import compile_snapshot
from allocation.decide import decide
from allocation.decision import OccasionError
from allocation.drawing import drawer
from allocation.hashing import UnitError
from allocation.plan import (
    AttributePlan,
    ExperimentPlan,
    HoldoutPlan,
    LayerPlan,
    PhasePlan,
    Snapshot,
    VariantPlan,
)

SALT = "00c0ffee00c0ffee"
TIERS: tuple[dict[str, Any], ...] = ({"tier": "gold"}, {"tier": "silver"}, {}, {"tier": 7})
UNITS = [*(f"m-{n}" for n in range(500)), "é", "梅花", "\U0001f600", 'quote"\\', " ", "x" * 256, "a\tb", "\x7f"]


def compiled(**changes: Any) -> Any:
    given: dict[str, Any] = {
        "revision": 3,
        "state": "running",
        "variants": (VariantPlan("control"), VariantPlan("a", {"key": "coupon"}), VariantPlan("b")),
        "phases": (PhasePlan(1, SALT, (1, 2, 3), traffic="0.7"),),
        **changes,
    }
    return compile_snapshot(Snapshot("v7", 0, {"x": ExperimentPlan("x", **given)}))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"phases": (PhasePlan(2, SALT, (1, 1, 1)),)},
        {"phases": (PhasePlan(1, SALT, (0, 0, 1), traffic="0"),)},
        {"start": 10, "end": 20, "unit_type": "household"},
        {
            "audience": {"attribute": "tier", "op": "eq", "value": "gold"},
            "attributes": {"tier": AttributePlan("string", "request")},
        },
    ],
)
@pytest.mark.parametrize("occasion", ["", "send-7"])
def test_the_answers_are_the_same(changes: dict[str, Any], occasion: str) -> None:
    snapshot = compiled(**changes)
    draw = drawer(snapshot.experiments["x"], 15, occasion)
    assert draw is not None
    plan, shares = snapshot.experiments["x"], set()
    for i, unit in enumerate(UNITS):
        attributes: dict[str, Any] = TIERS[i % len(TIERS)]
        drawn = draw(unit, attributes)
        if isinstance(drawn, str):
            shares.add(drawn)
            drawn = nothing(plan, unit, occasion, 15, drawn)
        assert drawn == decide(snapshot, "x", unit, now=15, attributes=attributes, occasion=occasion)
    assert not shares - {"not_in_traffic", "not_in_audience"}


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "paused"},
        {"state": "testing"},
        {"state": "ended"},
        {"state": "draft"},
        {"start": 16},
        {"end": 15},
        {"sticky": True},
        {"overrides": {"m-1": "a"}},
        {"excluded": ("m-2",)},
        {"layer": LayerPlan("l", SALT, (("0", "1"),))},
        {"holdouts": (HoldoutPlan("h", SALT, "0"),)},
        {"frozen": ("tier",), "attributes": {"tier": AttributePlan("string")}},
        {
            "audience": {"attribute": "tier", "op": "eq", "value": "gold"},
            "attributes": {"tier": AttributePlan("string", "stored")},
        },
        {"phases": (PhasePlan(1, SALT, (1, 1, 1)), PhasePlan(2, SALT, (1, 2, 1), opened="keep"))},
    ],
)
def test_what_does_more_than_draw_is_left_to_decide(changes: dict[str, Any]) -> None:
    assert drawer(compiled(**changes).experiments["x"], 15) is None


def test_what_cannot_be_decided_is_refused_alike() -> None:
    plan = compiled().experiments["x"]
    draw = drawer(plan, 15)
    assert draw is not None
    for unit in ("", "x" * 257, "a\0b", "\ud800", 7):
        with pytest.raises(UnitError):
            draw(unit, {})  # type: ignore[arg-type]
    with pytest.raises(OccasionError):
        drawer(plan, 15, "no spaces")

"""Rows for tests of the log."""

from __future__ import annotations

from allocation.decision import decision_id
from experiments.log.rows import DecisionRow, EventRow

NOON_US = 1_772_539_200_000_000
"""2026-03-03 12:00 UTC."""


def decision(unit: str = "m-1", variant: str | None = "a", **changes: object) -> DecisionRow:
    """A decision on a unit."""
    values: dict[str, object] = {
        "decision_id": decision_id("winback", 1, "member", unit, ""),
        "experiment": "winback",
        "revision": 1,
        "phase": 1,
        "unit_type": "member",
        "unit": unit,
        "occasion": "",
        "kind": "enrolled" if variant else "holdout",
        "variant": variant,
        "reason": "assigned" if variant else "holdout",
        "propensity": 0.5 if variant else None,
        "at": NOON_US,
        "frozen": '{"stage":"dormant"}',
        "snapshot": "7",
    }
    return DecisionRow(**(values | changes))  # type: ignore[arg-type]


def event(event_id: str = "e-1", unit: str = "m-1", **changes: object) -> EventRow:
    """An order of a unit."""
    values: dict[str, object] = {
        "source": "pos",
        "event_id": event_id,
        "name": "Order Completed",
        "unit_type": "member",
        "unit": unit,
        "at": NOON_US,
        "received_at": NOON_US + 1_000_000,
        "object_id": f"order-{event_id}",
        "value_minor": 12_345,
        "currency": "CNY",
        "properties": '{"channel":"app"}',
    }
    return EventRow(**(values | changes))  # type: ignore[arg-type]

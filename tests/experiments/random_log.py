"""A small world in which everything that can happen to a unit or an order does."""

from __future__ import annotations

from typing import Any

import numpy as np

from experiments.log.rows import DAY_US, DecisionRow, EventRow
from tests.experiments.measuring import START_US, decided, happened


def log_of(seed: int) -> list[DecisionRow | EventRow]:
    """Return its rows, decisions first."""
    rng = np.random.default_rng(seed)
    rows: list[DecisionRow | EventRow] = []
    for i in range(160):
        unit = f"u{i:03d}"
        at = START_US + int(rng.integers(0, 3 * DAY_US))
        variant = str(rng.choice(["control", "a"]))
        what = rng.random()
        if what < 0.05:
            rows.append(decided(unit, variant, at, kind="override", propensity=None))
        elif what < 0.10:
            rows.append(decided(unit, variant, at))
            rows.append(decided(unit, "a" if variant == "control" else "control", at + 1, occasion="two"))
        elif what < 0.15:
            rows.append(decided(unit, variant, at))
            rows.append(decided(unit, "a" if variant == "control" else "control", at + 5))
        elif what < 0.20:
            rows.append(decided(unit, variant, at, phase=2))
            rows.append(decided(unit, variant, at + 7))
        elif what < 0.25:
            rows.append(decided(unit, None, at, kind="holdout", propensity=None))
        else:
            rows += [decided(unit, variant, at + k, occasion=f"s{k}") for k in range(int(rng.integers(1, 4)))]
        rows += events_of(rng, unit, at)
    rng.shuffle(rows)  # type: ignore[arg-type]
    decisions = sorted((r for r in rows if isinstance(r, DecisionRow)), key=lambda r: (r.at, r.occasion))
    return [*decisions, *(r for r in rows if isinstance(r, EventRow))]


def events_of(rng: np.random.Generator, unit: str, entry: int) -> list[EventRow]:
    rows: list[EventRow] = []

    def moment(low: float, high: float) -> int:
        return entry + int(rng.integers(int(low * DAY_US), int(high * DAY_US)))

    for k in range(int(rng.poisson(4))):
        at = moment(-40, 20)
        properties: dict[str, Any] = {"channel": str(rng.choice(["app", "web"]))}
        if rng.random() < 0.8:
            properties["margin_minor"] = int(rng.integers(-200, 4000))
        value = int(rng.integers(0, 20_000))
        object_id = f"{unit}-o{k}" if rng.random() < 0.9 else None
        rows.append(happened("Order Completed", unit, at, value, object_id=object_id, properties=properties))
        if object_id is None:
            continue
        if rng.random() < 0.3:  # another system reports the same order, at the same moment or later, perhaps otherwise
            later = at if rng.random() < 0.3 else at + int(rng.integers(0, 5 * DAY_US))
            other = value if rng.random() < 0.5 else value + 100
            rows.append(
                happened(
                    "Order Completed", unit, later, other, object_id=object_id, source="cdp", properties=properties
                )
            )
        if rng.random() < 0.2:
            changed = {"channel": "app", "margin_minor": 777}
            at_two = at + int(rng.integers(0, 10 * DAY_US))
            rows.append(happened("Order Updated", unit, at_two, value // 2, object_id=object_id, properties=changed))
        if rng.random() < 0.3:
            given = None if rng.random() < 0.3 else int(rng.integers(0, value + 1))
            at_two = at + int(rng.integers(0, 20 * DAY_US))
            sources = ("pos", "cdp") if rng.random() < 0.5 else ("pos",)
            rows += [happened("Order Refunded", unit, at_two, given, object_id=object_id, source=s) for s in sources]
        if rng.random() < 0.1:
            rows.append(happened("Order Cancelled", unit, at + DAY_US, object_id=object_id))
        if rng.random() < 0.4:
            stated = int(rng.integers(100, 900)) if rng.random() < 0.5 else None
            rows.append(
                happened("Coupon Redeemed", unit, at, stated, object_id=object_id, properties={"offer": "save"})
            )
    for k in range(int(rng.poisson(6))):
        object_id = f"{unit}-v{k % 3}" if rng.random() < 0.3 else None
        minutes = {"minutes": int(rng.integers(1, 60))}
        rows.append(happened("Visit", unit, moment(-40, 20), object_id=object_id, properties=minutes))
    return rows

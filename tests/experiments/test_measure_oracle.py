"""Every kind of metric on random logs, against plain loops over the rows (measure_oracle)."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

import numpy as np
import pytest

from experiments.log.rows import DAY_US, DecisionRow, EventRow
from experiments.report.build import build_report
from experiments.store import Store
from tests.experiments.measure_oracle import Unit, population
from tests.experiments.measuring import NOW_US, START_US, decided, define, experiment, happened, metric, record

APP = {"attribute": "channel", "op": "eq", "value": "app"}
BEFORE = {"days": 28}
OFFER = {
    "kind": "offer",
    "key": "save",
    "name": "Save",
    "type": "fixed_coupon",
    "face_value": "5.00",
    "redemption_cost": "4.00",
    "contact_cost": {"sms": "0.045"},
}
METRICS = [
    metric("app-buyers", "proportion", where=APP, covariate=BEFORE),
    metric("orders", "count", covariate=BEFORE),
    metric("spend", "sum", value="value", winsorise=0.9, covariate=BEFORE),
    metric("order-value", "mean_per_event", value="value"),
    metric("per-visit", "ratio", value="value", denominator={"event": "Visit"}, covariate=BEFORE),
    metric("back", "retention", event="Visit", window={"start_days": 7, "days": 14}),
    metric("profit", "profit", margin={"property": "margin_minor"}, covariate=BEFORE),
    metric("profit-rate", "profit", margin={"rate": "0.35"}),
    metric("returns", "proportion", event="Order Refunded"),
    metric("minutes", "sum", event="Visit", value="minutes", covariate=BEFORE),
]


def log_of(seed: int) -> list[DecisionRow | EventRow]:
    """A small world in which everything that can happen to a unit or an order does."""
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


def columns_of(unit: Unit, contacts: int, variant: str) -> dict[str, list[float]]:
    """Each metric's columns in the order of its moments: value, denominator, then the same before entry."""
    after, before = (0, 14), (-28, 0)
    contact_cost = 4.5 * contacts if variant == "a" else 0.0

    def spend(window: tuple[int, int]) -> float:
        return sum(o.net for o in unit.placed(*window)) / 100

    def visits(window: tuple[int, int]) -> int:
        return len(unit.plain("Visit", *window))

    def app(window: tuple[int, int]) -> int:
        return int(any(o.channel == "app" for o in unit.placed(*window)))

    def profit(window: tuple[int, int]) -> float:
        return unit.profit(*window, lambda o: o.margin or 0, lambda _: 400) / 100

    def minutes(window: tuple[int, int]) -> int:
        import json

        return sum(json.loads(e.properties)["minutes"] for e in unit.plain("Visit", *window))

    rate = unit.profit(*after, lambda o: math.floor(0.35 * o.net + 0.5 + 1e-9), lambda _: 400) / 100
    return {
        "app-buyers": [app(after), app(before)],
        "orders": [len(unit.placed(*after)), len(unit.placed(*before))],
        "spend": [spend(after), spend(before)],
        "order-value": [spend(after), len(unit.placed(*after))],
        "per-visit": [spend(after), visits(after), spend(before), visits(before)],
        "back": [int(bool(unit.plain("Visit", 7, 14)))],
        "profit": [profit(after) - contact_cost / 100, profit(before)],
        "profit-rate": [rate - contact_cost / 100],
        "returns": [int(unit.refunded(*after) > 0)],
        "minutes": [minutes(after), minutes(before)],
    }


@pytest.mark.parametrize(("seed", "sources"), [(1, 2), (2, 2), (3, 1)])
def test_moments_of_every_kind_of_metric(store: Store, seed: int, sources: int) -> None:
    define(
        store,
        OFFER,
        *METRICS,
        experiment(
            {
                "primary": ["spend", "app-buyers"],
                "secondary": [m["key"] for m in METRICS if m["key"] not in ("spend", "app-buyers")],
            },
            variants=[{"key": "control"}, {"key": "a", "offer": "save", "channel": "sms"}],
            exclude=["u003", "u004"],
        ),
    )
    # With one source, refunds are summed beside their orders; with several, by source first.
    rows = [r for r in log_of(seed) if sources > 1 or isinstance(r, DecisionRow) or r.source == "pos"]
    record(store, rows)
    report = build_report(store, "winback", NOW_US)

    units, left_out = population((r for r in rows if isinstance(r, DecisionRow)), {"u003", "u004"}, 1)
    assert report.population.left_out == left_out
    assert report.population.analysed == len(units)
    events: dict[str, list[EventRow]] = defaultdict(list)
    for row in rows:
        if isinstance(row, EventRow):
            events[row.unit].append(row)
    table: dict[str, dict[str, list[list[float]]]] = defaultdict(lambda: defaultdict(list))
    for name, (variant, entry, contacts) in units.items():
        for key, values in columns_of(Unit(entry, events[name]), contacts, variant).items():
            table[key][variant].append(values)
    for column in (0, 1):  # winsorised at the .9 quantile over both arms, a whole number of minor units
        pooled = [v[column] for arm in table["spend"].values() for v in arm]
        limit = math.floor(float(np.quantile(pooled, 0.9)) * 100 + 1e-6) / 100
        for arm in table["spend"].values():
            for values in arm:
                values[column] = min(values[column], limit)

    for cell in report.moments:
        for i, variant in enumerate(("control", "a")):
            expected = np.array(table[str(cell["group"])][variant])
            found_n, found_mean, found_m2 = (np.array(cell[k][i]) for k in ("n", "mean", "m2"))  # type: ignore[index]
            centred = expected - expected.mean(axis=0)
            label = f"{cell['group']} {variant}"
            assert found_n == len(expected), label
            np.testing.assert_allclose(found_mean, expected.mean(axis=0), rtol=1e-12, atol=1e-12, err_msg=label)
            np.testing.assert_allclose(found_m2, centred.T @ centred, rtol=1e-9, atol=1e-9, err_msg=label)

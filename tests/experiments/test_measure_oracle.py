"""Every kind of metric on random logs, against plain loops over the rows (measure_oracle)."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict

import numpy as np
import pytest

from experiments.log.rows import DecisionRow, EventRow
from experiments.report.build import build_report
from experiments.store import Store
from tests.experiments.measure_oracle import Unit, population
from tests.experiments.measuring import NOW_US, define, experiment, metric, record
from tests.experiments.random_log import log_of

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

    def money(window: tuple[int, int]) -> list[float]:
        """Redemptions' cost and number, buyers, orders and their value."""
        cost = -unit.profit(*window, lambda _: 0, lambda _: 400) / 100
        number = -unit.profit(*window, lambda _: 0, lambda _: 1, stated=1)
        placed = unit.placed(*window)
        return [cost, number, float(bool(placed)), len(placed), sum(o.net for o in placed) / 100]

    redemption, redeemed, buyers, orders, worth = money(after)
    earned = profit(after) - contact_cost / 100
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
        "beside:economics": [earned, redemption, contact_cost / 100, buyers, redeemed, orders, worth, profit(before)],
        "beside:after": [earned, profit((14, 28))],
        "beside:novelty": [spend((0, 7)), spend((7, 14))],
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
    for key, column in itertools.product(("spend", "beside:novelty"), (0, 1)):
        # Winsorised at the .9 quantile over both arms, a whole number of minor units.
        pooled = [v[column] for arm in table[key].values() for v in arm]
        limit = math.floor(float(np.quantile(pooled, 0.9)) * 100 + 1e-6) / 100
        for arm in table[key].values():
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

"""Every fact of every unit against a loop over the same events in plain Python."""

from __future__ import annotations

import math
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from experiments.definitions.stage_facts import FACTS, OF_VALUE, PERIODS, Computed
from experiments.log.rows import EventRow
from experiments.sources.duck import fetch
from experiments.sources.log import LogTables, open_log
from experiments.stages import facts, orders
from experiments.stages.days import Days
from experiments.store import Store
from stats.clv import bgnbd, gamma_gamma
from tests.experiments.stages.shop import happened, record

DAY = 86_400_000_000
AS_OF = 1_779_253_200_000_000
"""2026-05-20 05:00 UTC, 13:00 in Shanghai."""
MOMENT = datetime(1970, 1, 1, tzinfo=UTC)


def world(seed: int) -> list[EventRow]:
    """Orders in every state, from two sources, some stated twice, some refunded in parts or cancelled, some to come."""
    rng = np.random.default_rng(seed)
    events = []
    for number in range(400):
        unit, order = f"u{rng.integers(0, 60):02d}", f"o{number}"
        at = AS_OF - int(rng.integers(-3 * DAY, 420 * DAY))
        value = int(rng.integers(1, 50)) * 100
        source = ["pos", "app"][rng.integers(0, 2)]
        events.append(happened("Order Completed", unit, at, order, value, source=source))
        kind = rng.integers(0, 10)
        later = at + int(rng.integers(0, 30 * DAY))
        if kind == 0:
            events.append(happened("Order Cancelled", unit, later, order, source=source))
        elif kind == 1:
            events.append(happened("Order Refunded", unit, later, order, value, source=source))
        elif kind == 2:
            events.append(happened("Order Refunded", unit, later, order, None, source=source))
        elif kind == 3:
            events.append(happened("Order Refunded", unit, later, order, value // 200 * 100, source=source))
        elif kind == 4:
            events.append(happened("Order Updated", unit, later, order, value + 700, source=source))
        elif kind == 5:
            other = "app" if source == "pos" else "pos"
            events.append(happened("Order Completed", unit, later, order, value, source=other))
        if rng.random() < 0.5:
            events.append(happened("App Visited", f"u{rng.integers(0, 70):02d}", at))
    return events


def expected(events: list[EventRow], zone: str) -> dict[str, dict[str, Any]]:
    """Return the facts, by counting."""

    def day(at: int) -> int:
        return ((MOMENT + timedelta(microseconds=at)).astimezone(ZoneInfo(zone)).date() - MOMENT.date()).days

    known = [event for event in events if event.at <= AS_OF]
    found: dict[str, dict[str, Any]] = {event.unit: {} for event in known}
    stated: dict[tuple[str, str], list[EventRow]] = defaultdict(list)
    for event in known:
        if event.object_id is not None:
            stated[event.unit, event.object_id].append(event)
    bought: dict[str, list[tuple[int, int]]] = defaultdict(list)
    several = len({event.source for event in known if event.name == "Order Refunded"}) > 1
    for (unit, _), about in stated.items():
        placed = [event for event in about if event.name in ("Order Completed", "Order Updated")]
        value = max((event.at, event.value_minor or 0) for event in placed)[1]
        back: dict[str, int] = defaultdict(int)
        for event in about:
            if event.name == "Order Refunded":
                back[event.source if several else ""] += value if event.value_minor is None else event.value_minor
        given = max(back.values(), default=0)
        if any(event.name == "Order Cancelled" for event in about) or (back and given >= value):
            continue
        bought[unit].append((min(event.at for event in placed), value - given))
    today = day(AS_OF)
    for unit, facts_of in found.items():
        of = sorted(bought[unit])
        login = max((e.at for e in known if e.unit == unit and e.name == "App Visited"), default=None)
        facts_of |= {
            "first_order_at": of[0][0] if of else None,
            "last_order_at": of[-1][0] if of else None,
            "last_login_at": login,
            "days_since_first_order": today - day(of[0][0]) if of else None,
            "days_since_order": today - day(of[-1][0]) if of else None,
            "days_since_login": None if login is None else today - day(login),
            "orders": len(of),
            "spend": sum(value for _, value in of) / 100,
            "average_order": round(sum(value for _, value in of) / 100 / len(of), 2) if of else None,
        }
        for n in PERIODS:
            inside = [value for at, value in of if today - day(at) < n]
            facts_of |= {f"orders_{n}d": len(inside), f"spend_{n}d": sum(inside) / 100}
    return found


def read(log: LogTables, computed: Computed, zone: str, wanted: frozenset[str]) -> dict[str, dict[str, Any]]:
    orders.load(log, computed, AS_OF, "SELECT NULL::VARCHAR AS unit WHERE false")
    facts.write(log.connection, computed, Days.until(AS_OF, zone), 2, wanted)
    tables = log.connection.table(orders.UNITS).join(log.connection.table(facts.TABLE), "u")
    return {row["unit"]: row for row in fetch(tables)}


@pytest.mark.parametrize(("seed", "zone"), [(1, "Asia/Shanghai"), (2, "America/New_York")])
def test_facts_are_those_that_counting_gives(store: Store, seed: int, zone: str) -> None:
    events = world(seed)
    record(store, events)
    store.close()
    with open_log(store.url) as log:
        found = read(log, Computed(login="App Visited"), zone, frozenset())
    wanted = expected(events, zone)
    assert found.keys() == wanted.keys()
    assert sum(about["orders"] for about in wanted.values()) > 250
    for unit, about in wanted.items():
        for name, value in about.items():
            got = found[unit][name]
            assert (got is None) == (value is None), (unit, name)
            assert value is None or math.isclose(got, value, abs_tol=1e-9), (unit, name, got, value)
        assert found[unit]["p_alive"] is None


def test_scores_and_expectations(sqlite_store: Store) -> None:
    """Scores by the share of members strictly below; P(alive) by the model's own formulas (Fader, Hardie, Lee 2005)."""
    events = world(3)
    record(sqlite_store, events)
    sqlite_store.close()
    with open_log(sqlite_store.url) as log:
        found = read(log, Computed(horizon_days=90), "Asia/Shanghai", OF_VALUE)
    wanted = {unit: about for unit, about in expected(events, "Asia/Shanghai").items() if about["orders"]}
    for name, fact, sign in (
        ("recency_score", "days_since_order", -1),
        ("frequency_score", "orders", 1),
        ("monetary_score", "spend", 1),
    ):
        values = {unit: sign * about[fact] for unit, about in wanted.items()}
        for unit, value in values.items():
            below = sum(other < value for other in values.values())
            assert found[unit][name] == 1 + sum(below * 5 >= k * len(values) for k in range(1, 5)), (unit, name)
    scores = [found[unit] for unit in wanted]
    assert all(
        s["rfm"] == f"{s['recency_score']:.0f}{s['frequency_score']:.0f}{s['monetary_score']:.0f}" for s in scores
    )
    assert all(found[unit]["rfm"] is None for unit in found.keys() - wanted.keys())
    alive = {unit: found[unit]["p_alive"] for unit in wanted}
    assert all(0 <= p <= 1 for p in alive.values())
    x, t_x, age, mean = [], [], [], []
    for unit in wanted:
        days: dict[int, int] = defaultdict(int)
        for at, value in bought_by(events, unit):
            days[(at + 8 * 3_600_000_000) // DAY] += value
        first, last = min(days), max(days)
        x.append(len(days) - 1)
        t_x.append(last - first)
        age.append((AS_OF + 8 * 3_600_000_000) // DAY - first)
        mean.append(sum(v for d, v in days.items() if d != first) / 100 / max(len(days) - 1, 1))
    model, spend = bgnbd.fit(x, t_x, age), gamma_gamma.fit(x, mean)
    assert np.allclose([alive[unit] for unit in wanted], model.probability_alive(x, t_x, age), atol=2e-4)
    worth = model.expected_purchases(90.0, x, t_x, age) * spend.expected_value(x, mean)
    assert np.allclose([found[unit]["expected_value"] for unit in wanted], worth, rtol=1e-3, atol=1e-3)


def bought_by(events: list[EventRow], unit: str) -> list[tuple[int, int]]:
    """Return a unit's orders that count, with what is left of their value."""
    found = []
    for order in {event.object_id for event in events if event.unit == unit and event.object_id}:
        about = [e for e in events if e.unit == unit and e.object_id == order and e.at <= AS_OF]
        one = expected(about, "UTC").get(unit)
        several = len({e.source for e in events if e.name == "Order Refunded" and e.at <= AS_OF}) > 1
        assert several
        if one and one["orders"]:
            found.append((one["first_order_at"], round(one["spend"] * 100)))
    return found


def test_every_fact_is_documented_and_computed() -> None:
    from pathlib import Path

    page = (Path(__file__).resolve().parents[3] / "docs" / "stages.md").read_text(encoding="utf-8")
    for name in FACTS:
        assert f"`{name}`" in page or name.startswith("spend_"), name
    for name in Computed.model_fields:
        assert f"| `{name}` |" in page, name

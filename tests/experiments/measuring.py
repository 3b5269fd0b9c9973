"""What tests of measuring share: definitions, rows of the log, and a store that holds both."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from allocation.decision import decision_id
from experiments.definitions.loader import load_text
from experiments.keeping.repository import Repository
from experiments.log.absorb import absorb
from experiments.log.rows import DAY_US, DecisionRow, EventRow
from experiments.store import Store

START_US = 20_515 * DAY_US + 4 * 3_600_000_000
"""2026-03-03 12:00 in Shanghai."""
NOW_US = START_US + 60 * DAY_US

PROJECT: dict[str, Any] = {
    "kind": "project",
    "name": "Test shop",
    "currency": "CNY",
    "time_zone": "Asia/Shanghai",
    "attributes": {"tier": {"type": "string", "kept": "stored"}},
}


def metric(key: str, kind: str, **fields: Any) -> dict[str, Any]:
    """A metric with a 14-day window."""
    base = {"kind": "metric", "key": key, "name": {"en": key, "zh-CN": key}, "type": kind}
    return base | {"event": "Order Completed", "window": {"days": 14}} | fields


def experiment(metrics: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    """A two-variant experiment."""
    base = {
        "kind": "experiment",
        "key": "winback",
        "name": {"en": "Win-back", "zh-CN": "唤回"},
        "variants": [{"key": "control"}, {"key": "a"}],
        "control": "control",
        "metrics": metrics,
    }
    return base | fields


def define(store: Store, *documents: Mapping[str, Any], project: Mapping[str, Any] = PROJECT) -> None:
    """Apply definitions."""
    text = "\n---\n".join(json.dumps(d, ensure_ascii=False) for d in (project, *documents))
    Repository(store).apply(load_text(text), "test")


def decided(unit: str, variant: str | None, at_us: int = START_US, **changes: Any) -> DecisionRow:
    """A decision of the experiment."""
    phase, occasion = changes.get("phase", 1), changes.get("occasion", "")
    values: dict[str, Any] = {
        "decision_id": decision_id("winback", phase, "member", unit, occasion),
        "experiment": "winback",
        "revision": 1,
        "phase": phase,
        "unit_type": "member",
        "unit": unit,
        "occasion": occasion,
        "kind": "enrolled",
        "variant": variant,
        "reason": "assigned",
        "propensity": 0.5,
        "at": at_us,
    }
    return DecisionRow(**(values | changes))


_numbers = iter(range(10**9))


def happened(name: str, unit: str, at_us: int, value_minor: int | None = None, **changes: Any) -> EventRow:
    """An event; ``properties`` may be a dict."""
    properties = changes.pop("properties", {})
    values: dict[str, Any] = {
        "source": "pos",
        "event_id": f"e{next(_numbers):09d}",
        "name": name,
        "unit_type": "member",
        "unit": unit,
        "at": at_us,
        "received_at": at_us,
        "value_minor": value_minor,
        "currency": None if value_minor is None else "CNY",
        "properties": json.dumps(properties),
    }
    return EventRow(**(values | changes))


def record(store: Store, rows: Iterable[DecisionRow | EventRow], now: int = NOW_US) -> None:
    """Put rows into the log."""
    listed: Sequence[DecisionRow | EventRow] = list(rows)
    with store.begin() as connection:
        absorb(connection, listed, now)

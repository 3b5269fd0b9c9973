"""A project whose stages are computed, and what happens in it, for the tests of stages."""

from __future__ import annotations

import json
from datetime import datetime
from zoneinfo import ZoneInfo

from experiments.definitions.loader import load_text
from experiments.keeping.repository import Repository
from experiments.log.absorb import absorb
from experiments.log.rows import EventRow
from experiments.log.traits import Statement, merge
from experiments.store import Store

PROJECT = """
kind: project
name: Shop
currency: CNY
time_zone: {zone}
attributes:
  stage: {{type: string, changes_with_offer: true}}
  joined_at: {{type: date}}
  last_order_at: {{type: date, changes_with_offer: true}}
  orders_90d: {{type: number, changes_with_offer: true}}
  rfm: {{type: string}}
  p_alive: {{type: number}}
  tier: {{type: string}}
  cart: {{type: number, kept: request}}
"""
RULE = """
kind: stage_rule
key: lifecycle
name: {en: Lifecycle, zh-CN: 生命周期}
computed: {keep: [last_order_at, orders_90d]}
stages:
  - {stage: potential, name: {en: Potential, zh-CN: 潜客}, rule: {attribute: orders, op: eq, value: 0}}
  - {stage: lost, rule: {attribute: last_order_at, op: days_since, gte: 60}}
  - {stage: dormant, rule: {attribute: last_order_at, op: days_since, gte: 30}}
  - {stage: active}
"""


def define(store: Store, rule: str = RULE, zone: str = "Asia/Shanghai") -> None:
    """Apply the project and a stage rule."""
    Repository(store).apply(load_text(f"{PROJECT.format(zone=zone)}---\n{rule}"), "tests")


def at(text: str, zone: str = "Asia/Shanghai") -> int:
    """Return local time as microseconds UTC."""
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()) * 1_000_000


def happened(
    name: str, unit: str, at_us: int, order: str | None = None, value: int | None = None, *, source: str = "pos"
) -> EventRow:
    """Return an event."""
    return EventRow(
        source=source,
        event_id=f"{source}-{name}-{unit}-{at_us}-{order}",
        name=name,
        unit_type="member",
        unit=unit,
        at=at_us,
        received_at=at_us,
        object_id=order,
        value_minor=value,
        currency=None if value is None else "CNY",
        properties="{}",
    )


def ordered(unit: str, at_us: int, value: int = 10_000, order: str | None = None) -> EventRow:
    """Return an order."""
    return happened("Order Completed", unit, at_us, order or f"{unit}@{at_us}", value)


def record(store: Store, events: list[EventRow], now_us: int = 2_000_000_000_000_000) -> None:
    """Put events into the log."""
    with store.begin() as connection:
        absorb(connection, events, now_us)


def state(store: Store, unit: str, at_us: int, **attributes: object) -> None:
    """State a member's attributes."""
    with store.begin() as connection:
        merge(connection, [Statement("member", unit, at_us, attributes)])


def stored(store: Store) -> dict[str, dict[str, object]]:
    """Return every member's stored attributes."""
    import sqlalchemy as sa

    from experiments.store.log_tables import members

    with store.read() as connection:
        return {row.unit: json.loads(row.attributes) for row in connection.execute(sa.select(members))}

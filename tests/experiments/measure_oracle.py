"""What a unit's metrics are, spelled out in plain loops over the rows: the independent answer that tests compare with.

It follows the definitions in docs/analyze.md and design (one row per order whatever the source, latest state, refunds
and cancellations reversed, covariates as known before entry) and shares no code with experiments.measure.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from experiments.log.rows import DAY_US, DecisionRow, EventRow

PLACED = {"Order Completed", "Order Updated"}


def population(
    decisions: Iterable[DecisionRow], excluded: set[str], phase: int
) -> tuple[dict[str, Any], dict[str, int]]:
    """Return unit → (variant, entry, contacts) and the left-out counts."""
    by_unit: dict[str, list[DecisionRow]] = defaultdict(list)
    first_row: dict[str, DecisionRow] = {}
    conflicting: set[tuple[str, int]] = set()
    for row in decisions:
        kept = first_row.setdefault(row.decision_id, row)
        if kept is not row:
            if kept.variant != row.variant:
                conflicting.add((row.unit, row.phase))
            continue
        by_unit[row.unit].append(row)
    units, left_out = {}, defaultdict(int)
    for unit, rows in by_unit.items():
        rows = [r for r in rows if r.kind != "holdout"]
        here = [r for r in rows if r.phase == phase]
        if not here:
            continue
        enrolled = [r for r in here if r.kind == "enrolled"]
        elsewhere = [r.at for r in rows if r.phase != phase and r.kind == "enrolled"]
        if unit in excluded:
            left_out["excluded"] += 1
        elif any(r.kind == "override" for r in rows) or not enrolled:
            left_out["override"] += 1
        elif elsewhere and min(elsewhere) < min(r.at for r in enrolled):
            left_out["other_phase"] += 1
        elif len({r.variant for r in enrolled}) > 1 or (unit, phase) in conflicting:
            left_out["contaminated"] += 1
        else:
            units[unit] = (enrolled[0].variant, min(r.at for r in enrolled), len(enrolled))
    return units, dict(left_out)


@dataclass
class Order:
    """One order as it was known at some moment."""

    placed_at: int
    value: int
    net: int
    margin: int | None
    channel: str | None
    reversed: bool


def order(rows: list[EventRow], before: int | None) -> Order | None:
    stated = [r for r in rows if r.name in PLACED]
    if not stated:
        return None
    placed_at = min(r.at for r in stated)
    known = [r for r in rows if before is None or r.at < before]
    stated = [r for r in known if r.name in PLACED]
    values = [(r.at, r.value_minor) for r in stated if r.value_minor is not None]
    margins = [(r.at, json.loads(r.properties)["margin_minor"]) for r in stated if "margin_minor" in r.properties]
    in_app = [(r.at, json.loads(r.properties).get("channel") == "app") for r in stated]
    value = max(values)[1] if values else 0
    refunds: dict[str, int] = defaultdict(int)
    full = False
    for r in known:
        if r.name == "Order Refunded":
            full = full or r.value_minor is None
            refunds[r.source] += r.value_minor or 0
    refunded = max(refunds.values(), default=0)
    gone = full or (value > 0 and refunded >= value) or any(r.name == "Order Cancelled" for r in known)
    net = max(value - refunded, 0)
    margin = max(margins)[1] if margins else None
    if margin is not None and value > 0 and net < value:
        margin = _half_even_up(margin * net / value)
    channel = "app" if in_app and max(in_app)[1] else None
    return Order(placed_at, value, net, margin, channel, gone)


def _half_even_up(value: float) -> int:
    return int(value + 0.5) if value >= 0 else -int(-value + 0.5)


class Unit:
    """One unit's events, with windows counted from its entry."""

    def __init__(self, entry: int, events: Iterable[EventRow]) -> None:
        self.entry = entry
        self.events = list(events)
        groups: dict[str, list[EventRow]] = defaultdict(list)
        for e in self.events:
            if e.name.startswith("Order ") or e.name == "Coupon Redeemed":
                groups[e.object_id or f"{e.source}:{e.event_id}"].append(e)
        self.orders = list(groups.values())

    def within(self, at: int, start_days: float, end_days: float) -> bool:
        return start_days * DAY_US <= at - self.entry < end_days * DAY_US

    def placed(self, start: float, end: float) -> list[Order]:
        before = self.entry if start < 0 else None
        found = [order(rows, before) for rows in self.orders]
        return [o for o in found if o and self.within(o.placed_at, start, end) and not o.reversed]

    def plain(self, name: str, start: float, end: float) -> list[EventRow]:
        """Events that are no orders: one per object, in its latest state, at its first time."""
        loose = [e for e in self.events if e.name == name and e.object_id is None and self.within(e.at, start, end)]
        objects: dict[str, list[EventRow]] = defaultdict(list)
        for e in self.events:
            if e.name == name and e.object_id is not None:
                objects[e.object_id].append(e)
        for rows in objects.values():
            if self.within(min(r.at for r in rows), start, end):
                known = [r for r in rows if start >= 0 or r.at < self.entry]
                loose.append(max(known, key=lambda r: (r.at, json.loads(r.properties).get("minutes", 0))))
        return loose

    def first_order(self, end: float, now: int) -> tuple[int, bool]:
        """Microseconds until the first order that counts, or until the unit is out of sight, and which of the two."""
        times = [o.placed_at - self.entry for o in self.placed(0, end)]
        return self._first(times, end, now)

    def first_plain(self, name: str, end: float, now: int) -> tuple[int, bool]:
        """The same for an event that is no order."""
        loose = [e.at for e in self.events if e.name == name and e.object_id is None]
        objects: dict[str, int] = {}
        for e in self.events:
            if e.name == name and e.object_id is not None:
                objects[e.object_id] = min(e.at, objects.get(e.object_id, e.at))
        times = [at - self.entry for at in (*loose, *objects.values()) if self.within(at, 0, end)]
        return self._first(times, end, now)

    def _first(self, times: list[int], end: float, now: int) -> tuple[int, bool]:
        if times:
            return min(times), True
        return max(0, min(int(end * DAY_US), now - self.entry)), False

    def refunded(self, start: float, end: float) -> int:
        count = 0
        for rows in self.orders:
            given = [r.at for r in rows if r.name == "Order Refunded"]
            count += bool(given) and self.within(min(given), start, end)
        return count

    def profit(
        self,
        start: float,
        end: float,
        margin: Callable[[Order], int],
        redemption: Callable[[int], int],
        *,
        stated: int | None = None,
    ) -> int:
        """Margin less redemptions; ``stated`` stands in for the costs that redemptions carry themselves."""
        total = sum(margin(o) for o in self.placed(start, end))
        before = self.entry if start < 0 else None
        for rows in self.orders:
            used = [r for r in rows if r.name == "Coupon Redeemed"]
            if used and self.within(min(r.at for r in used), start, end):
                known = order(rows, before)
                if not (known and known.reversed) and not (known is None and _cancelled(rows, before)):
                    own = [(r.at, r.value_minor) for r in used if r.value_minor is not None]
                    cost = max(own)[1] if own else redemption(known.value if known else 0)
                    total -= cost if stated is None or not own else stated
        return total


def _cancelled(rows: list[EventRow], before: int | None) -> bool:
    return any(
        (r.name == "Order Cancelled" or (r.name == "Order Refunded" and r.value_minor is None))
        and (before is None or r.at < before)
        for r in rows
    )

"""What the simulated shop's systems would have sent: orders, refunds, redemptions, visits and unsubscriptions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from experiments.demo import shop
from experiments.demo.shop import Index, Members, Orders
from experiments.log.rows import EventRow

SOURCE = "demo"
HOUR_US = 3_600_000_000
CHANNELS = ("app", "mini_program", "web")


@dataclass(frozen=True)
class Redeemed:
    """Which orders used which offer: one element for each order, −1 for none."""

    offers: tuple[str, ...]
    offer: Index


def order_events(
    rng: np.random.Generator, members: Members, orders: Orders, redeemed: Redeemed, *, until_us: int
) -> Iterator[EventRow]:
    """Yield each order, its redemption and, for a few, its refund days later; nothing from the future."""
    channel = rng.choice(len(CHANNELS), size=len(orders.at), p=(0.55, 0.35, 0.10))
    refunded_after = np.where(
        rng.random(len(orders.at)) < shop.REFUND_SHARE, rng.uniform(1, 9, len(orders.at)) * shop.DAY_US, -1
    ).astype(np.int64)
    columns = zip(
        orders.member.tolist(),
        orders.at.tolist(),
        orders.value_minor.tolist(),
        orders.margin_minor.tolist(),
        channel.tolist(),
        redeemed.offer.tolist(),
        refunded_after.tolist(),
        strict=True,
    )
    for number, (member, at, value, margin, place, offer, refund) in enumerate(columns):
        unit, order = members.ids[member], f"O{number:07d}"
        used = f',"offer":"{redeemed.offers[offer]}"' if offer >= 0 else ""
        properties = f'{{"channel":"{CHANNELS[place]}","margin_minor":{margin}{used}}}'
        yield _event(f"{order}-c", "Order Completed", unit, at, order, value, properties)
        if offer >= 0:
            properties = f'{{"offer":"{redeemed.offers[offer]}"}}'
            yield _event(f"{order}-v", "Coupon Redeemed", unit, at, order, None, properties)
        if 0 <= refund < until_us - at:
            yield _event(f"{order}-r", "Order Refunded", unit, at + refund, order, value, '{"reason":"returned"}')


def past_order_events(rng: np.random.Generator, members: Members, *, before_us: int) -> Iterator[EventRow]:
    """Yield the orders that members made before the eight weeks: the last one when it was, the others before it.

    They lie within a hundred days of the last, so that whoever was loyal then is so at the end, too.
    """
    spread_us = 99 * shop.DAY_US
    known = members.last_order_at < before_us
    count = np.where(known, np.maximum(members.past_orders, 1), 0)
    member = np.repeat(np.arange(len(count)), count)
    is_last = np.diff(member, append=-1) != 0
    ago = np.where(is_last, 0, rng.random(len(member)) * spread_us).astype(np.int64)
    at = members.last_order_at[member] - ago
    value, margin = shop.baskets(rng, members, member)
    columns = zip(member.tolist(), at.tolist(), value.tolist(), margin.tolist(), strict=True)
    for number, (who, when, amount, earned) in enumerate(columns):
        properties = f'{{"channel":"app","margin_minor":{earned}}}'
        order = f"P{number:07d}"
        yield _event(f"{order}-c", "Order Completed", members.ids[who], when, order, amount, properties)


def visit_events(members: Members, member: Index, at: Index) -> Iterator[EventRow]:
    """Yield app visits."""
    for number, (who, when) in enumerate(zip(member.tolist(), at.tolist(), strict=True)):
        yield _event(f"V{number:07d}", "App Visited", members.ids[who], when)


def unsubscribe_events(members: Members, member: Index, at: Index) -> Iterator[EventRow]:
    """Yield unsubscriptions from marketing messages."""
    for number, (who, when) in enumerate(zip(member.tolist(), at.tolist(), strict=True)):
        yield _event(f"U{number:07d}", "Unsubscribed", members.ids[who], when)


def _event(
    event_id: str,
    name: str,
    unit: str,
    at: int,
    object_id: str | None = None,
    value_minor: int | None = None,
    properties: str = "{}",
) -> EventRow:
    return EventRow(
        source=SOURCE,
        event_id=event_id,
        name=name,
        unit_type="member",
        unit=unit,
        at=at,
        received_at=at + 2_000_000,
        object_id=object_id,
        value_minor=value_minor,
        currency=None if value_minor is None else "CNY",
        properties=properties,
    )

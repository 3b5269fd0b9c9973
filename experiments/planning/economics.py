"""What an offer costs where it is redeemed, and from which uplift on it pays."""

from __future__ import annotations

from dataclasses import dataclass

from experiments.definitions import Metric, Offer
from experiments.definitions.money import exponent
from experiments.definitions.pricing import Order, PricedOffer
from experiments.errors import InputError
from experiments.measure.days import DAY_US
from experiments.measure.properties import Properties
from experiments.measure.redemption import Costs
from experiments.planning.document import BreakEven
from experiments.sources.duck import fetch
from experiments.sources.log import LogTables
from stats.arrays import number
from stats.power import break_even

PAYS_NEVER = "the offer costs the whole margin or more: no uplift pays for it"
ALL = "all"
ORDER_DAYS = 90


@dataclass(frozen=True)
class Orders:
    """Past orders, in major units."""

    number: int
    value: float
    """Mean order value."""
    margin: float | None
    """Mean margin, where the project's profit metric says what it is."""
    cost: float
    """Mean cost of the offer on an order on which it can be redeemed."""
    redeemed: float
    """Share of the orders on which it can be redeemed."""


def economics(
    offer: Offer | None,
    currency: str,
    baseline: float,
    *,
    margin: float | None = None,
    cost: float | None = None,
    contact: float | None = None,
    redeemed: float | None = None,
    order_value: float | None = None,
    channel: str | None = None,
    orders: Orders | None = None,
) -> BreakEven:
    """Return the break-even uplift; figures given go before those of past orders, these before the definition's.

    Args:
        offer: of the project, if one is meant.
        currency: of all amounts, which are in major units.
        baseline: purchase rate without the offer.
        margin: of an order before the offer.
        cost: of one redemption.
        contact: of one contact.
        redeemed: share of orders on which the offer is redeemed.
        order_value: of a typical order.
        channel: how members are contacted, for the offer's own contact cost.
        orders: past ones.

    Raises:
        InputError: a figure is missing.
    """
    unit = 10 ** exponent(currency)
    margin = margin if margin is not None else (orders.margin if orders else None)
    if margin is None:
        raise InputError("what an order earns is not known: give --margin, the margin of an order before the offer")
    if contact is None:
        contact = _contact(offer, currency, channel)
    if cost is None and order_value is None and orders is not None:
        cost = orders.cost
        redeemed = orders.redeemed if redeemed is None else redeemed
    if cost is None and offer is not None:
        value = order_value if order_value is not None else (orders.value if orders else None)
        if value is None and offer.type in ("percent_off", "points_multiplier", "spend_x_save_y", "fixed_coupon"):
            raise InputError(f"what {offer.key} costs depends on the order: give --order-value, or --cost")
        nth = offer.stamps_needed or offer.referrals_needed or 1
        cost = PricedOffer(offer, currency).cost_minor(Order(round((value or 0.0) * unit), nth=nth)) / unit
    if cost is None:
        raise InputError("what a redemption costs is not known: give --cost, or --offer KEY of the project")
    share = 1.0 if redeemed is None else redeemed
    uplift = number(break_even(margin, cost, baseline, contact, share))
    return BreakEven(
        offer=None if offer is None else offer.key,
        margin=margin,
        cost=cost,
        contact=contact,
        redeemed=share,
        baseline=baseline,
        uplift=uplift,
        relative=None if uplift is None or not baseline else uplift / baseline,
        why=PAYS_NEVER if uplift is None else None,
    )


def _contact(offer: Offer | None, currency: str, channel: str | None) -> float:
    if offer is None or not offer.contact_cost:
        return 0.0
    if channel is None:
        if len(offer.contact_cost) > 1:
            listed = ", ".join(offer.contact_cost)
            raise InputError(f"{offer.key} costs differ by channel ({listed}): give --channel, or --contact-cost")
        channel = next(iter(offer.contact_cost))
    elif channel not in offer.contact_cost:
        raise InputError(f"{offer.key} has no contact cost for {channel}: use {', '.join(offer.contact_cost)}")
    return float(PricedOffer(offer, currency).contact_cost_minor(channel) / 10 ** exponent(currency))


def past_orders(
    log: LogTables, offer: Offer, currency: str, unit_type: str, now_us: int, profit: Metric | None = None
) -> Orders | None:
    """Return what the offer would have cost on the orders of the last 90 days, ``None`` where there are none.

    Args:
        log: where the orders lie.
        offer: priced order by order, with the expressions that reports price redemptions with.
        currency: of the project.
        unit_type: whose orders.
        now_us: until when.
        profit: metric that says what an order's margin is.
    """
    import ibis

    event = profit.event if profit is not None else "Order Completed"
    e = log.events
    rows = e.filter(
        e.name == event,
        e.unit_type == unit_type,
        e["at"] <= now_us,
        e["at"] > now_us - ORDER_DAYS * DAY_US,
        e.value_minor.notnull(),
    )
    name = profit.margin.property if profit is not None and profit.margin is not None else None
    if name is not None:
        rows = Properties(numbers={(event, name): "order_margin"}).extract(log, rows)
    costs = Costs(currency, {offer.key: offer}, {ALL: (offer.key, None)})
    # An amount of 0 means an order of unknown value there.
    amount = ibis.greatest(rows.value_minor.cast("int64"), 1)
    cost = costs.redemption_expression(ibis.null("int64"), ibis.literal(offer.key), ibis.literal(ALL), amount)
    prepared = rows.mutate(order_cost=cost.cast("int64"))
    sums = {
        "n": prepared.count(),
        "value": prepared.value_minor.cast("float64").mean(),
        "cost": prepared.order_cost.cast("float64").sum(),
        "redeemable": (prepared.order_cost > 0).cast("int64").sum(),
    }
    if name is not None:
        sums["margin"] = prepared.order_margin.mean()
    found = fetch(prepared.aggregate(**sums))[0]
    n, unit = int(found["n"]), 10 ** exponent(currency)
    if not n:
        return None
    redeemable, value = int(found["redeemable"] or 0), float(found["value"]) / unit
    rate = profit.margin_rate() if profit is not None else None
    margin = float(rate) * value if rate is not None else None
    if found.get("margin") is not None:
        margin = float(found["margin"]) / unit
    return Orders(n, value, margin, float(found["cost"]) / redeemable / unit if redeemable else 0.0, redeemable / n)

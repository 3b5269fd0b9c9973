"""Offers beside a discount that members have anyway, as tiers give it: what an offer costs more, and whether it is any.

A gold member pays 85 % of the price without any campaign. A coupon for 10 % off gives that member nothing, and costs
nothing; one of ¥30 on ¥100 costs ¥15 more than the tier's own ¥15. Discounts do not stack here: the better one counts.
"""

from __future__ import annotations

from fractions import Fraction

from experiments.definitions.pricing import Order, PricedOffer

PRICES = frozenset({"percent_off", "spend_x_save_y", "fixed_coupon"})
"""Types that take something off the price, so that one of them can stand in for another."""
DEAR_MINOR = 10**12
"""An order beyond every threshold and every cap."""


def extra_cost_minor(offer: PricedOffer, standing: PricedOffer | None, order: Order) -> int:
    """Return what redeeming an offer costs more than the discount that the member has anyway.

    Args:
        offer: of the campaign.
        standing: the member's own, such as its tier's; ``None`` where it has none.
        order: on which it is redeemed.

    >>> from experiments.definitions.offer import Offer
    >>> gold = PricedOffer(Offer(kind="offer", key="g", name="85折", type="percent_off", percent_off="8.5折"), "CNY")
    >>> nine = PricedOffer(Offer(kind="offer", key="n", name="9折", type="percent_off", percent_off="9折"), "CNY")
    >>> save = PricedOffer(Offer(kind="offer", key="s", name="满100减30", type="spend_x_save_y",
    ...                          face_value="30", minimum_spend="100"), "CNY")
    >>> [extra_cost_minor(offer, gold, Order(10_000)) for offer in (nine, save)]
    [0, 1500]
    """
    cost = offer.cost_minor(order)
    if standing is None or not {offer.offer.type, standing.offer.type} <= PRICES:
        return cost
    return max(0, cost - standing.cost_minor(order))


def dominated(offer: PricedOffer, standing: PricedOffer) -> bool:
    """Return whether an offer takes no more off any order than the discount that the member has anyway.

    Both grow with the order in straight lines between thresholds and caps, so looking at those is looking everywhere.

    >>> from experiments.definitions.offer import Offer
    >>> gold = PricedOffer(Offer(kind="offer", key="g", name="85折", type="percent_off", percent_off="8.5折"), "CNY")
    >>> nine = PricedOffer(Offer(kind="offer", key="n", name="9折", type="percent_off", percent_off="9折"), "CNY")
    >>> dominated(nine, gold), dominated(gold, nine)
    (True, False)
    """
    if not {offer.offer.type, standing.offer.type} <= PRICES:
        return False
    return all(extra_cost_minor(offer, standing, Order(amount)) == 0 for amount in _bends(offer, standing))


def _bends(*offers: PricedOffer) -> list[int]:
    """Return order amounts at and beside which any of the offers' costs bends."""
    found = {1, DEAR_MINOR}
    for priced in offers:
        amounts = [priced.minor(field) or 0 for field in ("minimum_spend", "face_value", "redemption_cost")]
        cap = priced.minor("maximum_discount")
        if cap is not None:
            # Where the percentage reaches the cap.
            amounts.append(_reached(priced, cap))
        found |= {amount + step for amount in amounts for step in (-1, 0, 1)}
    return sorted(amount for amount in found if amount > 0)


def _reached(priced: PricedOffer, cap: int) -> int:
    return int(cap / (Fraction(priced.offer.percent_off or "1") / 100))

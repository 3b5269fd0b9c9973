"""Offers beside a discount that members have anyway, as tiers give it: what an offer costs more, and whether it is any.

A gold member pays 85 % of the price without any campaign. A coupon for 10 % off gives that member nothing, and costs
nothing; one of ¥30 on ¥100 costs ¥15 more than the tier's own ¥15. Discounts do not stack here: the better one counts.
Amounts of orders are those before any discount, the member's own as well as the offer's.
"""

from __future__ import annotations

from fractions import Fraction

from pydantic import Field, model_validator

from experiments.definitions.base import Model, Name, refuse
from experiments.definitions.offer import Offer, PercentOff
from experiments.definitions.pricing import Order, PricedOffer

PRICES = frozenset({"percent_off", "spend_x_save_y", "fixed_coupon"})
"""Types that take something off the price, so that one of them can stand in for another."""
DEAR_MINOR = 10**12
"""An order beyond every threshold and every cap."""
PPM = 1_000_000


class Standing(Model):
    """What members have off every order anyway, by the level of an attribute, such as their tier: the baseline offer.

    >>> own = Standing(attribute="tier", discounts={"silver": "9折", "gold": "8.5折"})
    >>> own.discounts["gold"], own.ppm["silver"], own.priced("basic", "CNY") is None
    ('15', 100000, True)
    >>> nine = PricedOffer(Offer(kind="offer", key="n", name="9折", type="percent_off", percent_off="9折"), "CNY")
    >>> own.dominating(nine)
    ('silver', 'gold')
    """

    attribute: Name
    """An attribute of the project; frozen with every decision that gives an offer."""
    discounts: dict[Name, PercentOff] = Field(min_length=1, max_length=200)
    """Level → per cent off, written as an offer's ``percent_off``; levels that are not named have none."""

    @model_validator(mode="after")
    def _leaves_a_price(self) -> Standing:
        free = [level for level, off in self.discounts.items() if Fraction(off) >= 100]
        if free:
            message = 'is the whole price; write what members of the level have off every order, such as "10%" or "9折"'
            refuse("standing", [(("discounts", level), message) for level in free])
        return self

    @property
    def ppm(self) -> dict[str, int]:
        """Level → millionths of the price that are off, exact: percentages have four decimals at most."""
        return {level: int(Fraction(off) * (PPM // 100)) for level, off in self.discounts.items()}

    def priced(self, level: str | None, currency: str) -> PricedOffer | None:
        """Return the discount of a level as an offer, ``None`` where it has none."""
        off = self.discounts.get(level or "")
        if off is None:
            return None
        offer = Offer(kind="offer", key="standing", name={"en": level or ""}, type="percent_off", percent_off=off)
        return PricedOffer(offer, currency)

    def dominating(self, offer: PricedOffer) -> tuple[str, ...]:
        """Return the levels whose members an offer gives nothing that they do not have anyway."""
        levels = ((level, self.priced(level, offer.currency)) for level in self.discounts)
        return tuple(level for level, own in levels if own is not None and dominated(offer, own))


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


def extra_liability_minor(offer: PricedOffer, standing: PricedOffer | None) -> int | None:
    """Return the most that one issued offer can cost more than the discount that the member has anyway.

    ``None`` where the order decides, as in `PricedOffer.liability_minor`; an offer that gives the member nothing costs
    nothing, whatever is ordered.

    >>> from experiments.definitions.offer import Offer
    >>> gold = PricedOffer(Offer(kind="offer", key="g", name="85折", type="percent_off", percent_off="8.5折"), "CNY")
    >>> nine = PricedOffer(Offer(kind="offer", key="n", name="9折", type="percent_off", percent_off="9折"), "CNY")
    >>> save = PricedOffer(Offer(kind="offer", key="s", name="满100减30", type="spend_x_save_y",
    ...                          face_value="30", minimum_spend="100"), "CNY")
    >>> [extra_liability_minor(offer, gold) for offer in (nine, save)], extra_liability_minor(nine, None)
    ([0, 1500], None)
    """
    most = offer.liability_minor()
    if standing is None or not {offer.offer.type, standing.offer.type} <= PRICES:
        return most
    if dominated(offer, standing):
        return 0
    if most is None:
        return None
    return max(extra_cost_minor(offer, standing, Order(amount)) for amount in _bends(offer, standing))


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

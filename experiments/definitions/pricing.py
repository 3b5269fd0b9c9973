"""What an offer costs: at one redemption, for one contact, and at most when it is issued. All in minor units."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from experiments.definitions.money import MoneyError, exponent, to_minor, to_minor_exact
from experiments.definitions.offer import Offer


@dataclass(frozen=True)
class Order:
    """What an offer's cost may depend on."""

    amount_minor: int
    """Order amount before the offer."""
    shipping_minor: int = 0
    """What shipping would have cost the member."""
    nth: int = 1
    """Which qualifying order (stamp cards) or referral (referral rewards) of the member this is; 1 is the first."""


@dataclass(frozen=True)
class PricedOffer:
    """An offer in one currency, ready to compute with.

    >>> save = Offer(kind="offer", key="c", name="满100减30", type="spend_x_save_y",
    ...              face_value="30", minimum_spend="100")
    >>> priced = PricedOffer(save, "CNY")
    >>> priced.cost_minor(Order(9_999)), priced.cost_minor(Order(10_000))
    (0, 3000)
    >>> nine = Offer(kind="offer", key="d", name="9折", type="percent_off", percent_off="9折")
    >>> PricedOffer(nine, "CNY").cost_minor(Order(20_000))
    2000
    """

    offer: Offer
    currency: str

    def minor(self, field: str) -> int | None:
        """Return an amount field (``face_value``, ``minimum_spend`` …) in minor units, ``None`` when not declared."""
        text = getattr(self.offer, field)
        return None if text is None else to_minor(text, self.currency)

    def cost_minor(self, order: Order) -> int:
        """Return what redeeming the offer on this order costs, rounded half up to a minor unit.

        Points cost their expected redemption (rate × value × (1 − breakage)); a paid trial costs its redemption less
        its price and may be negative.
        """
        minimum = self.minor("minimum_spend")
        if minimum is not None and order.amount_minor < minimum:
            return 0
        return _half_up(_COSTS[self.offer.type](self, order))

    def contact_cost_minor(self, channel: str | None) -> Fraction:
        """Return the cost of one contact over ``channel``, exact: one text message may cost 4.5 fen."""
        text = self.offer.contact_cost.get(channel or "")
        return Fraction(0) if text is None else to_minor_exact(text, self.currency)

    def liability_minor(self) -> int | None:
        """Return the most that one issued offer can cost, ``None`` when the order amount decides (see ``why``)."""
        offer = self.offer
        if offer.type == "percent_off":
            return self.minor("maximum_discount")
        if offer.type == "points_multiplier":
            return None
        if offer.type == "free_shipping":
            cost = self.minor("redemption_cost")
            return cost if cost is not None else self.minor("face_value")
        return _half_up(_COSTS[offer.type](self, Order(10**15, nth=offer.stamps_needed or offer.referrals_needed or 1)))

    def check(self) -> list[tuple[str, str]]:
        """Return (field, message) for every amount that the currency cannot express."""
        problems: list[tuple[str, str]] = []
        for field in ("face_value", "minimum_spend", "maximum_discount", "redemption_cost", "price"):
            try:
                self.minor(field)
            except MoneyError as error:
                problems.append((field, str(error)))
        return problems


def _half_up(value: Fraction) -> int:
    return (2 * value + 1).__floor__() // 2


def _declared(priced: PricedOffer, field: str = "redemption_cost") -> Fraction | None:
    value = priced.minor(field)
    return None if value is None else Fraction(value)


def _face(priced: PricedOffer, order: Order) -> Fraction:
    declared = _declared(priced)
    if declared is not None:
        return declared
    return min(_declared(priced, "face_value") or Fraction(0), Fraction(order.amount_minor))


def _percent(priced: PricedOffer, order: Order) -> Fraction:
    off = order.amount_minor * Fraction(priced.offer.percent_off or "0") / 100
    cap = _declared(priced, "maximum_discount")
    return off if cap is None else min(off, cap)


def _points(priced: PricedOffer, order: Order) -> Fraction:
    offer = priced.offer
    spent = Fraction(order.amount_minor, 10 ** exponent(priced.currency))
    extra = (Fraction(offer.multiplier or "1") - 1) * Fraction(offer.points_per_unit or "0") * spent
    return extra * to_minor_exact(offer.point_value or "0", priced.currency) * (1 - Fraction(offer.breakage or "0"))


def _every_nth(priced: PricedOffer, order: Order, needed: int | None) -> Fraction:
    if not needed or order.nth % needed:
        return Fraction(0)
    cost = _declared(priced)
    return (cost if cost is not None else _declared(priced, "face_value") or Fraction(0)) * (
        1 - Fraction(priced.offer.breakage or "0")
    )


def _shipping(priced: PricedOffer, order: Order) -> Fraction:
    declared = _declared(priced)
    return declared if declared is not None else Fraction(order.shipping_minor)


_COSTS: dict[str, Callable[[PricedOffer, Order], Fraction]] = {
    "percent_off": _percent,
    "spend_x_save_y": _face,
    "fixed_coupon": _face,
    "points_multiplier": _points,
    "stamp_card": lambda priced, order: _every_nth(priced, order, priced.offer.stamps_needed),
    "gift": lambda priced, _: _declared(priced) or Fraction(0),
    "free_shipping": _shipping,
    "early_access": lambda priced, _: _declared(priced) or Fraction(0),
    "paid_trial": lambda priced, _: (_declared(priced) or Fraction(0)) - (_declared(priced, "price") or Fraction(0)),
    "referral_reward": lambda priced, order: _every_nth(priced, order, priced.offer.referrals_needed),
    "content_only": lambda *_: Fraction(0),
}

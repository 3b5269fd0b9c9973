"""What redemptions and contacts cost, as expressions over the log: the twin of `experiments.definitions.pricing`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from experiments.definitions import Offer
from experiments.definitions.money import exponent
from experiments.definitions.pricing import Order, PricedOffer

LARGE_MINOR = 10**12
MAX_FRACTION_DECIMALS = 4


@dataclass(frozen=True)
class Costs:
    """The offers of an experiment, priced, and which variant gives which over which channel."""

    currency: str
    offers: Mapping[str, Offer]
    """Offer key → offer."""
    variants: Mapping[str, tuple[str | None, str | None]]
    """Variant → (offer key, channel)."""

    def contact(self, variant: str) -> Fraction:
        """Return what one contact of a variant's member costs, in minor units, exact."""
        key, channel = self.variants.get(variant, (None, None))
        if key is None or key not in self.offers:
            return Fraction(0)
        return PricedOffer(self.offers[key], self.currency).contact_cost_minor(channel)

    def fraction_decimals(self) -> int:
        """Return how many decimals of a minor unit the contact costs need, at most 4."""
        costs = [self.contact(variant) for variant in self.variants]
        for decimals in range(MAX_FRACTION_DECIMALS):
            if all((cost * 10**decimals).denominator == 1 for cost in costs):
                return decimals
        return MAX_FRACTION_DECIMALS

    def contact_expression(self, variant: Any, contacts: Any, decimals: int) -> Any:
        """Return a unit's contact costs in 10^-decimals minor units, whole."""
        import ibis

        branches = [
            (variant == key, contacts * round(self.contact(key) * 10**decimals))
            for key in self.variants
            if self.contact(key)
        ]
        return ibis.cases(*branches, else_=ibis.literal(0, type="int64")) if branches else ibis.literal(0, type="int64")

    def redemption_expression(self, stated: Any, offer_key: Any, variant: Any, amount: Any) -> Any:
        """Return the cost of one redemption in minor units, whole.

        Args:
            stated: cost that the redemption itself carried, NULL where none.
            offer_key: offer it named, NULL where none: then it is the variant's.
            variant: the unit's variant.
            amount: order value in minor units, NULL where no order is known.
        """
        import ibis

        own = [(variant == v, ibis.literal(key)) for v, (key, _) in self.variants.items() if key is not None]
        by_variant = ibis.cases(*own, else_=ibis.null("string")) if own else ibis.null("string")
        key = offer_key.fill_null(by_variant)
        priced = [(key == k, self._cost(offer, amount.fill_null(0))) for k, offer in self.offers.items()]
        declared = ibis.cases(*priced, else_=ibis.literal(0, type="int64")) if priced else ibis.literal(0, "int64")
        return stated.fill_null(declared)

    def refund_returns_cost(self, offer_key: Any, variant: Any) -> Any:
        """Return whether a reversed order gives the redemption cost back (the offer's own setting, by default yes)."""
        import ibis

        keeping = [k for k, offer in self.offers.items() if not offer.refund_returns_cost]
        own = [v for v, (k, _) in self.variants.items() if k in keeping]
        if not keeping:
            return ibis.literal(True)
        return ~(offer_key.isin(keeping) | (offer_key.isnull() & variant.isin(own))).fill_null(False)

    def _cost(self, offer: Offer, amount: Any) -> Any:
        import ibis

        priced = PricedOffer(offer, self.currency)
        minimum = priced.minor("minimum_spend") or 0
        if offer.type == "percent_off":
            cost = _share(amount, Fraction(offer.percent_off or "0") / 100)
            cap = priced.minor("maximum_discount")
            cost = cost if cap is None else ibis.least(cost, ibis.literal(cap, "int64"))
        elif offer.type == "points_multiplier":
            each = PricedOffer(offer.model_copy(update={"minimum_spend": None}), self.currency)
            unit = 10 ** exponent(self.currency)
            cost = _share(amount, Fraction(each.cost_minor(Order(LARGE_MINOR * unit)), LARGE_MINOR * unit))
        else:
            # A redemption is logged when the card is full or the friend has come: one redemption, one cost.
            nth = offer.stamps_needed or offer.referrals_needed or 1
            fixed = priced.cost_minor(Order(LARGE_MINOR, nth=nth))
            cost = ibis.literal(fixed, "int64")
            if offer.redemption_cost is None and offer.type in ("fixed_coupon", "spend_x_save_y"):
                cost = ibis.ifelse(amount > 0, ibis.least(cost, amount), cost)
        if not minimum:
            return cost
        return ibis.ifelse((amount >= minimum) | (amount == 0), cost, ibis.literal(0, "int64"))


def _share(amount: Any, share: Fraction) -> Any:
    """Return a share of whole minor units, rounded half up, in whole numbers throughout."""
    limited = share.limit_denominator(10**6)
    return ((amount * (2 * limited.numerator) + limited.denominator) // (2 * limited.denominator)).cast("int64")

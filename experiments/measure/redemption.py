"""What redemptions and contacts cost, as expressions over the log: the twin of `experiments.definitions.pricing`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from experiments.definitions import Experiment, Offer
from experiments.definitions.money import exponent
from experiments.definitions.pricing import Order, PricedOffer
from experiments.definitions.standing import PPM, PRICES

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
    own: Mapping[str, str] = field(default_factory=dict)
    """Variant → attribute that holds the key of each member's own offer; its offer key in ``variants`` is ``None``."""

    @classmethod
    def of(cls, definition: Experiment, currency: str, offers: Mapping[str, Offer]) -> Costs:
        """Return the costs of an experiment's variants."""
        given = {variant.key: (variant.offer, variant.channel) for variant in definition.variants}
        return cls(currency, offers, given, definition.by_member)

    def contact(self, variant: str, offer: str | None = None) -> Fraction:
        """Return what one contact of a variant's member costs, in minor units, exact.

        Args:
            variant: its key.
            offer: key of the member's own offer, where the variant gives each member its own. Who is given none is
                not contacted.
        """
        key, channel = self.variants.get(variant, (None, None))
        key = offer if variant in self.own else key
        if key is None or key not in self.offers:
            return Fraction(0)
        return PricedOffer(self.offers[key], self.currency).contact_cost_minor(channel)

    def fraction_decimals(self) -> int:
        """Return how many decimals of a minor unit the contact costs need, at most 4."""
        costs = [self.contact(variant) for variant in self.variants]
        costs += [self.contact(variant, offer) for variant in self.own for offer in self.offers]
        for decimals in range(MAX_FRACTION_DECIMALS):
            if all((cost * 10**decimals).denominator == 1 for cost in costs):
                return decimals
        return MAX_FRACTION_DECIMALS

    def contact_expression(self, variant: Any, contacts: Any, decimals: int, offer: Any = None) -> Any:
        """Return a unit's contact costs in 10^-decimals minor units, whole.

        Args:
            variant: the unit's variant.
            contacts: how often it was contacted.
            decimals: of a minor unit.
            offer: key of the unit's own offer, where variants give each member its own.
        """
        import ibis

        branches = [
            (variant == key, contacts * round(self.contact(key) * 10**decimals))
            for key in self.variants
            if self.contact(key)
        ]
        branches += [
            ((variant == key) & (offer == own).fill_null(False), contacts * round(cost * 10**decimals))
            for key in self.own
            for own in self.offers
            if (cost := self.contact(key, own))
        ]
        return ibis.cases(*branches, else_=ibis.literal(0, type="int64")) if branches else ibis.literal(0, type="int64")

    def redemption_expression(
        self, stated: Any, offer_key: Any, variant: Any, amount: Any, standing_ppm: Any = None
    ) -> Any:
        """Return the cost of one redemption in minor units, whole.

        Args:
            stated: cost that the redemption itself carried, NULL where none.
            offer_key: offer it named, or that the unit was given as its own; NULL where neither: then the variant's.
            variant: the unit's variant.
            amount: order value in minor units, NULL where no order is known.
            standing_ppm: millionths of the price that the unit has off anyway, if units have such a discount: an offer
                that takes something off the price costs what it takes off beyond that, stated or not; the twin of
                `experiments.definitions.standing.extra_cost_minor`.
        """
        import ibis

        own = [(variant == v, ibis.literal(key)) for v, (key, _) in self.variants.items() if key is not None]
        by_variant = ibis.cases(*own, else_=ibis.null("string")) if own else ibis.null("string")
        key = offer_key.fill_null(by_variant)
        amount = amount.fill_null(0)
        priced = [(key == k, self._cost(offer, amount)) for k, offer in self.offers.items()]
        declared = ibis.cases(*priced, else_=ibis.literal(0, type="int64")) if priced else ibis.literal(0, "int64")
        cost = stated.fill_null(declared)
        prices = [k for k, offer in self.offers.items() if offer.type in PRICES]
        if standing_ppm is None or not prices:
            return cost
        beyond = ibis.greatest(cost - standing_minor(amount, standing_ppm), ibis.literal(0, "int64"))
        return ibis.ifelse(key.isin(prices).fill_null(False), beyond, cost)

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


def standing_minor(amount: Any, standing_ppm: Any) -> Any:
    """Return what a unit has off an amount anyway, in minor units, rounded half up."""
    ppm = standing_ppm.fill_null(0)
    return ((amount * (2 * ppm) + PPM) // (2 * PPM)).cast("int64")


def _share(amount: Any, share: Fraction) -> Any:
    """Return a share of whole minor units, rounded half up, in whole numbers throughout."""
    limited = share.limit_denominator(10**6)
    return ((amount * (2 * limited.numerator) + limited.denominator) // (2 * limited.denominator)).cast("int64")

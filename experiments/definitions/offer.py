"""An offer: what a variant gives a member, of one of eleven kinds; what it costs is in pricing.py."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from experiments.definitions.base import Amount, Count, Key, Model, Name, Share, Text, refuse

OfferType = Literal[
    "percent_off",
    "spend_x_save_y",
    "fixed_coupon",
    "points_multiplier",
    "stamp_card",
    "gift",
    "free_shipping",
    "early_access",
    "paid_trial",
    "referral_reward",
    "content_only",
]
CHANNELS = ("sms", "email", "push", "wechat", "mini_program", "wecom", "store", "community", "web", "app", "call")

_FOLD = re.compile(r"([0-9](?:\.[0-9]{1,2})?) ?折")
_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,4})?) ?%?")


def percent_off(value: object) -> str:
    """Return how many per cent of the price are taken off, as decimal text.

    ``9折`` is 10 % off (the price is multiplied by nine tenths), never 90 % off.

    >>> percent_off("9折"), percent_off("8.5折"), percent_off("10%"), percent_off(10)
    ('10', '15', '10', '10')
    """
    advice = 'write percent_off: "10%" or "9折" (nine tenths of the price is 10 % off)'
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"must be a percentage; {advice}")  # noqa: TRY004 - pydantic wants ValueError
    text = value.strip() if isinstance(value, str) else format(Decimal(repr(value)), "f")
    fold = _FOLD.fullmatch(text)
    percent = _PERCENT.fullmatch(text)
    if fold:
        number = 100 - 10 * Decimal(fold.group(1))
    elif percent:
        number = Decimal(percent.group(1))
    else:
        raise ValueError(f'"{text}" is not a percentage; {advice}')
    if not 1 <= number <= 100:
        raise ValueError(f"{text} is outside 1 to 100 per cent; {advice}")
    plain = format(number, "f")
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


PercentOff = Annotated[str, BeforeValidator(percent_off, json_schema_input_type=str | float)]

# What each kind needs and what it may have besides; everything else is refused for that kind.
_NEEDS: dict[str, tuple[str, ...]] = {
    "percent_off": ("percent_off",),
    "spend_x_save_y": ("face_value", "minimum_spend"),
    "fixed_coupon": ("face_value",),
    "points_multiplier": ("multiplier", "points_per_unit", "point_value"),
    "stamp_card": ("stamps_needed", "redemption_cost"),
    "gift": ("redemption_cost",),
    "free_shipping": (),
    "early_access": (),
    "paid_trial": ("price", "redemption_cost"),
    "referral_reward": ("face_value", "referrals_needed"),
    "content_only": (),
}
_MAY: dict[str, tuple[str, ...]] = {
    "percent_off": ("minimum_spend", "maximum_discount"),
    "spend_x_save_y": ("redemption_cost",),
    "fixed_coupon": ("minimum_spend", "redemption_cost"),
    "points_multiplier": ("minimum_spend", "breakage"),
    "stamp_card": ("minimum_spend", "face_value", "breakage"),
    "gift": ("minimum_spend", "face_value"),
    "free_shipping": ("minimum_spend", "face_value", "redemption_cost"),
    "early_access": ("redemption_cost", "face_value"),
    "paid_trial": ("face_value",),
    "referral_reward": ("redemption_cost",),
    "content_only": (),
}
_EXAMPLES = {
    "percent_off": '"10%"',
    "face_value": '"20.00"',
    "minimum_spend": '"100.00"',
    "multiplier": '"2"',
    "points_per_unit": '"1"',
    "point_value": '"0.01"',
    "stamps_needed": "5",
    "redemption_cost": '"12.00"',
    "price": '"198.00"',
    "referrals_needed": "3",
}
_TYPED_FIELDS = sorted({name for names in (*_NEEDS.values(), *_MAY.values()) for name in names})


class Offer(Model):
    """One offer; amounts are decimal text in the project currency.

    >>> Offer(kind="offer", key="c", name="满100减30", type="spend_x_save_y",
    ...       face_value="30", minimum_spend="100").face_value
    '30'
    """

    kind: Literal["offer"]
    key: Key
    name: Text
    description: Text | None = None
    type: OfferType
    face_value: Amount | None = None
    """What the member sees it is worth."""
    minimum_spend: Amount | None = None
    """Smallest order amount that may use it (the amount itself counts)."""
    maximum_discount: Amount | None = None
    percent_off: PercentOff | None = None
    redemption_cost: Amount | None = None
    """What one redemption costs; by default what the kind says (the face value, the percentage of the order …)."""
    multiplier: Amount | None = None
    """points_multiplier: ``"2"`` is double points; one of them would have been earned anyway."""
    points_per_unit: Amount | None = None
    """Points earned for one major unit of money."""
    point_value: Amount | None = None
    """Money one point buys. Points are not money: the rate is the project's own, stated here."""
    breakage: Share | None = None
    """Share of points or full cards that is never redeemed."""
    stamps_needed: Count | None = None
    referrals_needed: Count | None = None
    price: Amount | None = None
    """paid_trial: what the member pays for it."""
    contact_cost: dict[Name, Amount] = Field(default_factory=dict)
    """Cost of one contact by channel; fractions of a minor unit are allowed."""
    valid_days: Count | None = None
    """Days after issue until it expires; an outcome window should be at least as long."""
    refund_returns_cost: Annotated[bool, Field(strict=True)] = True
    """Whether a refunded or cancelled order gives the redemption cost back."""

    @model_validator(mode="after")
    def _fields_fit_the_type(self) -> Offer:
        needs, may = _NEEDS[self.type], _MAY[self.type]
        problems: list[tuple[tuple[str | int, ...], str]] = [
            ((name,), f"is missing; {self.type} needs it: add {name}: {_EXAMPLES[name]}")
            for name in needs
            if getattr(self, name) is None
        ]
        given = self.model_fields_set
        problems += [
            ((name,), f"does not belong to {self.type}; remove it")
            for name in _TYPED_FIELDS
            if name in given and name not in needs and name not in may and getattr(self, name) is not None
        ]
        problems += [
            ((name,), "must not be negative; write 0 or more")
            for name in (*_TYPED_FIELDS,)
            if isinstance(getattr(self, name), str) and getattr(self, name).startswith("-")
        ]
        problems += [
            (("contact_cost", channel), "must not be negative; write 0 or more")
            for channel, cost in self.contact_cost.items()
            if cost.startswith("-")
        ]
        if self.multiplier is not None and Fraction(self.multiplier) < 1:
            problems.append((("multiplier",), 'must be at least 1; double points are "2"'))
        problems += [
            (("contact_cost", channel), f"unknown channel; use one of {', '.join(CHANNELS)}")
            for channel in self.contact_cost
            if channel not in CHANNELS
        ]
        if problems:
            refuse("offer", problems)
        return self

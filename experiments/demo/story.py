"""What each offer truly does to the members who get it: the answers that a good analysis should find.

Invented, like the shop. Each effect is of the kind that people in retail report: a fixed coupon lifts small baskets to
its threshold, a percentage brings as many buyers but is taken on every order and draws people to low-margin goods,
points hardly move anyone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from experiments.demo import shop
from experiments.demo.shop import DAY_US, Index, Members, Orders, Real


@dataclass(frozen=True)
class Effect:
    """How one variant changes the behaviour of a member while its offer is valid.

    Attributes:
        offer: key of the offer, ``None`` for nothing.
        days: how long it works after the decision.
        extra_buyers: probability of one order that would not have happened otherwise.
        by_tier: multiplies ``extra_buyers`` for basic, silver and gold members.
        by_silence: (days since the last order, what multiplies ``extra_buyers`` from there on), in order.
        by_past_orders: (orders in the half year before, what multiplies ``extra_buyers`` from there on), in order.
        basket: multiplies the value of every order.
        lift_to_minor: baskets between 70 % of it and it are filled up to it with probability .65.
        margin: multiplies the margin (a percentage off draws people to low-margin goods).
        redeems: share of orders that use the offer.
        minimum_minor: smallest order that may use it.
        unsubscribes: probability of unsubscribing within 14 days.
    """

    offer: str | None = None
    days: float = 14.0
    extra_buyers: float = 0.0
    by_tier: tuple[float, float, float] = (1.0, 1.0, 1.0)
    by_silence: tuple[tuple[float, float], ...] = ((0.0, 1.0),)
    by_past_orders: tuple[tuple[float, float], ...] = ((0.0, 1.0),)
    basket: float = 1.0
    lift_to_minor: int = 0
    margin: float = 1.0
    redeems: float = 0.0
    minimum_minor: int = 0
    unsubscribes: float = shop.UNSUBSCRIBES_IN_14_DAYS


NOTHING = Effect()

TRUTH: dict[tuple[str, str], Effect] = {
    ("members-day", "coupon15"): Effect(
        offer="coupon-15", extra_buyers=0.15, by_past_orders=((0.0, 1.0), (3.0, 0.2), (5.0, 0.0)), redeems=0.95
    ),
    ("members-day", "points300"): Effect(offer="points-300", extra_buyers=0.006, redeems=0.8),
    ("dormant-winback", "save20"): Effect(
        offer="coupon-20-100", extra_buyers=0.075, by_tier=(0.95, 1.1, 1.3),
        by_silence=((0.0, 2.6), (120.0, 0.1)), lift_to_minor=10_000, basket=1.06,
        redeems=0.92, minimum_minor=10_000,
    ),
    ("dormant-winback", "percent15"): Effect(
        offer="percent-15", extra_buyers=0.05, basket=0.97, margin=0.62, redeems=0.98
    ),
    ("dormant-winback", "points500"): Effect(offer="points-500", extra_buyers=0.009, redeems=0.75),
    ("free-shipping-79", "from79"): Effect(
        offer="free-shipping-79", days=7.0, extra_buyers=0.013, lift_to_minor=7_900, redeems=0.35, minimum_minor=7_900
    ),
    ("home-page-picks", "picks"): Effect(offer="weekly-picks", days=7.0, extra_buyers=0.07),
    ("points-reminder", "push"): Effect(offer="points-reminder", days=7.0, extra_buyers=0.085),
    ("points-reminder", "text-message"): Effect(
        offer="points-reminder", days=7.0, extra_buyers=0.03, unsubscribes=0.03
    ),
    ("loyal-early-access", "early"): Effect(offer="early-access", days=7.0, extra_buyers=0.03),
    ("loyal-early-access", "five-off"): Effect(offer="loyal-5-off", days=7.0, extra_buyers=0.02, redeems=0.95),
}  # fmt: skip
"""(experiment, variant) → what it truly does. Variants that are not listed do nothing."""

LOST_DECISIONS = {("loyal-early-access", "early"): 0.25}
"""The fault in this experiment: a batch job of the sending system failed, and about one in four of its calls for
this variant never reached the service. The report must find the broken split."""


def offered_orders(
    rng: np.random.Generator,
    members: Members,
    member: Index,
    since_us: Index,
    until_us: int,
    effect: Effect,
    silent_days: Real,
) -> Orders:
    """Draw the extra orders that an offer causes.

    Args:
        rng: source of randomness.
        members: all of them.
        member: indices of those who got the offer, k.
        since_us: when each got it, k.
        until_us: the present; later orders have not happened yet.
        effect: what the offer does.
        silent_days: days since each one's last order when it got the offer, k.
    """
    probability = effect.extra_buyers * np.array(effect.by_tier)[members.tier[member]]
    probability = probability * _factor(effect.by_silence, silent_days)
    probability = probability * _factor(effect.by_past_orders, members.past_orders[member])
    buys = rng.random(len(member)) < probability
    delay = np.minimum(rng.exponential(0.3, buys.sum()), 0.98) * effect.days * DAY_US
    at = since_us[buys] + delay.astype(np.int64)
    happened = at < until_us
    buyers = member[buys][happened]
    value, margin = shop.baskets(rng, members, buyers)
    return Orders(buyers, at[happened], value, margin)


def _factor(steps: tuple[tuple[float, float], ...], values: Real | Index) -> Real:
    """Return the factor of the last step that each value reaches."""
    since, factors = (np.array(column) for column in zip(*steps, strict=True))
    found: Real = factors[np.maximum(np.searchsorted(since, values, side="right") - 1, 0)]
    return found


def with_offer(rng: np.random.Generator, orders: Orders, effect: Effect) -> tuple[Orders, np.ndarray]:
    """Change the orders made while an offer is valid; return them, and which of them redeem it (bool, one each)."""
    value = orders.value_minor * effect.basket
    near = (value >= 0.7 * effect.lift_to_minor) & (value < effect.lift_to_minor)
    filled = near & (rng.random(len(value)) < 0.65)
    rate = orders.margin_minor / np.maximum(orders.value_minor, 1)
    value = np.where(filled, effect.lift_to_minor + rng.integers(0, 1_500, len(value)), value)
    rounded = np.round(value, -1).astype(np.int64)
    margin = np.round(rounded * rate * effect.margin).astype(np.int64)
    redeemed = (
        (rng.random(len(value)) < effect.redeems) & (rounded >= effect.minimum_minor) & (effect.offer is not None)
    )
    return Orders(orders.member, orders.at, rounded, margin), redeemed

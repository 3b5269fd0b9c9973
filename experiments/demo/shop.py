"""Members of a simulated shop and what they do without any offer.

Every number here is invented; shapes follow what retail data look like: visits and orders are Poisson with a rate that
differs between members (gamma), baskets are lognormal, margins vary around 40 %.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MEMBERS = 20_000
WEEKS = 8
DAY_US = 86_400_000_000
WEEK_US = 7 * DAY_US
TIME_ZONE_HOURS = 8
"""The shop lives in Asia/Shanghai."""

STAGES = ("new", "active", "loyal", "dormant", "churned")
TIERS = ("basic", "silver", "gold")

STAGE_SHARES = (0.10, 0.20, 0.11, 0.54, 0.05)
ORDERS_PER_WEEK = (0.16, 0.30, 0.62, 0.043, 0.004)
"""Mean rate while no offer runs, by the stage on the first day."""
VISITS_PER_WEEK = (0.55, 0.60, 0.90, 0.22, 0.02)
TIER_SHARES = ((0.95, 0.05, 0.0), (0.60, 0.32, 0.08), (0.25, 0.45, 0.30), (0.74, 0.22, 0.04), (0.90, 0.09, 0.01))
BASKET_MEDIAN_MINOR = (11_000, 13_000, 16_000, 12_500, 11_000)
BASKET_SIGMA = 0.45
MARGIN_MEAN, MARGIN_SD = 0.40, 0.05
LOYAL_ORDERS = 5
REFUND_SHARE = 0.03
UNSUBSCRIBES_IN_14_DAYS = 0.025

# Share of a day's orders in each local hour: quiet at night, peaks at noon and in the evening.
HOURS = np.array(
    [1, 1, 1, 1, 1, 2, 4, 6, 9, 12, 14, 16, 18, 15, 13, 12, 12, 13, 15, 19, 23, 24, 17, 7], dtype=np.float64
)

Index = NDArray[np.int64]
Real = NDArray[np.float64]


@dataclass(frozen=True)
class Members:
    """The members as columns, one element for each.

    Attributes:
        ids: pseudonymous ids, ``M000001`` …
        tier: index into `TIERS`.
        order_rate: orders a week of this member while no offer runs.
        visit_rate: app visits a week.
        basket_minor: the member's own typical basket.
        joined_at: microseconds UTC; a tenth of the members join during the eight weeks, with a first purchase.
        last_order_at: microseconds UTC, as of the first day; orders inside the eight weeks come from the simulation.
        past_orders: in the half year before.
    """

    ids: list[str]
    tier: Index
    order_rate: Real
    visit_rate: Real
    basket_minor: Real
    joined_at: Index
    last_order_at: Index
    past_orders: Index


@dataclass(frozen=True)
class Orders:
    """Orders as columns: whose (index into the members), when, value and margin in minor units."""

    member: Index
    at: Index
    value_minor: Index
    margin_minor: Index

    def take(self, which: Index) -> Orders:
        """Return some of them."""
        return Orders(self.member[which], self.at[which], self.value_minor[which], self.margin_minor[which])


def make_members(rng: np.random.Generator, *, start_us: int, count: int = MEMBERS) -> Members:
    """Draw the members as they are at the start of the eight weeks.

    Args:
        rng: source of randomness; the same seed gives the same shop.
        start_us: first microsecond of the eight weeks.
        count: how many.
    """
    stage = rng.choice(len(STAGES), size=count, p=STAGE_SHARES)
    tier_bounds = np.cumsum(np.array(TIER_SHARES), axis=1)[stage]
    tier = (rng.random((count, 1)) >= tier_bounds[:, :2]).sum(axis=1)
    keen = rng.gamma(shape=2.0, scale=0.5, size=count)  # mean 1: some members buy and visit far more than others
    recency_days = np.choose(
        stage,
        [
            rng.uniform(-7 * WEEKS + 2, 34, count),  # still to come: negative
            rng.uniform(0, 30, count),
            rng.uniform(0, 21, count),
            rng.uniform(63, 150, count),
            rng.uniform(210, 500, count),
        ],
    )
    joined_days = recency_days + np.where(stage == 0, 0, rng.uniform(40, 900, count))
    return Members(
        ids=[f"M{number:06d}" for number in range(1, count + 1)],
        tier=tier,
        order_rate=np.array(ORDERS_PER_WEEK)[stage] * keen,
        visit_rate=np.array(VISITS_PER_WEEK)[stage] * (0.4 + 0.6 * keen),
        basket_minor=np.array(BASKET_MEDIAN_MINOR)[stage] * np.exp(rng.normal(0, 0.25, count)) * (1 + 0.12 * tier),
        joined_at=(start_us - joined_days * DAY_US).astype(np.int64),
        last_order_at=(start_us - recency_days * DAY_US).astype(np.int64),
        past_orders=np.choose(
            stage,
            [
                np.ones(count, np.int64),
                rng.integers(1, 4, count),
                rng.integers(5, 14, count),
                rng.integers(1, 5, count),
                rng.integers(0, 1, count),
            ],
        ),
    )


def stages_at(members: Members, orders: Orders, at_us: int) -> Index:
    """Return each member's stage at a moment as an index into `STAGES`, −1 before joining.

    The same rule as the stage definition of `definitions`: churned from 181 days without an order, dormant from 61,
    new for 35 days after joining, loyal from 5 orders in half a year, else active.
    """
    last, count = order_history(members, orders, at_us)
    quiet_days = (at_us - last) // DAY_US
    age_days = (at_us - members.joined_at) // DAY_US
    stage = np.where(count >= LOYAL_ORDERS, STAGES.index("loyal"), STAGES.index("active"))
    stage = np.where(age_days <= 35, STAGES.index("new"), stage)
    stage = np.where(quiet_days >= 61, STAGES.index("dormant"), stage)
    stage = np.where(quiet_days >= 181, STAGES.index("churned"), stage)
    return np.where(members.joined_at > at_us, -1, stage)


def order_history(members: Members, orders: Orders, at_us: int) -> tuple[Index, Index]:
    """Return each member's last order (microseconds UTC) and number of orders in half a year, as of a moment."""
    last = members.last_order_at.copy()
    count = members.past_orders.copy()
    before = orders.at < at_us
    np.maximum.at(last, orders.member[before], orders.at[before])
    np.add.at(count, orders.member[before], 1)
    return last, count


def arrivals(
    rng: np.random.Generator, member: Index, rate_per_week: Real, since_us: Index, until_us: Index
) -> tuple[Index, Index]:
    """Draw Poisson arrivals of each member in its own half-open period.

    Args:
        rng: source of randomness.
        member: indices, k of them.
        rate_per_week: rates, k.
        since_us: starts, k.
        until_us: ends, k; an end before its start gives nothing.

    Returns:
        Whose, and when (microseconds UTC, at hours of the local day when people shop); both of one length.
    """
    weeks = np.maximum(until_us - since_us, 0) / WEEK_US
    counts = rng.poisson(rate_per_week * weeks)
    row = np.repeat(np.arange(len(member)), counts)
    at = since_us[row] + (rng.random(len(row)) * (until_us - since_us)[row]).astype(np.int64)
    return member[row], _at_shopping_hours(rng, at, since_us[row], until_us[row])


def baskets(rng: np.random.Generator, members: Members, member: Index) -> tuple[Index, Index]:
    """Draw value and margin, in minor units, of one order of each given member."""
    value = members.basket_minor[member] * np.exp(rng.normal(0, BASKET_SIGMA, len(member)))
    rounded = np.maximum(np.round(value, -1), 900).astype(np.int64)
    margin = rounded * np.clip(rng.normal(MARGIN_MEAN, MARGIN_SD, len(member)), 0.2, 0.6)
    return rounded, np.round(margin).astype(np.int64)


def _at_shopping_hours(rng: np.random.Generator, at: Index, since_us: Index, until_us: Index) -> Index:
    """Move times within their local day to hours when people shop, staying inside the period."""
    hour_us = DAY_US // 24
    shift = TIME_ZONE_HOURS * hour_us
    midnight = (at + shift) // DAY_US * DAY_US - shift
    hour = rng.choice(24, size=len(at), p=HOURS / HOURS.sum())
    moved = midnight + hour * hour_us + rng.integers(0, hour_us, len(at))
    return np.where((moved >= since_us) & (moved < until_us), moved, at)

"""The environments: six problems that offers have. Two of them are held out from every tuning of ours."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.simulating.environment import Environment, FloatArray, Look, World
from experiments.simulating.members import visits
from experiments.simulating.tastes import Tastes, log_odds, rate

ORDER_SPREAD = 1.1
"""Sd of the logarithm of an order's value where orders have a heavy tail: the mean is 1.8 times the median."""
SHOP = (
    Look("stage", "categorical"),
    Look("tier", "categorical"),
    Look("channel", "categorical"),
    Look("age", "numeric"),
    Look("recency_days", "numeric", "log"),
    Look("orders", "numeric", "log"),
    Look("spend", "numeric", "log"),
    Look("basket", "numeric"),
)


def _world(
    rng: np.random.Generator,
    environment: Environment,
    drawn: tuple[NDArray[np.intp], Mapping[str, NDArray[Any]]],
    eta: FloatArray,
    *,
    orders: tuple[FloatArray, FloatArray] | None = None,
    delay_days: float = 0.0,
    eligible: NDArray[np.bool_] | None = None,
) -> World:
    """Draw minds and put a world together; ``orders`` are the mean and one draw, (n, K), where orders differ."""
    unit, columns = drawn
    p = rate(eta)
    n = len(unit)
    converted = rng.random((n, 1)) < p
    worth = np.broadcast_to(np.asarray(environment.worth or 0.0), eta.shape)
    mean, value = orders if orders is not None else (worth, worth)
    late = np.minimum(rng.exponential(max(delay_days, 1e-9), size=n), environment.window_days)
    return World(
        columns=columns,
        unit=unit,
        at_days=(np.arange(n) + 0.5) * environment.days / n,
        expected=p * mean - np.asarray(environment.contact),
        converted=converted,
        amount=np.where(converted, value, 0.0),
        delay_days=late,
        eligible=np.ones(eta.shape, dtype=bool) if eligible is None else eligible,
        draw=rng.random(n),
    )


def _plain(tastes: Tastes, *, stores: int = 0) -> Callable[[Environment, np.random.Generator], World]:
    """Return a maker of worlds in which nothing but who likes what is to be learned."""

    def make(environment: Environment, rng: np.random.Generator) -> World:
        drawn = visits(rng, environment.decisions, stores=stores)
        eta = log_odds(rng, tastes, drawn[1], environment.features, environment.pairs, len(environment.variants))
        return _world(rng, environment, drawn, eta)

    return make


def _orders(environment: Environment, rng: np.random.Generator) -> World:
    """Few convert, and a few orders are worth more than all others: the offer takes its cost off each."""
    drawn = visits(rng, environment.decisions)
    tastes = Tastes(base=0.006, lift=0.4, offer=0.3, common=0.4, number=0.3, level=0.35)
    eta = log_odds(rng, tastes, drawn[1], environment.features, environment.pairs, len(environment.variants))
    spend = np.log1p(drawn[1]["spend"].astype(np.float64))
    usual = 4.9 + 0.35 * (spend - spend.mean())[:, None] + np.array([0.0, -0.05, 0.1, 0.2])[None, :]
    # 30 % of an order is margin; an offer costs a fixed sum or a share of it.
    kept, cost = np.array([0.30, 0.30, 0.22, 0.30]), np.array([0.0, 12.0, 0.0, 25.0])
    noise = np.exp(ORDER_SPREAD * rng.normal(size=(len(spend), 1)))
    mean = np.exp(usual) * math.exp(ORDER_SPREAD**2 / 2)
    return _world(rng, environment, drawn, eta, orders=(kept * mean - cost, kept * np.exp(usual) * noise - cost))


def _drift(environment: Environment, rng: np.random.Generator) -> World:
    """Half-way the season turns: each taste goes to another offer; a new offer joins at two fifths."""
    drawn = visits(rng, environment.decisions)
    tastes = Tastes(base=0.15, lift=0.2, offer=0.5, common=0.3, number=0.8, level=0.6)
    count = len(environment.variants)
    n = environment.decisions
    eta = log_odds(rng, tastes, drawn[1], environment.features, environment.pairs, count)
    later = np.arange(n) >= n // 2
    turned = eta[:, [0, *range(2, count), 1]]
    eligible = np.ones((n, count), dtype=bool)
    eligible[: n * 2 // 5, -1] = False
    return _world(rng, environment, drawn, np.where(later[:, None], turned, eta), eligible=eligible)


def _delayed(environment: Environment, rng: np.random.Generator) -> World:
    """Who may get what differs, a variant is out for a while, and conversions come days later."""
    drawn = visits(rng, environment.decisions, missing=0.25)
    tastes = Tastes(base=0.1, lift=0.4, offer=0.4, common=0.4, number=0.5, level=0.5)
    eta = log_odds(rng, tastes, drawn[1], environment.features, environment.pairs, len(environment.variants))
    n, count = eta.shape
    eligible = rng.random((n, count)) < 0.8
    eligible[:, 0] = True
    eligible[:, 4] &= drawn[1]["tier"] != "bronze"
    eligible[:, 3] &= ~np.isin(drawn[1]["stage"], ("active", "loyal"))
    eligible[n // 2 : n * 3 // 5, 2] = False
    return _world(rng, environment, drawn, eta, delay_days=1.5, eligible=eligible)


def _named(environments: Sequence[Environment]) -> dict[str, Environment]:
    return {environment.name: environment for environment in environments}


FIVE = ("none", "points", "coupon-10", "coupon-20", "gift")
ENVIRONMENTS: dict[str, Environment] = _named(
    [
        Environment(
            name="offers",
            title={
                "en": "Offers that cost 0 to 30 of a margin of 100, for members whose tastes differ strongly",
                "zh-CN": "毛利 100，优惠成本 0 至 30；会员偏好差异很大",
            },
            variants=FIVE,
            features=SHOP,
            model="logistic",
            worth=(100.0, 95.0, 90.0, 80.0, 70.0),
            contact=(0.0, 0.1, 0.1, 0.1, 0.1),
            decisions=15_000,
            every=1_000,
            make=_plain(Tastes(base=0.15, lift=0.2, offer=0.5, common=0.4, number=0.8, level=0.6)),
        ),
        Environment(
            name="orders",
            title={
                "en": "0.5 to 2 % conversions, orders with a heavy tail, offers paid from their margin",
                "zh-CN": "转化率 0.5 至 2 %，订单金额长尾，优惠成本从毛利中扣除",
            },
            variants=("none", "coupon-12", "percent-8", "coupon-25"),
            features=SHOP,
            model="hurdle",
            contact=(0.0, 0.05, 0.05, 0.05),
            decisions=30_000,
            every=3_000,
            make=_orders,
        ),
        Environment(
            name="stores",
            title={
                "en": "200 stores of very different size, each with its own tastes, 3 to 8 % conversions",
                "zh-CN": "200 家规模悬殊的门店，偏好各异，转化率 3 至 8 %",
            },
            variants=FIVE,
            features=(
                Look("store", "categorical"),
                Look("stage", "categorical"),
                Look("orders", "numeric", "log"),
                Look("spend", "numeric", "log"),
            ),
            model="logistic",
            worth=(60.0, 57.0, 52.0, 45.0, 48.0),
            contact=(0.0, 0.05, 0.05, 0.05, 0.05),
            decisions=20_000,
            every=2_000,
            make=_plain(
                Tastes(base=0.04, lift=0.25, offer=0.25, common=0.4, number=0.25, level=0.3, store=0.45), stores=200
            ),
        ),
        Environment(
            name="drift",
            title={
                "en": "Half-way every taste goes to another offer; a new offer joins at two fifths",
                "zh-CN": "中途所有偏好转向另一优惠；进行到五分之二时加入新优惠",
            },
            variants=FIVE,
            features=SHOP,
            model="logistic",
            worth=(100.0, 85.0, 85.0, 85.0, 85.0),
            contact=(0.0, 0.1, 0.1, 0.1, 0.1),
            decisions=20_000,
            every=1_000,
            half_life_days=3.0,  # the best of 3, 6 and 10 on seeds 1 to 3
            make=_drift,
        ),
        Environment(
            name="pairs",
            title={
                "en": "What an offer does depends on pairs: stage with channel, spend with basket",
                "zh-CN": "优惠效果取决于特征组合：阶段与渠道、消费额与购物篮",
            },
            variants=FIVE,
            features=SHOP,
            pairs=(("stage", "channel"), ("spend", "basket"), ("tier", "recency_days")),
            model="logistic",
            worth=(80.0, 75.0, 72.0, 65.0, 60.0),
            contact=(0.0, 0.1, 0.1, 0.1, 0.1),
            decisions=15_000,
            every=1_000,
            held_out=True,
            make=_plain(Tastes(base=0.15, lift=0.2, offer=0.3, common=0.3, number=0.2, level=0.2, pair=0.7)),
        ),
        Environment(
            name="delayed",
            title={
                "en": "Who may get what differs, a variant is out for a while, conversions come days later",
                "zh-CN": "可发放的优惠因人而异，有一个变体停用一段时间，转化延迟数日",
            },
            variants=FIVE,
            features=SHOP,
            model="logistic",
            worth=(90.0, 86.0, 80.0, 72.0, 66.0),
            contact=(0.0, 0.2, 0.2, 0.2, 0.2),
            decisions=15_000,
            every=500,
            window_days=7.0,
            held_out=True,
            make=_delayed,
        ),
    ]
)

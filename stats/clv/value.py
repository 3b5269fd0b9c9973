"""What members will buy within a horizon, in orders and in money, each with an interval.

An expected value is a mean over members alike; what one of them will do scatters widely around it. Two intervals
therefore, and they answer two questions. A member's is of what *this* member will really buy (``member_intervals``): it
contains the chance of buying. The crowd's is of the sum over all (``total``): there chance mostly cancels, and how well
the parameters are known is left. Both are simulated: parameters from the normal around their logarithms' maximum, then
each member's rate, probability of leaving and spend from what their own orders leave open, then the orders themselves.

References:
    Fader, Hardie, Lee (2005), "Counting your customers" the easy way, Marketing Science 24(2), section 2.
    Fader, Hardie (2013), The gamma-gamma model of monetary value.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from stats.arrays import FloatArray, IntArray
from stats.clv.bgnbd import BOUNDS, BgNbd
from stats.clv.gamma_gamma import GammaGamma
from stats.clv.summary import Summary

NODES = 6
DRAWS = 200
AT_ONCE = 1 << 20
"""Simulated members held at once."""
SAMPLE = 5000
"""Members that the crowd's interval is simulated on."""


@dataclass(frozen=True, slots=True, eq=False)
class Expected:
    """What to expect of each member within the horizon.

    Attributes:
        alive: (n,) probability of being active on the day of looking; 1 − it is the churn baseline.
        purchases: (n,) expected orders.
        order_value: (n,) expected value of one order; ``None`` without a model of spend.
        value: (n,) expected value of them all, discounted; ``None`` without a model of spend.
    """

    alive: FloatArray
    purchases: FloatArray
    order_value: FloatArray | None
    value: FloatArray | None


@dataclass(frozen=True, slots=True)
class Total:
    """A sum over all members with its interval."""

    estimate: float
    ci_low: float
    ci_high: float


@dataclass(frozen=True, slots=True, eq=False)
class Members:
    """What is known of members' buying; times in the model's unit.

    Attributes:
        x: (n,) repeat purchases.
        t_x: (n,) time from the first purchase to the last.
        age: (n,) time from the first purchase to the day of looking.
        mean: (n,) mean value of the repeat purchases; ``None``: no money is known.
    """

    x: FloatArray
    t_x: FloatArray
    age: FloatArray
    mean: FloatArray | None = None

    @classmethod
    def of(cls, summary: Summary, *, money: bool = True) -> Members:
        """Return the members of a summary of orders, in days."""
        return cls(summary.frequency, summary.recency, summary.age, summary.monetary if money else None)

    def part(self, chosen: slice | IntArray) -> Members:
        """Return some of them."""
        mean = None if self.mean is None else self.mean[chosen]
        return Members(self.x[chosen], self.t_x[chosen], self.age[chosen], mean)


def expected_value(
    model: BgNbd,
    spend: GammaGamma | None,
    members: Members,
    *,
    horizon: float,
    discount: float = 0.0,
    margin: float = 1.0,
) -> Expected:
    """Return what to expect of members within ``horizon``.

    Args:
        model: of buying.
        spend: of the value of an order; ``None``: orders only.
        members: their mean order value is needed with ``spend``.
        horizon: time ahead, in the model's unit.
        discount: continuous rate per unit of time: money at time t counts e^(−rate·t).
        margin: share of an order's value that is earned.

    >>> members = Members(np.array([2.0]), np.array([30.43]), np.array([38.86]), np.array([22.35]))
    >>> model, spend = BgNbd(0.243, 4.414, 0.793, 2.426), GammaGamma(6.25, 3.74, 15.44)
    >>> found = expected_value(model, spend, members, horizon=39.0)
    >>> found.purchases.round(3), found.value.round(2)
    (array([1.226]), array([30.24]))
    """
    purchases = model.expected_purchases(horizon, members.x, members.t_x, members.age)
    alive = model.probability_alive(members.x, members.t_x, members.age)
    if spend is None:
        return Expected(alive, purchases, None, None)
    if members.mean is None:
        raise ValueError("the members' mean order value is needed for a value in money")
    worth = spend.expected_value(members.x, members.mean)
    present = purchases * _present_share(model, members, purchases, horizon, discount)
    return Expected(alive, purchases, worth, margin * worth * present)


def _present_share(
    model: BgNbd, members: Members, purchases: FloatArray, horizon: float, discount: float
) -> FloatArray:
    """Return (n,): what discounting leaves of a unit of money in every order to expect."""
    if not discount:
        return np.ones(len(purchases))
    # ∫ e^(−δt) dE(t) by parts: the density of orders is not needed, and few nodes do for a smooth curve.
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    present = np.exp(-discount * horizon) * purchases
    for node, weight in zip((nodes + 1) / 2 * horizon, weights / 2 * horizon, strict=True):
        earlier = model.expected_purchases(node, members.x, members.t_x, members.age)
        present = present + weight * discount * np.exp(-discount * node) * earlier
    return np.asarray(np.divide(present, purchases, out=np.ones(len(purchases)), where=purchases > 0))


def member_intervals(
    model: BgNbd,
    spend: GammaGamma | None,
    members: Members,
    *,
    horizon: float,
    discount: float = 0.0,
    margin: float = 1.0,
    draws: int = DRAWS,
    seed: int = 0,
    alpha: float = 0.05,
) -> FloatArray:
    """Return within which ends each member's real orders (their value, with ``spend``) will be, at 1 − alpha.

    Args:
        model: of buying.
        spend: of the value of an order; ``None``: the ends are in orders.
        members: their mean order value is needed with ``spend``.
        horizon: time ahead, in the model's unit.
        discount: continuous rate per unit of time.
        margin: share of an order's value that is earned.
        draws: simulated futures of each member; the work grows with members × draws.
        seed: of the draws.
        alpha: 1 − confidence.

    Returns:
        (n, 2): low and high end.

    >>> members = Members(np.array([9.0]), np.array([50.0]), np.array([52.0]))
    >>> ends = member_intervals(BgNbd(2.0, 10.0, 0.5, 5.0), None, members, horizon=50.0)
    >>> bool(ends[0, 0] < 8 < ends[0, 1])
    True
    """
    counted = _counted(model, members, horizon, discount, margin)
    rng = np.random.default_rng(seed)
    drawn = _parameters(model, spend, draws, rng)
    n = len(members.x)
    ends = np.empty((n, 2))
    step = max(1, AT_ONCE // draws)
    for start in range(0, n, step):
        chosen = slice(start, start + step)
        part = members.part(chosen)
        futures = np.array([_future(m, s, part, horizon, counted[chosen], rng) for m, s in drawn])
        ends[chosen] = np.quantile(futures, [alpha / 2, 1 - alpha / 2], axis=0).T
    return ends


def total(
    model: BgNbd,
    spend: GammaGamma | None,
    members: Members,
    *,
    horizon: float,
    discount: float = 0.0,
    margin: float = 1.0,
    draws: int = DRAWS,
    seed: int = 0,
    alpha: float = 0.05,
) -> Total:
    """Return the sum of all members' orders (of their value, with ``spend``) with its interval, at 1 − alpha.

    Simulated on at most 5,000 members drawn from all: the sum moves with the parameters as theirs does, and chance
    grows with the root of the number of members. Arguments as of ``member_intervals``.

    >>> members = Members(np.full(400, 9.0), np.full(400, 50.0), np.full(400, 52.0))
    >>> found = total(BgNbd(2.0, 10.0, 0.5, 5.0), None, members, horizon=50.0)
    >>> found.ci_low < found.estimate < found.ci_high
    True
    """
    counted = _counted(model, members, horizon, discount, margin)
    estimate = _expected_sum(model, spend, members, horizon, counted)
    n = len(members.x)
    rng = np.random.default_rng(seed)
    chosen = np.arange(n) if n <= SAMPLE else np.sort(rng.choice(n, SAMPLE, replace=False))
    sample, counted = members.part(chosen), counted[chosen]
    of_sample = _expected_sum(model, spend, sample, horizon, counted)
    if of_sample <= 0:
        return Total(estimate, estimate, estimate)
    sums = np.empty(draws)
    for place, (m, s) in enumerate(_parameters(model, spend, draws, rng)):
        expected = _expected_sum(m, s, sample, horizon, counted)
        chance = float(np.sum(_future(m, s, sample, horizon, counted, rng))) - expected
        sums[place] = estimate * expected / of_sample + chance * np.sqrt(n / len(chosen))
    low, high = np.quantile(sums, [alpha / 2, 1 - alpha / 2])
    return Total(estimate, float(low), float(high))


def _counted(model: BgNbd, members: Members, horizon: float, discount: float, margin: float) -> FloatArray:
    """Return (n,): what a unit of money in each member's orders counts, after margin and discount."""
    if not discount:
        return np.full(len(members.x), margin)
    purchases = model.expected_purchases(horizon, members.x, members.t_x, members.age)
    return margin * _present_share(model, members, purchases, horizon, discount)


def _expected_sum(
    model: BgNbd, spend: GammaGamma | None, members: Members, horizon: float, counted: FloatArray
) -> float:
    """Return the sum over members of expected orders, or of their counted value."""
    found = expected_value(model, spend, members, horizon=horizon)
    return float(np.sum(found.purchases if found.value is None else found.value * counted))


def _parameters(
    model: BgNbd, spend: GammaGamma | None, draws: int, rng: np.random.Generator
) -> list[tuple[BgNbd, GammaGamma | None]]:
    """Return models as the data leave them open; the model itself where its errors are not known."""
    models, spends = [model] * draws, [spend] * draws
    if model.covariance is not None and model.converged:
        centre = np.log([model.r, model.alpha, model.a, model.b])
        open_to = np.tile(np.array(BOUNDS)[:, None], (1, 4))
        open_to[:, 1] = -np.inf, np.inf  # a time, in the caller's unit
        logs = rng.multivariate_normal(centre, model.covariance, draws, method="cholesky")
        models = [replace(model, r=r, alpha=alpha, a=a, b=b) for r, alpha, a, b in np.exp(np.clip(logs, *open_to))]
    if spend is not None and spend.covariance is not None and spend.converged:
        centre = np.log([spend.p, spend.q - 1, spend.gamma])
        logs = rng.multivariate_normal(centre, spend.covariance, draws, method="cholesky")
        spends = [replace(spend, p=p, q=1 + above, gamma=gamma) for p, above, gamma in np.exp(logs)]
    return list(zip(models, spends, strict=True))


def _future(
    model: BgNbd,
    spend: GammaGamma | None,
    members: Members,
    horizon: float,
    counted: FloatArray,
    rng: np.random.Generator,
) -> FloatArray:
    """Return (n,): one future of each member, orders or their counted value."""
    x, n = members.x, len(members.x)
    alive = rng.random(n) < model.probability_alive(x, members.t_x, members.age)
    rate = rng.standard_gamma(model.r + x) / (model.alpha + members.age)
    leaving = np.maximum(rng.beta(model.a, model.b + x), 1e-12)
    # Orders come at the rate until one of them is the last: the fewer of a Poisson and a geometric number.
    orders = np.minimum(rng.poisson(rate * horizon), rng.geometric(leaving)) * alive
    if spend is None or members.mean is None:
        return np.asarray(orders, dtype=np.float64)
    known = np.where(x > 0, members.mean, 0.0)
    scale = rng.standard_gamma(spend.p * x + spend.q) / (spend.gamma + x * known)
    return np.asarray(counted * rng.standard_gamma(spend.p * orders) / scale)

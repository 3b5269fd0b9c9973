"""What each offer earned against control, and what it cost: profit, return, and who was paid for buying anyway.

The profit of one unit is its margin less what its offer cost, at redemption. Everything here compares units that were
drawn at random, so a purchase that would have happened anyway is in control too and cancels: what a campaign's own
bookkeeping books as its success is the sales to everybody who redeemed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stats.adjustment import cuped_means
from stats.arrays import EPSILON, FloatArray, as_float, divide
from stats.economics.columns import Columns, weighted
from stats.economics.figures import Figure, around, quotient, shifted
from stats.moments import Moments
from stats.power.break_even import break_even
from stats.samples import ratios
from stats.why import Why

Z_95 = 1.959963984540054


@dataclass(frozen=True, slots=True, eq=False)
class Returns:
    """Every variant but control, in order. Totals are over the variant's own units; money in major units.

    Attributes:
        units: in the variant.
        extra_buyers: how many more units bought than would have without the offer.
        extra_margin: more margin than without it, before the offer's cost.
        cost: what its redemptions and contacts cost, less what control's did for as many units, and fixed costs.
        redemption_cost: of all the variant's redemptions.
        contact_cost: of all the variant's contacts.
        redemptions: number of the variant's redemptions.
        redeemed: redemptions a unit.
        profit: extra margin − cost.
        roi: profit / cost (iROI): 0.73 is 73 % more than it cost.
        naive_roi: what a campaign's own books would call ROI, all its buyers' margin over its cost; never to be
            reported as ROI.
        cost_per_buyer: cost for each extra buyer.
        sure_buyers: share of the redemptions that were no extra purchase (折扣蚕食); below 0 where more units came to
            buy than redeemed.
        value_per_order: value of an order, variant − control.
        own_value_per_order: the variant's own.
        margin_per_order: margin of an order before the offer's cost, variant − control.
        own_margin_per_order: the variant's own.
        kept_per_order: what is left of it after redemptions, contacts apart, in the variant.
        control_value_per_order: control's.
        control_margin_per_order: control's.
        uplift: share of buyers, variant − control.
        break_even: uplift from which the offer would earn more than it costs, at the margins and costs seen.
    """

    units: FloatArray
    extra_buyers: Figure
    extra_margin: Figure
    cost: FloatArray
    redemption_cost: FloatArray
    contact_cost: FloatArray
    redemptions: FloatArray
    redeemed: FloatArray
    profit: Figure
    roi: Figure
    naive_roi: FloatArray
    cost_per_buyer: Figure
    sure_buyers: Figure
    value_per_order: Figure
    own_value_per_order: FloatArray
    margin_per_order: Figure
    own_margin_per_order: FloatArray
    kept_per_order: FloatArray
    control_value_per_order: float
    control_margin_per_order: float
    uplift: Figure
    break_even: FloatArray


def offer_returns(
    moments: Moments,
    columns: Columns | None = None,
    *,
    control: int = 0,
    fixed_cost: npt.ArrayLike = 0.0,
    profit: npt.ArrayLike | None = None,
    z: npt.ArrayLike = Z_95,
) -> Returns:
    """Return what every variant earned and cost against control.

    Args:
        moments: of the columns, first axis variants; complete rows.
        columns: their names.
        control: its position.
        fixed_cost: of each variant as a whole (artwork, set-up), known; a number, or one a variant but control.
        profit: profit per unit against control as another analysis has estimated it (stratified, winsorised); the
            errors stay those of the moments. By default the difference of means, adjusted by the covariates.
        z: how many standard errors the intervals are wide; a number, or one a variant but control.

    Raises:
        KeyError: a column is not there.

    Source: Fieller (1954) for quotients; Deng, Xu, Kohavi & Walker (2013) for the adjustment.

    >>> rows = [[60.0, 0, 0, 1, 0, 1, 200], [0, 0, 0, 0, 0, 0, 0]] * 50 + [[-0.1, 0, 0.1, 0, 0, 0, 0]] * 20
    >>> rows += [[29.9, 30, 0.1, 1, 1, 1, 180]] * 80
    >>> names = ["profit", "redemption", "contact", "buyers", "redemptions", "orders", "value"]
    >>> moments = Moments.from_rows(names, rows, cell=[0] * 100 + [1] * 100)
    >>> found = offer_returns(moments)
    >>> [round(float(v), 2) for v in (found.extra_buyers.estimate[0], found.extra_margin.estimate[0], found.cost[0])]
    [30.0, 1800.0, 2410.0]
    >>> [round(float(v), 3) for v in (found.profit.estimate[0], found.roi.estimate[0], found.naive_roi[0])]
    [-610.0, -0.253, 0.992]
    """
    c = columns or Columns()
    others = [i for i in range(moments.shape[0]) if i != control]
    z = as_float(z)
    table = _table(moments, c, control)
    spread = table.covariance()
    n, n_control = table.n[others].astype(np.float64), float(table.n[control])
    fixed = divide(np.broadcast_to(as_float(fixed_cost), n.shape), n)

    def mean(column: str) -> FloatArray:
        return np.where(table.n > 0, table.mean[..., table.place(column)], np.nan)

    def difference(column: str) -> FloatArray:
        values = mean(column)
        return np.asarray(values[others] - values[control])

    def own_covariance(one: str, two: str) -> FloatArray:
        return divide(spread[..., table.place(one), table.place(two)], table.n)

    def covariance(one: str, two: str) -> FloatArray:
        each = own_covariance(one, two)
        return np.asarray(each[others] + each[control])

    earned = difference("profit") if profit is None else np.broadcast_to(as_float(profit), n.shape)
    cost = difference("cost")
    margin = earned + cost
    few = np.where((n < 2) | (n_control < 2), int(Why.TOO_FEW_UNITS), 0)
    var_profit, var_cost = covariance("profit", "profit"), covariance("cost", "cost")
    both, var_buyers = covariance("profit", "cost"), covariance("buyers", "buyers")
    bought = around(difference("buyers"), var_buyers, z, few)
    redeemed = mean("redemptions")[others]
    extra_share = quotient(
        difference("buyers"),
        redeemed,
        var_buyers,
        own_covariance("redemptions", "redemptions")[others],
        own_covariance("buyers", "redemptions")[others],
        z,
        undefined=Why.NO_REDEMPTIONS,
    )
    own_cost = n * (mean("cost")[others] + fixed)
    values, margins = _per_order(table, "value", control, z), _per_order(table, "margin", control, z)
    kept = ratios(table, "kept", "orders").mean[others]
    return Returns(
        units=n,
        extra_buyers=_total(bought, n),
        extra_margin=_total(around(margin, var_profit + 2 * both + var_cost, z, few), n),
        cost=n * (cost + fixed),
        redemption_cost=n * mean("redemption")[others],
        contact_cost=n * mean("contact")[others],
        redemptions=n * redeemed,
        redeemed=redeemed,
        profit=_total(around(earned - fixed, var_profit, z, few), n),
        roi=quotient(earned - fixed, cost + fixed, var_profit, var_cost, both, z, undefined=Why.COST_NEAR_ZERO),
        naive_roi=divide(n * mean("margin")[others] - own_cost, np.where(own_cost > 0, own_cost, np.nan)),
        cost_per_buyer=quotient(
            cost + fixed,
            difference("buyers"),
            var_cost,
            var_buyers,
            covariance("buyers", "cost"),
            z,
            undefined=Why.NO_EXTRA_BUYERS,
        ),
        sure_buyers=shifted(extra_share, times=-1.0, plus=1.0),
        value_per_order=values[0],
        own_value_per_order=values[1][others],
        margin_per_order=margins[0],
        own_margin_per_order=margins[1][others],
        kept_per_order=kept,
        control_value_per_order=float(values[1][control]),
        control_margin_per_order=float(margins[1][control]),
        uplift=bought,
        break_even=_needed(mean, others, control, fixed),
    )


def _table(moments: Moments, c: Columns, control: int) -> Moments:
    """Return the moments under our own names, with margin and cost as columns and the profit adjusted."""
    adjusted = {c.profit: 1.0}
    if c.covariates:
        theta = cuped_means(moments, c.profit, c.covariates, small_sample=True, control=control).theta
        adjusted |= {column: -float(slope) for column, slope in zip(c.covariates, theta, strict=True)}
    spent = {c.redemption: 1.0, c.contact: 1.0}
    return weighted(
        moments,
        {
            "profit": adjusted,
            "cost": spent,
            "margin": {c.profit: 1.0, **spent},
            "kept": {c.profit: 1.0, c.contact: 1.0},
            "redemption": {c.redemption: 1.0},
            "contact": {c.contact: 1.0},
            "buyers": {c.buyers: 1.0},
            "redemptions": {c.redemptions: 1.0},
            "orders": {c.orders: 1.0},
            "value": {c.value: 1.0},
        },
    )


def _total(figure: Figure, n: FloatArray) -> Figure:
    return Figure(figure.estimate * n, figure.ci_low * n, figure.ci_high * n, figure.why)


def _per_order(table: Moments, column: str, control: int, z: FloatArray) -> tuple[Figure, FloatArray]:
    """Return a mean over orders, variant − control, and every variant's own."""
    sample = ratios(table, column, "orders")
    others = [i for i in range(table.shape[0]) if i != control]
    each = sample.variance_of_mean
    missing = np.where(np.isnan(sample.mean[others]) | np.isnan(sample.mean[control]), int(Why.NO_ORDERS), 0)
    gap, size = sample.mean[others] - sample.mean[control], np.abs(sample.mean[others])
    # Orders of one price have no difference, not that of their rounding.
    gap = np.where(np.abs(gap) <= 16 * EPSILON * size, 0.0, gap)
    figure = around(gap, each[others] + each[control], z, missing)
    return figure, sample.mean


def _needed(mean: Callable[[str], FloatArray], others: list[int], control: int, fixed: FloatArray) -> FloatArray:
    """Return the uplift of the buyers' share at which the variant would earn just what control does."""
    buyers, margin = mean("buyers"), mean("margin")
    each = divide(margin, buyers)
    base, before = buyers[control], each[control]
    # A smaller margin of those who would have bought anyway is a cost like any other, paid by every one of them.
    lost = (before - each[others]) * base
    return break_even(
        margin=each[others],
        cost=divide(mean("redemption"), buyers)[others],
        baseline=base,
        contact=mean("contact")[others] - mean("cost")[control] + fixed + lost,
    )

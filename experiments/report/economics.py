"""Did the offer pay for itself? The economics of every variant from the moments of the money and the scorecard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from experiments.measure.economics import AFTER, ECONOMICS
from experiments.report.document import Comparison, MetricResult, Plan
from experiments.report.economics_document import AfterWindow, Economics, Figure, OfferEconomics, Paid
from experiments.report.economics_words import notes_of, sentences_of
from stats.arrays import FloatArray, number
from stats.economics.columns import Columns
from stats.economics.figures import Figure as Computed
from stats.economics.pull_forward import PulledForward, pulled_forward
from stats.economics.returns import Z_95, Returns, offer_returns
from stats.moments import Moments

HANGING_TOGETHER = "units hang together: no interval is given"
"""Beside figures whose error would be that of independent units."""


def economics_of(
    columns: Columns | None,
    moments: Mapping[str, Moments],
    result: MetricResult,
    plan: Plan,
    *,
    days: tuple[float, float] | None = None,
    dependent: bool = False,
    adjusted: bool = True,
) -> Economics | None:
    """Return what the offers brought and cost; ``None`` before anybody is in.

    Args:
        columns: names of the columns with the money.
        moments: of it, control first; of the time after the window too, where that was measured.
        result: the profit metric's place in the scorecard.
        plan: names and offers.
        days: from when to when the time after the window was.
        dependent: whether units hang together; intervals are then given for the profit alone.
        adjusted: whether the scorecard's profit is adjusted by its covariates.
    """
    money = moments.get(ECONOMICS)
    if columns is None or money is None or not result.comparisons or not money.n.all():
        return None
    columns = columns if adjusted else replace(columns, covariates=())
    profit = np.array([_float(c.effect.estimate) for c in result.comparisons])
    given = profit if np.isfinite(profit).all() else None
    z = _widths(offer_returns(money, columns, profit=given, z=1.0), result.comparisons)
    found = offer_returns(money, columns, profit=given, z=z)
    later = None if days is None else _later(moments.get(AFTER), columns.profit, z)
    offers = [
        _offer(
            found,
            j,
            comparison,
            plan,
            None if later is None or days is None else _after(later, j, days, dependent),
            dependent,
        )
        for j, comparison in enumerate(result.comparisons)
    ]
    readable = [offer for offer in offers if offer.readable]
    return Economics(
        metric=result.name,
        window_days=result.window_days,
        control_order_value=number(found.control_value_per_order),
        control_order_margin=number(found.control_margin_per_order),
        offers=offers,
        sentences=sentences_of(readable, plan),
        notes=notes_of(readable, plan, winsorised_at=result.winsorised_at),
    )


def _float(value: float | None) -> float:
    return np.nan if value is None else value


def _widths(single: Returns, comparisons: Sequence[Comparison]) -> FloatArray:
    """Return how many standard errors wide the scorecard's interval of each variant's profit is."""
    widths = []
    for j, comparison in enumerate(comparisons):
        low, high = _bounds(comparison)
        half = single.profit.ci_high[j] - single.profit.estimate[j]
        units = single.units[j]
        known = low is not None and high is not None and half > 0
        widths.append(float((high - low) * units / 2 / half) if known else Z_95)  # type: ignore[operator]
    return np.array(widths)


def _bounds(comparison: Comparison) -> tuple[float | None, float | None]:
    """Return the ends of the interval that the reading goes by."""
    effect = comparison.effect
    if effect.ci_low_adjusted is None or effect.ci_high_adjusted is None:
        return effect.ci_low, effect.ci_high
    return effect.ci_low_adjusted, effect.ci_high_adjusted


def _offer(
    found: Returns, j: int, comparison: Comparison, plan: Plan, after: AfterWindow | None, dependent: bool
) -> OfferEconomics:
    units = float(found.units[j])
    low, high = _bounds(comparison)
    profit = Figure(
        estimate=_times(comparison.effect.estimate, units),
        ci_low=_times(low, units),
        ci_high=_times(high, units),
        why=comparison.effect.why,
    )

    def figure(computed: Computed) -> Figure:
        return _figure(computed, j, dependent)

    return OfferEconomics(
        variant=comparison.variant,
        offer=next((v.offer for v in plan.variants if v.key == comparison.variant), None),
        units=int(units),
        extra_buyers=figure(found.extra_buyers),
        extra_margin=figure(found.extra_margin),
        cost=number(found.cost[j]),
        redemption_cost=number(found.redemption_cost[j]),
        contact_cost=number(found.contact_cost[j]),
        redemptions=round(float(found.redemptions[j])),
        redeemed=number(found.redeemed[j]),
        profit=profit,
        roi=figure(found.roi),
        naive_roi=number(found.naive_roi[j]),
        cost_per_extra_buyer=figure(found.cost_per_buyer),
        sure_buyers=figure(found.sure_buyers),
        order_value=number(found.own_value_per_order[j]),
        order_value_change=figure(found.value_per_order),
        order_margin=number(found.own_margin_per_order[j]),
        order_margin_change=figure(found.margin_per_order),
        order_kept=number(found.kept_per_order[j]),
        uplift=figure(found.uplift),
        break_even=number(found.break_even[j]),
        after=after,
        reading=_reading(comparison, profit),
        readable=comparison.readable,
        why=comparison.why,
    )


def _times(value: float | None, units: float) -> float | None:
    return None if value is None else value * units


def _reading(comparison: Comparison, profit: Figure) -> Paid:
    """Return the scorecard's reading of the profit, so that no sentence contradicts it; else that of the interval."""
    if comparison.reading == "better":
        return "better"
    if comparison.reading == "worse":
        return "worse"
    if comparison.reading == "unclear":
        return "unclear"
    if profit.estimate is None or profit.ci_low is None or profit.ci_high is None:
        return "not_computed"
    if profit.ci_low > 0:
        return "better"
    return "worse" if profit.ci_high < 0 else "unclear"


def _figure(computed: Computed, j: int, dependent: bool) -> Figure:
    estimate, low, high, why = computed.value(j)
    if dependent and estimate is not None:
        return Figure(estimate=estimate, ci_low=None, ci_high=None, why=HANGING_TOGETHER)
    return Figure(estimate=estimate, ci_low=low, ci_high=high, why=why)


def _later(moments: Moments | None, profit: str, z: FloatArray) -> tuple[PulledForward, FloatArray] | None:
    """Return the time after the window against the window, where it is over for somebody in every variant."""
    if moments is None or not (moments.n >= 2).all():
        return None
    return pulled_forward(moments, profit, f"{profit}_after", z=z), moments.n[1:].astype(np.float64)


def _after(later: tuple[PulledForward, FloatArray], j: int, days: tuple[float, float], dependent: bool) -> AfterWindow:
    found, units = later
    return AfterWindow(
        units=int(units[j]),
        from_day=days[0],
        to_day=days[1],
        within=_figure(found.within, j, dependent),
        after=_figure(found.after, j, dependent),
        net=_figure(found.net, j, dependent),
        given_back=_figure(found.given_back, j, dependent),
    )

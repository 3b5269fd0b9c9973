"""What a report says of the money: did each offer pay for itself, and whom did it pay for buying anyway?

Amounts are in major units of the plan's currency, totals over the variant's own units. Every interval here is as many
standard errors wide as the one by which the scorecard judges the profit, so the return on the cost is above zero just
where the profit is. What cannot be computed is ``None`` with the reason beside it.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Words = dict[str, str]
"""A language map."""

Paid = Literal[
    "better",  # the scorecard's reading of the profit; of a guardrail: its interval lies above zero
    "worse",
    "unclear",
    "not_computed",
]


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One figure with its interval."""

    estimate: float | None
    ci_low: float | None
    ci_high: float | None
    why: str | None = None
    """Why it, or its interval, is missing."""


class AfterWindow(msgspec.Struct, frozen=True, kw_only=True):
    """An equally long time after the window, per unit that was followed to its end: is there a dip (pull-forward)?"""

    units: int
    """Of the variant, followed to the end."""
    from_day: float
    to_day: float
    within: Figure
    """Gain within the window, of the same units."""
    after: Figure
    """Gain in the time after; below zero is the dip."""
    net: Figure
    given_back: Figure
    """Share of the gain that the time after took back."""


class OfferEconomics(msgspec.Struct, frozen=True, kw_only=True):
    """What one variant's offer brought and cost against control."""

    variant: str
    offer: str | None = None
    units: int
    extra_buyers: Figure
    extra_margin: Figure
    """Before the offer's cost."""
    cost: float | None
    """Of redemptions and contacts, less what control's cost for as many units."""
    redemption_cost: float | None
    """Of all the variant's redemptions."""
    contact_cost: float | None
    """Of all its contacts."""
    redemptions: int
    redeemed: float | None
    """Redemptions a unit."""
    profit: Figure
    """Extra margin − cost: the scorecard's, in total."""
    roi: Figure
    """Profit / cost (iROI)."""
    naive_roi: float | None
    """All its buyers' margin over its cost: what a campaign's own books call ROI. Not to be reported as ROI."""
    cost_per_extra_buyer: Figure
    sure_buyers: Figure
    """Share of redemptions that were no extra purchase."""
    order_value: float | None
    order_value_change: Figure
    """Against control's orders."""
    order_margin: float | None
    """Margin of an order before the offer's cost."""
    order_margin_change: Figure
    order_kept: float | None
    """What is left of an order's margin after redemptions."""
    uplift: Figure
    """Share of buyers, variant − control."""
    break_even: float | None
    """Uplift from which the offer would earn more than it costs, at the margins and costs seen; ``None``: none
    would."""
    after: AfterWindow | None = None
    """``None`` before the time after the window is over for anybody."""
    reading: Paid
    readable: bool = True
    """False while a quality check forbids reading effects, as in the scorecard; the figures are given all the same."""
    why: str | None = None
    """Why it is not readable."""


class Economics(msgspec.Struct, frozen=True, kw_only=True):
    """The offers of one experiment, by its first profit metric."""

    metric: str
    window_days: float | None
    control_order_value: float | None
    control_order_margin: float | None
    offers: list[OfferEconomics]
    sentences: list[Words]
    """What it comes to, with money in it; nothing while it must not be read."""
    notes: list[Words] = []
    """What the reader must know beside the figures."""

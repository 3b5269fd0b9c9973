"""Did the offer pay for itself? In the terminal a row an offer, in CSV a row a figure."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from experiments.report import figures
from experiments.report.document import Report
from experiments.report.economics_document import Economics, Figure, OfferEconomics
from experiments.report.whys import why_text
from experiments.report.words import say

TITLE = {"en": "Did the offer pay for itself?", "zh-CN": "优惠划算吗？"}
HEADS = {
    "en": (
        "Offer",
        "Extra buyers",
        "Extra margin",
        "Cost",
        "Profit",
        "Interval",
        "ROI",
        "A buyer",
        "On sure buyers",
    ),
    "zh-CN": ("优惠", "增量买家", "增量毛利", "成本", "利润", "区间", "ROI", "单个买家", "自然单补贴"),
}
TO = {"en": " to ", "zh-CN": " 至 "}
PLAIN = (
    "units",
    "cost",
    "redemption_cost",
    "contact_cost",
    "redemptions",
    "redeemed",
    "naive_roi",
    "order_value",
    "order_margin",
    "order_kept",
    "break_even",
)
"""Figures without an interval."""


def economics_lines(found: Economics, report: Report, lang: str) -> list[tuple[str, ...]]:
    """Return a row for each offer."""
    names = {v.key: say(v.name, lang) or v.key for v in report.plan.variants}
    currency = report.plan.currency

    def money(value: float | None, *, sign: bool = False) -> str:
        if value is None:
            return "–"
        text = figures.whole_money(value, currency, lang)
        return text if round(value) == 0 or (value > 0 and not sign) else ("+" if value > 0 else figures.MINUS) + text

    def row(offer: OfferEconomics) -> tuple[str, ...]:
        profit, sure = offer.profit, offer.sure_buyers.estimate
        low, high = (money(v, sign=True) for v in (profit.ci_low, profit.ci_high))
        buyers = offer.extra_buyers.estimate
        return (
            names.get(offer.variant, offer.variant),
            "–" if buyers is None else figures.signed(buyers, 0),
            money(offer.extra_margin.estimate),
            money(offer.cost),
            money(profit.estimate, sign=True),
            why_text(profit.why, lang) or "–" if profit.ci_low is None else low + say(TO, lang) + high,
            figures.percent(offer.roi.estimate),
            money(offer.cost_per_extra_buyer.estimate),
            "–" if sure is None else f"{100 * min(max(sure, 0.0), 1.0):.0f}%",
        )

    return [row(offer) for offer in found.offers]


def economics_figures(
    found: Economics,
) -> Iterator[tuple[str, str, str, dict[str, float | int | None], str | None]]:
    """Yield section, variant, item, figures and reason of everything that is known of the offers' money."""
    control = {"order_value": found.control_order_value, "order_margin": found.control_order_margin}
    for item, value in control.items():
        yield "economics", "control", item, {"value": value}, None
    for offer in found.offers:
        yield "economics", offer.variant, "readable", {"value": int(offer.readable)}, None
        for item in PLAIN:
            yield "economics", offer.variant, item, {"value": getattr(offer, item)}, None
        yield from _with_intervals("economics", offer.variant, offer)
        if offer.after is not None:
            days: dict[str, float | int | None] = {
                "units": offer.after.units,
                "from_day": offer.after.from_day,
                "to_day": offer.after.to_day,
            }
            yield "economics_after", offer.variant, "days", days, None
            yield from _with_intervals("economics_after", offer.variant, offer.after)


def _with_intervals(
    section: str, variant: str, holder: msgspec.Struct
) -> Iterator[tuple[str, str, str, dict[str, float | int | None], str | None]]:
    for item in holder.__struct_fields__:
        figure = getattr(holder, item)
        if isinstance(figure, Figure):
            values = {"value": figure.estimate, "ci_low": figure.ci_low, "ci_high": figure.ci_high}
            yield section, variant, item, values, figure.why

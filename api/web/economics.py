"""Did the offer pay for itself? The report's economics as written text and bars, one line an offer."""

from __future__ import annotations

from dataclasses import dataclass

from api.web.charts.markup import Chart, DataTable
from api.web.charts.money import MoneyLook, money_bars, money_reach
from api.web.language import Language, unbroken
from api.web.numbers import MISSING, Numbers
from api.web.scorecard import variant_names
from experiments.report.document import Report
from experiments.report.economics_document import AfterWindow, Economics, Figure, OfferEconomics
from experiments.report.whys import why_text

TONES = {"better": "good", "worse": "bad"}
WHOLE = 10.0
"""From here on prices are written without cents."""
POINTS = 0.01
"""Shares of buyers are small: their differences are written with two decimals."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure, what stands small below it, and why it is missing."""

    text: str
    below: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class OfferLine:
    """One offer."""

    key: str
    name: str
    tone: str
    """good | bad | empty, for the profit."""
    buyers: Cell
    margin: Cell
    cost: Cell
    profit: Cell
    roi: Cell
    buyer_cost: Cell
    sure: Cell
    chart: Chart


@dataclass(frozen=True, slots=True)
class EconomicsView:
    """The section."""

    said: tuple[str, ...]
    """What it comes to, a sentence each."""
    lines: tuple[OfferLine, ...]
    notes: tuple[str, ...]
    more: DataTable
    """What lies behind: costs apart, orders, break-even, the time after the window."""


def build_economics(report: Report, language: Language, numbers: Numbers) -> EconomicsView | None:
    """Turn a report's economics into a table; ``None`` where no profit is measured."""
    found = report.economics
    if found is None or not found.offers:
        return None
    writer = _Writer(report, found, language, numbers)
    reach = money_reach([writer.look(offer) for offer in found.offers])
    return EconomicsView(
        said=tuple(unbroken(language.text(s)) for s in found.sentences),
        lines=tuple(writer.line(offer, reach) for offer in found.offers),
        notes=tuple(language.text(n) for n in found.notes),
        more=writer.more(),
    )


@dataclass(frozen=True, slots=True)
class _Writer:
    report: Report
    found: Economics
    language: Language
    numbers: Numbers

    def name(self, offer: OfferEconomics) -> str:
        return variant_names(self.report, self.language).get(offer.variant, offer.variant)

    def look(self, offer: OfferEconomics) -> MoneyLook:
        _ = self.language.gettext
        profit = offer.profit
        label = _(
            "%(variant)s: extra margin %(margin)s, cost %(cost)s, profit %(profit)s",
            variant=self.name(offer),
            margin=self.total(offer.extra_margin.estimate),
            cost=self.total(offer.cost),
            profit=self.total(profit.estimate, signed=True),
        )
        tone = TONES.get(offer.reading, "flat")
        margin = offer.extra_margin.estimate
        return MoneyLook(margin, offer.cost, profit.estimate, profit.ci_low, profit.ci_high, tone, label)

    def line(self, offer: OfferEconomics, reach: float) -> OfferLine:
        _ = self.language.gettext
        numbers, profit = self.numbers, offer.profit
        look = self.look(offer)
        ends = [None if v is None else self.total(v, signed=True) for v in (profit.ci_low, profit.ci_high)]
        written = (self.name(offer), self.total(offer.extra_margin.estimate), self.total(offer.cost))
        row = (*written, self.total(profit.estimate, signed=True), numbers.interval(*ends))
        columns = (_("Offer"), _("Extra margin"), _("Offer + send cost"), _("Profit"), _("Interval"))
        buyers = None if offer.extra_buyers.estimate is None else round(offer.extra_buyers.estimate)
        sure = offer.sure_buyers
        return OfferLine(
            key=offer.variant,
            name=self.name(offer),
            tone=TONES.get(offer.reading, ""),
            buyers=Cell(
                numbers.total(buyers, "count"),
                _("n %(count)s", count=numbers.count(offer.units)),
                self.why(offer.extra_buyers),
            ),
            margin=Cell(self.total(offer.extra_margin.estimate), why=self.why(offer.extra_margin)),
            cost=Cell(self.cost(offer.cost), _("%(share)s redeemed", share=numbers.share(offer.redeemed))),
            profit=Cell(row[3], numbers.interval(*ends) if ends != [None, None] else "", self.why(profit)),
            roi=Cell(self.roi(offer.roi.estimate), self.ends(offer.roi), self.why(offer.roi)),
            buyer_cost=Cell(self.price(offer.cost_per_extra_buyer.estimate), why=self.why(offer.cost_per_extra_buyer)),
            sure=Cell(numbers.share(_clipped(sure.estimate), 0), why=self.why(sure)),
            chart=money_bars(look, reach, columns=columns, row=row),
        )

    def more(self) -> DataTable:
        """Return the figures behind, a row an offer and one of control."""
        _ = self.language.gettext
        found, numbers = self.found, self.numbers
        columns = (
            _("Offer"),
            _("Redemption cost"),
            _("Contact cost"),
            _("Order value"),
            _("Margin per order"),
            _("Kept of it"),
            _("Extra buyers, share"),
            _("Needed to break even"),
            _("After the window"),
        )
        control = variant_names(self.report, self.language).get(self.report.plan.control, self.report.plan.control)
        value, margin = found.control_order_value, found.control_order_margin
        rows = [(control, MISSING, MISSING, numbers.money(value), numbers.money(margin), *(MISSING,) * 4)]
        rows += [
            (
                self.name(o),
                self.total(o.redemption_cost),
                self.total(o.contact_cost),
                numbers.money(o.order_value),
                numbers.money(o.order_margin),
                numbers.money(o.order_kept),
                numbers.effect(o.uplift.estimate, "share", scale=POINTS),
                self.needed(o.break_even),
                self.after(o.after),
            )
            for o in found.offers
        ]
        return DataTable(_("What lies behind these figures"), columns, tuple(rows))

    def needed(self, uplift: float | None) -> str:
        """Write the uplift from which an offer pays."""
        _ = self.language.gettext
        if uplift is None:
            return _("no uplift would")
        return _("none needed") if uplift <= 0 else self.numbers.effect(uplift, "share", scale=POINTS)

    def after(self, after: AfterWindow | None) -> str:
        """Write the gain a member in the time after the window; a file has no such time."""
        if after is None:
            return MISSING if self.found.window_days is None else self.language.gettext("not over yet")
        gain = after.after
        low, high = (None if v is None else self.numbers.money(v, signed=True) for v in (gain.ci_low, gain.ci_high))
        written = self.numbers.money(gain.estimate, signed=True)
        return written if low is None or high is None else f"{written} ({self.numbers.interval(low, high)})"

    def total(self, value: float | None, *, signed: bool = False) -> str:
        text = self.numbers.total(value, "money")
        return text if signed else text.removeprefix("+")

    def cost(self, value: float | None) -> str:
        """Write a cost as what it takes away."""
        return MISSING if value is None else self.total(-value)

    def roi(self, value: float | None) -> str:
        return self.numbers.change(value, digits=0)

    def ends(self, figure: Figure) -> str:
        if figure.ci_low is None or figure.ci_high is None:
            return ""
        return self.numbers.interval(self.roi(figure.ci_low), self.roi(figure.ci_high))

    def price(self, value: float | None) -> str:
        return self.numbers.money(value, 0 if value is not None and value >= WHOLE else None)

    def why(self, figure: Figure) -> str:
        return "" if figure.estimate is not None else why_text(figure.why, self.language.tag)


def _clipped(share: float | None) -> float | None:
    """Return a share between 0 and 1: more extra buyers than redemptions are no negative share."""
    return None if share is None else min(max(share, 0.0), 1.0)

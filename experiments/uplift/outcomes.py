"""Which outcome a recommendation is learned on, and what is measured beside it to know what it is worth."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from experiments.definitions import Metric
from experiments.definitions.allocation_checks import not_learnable
from experiments.definitions.money import exponent
from experiments.errors import InputError, unknown_name
from experiments.measure.parts import ORDER_FAMILY, PLACED, REDEEMED, Part, parts_of
from experiments.report.inputs import Declared

WHOLE = ("proportion", "retention", "count", "sum", "profit")


@dataclass(frozen=True)
class Outcome:
    """The metric that is learned, and the profit metric that prices it."""

    declared: Declared
    metric: Metric
    profit: Metric | None
    """Whose margin says what an outcome is worth; ``None`` where the experiment has none."""

    @cached_property
    def _part(self) -> Part:
        return parts_of(self.metric, "earned", "primary", exponent(self.declared.currency)).parts[0]

    @property
    def is_money(self) -> bool:
        """Whether an outcome is an amount."""
        return self.metric.is_money

    @property
    def has_margin(self) -> bool:
        """Whether the log says what outcomes earn."""
        return self.profit is not None and not self.is_money

    @property
    def window_us(self) -> int:
        """When a unit's outcome is final, µs after its entry."""
        return self._part.end_us

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """What is summed: the outcome; the margin less redemptions, redemptions alone, and how many there were."""
        own = self._part
        if self.metric.type == "profit":
            return (own,)
        start, end = own.start_us, own.end_us
        counted = Part("redeemed", REDEEMED, "count", start, end)
        if self.profit is None:
            order = own.event if own.event in ORDER_FAMILY else PLACED[0]
            return own, Part("cost", order, "profit", start, end, margin_rate="0"), counted
        margin = parts_of(self.profit, "margin", "primary", exponent(self.declared.currency)).parts[0]
        margin = replace(margin, start_us=start, end_us=end)
        return own, margin, replace(margin, column="cost", number=None, margin_rate="0"), counted

    def declared_cost(self, arm: str, value: float, level: str | None = None) -> float:
        """Return what a redemption of an arm's offer costs by its definition, on the smallest order that may use it.

        Args:
            arm: the variant.
            value: of an outcome, for offers whose cost depends on the order, in major units.
            level: by which the unit has a discount anyway; the cost is what lies beyond it.
        """
        from experiments.definitions.pricing import Order, PricedOffer
        from experiments.definitions.standing import extra_cost_minor

        key = self.declared.record.definition.variant(arm).offer
        offer = self.declared.offers.get(key or "")
        if offer is None:
            return 0.0
        unit = float(10 ** exponent(self.declared.currency))
        priced = PricedOffer(offer, self.declared.currency)
        nth = offer.stamps_needed or offer.referrals_needed or 1
        amount = max(round(value * unit), priced.minor("minimum_spend") or 0)
        standing = self.declared.standing
        anyway = None if standing is None else standing.priced(level, self.declared.currency)
        return extra_cost_minor(priced, anyway, Order(amount, nth=nth)) / unit


def outcome_of(declared: Declared, key: str | None) -> Outcome:
    """Choose the outcome.

    A proportion is chosen before an amount: who spends how much varies so much that it ranks hardly anything, and what
    an outcome is worth is known from its margin.

    Args:
        declared: the experiment.
        key: of one of its metrics; by default its first primary metric that is a proportion, else its first primary
            metric that is one number for each unit, where more is better.

    Raises:
        InputError: when nothing can be learned from the metric.
    """
    plan, metrics = declared.record.definition.metrics, declared.metrics
    if key is not None:
        if key not in metrics:
            raise unknown_name("metric", key, sorted(metrics), f"in experiment {declared.record.key}")
        if why := _why_not(metrics[key]):
            raise InputError(f"nothing can be learned from metric {key}: {why}")
        chosen = metrics[key]
    else:
        fit = [metrics[name] for name in plan.primary if not _why_not(metrics[name])]
        yes_or_no = [metric for metric in fit if metric.type in ("proportion", "retention")]
        if not fit:
            raise InputError(
                f"{declared.record.key}: none of its primary metrics can be learned from "
                f"({_why_not(metrics[plan.primary[0]])}); name one of its metrics as the outcome"
            )
        chosen = (yes_or_no or fit)[0]
    profits = [metrics[name] for name in plan.keys() if metrics[name].type == "profit"]  # noqa: SIM118 - a method
    profits.sort(key=lambda metric: metric.event != chosen.event)
    return Outcome(declared, chosen, profits[0] if profits else None)


def _why_not(metric: Metric) -> str | None:
    if metric.type == "retention" and metric.direction == "increase":
        return None
    return not_learnable(metric)

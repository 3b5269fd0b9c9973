"""What a metric needs from the events: parts, each one number per unit summed over a window.

A proportion is one part, a ratio two, and each has a twin before the entry where a covariate is declared.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from experiments.definitions import Metric
from experiments.measure.days import DAY_US
from experiments.report.document import Text, Unit
from experiments.report.estimates import MetricSpec, Role

Measure = Literal["any", "count", "value", "property", "profit", "earned", "redemption", "redeemed", "first"]
"""``first`` is the microsecond after the unit's entry at which the first event that counts happened, else nothing. A
``profit`` is the margin of orders less redemptions and contacts, ``earned`` the same without contacts; ``redemption``
is what redemptions cost, ``redeemed`` how many there were."""
PRICED: frozenset[Measure] = frozenset({"profit", "earned", "redemption", "redeemed"})
"""What is measured on orders together with their redemptions."""

PLACED = ("Order Completed", "Order Updated")
"""Events that state an order; the latest one counts."""
REFUNDED = "Order Refunded"
"""Takes its value back; without a value, the whole order."""
CANCELLED = "Order Cancelled"
REDEEMED = "Coupon Redeemed"
"""Costs its value; without one, what the offer says. With the order's id as object it is reversed with the order."""
ORDER_FAMILY = (*PLACED, REFUNDED, CANCELLED, REDEEMED)


@dataclass(frozen=True)
class Part:
    """One column of the unit table: what is summed over which events in which window."""

    column: str
    event: str
    measure: Measure
    start_us: int
    """From the unit's entry on; negative before it."""
    end_us: int
    """Exclusive."""
    where: str | None = None
    """Audience-rule JSON over the event's properties."""
    number: str | None = None
    """Numeric property that is summed; for profit the order's margin in minor units."""
    margin_rate: str | None = None
    """For profit: margin as a share of the order's value, decimal text."""
    matured_us: int | None = None
    """Units that entered less than this long ago have no value, rather than an early one."""

    @property
    def is_before(self) -> bool:
        """Whether the window lies before the entry (a covariate)."""
        return self.start_us < 0


@dataclass(frozen=True)
class MeasuredMetric:
    """A metric as it is measured: its parts, and its place in the report."""

    parts: tuple[Part, ...]
    spec: MetricSpec
    winsorise: Mapping[str, float]
    """Column → quantile."""
    minor: Mapping[str, int]
    """Column of whole minor units → the currency's decimals."""
    window_us: int
    needs_rows: bool = False
    """Whether its estimate comes from order statistics or times, not from moments of its columns."""


def order_events(parts: Iterable[Part]) -> tuple[str, ...]:
    """Return the events that state an order: Segment's, and those that a profit is measured on."""
    return tuple(dict.fromkeys([*PLACED, *(part.event for part in parts if part.measure in PRICED)]))


def parts_of(
    metric: Metric, prefix: str, role: Role, exponent: int, *, margin_relative: float | None = None
) -> MeasuredMetric:
    """Translate a metric's definition.

    Args:
        metric: the definition.
        prefix: beginning of its columns' names, unique in the report.
        role: primary, secondary or guardrail.
        exponent: decimals of the currency.
        margin_relative: of a guardrail.
    """
    window = (round(metric.window.start_days * DAY_US), round(metric.window.days * DAY_US))
    windows = {"": window}
    # Beside the quantile of single events stand their mean and number: the inputs that can be checked by hand.
    is_ratio = metric.type in ("ratio", "mean_per_event") or metric.per == "event"
    if metric.covariate is not None:
        windows["_before"] = (-round(metric.covariate.days * DAY_US), 0)
    parts: list[Part] = []
    for suffix, (start, end) in windows.items():
        parts.append(_value_part(metric, prefix + suffix, start, end))
        if is_ratio:
            parts.append(_denominator_part(metric, f"{prefix}_per{suffix}", start, end))
    covariates: tuple[str | tuple[str, str], ...] = ()
    if metric.covariate is not None:
        covariates = ((f"{prefix}_before", f"{prefix}_per_before"),) if is_ratio else (f"{prefix}_before",)
    spec = MetricSpec(
        name=metric.key,
        label=_text(metric.name),
        kind=metric.type,
        value=prefix,
        denominator=f"{prefix}_per" if is_ratio else None,
        covariates=covariates,
        role=role,
        direction=metric.direction,
        unit=_unit(metric),
        margin_relative=margin_relative,
        window_days=float(metric.window.days),
        winsorised_at=metric.winsorise,
        description=_text(metric.description) if metric.description else {},
        quantile=metric.quantile,
        per=metric.per,
    )
    minor = {p.column: exponent for p in parts if p.measure in ("value", "profit")}
    cut = {p.column: metric.winsorise for p in parts if metric.winsorise and p.measure not in ("any", "count")}
    if metric.winsorise and metric.type == "count":
        cut = {p.column: metric.winsorise for p in parts}
    return MeasuredMetric(tuple(parts), spec, cut, minor, window[1], metric.type in ("quantile", "time_to_event"))


def _value_part(metric: Metric, column: str, start: int, end: int) -> Part:
    rule = _rule(metric.where)
    if metric.type in ("proportion", "retention"):
        return Part(column, metric.event, "any", start, end, rule)
    if metric.type == "time_to_event":
        return Part(column, metric.event, "first", start, end, rule)
    if metric.type == "profit":
        margin = metric.margin
        return Part(
            column,
            metric.event,
            "profit",
            start,
            end,
            rule,
            number=margin.property if margin else None,
            margin_rate=margin.rate if margin else None,
        )
    return _amount(column, metric.event, metric.value, start, end, rule)


def _denominator_part(metric: Metric, column: str, start: int, end: int) -> Part:
    if metric.denominator is None:
        return Part(column, metric.event, "count", start, end, _rule(metric.where))
    below = metric.denominator
    return _amount(column, below.event, below.value, start, end, _rule(below.where))


def _amount(column: str, event: str, value: str | None, start: int, end: int, rule: str | None) -> Part:
    if value is None:
        return Part(column, event, "count", start, end, rule)
    if value == "value":
        return Part(column, event, "value", start, end, rule)
    return Part(column, event, "property", start, end, rule, number=value)


def _unit(metric: Metric) -> Unit:
    if metric.type in ("proportion", "retention"):
        return "share"
    if metric.is_money:
        return "money"
    if metric.type == "time_to_event":
        return "days"
    return "count" if metric.type == "count" else "number"


def _rule(rule: Mapping[str, Any] | None) -> str | None:
    return None if rule is None else json.dumps(rule, sort_keys=True, ensure_ascii=False)


def _text(text: Mapping[str, str]) -> Text:
    return dict(text)

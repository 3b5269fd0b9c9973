"""A metric: which events of a unit, in which window after its first decision, become which number."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Literal

from pydantic import Field, model_validator

from experiments.definitions.base import Key, Model, Name, Share, Text, refuse
from experiments.definitions.segment import Rule

MetricType = Literal[
    "proportion", "count", "sum", "mean_per_event", "ratio", "retention", "profit", "quantile", "time_to_event"
]


class Window(Model):
    """Days after the first decision (or exposure) in which events count: from ``start_days`` on, before ``days``.

    >>> Window(days=14).start_days
    0.0
    """

    days: Annotated[float, Field(gt=0, le=3650)]
    start_days: Annotated[float, Field(ge=0, le=3650)] = 0.0

    @model_validator(mode="after")
    def _ends_after_start(self) -> Window:
        if self.start_days >= self.days:
            refuse("window", [(("start_days",), f"must be below days ({self.days:g})")])
        return self


class Covariate(Model):
    """CUPED: the same metric over ``days`` before the first decision (Deng et al. 2013)."""

    days: Annotated[float, Field(gt=0, le=3650)]


class Denominator(Model):
    """What a ratio divides by: the sum of ``value`` over events, or their number without one."""

    event: Name
    value: Name | None = None
    where: Rule | None = None


class OrderMargin(Model):
    """The margin of an order: a property with minor units, or a rate of its value."""

    property: Name | None = None
    rate: Share | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> OrderMargin:
        if (self.property is None) == (self.rate is None):
            refuse("margin", [((), 'needs either property or rate; write margin: {rate: "0.4"}')])
        return self


class Metric(Model):
    """One metric over outcome events.

    >>> window = {"days": 14}
    >>> Metric(kind="metric", key="visit", name="Visit", type="proportion", event="Visit", window=window).direction
    'increase'
    """

    kind: Literal["metric"]
    key: Key
    name: Text
    description: Text | None = None
    type: MetricType
    event: Name
    """Name of the event that counts; for profit the order event."""
    where: Rule | None = None
    """Audience-rule grammar over event properties."""
    value: Name | None = None
    """sum, mean_per_event, ratio: ``value`` (the event's money, minor units) or the name of a numeric property."""
    denominator: Denominator | None = None
    window: Window
    winsorise: Annotated[float, Field(gt=0.5, lt=1)] | None = None
    """Quantile, pooled over arms, above which values are cut to it."""
    quantile: Annotated[float, Field(gt=0, lt=1)] | None = None
    """quantile: which one, such as 0.9."""
    per: Literal["unit", "event"] = "unit"
    """quantile: of the sum of ``value`` per unit, or of single events (errors then account for several per unit)."""
    direction: Literal["increase", "decrease"] = "increase"
    """Which way is better."""
    covariate: Covariate | None = None
    margin: OrderMargin | None = None

    @model_validator(mode="after")
    def _fields_fit_the_type(self) -> Metric:
        problems: list[tuple[tuple[str | int, ...], str]] = []
        with_value = {"sum", "mean_per_event", "ratio", "quantile"}
        if self.type in {"sum", "mean_per_event", "quantile"} and self.value is None:
            problems.append((("value",), f"is missing; {self.type} needs it: write value: value, or a property's name"))
        if self.value is not None and self.type not in with_value:
            problems.append((("value",), _not_of(self.type)))
        if (self.type == "ratio") != (self.denominator is not None):
            why = "is missing; a ratio needs it" if self.type == "ratio" else _not_of(self.type)
            problems.append((("denominator",), why))
        if (self.type == "profit") != (self.margin is not None):
            why = (
                'is missing; profit needs it: write margin: {rate: "0.4"} or {property: margin_minor}'
                if self.type == "profit"
                else _not_of(self.type)
            )
            problems.append((("margin",), why))
        if (self.type == "quantile") != (self.quantile is not None):
            needs = "is missing; write quantile: 0.9" if self.type == "quantile" else _not_of(self.type)
            problems.append((("quantile",), needs))
        if self.per == "event" and self.type != "quantile":
            problems.append((("per",), _not_of(self.type)))
        if self.covariate is not None and self.type in {"quantile", "time_to_event"}:
            problems.append((("covariate",), _not_of(self.type)))
        if self.type == "retention" and self.window.start_days <= 0:
            problems.append((("window", "start_days"), "is missing; retention asks who comes back from that day on"))
        if self.winsorise is not None and self.type in {"proportion", "retention"}:
            problems.append((("winsorise",), f"does not belong to {self.type}, which is 0 or 1; remove it"))
        if self.window.start_days and self.type == "time_to_event":
            problems.append((("window", "start_days"), "does not belong to time_to_event, which counts from the entry"))
        if self.winsorise is not None and self.type in {"quantile", "time_to_event"}:
            problems.append((("winsorise",), _not_of(self.type)))
        if problems:
            refuse("metric", problems)
        return self

    @property
    def is_money(self) -> bool:
        """Whether the metric is in the project currency."""
        if self.type == "profit":
            return True
        return self.value == "value" and (
            self.type != "ratio" or (self.denominator and not self.denominator.value) is True
        )

    def margin_rate(self) -> Fraction | None:
        """Return the declared margin as a share of the order's value."""
        return Fraction(self.margin.rate) if self.margin and self.margin.rate else None


def _not_of(kind: str) -> str:
    return f"does not belong to {kind}; remove it"

"""The answer of ``equipoise power``: one document that table, JSON and CSV all render."""

from __future__ import annotations

from typing import Literal

import msgspec

from experiments.report.document import Text

Kind = Literal["proportion", "mean", "ratio"]
Unit = Literal["share", "count", "money", "number", "days"]
Goal = Literal["difference", "non_inferiority"]


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the metric before the test."""

    name: Text
    kind: Kind
    unit: Unit
    mean: float
    """Proportion, mean or ratio without any change."""
    sd: float | None = None
    """Standard deviation of one unit (of its linearised contribution, for ratios); proportions have their own."""
    units: int | None = None
    """Units it was measured on."""
    reduction: float = 0.0
    """Share of variance that what is known before the test removes."""
    source: Text = {}
    """Where it comes from."""
    window_days: float = 0.0
    """How long a unit's outcome takes."""
    per_week: list[float] = []
    """New units of each week, as measured; the last figure goes on."""
    list_units: int | None = None
    """Members that one send would reach, as counted."""


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """What the effect asked for (or the margin to be proved) takes."""

    effect: float
    """In the metric's unit; for a margin the accepted worsening."""
    relative: float | None
    units: int | None
    """Of all variants together."""
    units_by_variant: dict[str, int] = {}
    clusters: int | None = None
    expected_units: int | None = None
    """Watched tests: on average, if the effect is as asked for."""
    weeks: int | None = None
    """Of entering, whole."""
    days: int | None = None
    """Until the last outcome counts."""
    why: str | None = None


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What a number of units can show."""

    units: int
    weeks: int | None = None
    mde: float | None
    """Smallest detectable effect (or smallest provable margin), in the metric's unit, with the sign of the wish."""
    mde_relative: float | None
    power: float | None = None
    """For the effect asked for."""
    exact: bool = False
    """Whether outcomes are so few that every possible result was gone through."""
    why: str | None = None


class CurvePoint(msgspec.Struct, frozen=True, kw_only=True):
    """Power against the true effect."""

    effect: float
    relative: float | None
    power: float | None


class BreakEven(msgspec.Struct, frozen=True, kw_only=True):
    """From which uplift of the purchase rate an offer pays."""

    offer: str | None
    margin: float
    """Of an order, before the offer; major units."""
    cost: float
    """Of one redemption, on average over the orders on which it is redeemed."""
    contact: float
    redeemed: float
    """Share of orders on which it is redeemed."""
    baseline: float
    """Purchase rate without the offer."""
    uplift: float | None
    relative: float | None
    mde: float | None = None
    """What the plan can detect, beside it."""
    why: str | None = None


class PowerPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The whole answer."""

    format: int = 1
    baseline: Baseline
    goal: Goal
    direction: Literal["increase", "decrease"]
    currency: str | None
    alpha: float
    power: float
    level: float
    """At which a single comparison is planned (several variants or metrics share alpha)."""
    power_each: float
    """Which each test needs (guardrails share the risk of missing)."""
    split: dict[str, float]
    """Variant → share of the units, control first."""
    inference: Literal["fixed", "group_sequential", "always_valid"]
    looks: int | None
    inflation: float | None
    """Times the units of a test with one look."""
    design_effect: float | None
    target: Target | None
    rows: list[Row]
    curve: list[CurvePoint]
    curve_units: int | None
    assurance: float | None = None
    """Chance of a clear improvement, given the prior."""
    break_even: BreakEven | None = None
    notes: list[Text] = []
    methods: list[Text]

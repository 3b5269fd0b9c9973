"""The rows of the tables on the page of a policy that learns, as written text."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from api.web.vocabulary import Badge


@dataclass(frozen=True, slots=True)
class ArmLine:
    """One variant: how often, and what it earns."""

    name: str
    swatch: str
    decisions: str
    share: str
    value: str
    chart: Markup
    interval: str
    why: str
    propensity: str
    best: str
    masked: bool


@dataclass(frozen=True, slots=True)
class HeatCell:
    """A share, and how strongly it is coloured: 0 to 10."""

    written: str
    step: int


@dataclass(frozen=True, slots=True)
class HeatRow:
    """Who gets what, of one group of members."""

    attribute: str
    """Empty where the row before has the same."""
    level: str
    cells: tuple[HeatCell, ...]
    decisions: str


@dataclass(frozen=True, slots=True)
class PolicyLine:
    """What another policy would have earned."""

    name: str
    detail: str
    badge: Badge | None
    value: str
    chart: Markup
    against: str
    """Against the live one, with its interval."""
    interval: str
    ess: str
    why: str

"""What is kept of each time the stages were computed, and the document that pages, terminal and REST show."""

from __future__ import annotations

import msgspec

Text = dict[str, str]
"""A language map ``{"en": …, "zh-CN": …}``."""
NONE = ""
"""In no stage, in history and counts."""


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """Units that were in one stage when the week began and are in another, or the same, now."""

    before: str | None
    """``None``: in no stage then, or not known."""
    after: str | None
    units: int


class GridCell(msgspec.Struct, frozen=True, kw_only=True):
    """Units of one recency and one frequency score."""

    recency: int
    frequency: int
    units: int
    spend: float
    """Of all their orders, in units of the currency."""


class Detail(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a computing beside its counts."""

    week: str
    """Monday of the week, ISO date in the project's time zone."""
    moves: list[Move] | None
    """Since that Monday; ``None`` while nothing was computed before it."""
    grid: list[GridCell]
    """Of the units that have ordered."""
    groups: int
    """Scores there are."""
    written: int
    """Units whose stored attributes changed."""
    ordered: int = 0
    """Units that have ordered."""
    last_order: str | None = None
    """Local day of the latest order that was known: an old one says that orders have stopped arriving."""
    notes: list[str] = []
    """What could not be computed, and why."""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One computing of the stages of one rule."""

    rule: str
    at: int
    """As of when, microseconds since 1970 UTC."""
    revision: int
    units: int
    changed: int
    counts: dict[str, int]
    """Stage → units; under ``""`` those in none."""
    detail: Detail


class StageCount(msgspec.Struct, frozen=True, kw_only=True):
    """One stage as it stands."""

    stage: str | None
    """``None``: units for which no rule is true, or that have not joined yet."""
    name: Text = {}
    units: int
    share: float | None
    entered: int | None
    """Units that came in since Monday; ``None`` while nothing was computed before it."""
    left: int | None


class Week(msgspec.Struct, frozen=True, kw_only=True):
    """Who moved where in a week."""

    week: str
    """Its Monday."""
    as_of: str
    """When the stages were last computed in it, ISO 8601 UTC."""
    units: int
    counts: dict[str, int]
    moves: list[Move] | None
    rule_changed: bool = False
    """Whether another revision of the rule was used than before: then some moves are the rule's, not the members'."""


class StagesDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The stages of one rule: how many members are where, and who moves."""

    rule: str
    name: Text = {}
    attribute: str
    computed: bool
    """Whether the service computes them; otherwise another system states the attribute."""
    revision: int
    as_of: str | None
    """ISO 8601 UTC; ``None`` while they were never computed."""
    time_zone: str
    currency: str
    units: int
    stages: list[StageCount]
    weeks: list[Week]
    """The latest first."""
    grid: list[GridCell]
    groups: int
    last_order: str | None
    notes: list[str]

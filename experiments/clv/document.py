"""What is found out about members' future orders, as plain numbers that render alike as text, JSON and CSV."""

from __future__ import annotations

import msgspec

FORMAT = "equipoise-clv-1"


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """One parameter of a model; ``std_error`` is ``None`` where the data do not bound it."""

    name: str
    value: float
    std_error: float | None


class Sum(msgspec.Struct, frozen=True, kw_only=True):
    """Over all members, with its interval; the ends are ``None`` where the models' errors are not known."""

    estimate: float
    ci_low: float | None
    ci_high: float | None


class SegmentRow(msgspec.Struct, frozen=True, kw_only=True):
    """One of the eight groups of recency, frequency and money."""

    segment: str
    name: dict[str, str]
    members: int
    alive: float
    """Mean probability of still being active."""
    orders: float
    """Expected within the horizon, of all its members together."""
    value: float | None


class CheckRow(msgspec.Struct, frozen=True, kw_only=True):
    """Members with so many repeats before the day of the check: what was foretold a member, and what came."""

    repeats: int
    """The last row has so many or more."""
    members: int
    foretold: float
    real: float
    std_error: float | None
    """Of ``real``."""


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """The same model fitted on the orders before a day, held against the orders after it."""

    learned_until: str
    days: int
    members: int
    foretold: float
    """Orders of all."""
    real: float
    rows: list[CheckRow]
    value_foretold: float | None
    value_real: float | None


class Lifetime(msgspec.Struct, frozen=True, kw_only=True):
    """The whole answer."""

    format: str = FORMAT
    source: str
    first: str
    until: str
    """The day of looking: expected orders are of the days after it."""
    horizon_days: int
    alpha: float
    discount: float
    """A year."""
    margin: float
    orders: int
    left_out: dict[str, int]
    members: int
    returned: int
    """Members who ordered on a second day."""
    alive: float
    """Expected number of members still active."""
    purchases: Sum
    value: Sum | None
    """``None`` without values."""
    order_value: float | None
    """Mean value of one order to expect of a member of whom nothing is known."""
    buying: list[Parameter]
    spend: list[Parameter]
    correlation: float | None
    """Of repeats and mean value between members: the model of spend takes it to be 0."""
    segments: list[SegmentRow]
    check: Check | None
    cautions: list[dict[str, str]]

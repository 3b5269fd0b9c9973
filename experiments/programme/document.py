"""What the programme earned, as plain numbers that render alike as text, JSON and CSV."""

from __future__ import annotations

import msgspec

FORMAT = "equipoise-programme-1"
Text = dict[str, str]


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """An estimate with its interval; all ``None`` where it cannot be given, and ``why`` says why."""

    estimate: float | None
    ci_low: float | None
    ci_high: float | None
    why: str | None = None


class Month(msgspec.Struct, frozen=True, kw_only=True):
    """Members by the month of their first decision, in the project's time zone; fixed costs apart.

    Earlier months had longer to return, unless ``days`` gives all the same.
    """

    month: str
    """Year and month, ``2026-10``."""
    held_out: int
    reached: int
    profit_per_member: Figure
    profit: Figure
    """Of all its reached members."""


class HoldoutResult(msgspec.Struct, frozen=True, kw_only=True):
    """What one holdout tells; money in major units, over all reached members unless it says otherwise."""

    holdout: str
    name: Text
    share: str
    since: str | None
    """When the first compared member came; ``None``: nobody yet."""
    experiments: list[str]
    """Launched under this holdout."""
    held_out: int
    reached: int
    would_not: int
    """Held-out members who would have been enrolled nowhere; not compared."""
    both: int
    """Members seen on both sides under one id; left out."""
    linked: int = 0
    """Members who were decided for under several ids, and count once."""
    crossed: int = 0
    """Of these, members seen on both sides: each counts on the side of its first decision."""
    split_p: float | None
    """Of the two sides' sizes, against the holdout's share."""
    readable: bool
    """Whether the figures below may be read; where not they are ``None``, and ``why_not`` says why."""
    why_not: Text | None
    profit_per_member: Figure
    profit: Figure
    extra_margin: Figure
    extra_buyers: Figure
    cost: float | None
    """Redemptions and contacts against the held-out, and ``fixed_cost``."""
    redemption_cost: float | None
    contact_cost: float | None
    fixed_cost: float
    roi: Figure
    detectable: float | None
    """Smallest mean profit a member that these members find with 80 % power."""
    needed: int | None
    """Members to hold out to find the profit that was estimated (or asked for), with 80 % power."""
    needed_for: float | None
    """Profit a member that ``needed`` is for."""
    verdict: Text
    months: list[Month] = []
    """By the month in which members came."""


class Programme(msgspec.Struct, frozen=True, kw_only=True):
    """The whole answer."""

    format: str = FORMAT
    currency: str
    metric: str
    """Profit metric whose event and margin count."""
    days: int | None
    """After a member's first decision; ``None``: until now."""
    alpha: float
    computed_at: str
    holdouts: list[HoldoutResult]
    notes: list[Text]

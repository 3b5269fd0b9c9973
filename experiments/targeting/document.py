"""The Audience: one stored, immutable document of who is to get which offer within a budget, beside the file itself.

Page, terminal, JSON and CSV render it; nobody recomputes. Money is in *major* units of ``currency``, totals over the
list unless a field says otherwise.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Text = dict[str, str]
"""A language map ``{"en": …, "zh-CN": …}``."""
Basis = Literal["liability", "expected"]

FORMAT = 1


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of one arm of the experiment."""

    arm: str
    name: Text = {}
    offer: str | None = None
    members: int
    """All who get it."""
    explored: int = 0
    """Of them, those who drew it at random."""
    predicted_gain: float
    """What it is expected to earn with them, net of its cost, beyond giving them nothing."""
    expected_cost: float | None = None
    """Of redemptions and contacts; ``None`` where nothing says how many redeem."""
    liability: float
    """If all of them redeem, contacts included."""
    cost_each: float
    """Of one issued offer and its contact: what it takes from a budget by liability."""
    stock: int | None = None
    stock_price: float | None = None
    """What one more piece would add."""


class FloorKept(msgspec.Struct, frozen=True, kw_only=True):
    """A group of which at least so many were to get an offer."""

    attribute: str
    level: str
    offer: str | None = None
    """``None``: any."""
    least: int
    reached: int


class BudgetPoint(msgspec.Struct, frozen=True, kw_only=True):
    """The best that a budget buys for this list, stocks and floors aside."""

    budget: float
    predicted_gain: float
    members: int
    """With an offer."""


class Audience(msgspec.Struct, frozen=True, kw_only=True):
    """Who gets which offer, frozen."""

    format: int = FORMAT
    id: str
    """Of the job that made it, whose file it is."""
    title: Text
    experiment: str | None = None
    recommendation: int | None = None
    """Number of the recommendation whose model chose."""
    recommendation_hash: str | None = None
    source: str | None = None
    """The file that was learned from, where it was one."""
    unit_type: str = "member"
    list_name: str | None = None
    """``None``: the stored members in the experiment's audience."""
    at: str
    """As of when members are described."""
    currency: str | None = None
    policy: Literal["personalised", "single"]
    """``single``: there was no evidence that members differ, so everybody counts alike and a hash says who is first."""
    basis: Basis
    budget: float | None = None
    spent: float
    """Of it, by ``basis``."""
    predicted_gain: float
    """What the offers are expected to earn, net of their cost, beyond giving nobody anything."""
    predicted_outcome: float | None = None
    """Outcome a member that they are expected to add: what a test of them should find."""
    bound: float
    """What no choice within the same limits can exceed, exploration aside."""
    gap: float
    """``bound`` less what the choice earns: what was missed at most."""
    budget_price: float
    """What one more unit of money would add; 0 where the budget does not bind."""
    rows: int
    treated: int
    explored: int
    explore: float = 0.0
    """Share that is drawn at random whatever the model says, so that what is chosen can be learned from again."""
    reasons: dict[str, int]
    """Why → rows of the file, see `experiments.targeting.written.REASONS`."""
    arms: list[Given]
    floors: list[FloorKept] = []
    curve: list[BudgetPoint] = []
    missing: dict[str, int] = {}
    """Attribute that the model reads → members for whom it is not known."""
    sentence: Text
    warnings: list[Text] = []
    settings: dict[str, Any] = {}
    software: dict[str, str] = {}
    file_name: str
    media_type: str
    bytes: int
    sha256: str
    """Of the file."""

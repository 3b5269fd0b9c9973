"""The Recommendation: one stored, immutable document of who should get which offer, what that is worth, and why.

Page, terminal, JSON and CSV render it; nobody recomputes. Money is in *major* units of ``currency``, a unit's worth
unless a field says "total". What cannot be computed is ``None`` with the reason beside it.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Text = dict[str, str]
"""A language map ``{"en": …, "zh-CN": …}``."""

FORMAT = 1


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """A figure with its interval, at the document's ``alpha``."""

    estimate: float | None
    ci_low: float | None = None
    ci_high: float | None = None
    why: str | None = None


class Arm(msgspec.Struct, frozen=True, kw_only=True):
    """One arm of the experiment; the first is control."""

    key: str
    name: Text = {}
    offer: str | None = None
    n: int
    mean: float | None
    """Of the outcome."""
    effect: Interval | None = None
    """On the outcome against control, as it was randomised; ``None`` for control."""
    profit: Interval | None = None
    """Money a unit if everybody got this arm, less what control earns; ``None`` for control."""
    redemption_cost: float = 0.0
    """Of one redemption."""
    redeemed: float = 0.0
    """Redemptions for an outcome of 1."""
    contact_cost: float = 0.0


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """Something that had to hold for causal words, and whether it does."""

    code: str
    """split | propensity | balance | overlap | outcomes …"""
    status: Literal["ok", "caution", "fail"]
    label: Text
    value: Text
    needed: Text = {}
    """Where it fails: what would be needed."""


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A learner that was tried, with its cross-fitted loss."""

    learner: str
    """x-linear, x-trees, dr-linear, dr-trees …"""
    loss: float | None
    """Cross-fitted doubly robust loss, relative to that of a constant effect: below 1 is better than no difference."""
    chosen: bool = False
    why: str | None = None


class PolicyValue(msgspec.Struct, frozen=True, kw_only=True):
    """A way to choose who gets what, valued on units that it was not fitted on."""

    code: str
    """personalised | best_single | tree | none | all:ARM | response | rfm | random"""
    label: Text
    value: Interval
    """Money a unit, against giving nobody anything."""
    gain: Interval | None = None
    """Against the best single choice; ``None`` for itself."""
    treated: float
    """Share of the units that get any offer."""
    cost: float | None = None
    """Expected cost of offers and contacts, a unit."""
    mix: dict[str, float] = {}
    """Arm → share of the units."""


class CurvePoint(msgspec.Struct, frozen=True, kw_only=True):
    """Giving the offer to the first ``share`` of the units by predicted gain."""

    share: float
    profit: float | None
    """Money a unit of *all* units, against giving nobody anything."""
    ci_low: float | None
    ci_high: float | None


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """How well the predicted gain ranks units, for one arm against control (or for ``personalised`` against none)."""

    arm: str
    points: list[CurvePoint]
    best_share: float | None
    """Where the curve was highest on one half of the units."""
    best_profit: Interval | None = None
    """What that share earned on the other half."""
    all_profit: Interval | None = None
    """Giving it to all, on the same other half."""
    qini: Interval
    """Outcome a head: area between the Qini curve and its chord."""
    auuc: Interval
    rate: Interval
    """Rank-weighted average effect (AUTOC) of the predicted gain."""
    uplift_at: dict[str, float] = {}
    """Share ("0.1", "0.2", "0.3") → difference of means in the top of the ranking."""


class ProfileRow(msgspec.Struct, frozen=True, kw_only=True):
    """How those who should get an offer differ from the rest, in one attribute."""

    attribute: str
    label: Text = {}
    kind: Literal["number", "share"]
    """``number``: medians; ``share``: of the units at ``level``."""
    level: str | None = None
    target: float | None
    rest: float | None


class Recommendation(msgspec.Struct, frozen=True, kw_only=True):
    """Who should get which offer."""

    format: int = FORMAT
    title: Text
    experiment: str | None = None
    phase: int | None = None
    source: str | None = None
    """The file, where it is from one."""
    unit_type: str = "member"
    outcome: str
    outcome_label: Text = {}
    currency: str | None = None
    """``None``: no prices were given, money is the outcome itself."""
    value_of_outcome: float = 1.0
    alpha: float = 0.05
    rows: int
    arms: list[Arm]
    attributes: list[str]
    """What was learned from."""
    causal: bool
    """Whether the data bear words of cause and effect; where not, nothing below ``checks`` is filled in."""
    checks: list[Check]
    candidates: list[Candidate] = []
    evidence: bool | None = None
    """Whether choosing by unit is shown to earn more than the best single choice (interval above zero)."""
    recommended: str | None = None
    """Code of one of ``policies``."""
    offer: str | None = None
    """Where one choice for all is recommended: its arm; control means no offer."""
    sentence: Text
    reasons: list[Text] = []
    policies: list[PolicyValue] = []
    curves: list[Curve] = []
    profile: list[ProfileRow] = []
    rule: dict[str, Any] | None = None
    """The group that a short rule describes, as an audience rule (docs/audience-rules.md); ``None`` without one."""
    rule_text: Text = {}
    warnings: list[Text] = []
    methods: list[Text] = []
    settings: dict[str, Any] = {}
    """All that fits the same model again: learner, seed, folds, attributes, prices."""
    data_until: str | None = None
    software: dict[str, str] = {}
    content_hash: str = ""

"""What a report says of a policy that learns, beside plan, counts, checks and method: no scorecard, no split check.

Its split moves with what is learned, so comparing the variants' plain means, or their counts with weights, would
mislead. Every figure here is corrected by the logged propensities, and its interval is clustered by unit. Figures that
cannot be computed are ``None`` with the reason beside them.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Words = dict[str, str]
"""A language map."""

Standing = Literal[
    "cold",  # no version has drawn yet: every eligible variant alike
    "early",  # a version draws, but too little has matured on either side to compare
    "ahead",  # earns more than the control group, beyond its interval
    "behind",
    "unclear",
]
RewardUnit = Literal["money", "share", "number"]


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """A reward per decision, or a difference of two, with its interval clustered by unit."""

    estimate: float | None
    std_error: float | None
    ci_low: float | None
    ci_high: float | None
    why: str | None = None
    """Why it is missing."""


class BanditReward(msgspec.Struct, frozen=True, kw_only=True):
    """What is earned, and when it counts."""

    metric: str
    label: Words
    unit: RewardUnit
    window_days: float
    attribution: Literal["last", "all"]


class GainPoint(msgspec.Struct, frozen=True, kw_only=True):
    """What the policy's decisions up to a day have earned more than the control group would have."""

    date: str
    decisions: int
    """Matured ones that the policy drew, up to and with this day."""
    total: Value
    """Gain a decision × decisions; its band holds at all days at once."""


class Gain(msgspec.Struct, frozen=True, kw_only=True):
    """What the policy earns more than its control group, for whom nothing is learned."""

    standing: Standing
    policy: Value
    control: Value
    gain: Value
    """A decision."""
    total: Value
    """Over the policy's matured decisions."""
    policy_decisions: int
    control_decisions: int
    policy_units: int
    control_units: int
    control_share: float
    control_split: Literal["uniform", "weights"]
    curve: list[GainPoint]
    always_valid: bool = False
    """Whether the intervals of this report hold however often it is looked at (``inference: always_valid``)."""


class Arm(msgspec.Struct, frozen=True, kw_only=True):
    """One variant: how often it was drawn, and what it would earn if everybody eligible got it."""

    variant: str
    decisions: int
    share: float | None
    value: Value
    """Uniform AIPW over the matured decisions for which it was eligible."""
    adaptive: Value
    """The same, adaptively weighted: narrower where propensities got small, a little biased where there is drift."""
    always_valid: Value
    """The uniform one with an interval that holds however often it is looked at."""
    naive_mean: float | None
    """Mean reward of those who got it: biased, because the policy chose them. Shown to be compared, not to be used."""
    median_propensity: float | None
    chance_best: float | None
    """Probability that it is the best single variant for all (by the joint normal law of the estimates)."""
    masked: bool = False


class Day(msgspec.Struct, frozen=True, kw_only=True):
    """How the policy's decisions of a day went over the variants, open rewards included."""

    date: str
    decisions: int
    counts: list[int]
    """In the order of ``Bandit.variants``."""


class VersionStart(msgspec.Struct, frozen=True, kw_only=True):
    """The first day on which a version drew."""

    version: int
    date: str


class BanditSegment(msgspec.Struct, frozen=True, kw_only=True):
    """Who gets what: one level of an attribute."""

    attribute: str
    label: Words
    level: str
    level_label: Words
    decisions: int
    counts: list[int]


class Histogram(msgspec.Struct, frozen=True, kw_only=True):
    """Logged propensities of the variants that were drawn."""

    edges: list[float]
    counts: list[int]
    lowest: float | None
    floor: float | None
    """The least that the declared exploration gives where all variants are eligible."""


class PolicyValue(msgspec.Struct, frozen=True, kw_only=True):
    """What another policy would have earned on the same decisions."""

    code: Literal["candidate", "live", "best_single", "greedy", "uniform"]
    version: int | None = None
    variant: str | None = None
    state: str | None = None
    value: Value
    against_live: Value | None
    """Paired by decision; ``None`` for the live policy itself."""
    ess: float | None
    """Effective sample size of its weights."""
    max_weight: float | None
    ips: float | None
    snips: float | None
    """Other estimators of the same value: what they disagree by tells how far to trust it."""


class VersionLine(msgspec.Struct, frozen=True, kw_only=True):
    """One version of the policy."""

    version: int
    state: str
    share: str
    origin: str
    policy: str
    trained_at: str
    rows: int
    features: int | None
    decisions: int
    """That it drew."""
    reasons: list[Words] = []
    """What the gate found, in words."""


class Mask(msgspec.Struct, frozen=True, kw_only=True):
    """A variant that nobody gets any more."""

    variant: str
    since: str
    reason: str


class Bandit(msgspec.Struct, frozen=True, kw_only=True):
    """All about a policy that learns."""

    policy: str
    """The declared kind, such as ``igw``."""
    explore: float
    reward: BanditReward
    variants: list[str]
    """In the experiment's order, which is that of every list of counts."""
    sentence: Words
    reasons: list[Words]
    gain: Gain
    arms: list[Arm]
    days: list[Day]
    starts: list[VersionStart]
    segments: list[BanditSegment]
    segment_days: int
    """How many days ``segments`` covers."""
    propensities: Histogram
    policies: list[PolicyValue]
    valued_on: Literal["held_out", "all"]
    """``held_out``: ``policies`` rest on decisions that no version has learned from: those of the control group, and
    later ones than the newest version knew. ``all``: there were too few, and new versions look better than they are."""
    valued_decisions: int
    versions: list[VersionLine]
    live: int | None
    masks: list[Mask]
    decisions: int
    open: int
    """Decisions whose reward window is not over."""

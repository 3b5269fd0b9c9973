"""How variants are drawn: by the hash, or by a policy that learns who should get which offer."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from experiments.definitions.analysis import Described
from experiments.definitions.base import Amount, Key, Name, Share, VariantKey, refuse
from experiments.definitions.segment import Rule

PolicyKind = Literal[
    "igw",
    "thompson",
    "linucb",
    "greedy",
    "softmax",
    "beta_thompson",
    "normal_thompson",
    "epsilon_greedy",
    "ucb1",
    "popularity",
    "clusters",
    "tree",
    "uniform",
]
ModelKind = Literal["auto", "logistic", "hurdle", "linear"]
CONTEXTUAL: frozenset[str] = frozenset({"igw", "thompson", "linucb", "greedy", "clusters", "tree"})
"""Policies that look at the member; the others learn one number for each variant."""


class Feature(Described):
    """One attribute that the policy looks at; its value is frozen at the decision."""

    attribute: Name
    kind: Literal["auto", "numeric", "categorical"] = "auto"
    """``auto``: by the attribute's declared type: numbers and dates are numeric, everything else is categorical."""
    transform: Literal["none", "log"] = "none"
    """numeric: ``log`` takes sign(x)·log(1 + |x|) first: amounts, counts."""
    max_levels: Annotated[int, Field(ge=2, le=10_000)] = 1_000
    """categorical: the most frequent levels that are told apart; the others are one level, as the unknown are."""
    min_rows: Annotated[int, Field(ge=1)] = 20
    """categorical: a level with fewer learned rows counts as rare."""


class Reward(Described):
    """What a decision earned."""

    metric: Key | None = None
    """By default the experiment's first primary metric. A proportion learns conversions, profit and sums learn amounts.
    Its window is the attribution window: a decision is learned from when its window is over."""
    attribution: Literal["last", "all"] = "last"
    """Whose an outcome is: the unit's ``last`` decision before it, or ``all`` decisions whose windows it falls into."""
    worth: Amount | None = None
    """proportion: what a conversion earns before the offer's costs, such as the margin of a usual order: then costs of
    redeeming and of contacts count. By default conversions alone count, 1 each, whatever the offer costs."""


class Update(Described):
    """When a new version is made, and from what."""

    every_hours: Annotated[float, Field(gt=0, le=24 * 90)] = 24.0
    min_rows: Annotated[int, Field(ge=1)] = 200
    """New matured decisions that a new version needs."""
    min_rows_per_variant: Annotated[int, Field(ge=0)] = 20
    """Until each variant has so many matured decisions, the policy draws evenly; a new variant is forced until then.
    One that fewer than a twentieth of the decisions could draw holds nothing up."""
    window_days: Annotated[float, Field(gt=0, le=3650)] = 180.0
    """Decisions older than this are not learned from."""
    half_life_days: Annotated[float, Field(gt=0, le=3650)] | None = None
    """After so many days a decision counts half; by default all count alike."""


class Gate(Described):
    """What a new version must pass before members meet it."""

    approval: Literal["automatic", "manual"] = "automatic"
    strict: bool = False
    """Besides doing no harm, the version must be better than the live one, beyond its interval."""
    alpha: Annotated[float, Field(gt=0, le=0.2)] = 0.05
    min_effective_sample: Annotated[int, Field(ge=1)] = 200
    """And at least 1 % of the logged rows."""
    max_drift: Annotated[float, Field(gt=0, le=10)] = 0.2
    """Population stability index of a feature above which the version is blocked."""
    ramp: tuple[Share, ...] = Field(default=("0.1", "0.5", "1"), min_length=1, max_length=10)
    """Shares of the members that a version gets, one after the other."""
    ramp_hours: Annotated[float, Field(ge=0, le=24 * 90)] = 24.0
    """How long each step lasts at least."""

    @model_validator(mode="after")
    def _ramp_grows_to_all(self) -> Gate:
        shares = [Fraction(share) for share in self.ramp]
        if shares != sorted(set(shares)) or shares[0] <= 0 or shares[-1] != 1:
            refuse("gate", [(("ramp",), 'must grow and end at 1; write ramp: ["0.1", "0.5", "1"]')])
        return self


class Control(Described):
    """Members for whom nothing is learned: what the policy earns is measured against them."""

    share: Share = "0.05"
    split: Literal["uniform", "weights"] = "uniform"
    """``uniform``: each variant alike; ``weights``: by the variants' weights."""


class Allocation(Described):
    """A policy that learns from the rewards of its own decisions, see ``docs/bandits.md``.

    >>> Allocation(policy="igw", features=[{"attribute": "stage"}]).explore
    '0.02'
    """

    policy: PolicyKind = "igw"
    model: ModelKind = "auto"
    """``auto``: logistic for a proportion, hurdle (whether × how much) for amounts."""
    features: tuple[Feature, ...] = Field(default=(), max_length=200)
    pairs: tuple[tuple[Name, Name], ...] = Field(default=(), max_length=100)
    """Pairs of features whose joint effect is learned too."""
    reward: Reward = Reward()
    explore: Share = "0.02"
    """Share of the draws that is spread over the eligible variants whatever was learned: every one keeps a chance."""
    min_share: dict[VariantKey, Share] = Field(default_factory=dict)
    """Variant → its least probability for whoever is eligible."""
    eligible: dict[VariantKey, Rule] = Field(default_factory=dict)
    """Variant → audience rule of who may get it; by default everybody may get each."""
    sharpness: Annotated[float, Field(gt=0, le=10_000)] = 16.0
    """igw: how sharply the better-looking variants are preferred as data grows (c of γ = c·√(n·K))."""
    optimism: Annotated[float, Field(ge=0, le=100)] = 1.0
    """thompson, linucb, ucb1: standard errors of uncertainty that are drawn from, or added; softmax: temperature."""
    control: Control = Control()
    update: Update = Update()
    gate: Gate = Gate()
    warm_start: Key | None = None
    """A finished experiment with the same variants that is learned from too."""
    warm_start_weight: Annotated[float, Field(gt=0, le=1)] = 0.5
    """What one of its rows counts."""
    mask_broken: bool = True
    """Whether a variant that breaks a guardrail is taken out until somebody puts it back."""
    parameters: dict[Name, float | int | str | bool] = Field(default_factory=dict, max_length=20)
    """clusters, tree, popularity …: what mabwiser is told, such as ``n_clusters: 4``."""

    @model_validator(mode="after")
    def _hangs_together(self) -> Allocation:
        problems: list[tuple[tuple[str | int, ...], str]] = []
        names = [feature.attribute for feature in self.features]
        problems += [
            (("features", index, "attribute"), f'"{name}" stands twice; remove one')
            for index, name in enumerate(names)
            if name in names[:index]
        ]
        for index, pair in enumerate(self.pairs):
            problems += [
                (("pairs", index), f'"{name}" is not among features; add it there')
                for name in pair
                if name not in names
            ]
            if pair[0] == pair[1]:
                problems.append((("pairs", index), "names one feature twice; name two"))
        if self.policy not in CONTEXTUAL and self.features:
            advice = f"does not belong to {self.policy}, which looks at no member; remove it, or choose policy: igw"
            problems.append((("features",), advice))
        if self.policy in CONTEXTUAL and not self.features:
            problems.append((("features",), f"is missing; {self.policy} learns from attributes: name some"))
        if Fraction(self.explore) >= 1:
            problems.append((("explore",), "must be below 1; for an even split choose policy: uniform"))
        if Fraction(self.explore) == 0:
            problems.append((("explore",), 'must be above 0, or nothing could be evaluated; write explore: "0.02"'))
        if Fraction(self.control.share) >= 1:
            problems.append((("control", "share"), "must be below 1; nobody would get what was learned"))
        if sum(Fraction(share) for share in self.min_share.values()) + Fraction(self.explore) > 1:
            problems.append((("min_share",), "together with explore is more than 1; lower them"))
        if problems:
            refuse("allocation", problems)
        return self

    @property
    def attributes(self) -> tuple[str, ...]:
        """Attributes that are frozen at the decision, because the policy learns from them."""
        return tuple(feature.attribute for feature in self.features)

    def rules(self) -> dict[str, dict[str, Any]]:
        """Return each variant's rule of eligibility."""
        return dict(self.eligible)

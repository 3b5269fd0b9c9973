"""What a version is made from besides the rows: the variants, the features, the policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

CONTEXTUAL = frozenset({"igw", "thompson", "linucb", "greedy"})
"""Policies that score variants by a model of the attributes."""
CONTEXT_FREE = frozenset(
    {"softmax", "beta_thompson", "normal_thompson", "epsilon_greedy", "ucb1", "popularity", "uniform"}
)
"""Policies that learn one number for each variant."""
POLICIES = CONTEXTUAL | CONTEXT_FREE | {"clusters", "tree"}
Model = Literal["logistic", "hurdle", "linear"]


@dataclass(frozen=True)
class FeatureSpec:
    """How one attribute is to be read."""

    attribute: str
    kind: Literal["numeric", "categorical"]
    transform: Literal["none", "log"] = "none"
    """numeric: ``log`` takes sign(x)·log(1 + |x|) first."""
    max_levels: int = 1_000
    """categorical: the most frequent levels that are told apart."""
    min_rows: int = 20
    """categorical: a level with fewer rows counts as rare."""


@dataclass(frozen=True)
class Settings:
    """Everything but the rows that a version of a policy is a function of.

    >>> Settings(("control", "coupon"), worth=(40.0, 28.0)).model
    'logistic'
    """

    variants: tuple[str, ...]
    features: tuple[FeatureSpec, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()
    """Pairs of attributes, all among the features, whose joint effect is learned."""
    policy: str = "igw"
    model: Model = "logistic"
    """logistic: whether, times ``worth``; hurdle: whether × how much; linear: what a decision earned."""
    worth: tuple[float, ...] | None = None
    """logistic: what a conversion earns by variant, after its redemption; by default 1 each."""
    contact: tuple[float, ...] = ()
    """What a contact costs by variant, converted or not; by default 0 each."""
    half_life_days: float | None = None
    sharpness: float = 16.0
    """igw: c of γ = c·√(t·|E|)."""
    optimism: float = 1.0
    """thompson, linucb, ucb1: standard errors; softmax: temperature."""
    min_rows_per_variant: int = 20
    """What is forced until then is not decided here: a variant with few rows looks like the pooled one by itself."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """What mabwiser is told."""
    seed: int = 0

    def __post_init__(self) -> None:
        count = len(self.variants)
        if count < 1 or len(set(self.variants)) != count:
            raise ValueError(f"variants must be different and at least one, not {self.variants}")
        if self.policy not in POLICIES:
            raise ValueError(f'policy "{self.policy}" is unknown; choose one of {", ".join(sorted(POLICIES))}')
        if self.model not in {"logistic", "hurdle", "linear"}:
            raise ValueError(f'model "{self.model}" is unknown; choose logistic, hurdle or linear')
        if not self.contact:
            object.__setattr__(self, "contact", (0.0,) * count)
        if self.worth is None and self.model == "logistic":
            object.__setattr__(self, "worth", (1.0,) * count)
        for name, values in (("contact", self.contact), ("worth", self.worth)):
            if values is not None and len(values) != count:
                raise ValueError(f"{name} must have one value for each of the {count} variants, not {len(values)}")
        names = [feature.attribute for feature in self.features]
        if len(set(names)) != len(names):
            raise ValueError(f"features name an attribute twice: {names}")
        for pair in self.pairs:
            if pair[0] == pair[1] or not set(pair) <= set(names):
                raise ValueError(f"pair {pair} must name two different features")
        if self.half_life_days is not None and self.half_life_days <= 0:
            raise ValueError(f"half_life_days must be above 0, not {self.half_life_days}")

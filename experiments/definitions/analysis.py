"""How an experiment is judged, as people declare it before launch: kind of inference, families, adjustment, design."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from experiments.definitions.base import Model, Name, VariantKey, refuse

Inference = Literal["fixed", "group_sequential", "always_valid", "bayesian"]
Spending = Literal["obrien_fleming", "pocock", "hwang_shih_decani"]
Multiplicity = Literal["holm", "hochberg", "benjamini_hochberg", "dunnett", "none"]
Adjustment = Literal["cuped", "regression", "none"]


class Described(Model):
    """A model whose fields say in the OpenAPI document what stands below them here."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class Futility(Described):
    """When to give up: looks at which so little is left to hope for that stopping costs little power (non-binding)."""

    power: Annotated[float, Field(gt=0.5, lt=1)] = 0.8
    """Power that the planned sample has for the effect it was planned for."""
    spending: Spending = "obrien_fleming"
    gamma: Annotated[float, Field(ge=-40, le=10)] = -4.0


class Prior(Described):
    """What is believed about a variant's *relative* effect before the test; so it does not depend on units."""

    source: Literal["declared", "history"] = "declared"
    """``history``: the spread of effects in the project's own finished experiments with the same metric."""
    relative_sd: Annotated[float, Field(gt=0, le=10)] = 0.2
    """Standard deviation of relative effects around none; used too where there is too little history."""


class Factor(Described):
    """One factor of a factorial design: which level each variant has."""

    key: Name
    levels: dict[VariantKey, Literal[0, 1]]
    """Variant → 0 (low, as control) or 1 (high)."""


class Analysis(Described):
    """What is left out is chosen from the experiment: see ``docs/definitions.md``.

    >>> Analysis().multiplicity, Analysis().inference
    ('holm', None)
    """

    inference: Inference | None = None
    """By default ``fixed`` for ``enrolment: once``; for ``rolling`` group sequential with ``planned_units``, else
    always-valid."""
    spending: Spending = "obrien_fleming"
    """Group sequential: how alpha is spent over the looks (Lan–DeMets)."""
    gamma: Annotated[float, Field(ge=-40, le=10)] = -4.0
    """Of ``hwang_shih_decani``."""
    reserve: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Group sequential: share of alpha kept for looks past the planned sample."""
    futility: Futility | None = None
    """Group sequential: when little hope is said."""
    multiplicity: Multiplicity = "holm"
    """Over all decision metrics × variants; ``dunnett`` over the variants of each metric, for one primary metric."""
    adjustment: Adjustment = "cuped"
    """What a metric's covariate does: CUPED, or the fully interacted regression (Lin 2013)."""
    strata: tuple[Name, ...] = Field(default=(), max_length=5)
    """Attributes frozen at decision over whose levels effects are post-stratified."""
    prior: Prior | None = None
    """Bayesian inference."""
    cluster: Name | None = None
    """Attribute frozen at decision that names the unit's cluster (store, referrer): errors are cluster-robust (CR2)."""
    randomised_by_cluster: bool = False
    """Whether whole clusters were given one variant; if not, clustering only warns of interference."""
    reached: Name | None = None
    """Event that says that the offer really reached the unit; the effect on those reached is reported beside (CACE)."""
    features: tuple[Name, ...] = Field(default=(), max_length=50)
    """Attributes frozen at decision that tell who responds: the recommendation of who should get which offer learns
    from them, beside the breakdowns and what each unit bought before."""
    factors: tuple[Factor, ...] = Field(default=(), max_length=6)
    """A 2^k factorial design: main effects and interactions are reported."""
    switchback: bool = False
    """Units are places × periods (``store-7@2026-03-01``): judged by randomisation inference."""
    pool_occasions: bool = False
    """Repeated waves of one test (one ``occasion`` each) are pooled by random effects."""

    @model_validator(mode="after")
    def _hangs_together(self) -> Analysis:
        problems: list[tuple[tuple[str | int, ...], str]] = []
        if self.prior is not None and self.inference != "bayesian":
            problems.append((("prior",), "belongs to inference: bayesian; write that too, or remove prior"))
        sequential = self.inference in (None, "group_sequential")
        if self.futility is not None and not sequential:
            problems.append((("futility",), f"does not belong to inference: {self.inference}; remove it"))
        if self.reserve and not sequential:
            problems.append((("reserve",), f"does not belong to inference: {self.inference}; remove it"))
        if self.randomised_by_cluster and self.cluster is None:
            problems.append((("cluster",), "is missing; name the attribute that holds the cluster"))
        if self.switchback and self.inference not in (None, "fixed"):
            problems.append((("inference",), "a switchback is judged by what chance could have assigned: write fixed"))
        if self.switchback and (self.factors or self.cluster):
            problems.append((("switchback",), "cannot be joined with factors or cluster"))
        if len({factor.key for factor in self.factors}) != len(self.factors):
            problems.append((("factors",), "two factors have the same key; rename one"))
        if problems:
            refuse("analysis", problems)
        return self

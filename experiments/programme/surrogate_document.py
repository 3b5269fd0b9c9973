"""What the surrogate index foretells, and how it did on past experiments, as plain numbers."""

from __future__ import annotations

import msgspec

FORMAT = "equipoise-surrogate-1"


class Foretold(msgspec.Struct, frozen=True, kw_only=True):
    """The long effect a unit of one variant against control."""

    variant: str
    estimate: float
    ci_low: float
    ci_high: float


class PastRow(msgspec.Struct, frozen=True, kw_only=True):
    """A past comparison: foretold by an index learned without it, and observed."""

    comparison: str
    foretold: float
    foretold_low: float
    foretold_high: float
    observed: float
    observed_low: float
    observed_high: float
    z: float


class Surrogate(msgspec.Struct, frozen=True, kw_only=True):
    """The whole answer; money in major units."""

    format: str = FORMAT
    experiment: str
    phase: int
    long: str
    """Metric that is foretold."""
    early: list[str]
    """Metrics it is foretold from."""
    early_days: int
    long_days: int
    alpha: float
    currency: str
    computed_at: str
    slopes: list[float]
    """Of the long outcome on each early one."""
    explained: float
    """Share of the long outcome's variance within variants that the early ones explain."""
    units: int
    effects: list[Foretold]
    past: list[PastRow]
    p_value: float | None
    """Of all past differences being chance; ``None`` with fewer than two past experiments."""
    slope: float | None
    """Of observed on foretold past effects: 1 is right, below it the index promises too much."""
    slope_error: float | None
    verdict: dict[str, str]
    assumptions: list[dict[str, str]]

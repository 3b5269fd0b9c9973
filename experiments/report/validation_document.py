"""What ``equipoise validate`` found: one document that terminal, JSON and CSV all show."""

from __future__ import annotations

from typing import Literal

import msgspec

from experiments.report.document import Text


class ValidationRow(msgspec.Struct, frozen=True, kw_only=True):
    """One method on one metric. Shares are [value, low, high] with a 95 % binomial interval, or ``None``."""

    metric: str
    """``*`` for methods that judge all metrics together, or none."""
    method: str
    reading: Literal["as_promised", "too_many", "too_few", "no_promise", "not_computed"]
    simulations: int
    not_computed: float
    """Share of the simulations without an answer."""
    false_alarms: list[float] | None
    """Share of experiments without effect that were called different."""
    coverage: list[float] | None
    """Share of intervals that held the truth (no effect)."""
    power: list[float] | None
    """Share of experiments with the effect that were called different in its direction."""
    wrong_sign: list[float] | None
    effect_coverage: list[float] | None
    """Share of intervals that held the added effect."""
    relative_coverage: list[float] | None
    """Share of relative intervals that held it."""
    relative_effect: float | None
    """The effect that was added, to the unit that a proportion can be changed by."""
    sample_used: float | None
    """Mean share of the units until the call or the end, with the effect, for methods that look early."""
    verdict: Text


class Validation(msgspec.Struct, frozen=True, kw_only=True):
    """What was simulated, and a row for each metric and method."""

    source: str
    units: int
    units_in_file: int
    """More than ``units`` where a random sample was taken."""
    clusters: int | None
    left_out: dict[str, int]
    variants: dict[str, float]
    effect: float
    alpha: float
    looks: int
    simulations: int
    seed: int
    results: list[ValidationRow]
    software: str

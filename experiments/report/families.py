"""Comparisons that are judged together, by the declared adjustment for their number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from experiments.report.measured import Measured
from stats.multiplicity import Method, adjust, loadings, shorten


@dataclass(frozen=True)
class Family:
    """Adjusted p-values and the intervals that go with them; arrays are metrics × variants (without control)."""

    p_adjusted: npt.NDArray[np.float64]
    effect_low: npt.NDArray[np.float64]
    effect_high: npt.NDArray[np.float64]
    relative_low: npt.NDArray[np.float64]
    relative_high: npt.NDArray[np.float64]


def family_of(measured: Sequence[Measured], alpha: float, method: Method = "holm") -> Family:
    """Adjust all variants of all given metrics as one family.

    Args:
        measured: metrics over the same variants (and the same segments).
        alpha: of the family.
        method: how. ``dunnett`` adjusts over the variants of each metric, metrics are joined by Bonferroni. A posterior
            has no p to adjust: Bayesian inference keeps its credible intervals.
    """
    if measured[0].inference.kind == "bayesian":
        method = "none"
    p_values = np.stack([m.effect(alpha).p_value for m in measured])
    correlation = np.stack([_loadings(m) for m in measured]) if method == "dunnett" else None
    adjustment = adjust(method, p_values, alpha, correlation=correlation)
    effects = [m.effect(level) for m, level in zip(measured, adjustment.interval_alpha, strict=True)]
    relatives = [m.relative(level) for m, level in zip(measured, adjustment.interval_alpha, strict=True)]
    ends = []
    for parts in (effects, relatives):
        low, high = np.stack([e.ci_low for e in parts]), np.stack([e.ci_high for e in parts])
        if adjustment.shortens:
            low, high = shorten(low, high, p_values, alpha, estimate=np.stack([e.estimate for e in parts]))
        ends += [low, high]
    return Family(adjustment.p_adjusted, *ends)


def _loadings(metric: Measured) -> npt.NDArray[np.float64]:
    """Return how the comparisons hang together by control, which they share."""
    with np.errstate(divide="ignore"):
        share = 1 / metric.sample.n
    return loadings(share[metric.control], share[metric.variants])

"""Bayesian inference: how likely each variant is better than control, or the best, and what a wrong choice costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from experiments.report.inference import Bayesian
from experiments.report.measured import Measured
from stats import bayes
from stats.arrays import number
from stats.bayes.beta_binomial import FEW_OUTCOMES


@dataclass(frozen=True, slots=True)
class Belief:
    """What is believed about one variant against control, in the metric's good direction."""

    chance_to_win: float | None = None
    expected_loss: float | None = None

    @classmethod
    def of(cls, metric: Measured, alpha: float) -> list[Belief]:
        """Return one a variant; empty ones where inference is not Bayesian."""
        if metric.inference.kind != "bayesian":
            return [cls() for _ in metric.variants]
        found = metric.posterior(alpha)
        if metric.spec.direction == "increase":
            chance, loss = found.chance_positive, found.loss_if_chosen
        else:
            chance, loss = 1 - found.chance_positive, found.loss_if_control
        return [cls(number(chance[j]), number(loss[j])) for j in range(len(metric.variants))]


def chance_best(metric: Measured, variants: Sequence[str], beliefs: Sequence[Belief]) -> dict[str, float]:
    """Return the probability that each variant, control included, is the best; empty where it cannot be computed.

    Two arms take it from the effect's own posterior. Several race under the same prior on effects; shares with few
    outcomes by the beta posterior of each arm.
    """
    inference = metric.inference
    if not isinstance(inference, Bayesian) or any(b.chance_to_win is None for b in beliefs):
        return {}
    if len(variants) == 2:
        chance = beliefs[0].chance_to_win or 0.0
        return {v: 1 - chance if i == metric.control else chance for i, v in enumerate(variants)}
    more = metric.spec.direction == "increase"
    sample = metric.sample
    if metric.method == "two_proportions" and _few(metric):
        hits = np.rint(sample.n * sample.mean)
        found = bayes.chance_best_of_betas(1 + hits, 1 + sample.n - hits, more_is_better=more)
    else:
        error = np.sqrt(sample.variance / sample.n)
        sd = bayes.prior_sd(metric.pooled_mean, inference.relative_sd)
        found = bayes.chance_best(sample.mean, error, prior_sd=sd, control=metric.control, more_is_better=more)
    chances = found.chance_best
    return {} if np.isnan(chances).any() else {v: float(chances[i]) for i, v in enumerate(variants)}


def _few(metric: Measured) -> bool:
    hits = metric.sample.n * metric.sample.mean
    return bool((np.minimum(hits, metric.sample.n - hits) < FEW_OUTCOMES).any())

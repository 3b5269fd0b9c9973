"""What each variant would earn if everybody eligible got it, as the report of a policy that learns shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from experiments.report.bandit.document import Arm
from experiments.report.bandit.influence import Floats, Mean, mean_of, value_from
from experiments.report.bandit.logged import Logged
from stats.ope.adaptive import aipw_scores, arm_means

DRAWS = 20_000
"""Of the joint normal law, for the chance to be best: its error is below half a percentage point."""


def arms_of(
    log: Logged,
    counts: Mapping[str, int],
    guess: Floats,
    alpha: float,
    *,
    masked: Sequence[str] = (),
    always_valid: bool = False,
) -> list[Arm]:
    """Return the variants as the document shows them.

    Args:
        log: matured decisions, of both groups.
        counts: variant → all decisions of the policy, matured or not.
        guess: what each variant earned in earlier decisions, shape (n, K), see `stats.ope.adaptive.past_means`.
        alpha: error probability of the intervals.
        masked: variants that were taken out.
        always_valid: whether ``value`` is to hold at every look.
    """
    drawn = (log.variant, log.reward, log.p)
    uniform = arm_means(*drawn, predicted=guess, cluster=log.unit, alpha=alpha)
    weighted = arm_means(*drawn, predicted=guess, cluster=log.unit, alpha=alpha, method="weighted")
    always = arm_means(*drawn, predicted=guess, cluster=log.unit, alpha=alpha, always_valid=True)
    scores = aipw_scores(*drawn, predicted=guess) if log.n else np.empty((0, len(log.variants)))
    chances = chances_best(
        [mean_of(scores[:, w], log.p[:, w] > 0, log.unit, log.units) for w in range(len(log.variants))]
        if all(estimate.why is None for estimate in uniform)
        else []
    )
    total = sum(counts.values())
    return [
        Arm(
            variant=variant,
            decisions=counts.get(variant, 0),
            share=counts.get(variant, 0) / total if total else None,
            value=value_from(always[w] if always_valid else uniform[w]),
            adaptive=value_from(weighted[w]),
            always_valid=value_from(always[w]),
            naive_mean=_middle(np.mean, log.reward[(log.variant == w) & ~log.uniform]),
            median_propensity=_middle(np.median, log.propensity[(log.variant == w) & ~log.uniform]),
            chance_best=chances[w] if chances else None,
            masked=variant in masked,
        )
        for w, variant in enumerate(log.variants)
    ]


def chances_best(means: Sequence[Mean | None]) -> list[float]:
    """Return the probability that each mean is the largest, under the joint normal law of the estimates.

    Empty where one of them is missing.
    """
    if len(means) < 2 or any(mean is None for mean in means):
        return []
    parts = np.array([mean.parts for mean in means if mean is not None])
    centre = np.array([mean.value for mean in means if mean is not None])
    draws = np.random.default_rng(0).multivariate_normal(centre, parts @ parts.T, DRAWS, method="eigh")
    shares = np.bincount(draws.argmax(axis=1), minlength=len(means)) / DRAWS
    return [float(share) for share in shares]


def _middle(how: np.ufunc | object, values: Floats) -> float | None:
    return float(how(values)) if values.size else None  # type: ignore[operator]

"""Bayesian readings: do chances, intervals and losses mean what they say?

Truths are drawn from the prior; then a stated chance is a frequency, whenever one looks. What it is not is a bound on
false alarms of tests without effect: those rows have no goal, and are here so that nobody expects one.
"""

from __future__ import annotations

import numpy as np

from bench.simulations.figure import Figure, share
from bench.simulations.several import mean
from stats.bayes import beta_binomial, chance_best, normal_posterior, prior_from_history

PRIOR = 0.2


def calibration(subject: str, told: np.ndarray, happened: np.ndarray, seed: int) -> list[Figure]:
    """Return, for stated chances in bands, how far the frequency is from them: at most one point."""
    figures = []
    for low, high in ((0.0, 0.1), (0.1, 0.5), (0.5, 0.9), (0.9, 1.0)):
        inside = (told >= low) & (told <= high)
        gap = happened[inside] - told[inside]
        kind = f"{subject}, told {low:g} to {high:g}"
        figures.append(mean(kind, "frequency less chance", gap, seed, least=-0.01, most=0.01))
    return figures


def normal(rng: np.random.Generator, runs: int, seed: int) -> list[Figure]:
    """Draw effects from the prior: chances, intervals and losses of one comparison."""
    truth = PRIOR * rng.standard_normal(runs)
    error = rng.choice([0.05, 0.2, 0.6], runs)
    posterior = normal_posterior(truth + error * rng.standard_normal(runs), error, 0.0, PRIOR)
    figures = calibration("chance to be better, normal", posterior.chance_positive, truth > 0, seed)
    held = (posterior.ci_low <= truth) & (truth <= posterior.ci_high)
    figures.append(share("95 % credible interval, normal", "coverage", int(held.sum()), runs, seed, least=0.95))
    lost = np.maximum(-truth, 0) - posterior.loss_if_chosen
    figures.append(mean("expected loss, normal", "loss less told", lost, seed, least=-0.001, most=0.001))
    return figures


def rates(rng: np.random.Generator, runs: int, seed: int) -> list[Figure]:
    """Draw rates from the prior, rare ones too: beta-binomial."""
    figures = []
    for prior, told in (((1.0, 1.0), "uniform"), ((1.0, 300.0), "rare")):
        rate = rng.beta(*prior, (2, runs))
        n = np.array([[400], [250]])
        x = rng.binomial(n, rate)
        posterior = beta_binomial((x[0], 400), (x[1], 250), prior)
        truth = rate[1] - rate[0]
        figures += calibration(f"chance to be better, {told} rates", posterior.chance_positive, truth > 0, seed)
        held = (posterior.ci_low <= truth) & (truth <= posterior.ci_high)
        figures.append(
            share(f"95 % credible interval, {told} rates", "coverage", int(held.sum()), runs, seed, least=0.95)
        )
    return figures


def best(rng: np.random.Generator, runs: int, seed: int) -> list[Figure]:
    """Draw three variants' effects from the prior, against one control that all share."""
    errors = np.array([0.15, 0.1, 0.2, 0.1])
    level = rng.normal(0, 5, (runs, 1))
    truth = level + np.concatenate([np.zeros((runs, 1)), PRIOR * rng.standard_normal((runs, 3))], axis=1)
    ranking = chance_best(truth + errors * rng.standard_normal((runs, 4)), errors, prior_sd=PRIOR)
    winner = truth.argmax(axis=1)[:, None] == np.arange(4)
    figures = calibration("chance to be best of four", ranking.chance_best.ravel(), winner.ravel(), seed)
    chosen = ranking.chance_best.argmax(axis=1)
    row = np.arange(runs)
    lost = truth.max(axis=1) - truth[row, chosen] - ranking.expected_loss[row, chosen]
    return [*figures, mean("expected loss of choosing it", "loss less told", lost, seed, least=-0.001, most=0.001)]


def looking(rng: np.random.Generator, runs: int, seed: int) -> list[Figure]:
    """Look ten times and stop at the first chance above 97.5 % (or below 2.5 %)."""
    figures = []
    final = 0.1
    for spread, told in ((PRIOR, "effects as the prior says"), (0.0, "no effect at all")):
        truth = spread * rng.standard_normal(runs)
        steps = rng.standard_normal((runs, 10)) * final * np.sqrt(10)
        looks = np.arange(1, 11)
        estimate = truth[:, None] + np.cumsum(steps, axis=1) / looks
        posterior = normal_posterior(estimate, final * np.sqrt(10 / looks), 0.0, PRIOR)
        sure = np.abs(posterior.chance_positive - 0.5) > 0.475
        at = np.where(sure.any(axis=1), sure.argmax(axis=1), 9)
        row = np.arange(runs)
        held = (posterior.ci_low[row, at] <= truth) & (truth <= posterior.ci_high[row, at])
        goal = {"least": 0.95} if spread else {}
        figures.append(share(f"stopped when sure, 10 looks, {told}", "coverage", int(held.sum()), runs, seed, **goal))
        if not spread:
            figures.append(share(f"stopped when sure, 10 looks, {told}", "false alarms", int(sure.any(axis=1).sum()),
                                 runs, seed))  # fmt: skip
    return figures


def history(rng: np.random.Generator, runs: int, seed: int) -> list[Figure]:
    """Learn the prior from thirty past effects, then read one more."""
    figures = []
    for spread in (0.03, 0.1):
        past_errors = rng.choice([0.02, 0.05, 0.1], (runs, 30))
        past = spread * rng.standard_normal((runs, 30)) + past_errors * rng.standard_normal((runs, 30))
        learnt = np.array([prior_from_history(y, e).relative_sd for y, e in zip(past, past_errors, strict=True)])
        truth = spread * rng.standard_normal(runs)
        posterior = normal_posterior(truth + 0.05 * rng.standard_normal(runs), 0.05, 0.0, learnt)
        held = (posterior.ci_low <= truth) & (truth <= posterior.ci_high)
        kind = f"prior learnt from 30 experiments, true spread {spread:g}"
        figures.append(mean(kind, "learnt / true", learnt / spread, seed, least=0.95, most=1.35))
        figures.append(share(kind, "coverage", int(held.sum()), runs, seed, least=0.92))
    return figures


def run(runs: int = 100_000, seed: int = 2025) -> list[Figure]:
    """Return every figure; what takes integrals takes a hundredth of the runs, or a fiftieth."""
    rng = np.random.default_rng(seed)
    return [
        *normal(rng, runs, seed),
        *rates(rng, runs // 50, seed),
        *best(rng, runs // 100, seed),
        *looking(rng, runs, seed),
        *history(rng, runs // 50, seed),
    ]

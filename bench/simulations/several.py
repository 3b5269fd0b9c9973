"""Several questions at once: families, joint decisions, waves and segments.

Data are group means and variances of correlated metrics in a control and three variants that share it, read with the
same functions as a report (Welch, then the adjustment).
"""

from __future__ import annotations

import numpy as np

from bench.simulations.figure import Figure, share
from stats.decision import Finding, Progress, Quality, decide, read_effect
from stats.decision_power import Levels, declared_levels, risk_aware_levels, ships
from stats.distributions import normal_quantile, normal_upper
from stats.effects import difference_of_means, read_guardrail
from stats.effects.result import Effect
from stats.interactions import equal_effects, two_experiments
from stats.multiplicity import (
    benjamini_hochberg,
    coverage_alpha,
    dunnett_critical,
    hochberg,
    holm,
    loadings,
)
from stats.random_effects import pool
from stats.samples import Sample
from stats.shrinkage import shrink

ALPHA = 0.05
VARIANTS, METRICS, UNITS = 3, 4, 400
CORRELATION = 0.5


def families(rng: np.random.Generator, runs: int, truth: np.ndarray) -> Effect:
    """Return effects of runs × variants × metrics; ``truth`` (variants, metrics) in standard errors of an effect."""
    between = np.full((METRICS, METRICS), CORRELATION) + (1 - CORRELATION) * np.eye(METRICS)
    factor = np.linalg.cholesky(between)
    means = rng.standard_normal((runs, VARIANTS + 1, METRICS)) @ factor.T / np.sqrt(UNITS)
    means[:, 1:] += truth * np.sqrt(2 / UNITS)
    variances = rng.chisquare(UNITS - 1, means.shape) / (UNITS - 1)
    sample = Sample.of(UNITS, means, variances)
    return difference_of_means(sample[:, :1], sample[:, 1:])


def family_wise(rng: np.random.Generator, runs: int, seed: int) -> list[Figure]:
    """Count families with any false rejection, and the rate of false discoveries."""
    figures = []
    some = np.zeros((VARIANTS, METRICS))
    some[0] = 3.0
    some[1, 0] = -3.0
    name = f"{VARIANTS} variants × {METRICS} metrics"
    critical = float(dunnett_critical(ALPHA / METRICS, loadings(1 / UNITS, np.full(VARIANTS, 1 / UNITS))))
    for truth, told in ((np.zeros((VARIANTS, METRICS)), "no effects"), (some, "5 of 12 with effects")):
        effect = families(rng, runs, truth)
        none = truth == 0
        p = effect.p_value
        rejected = {
            "unadjusted": p <= ALPHA,
            "Holm": np.array([holm(one) <= ALPHA for one in p]),
            "Hochberg": np.array([hochberg(one) <= ALPHA for one in p]),
            "Dunnett in each metric, Bonferroni over metrics": -normal_quantile(p / 2) > critical,
        }
        for method, found in rejected.items():
            goal = {} if method == "unadjusted" else {"most": ALPHA}
            hits = int((found & none).any(axis=(1, 2)).sum())
            figures.append(share(f"{method}, {name}, {told}", "family-wise error", hits, runs, seed, **goal))
        found = np.array([benjamini_hochberg(one) <= ALPHA for one in p])
        selected = found.sum(axis=(1, 2))
        false = (found & none).sum(axis=(1, 2)) / np.maximum(selected, 1)
        figures.append(mean(f"Benjamini–Hochberg, {name}, {told}", "false discovery rate", false, seed, most=ALPHA))
        levels = np.array([coverage_alpha(one, ALPHA) for one in p])
        half = -normal_quantile(levels / 2) * effect.std_error
        missed = np.abs(effect.estimate - truth * np.sqrt(2 / UNITS)) > half
        share_missed = (missed & found).sum(axis=(1, 2)) / np.maximum(selected, 1)
        figures.append(
            mean(f"its intervals of what is selected, {told}", "false coverage rate", share_missed, seed, most=ALPHA)
        )
    return figures


def risk_aware(rng: np.random.Generator, runs: int, seed: int) -> list[Figure]:
    """Try the rule on two success metrics and three guardrails, correlated and not, with and without vetoes."""
    figures = []
    for correlation in (0.0, 0.5):
        for deterioration in (0.0, 0.02):
            levels = risk_aware_levels(2, 3, alpha=ALPHA, power=0.8, deterioration=deterioration)
            kind = f"risk-aware rule, 2 success, 3 guardrails, correlation {correlation:g}"
            kind += ", vetoes" if deterioration else ""
            planned = float(normal_quantile(1 - levels.alpha_success) + normal_quantile(levels.power))
            margin = float(normal_quantile(1 - levels.alpha_guardrail) + normal_quantile(levels.power))
            cases = (
                ("false shipment, no success", np.zeros(5), {"most": ALPHA}),
                ("false shipment, a guardrail at its margin", np.array([9.0, 9, 0, 0, -margin]), {"most": ALPHA}),
                ("power, one success as planned", np.array([planned, 0, 0, 0, 0]), {"least": 0.8}),
            )
            for measure, truth, goal in cases:
                z = _correlated(rng, runs, 5, correlation) + truth
                hits = int(_ships(z, margin, levels).sum())
                figures.append(share(kind, measure, hits, runs, seed, **goal))
    return figures


def _ships(z: np.ndarray, margin: float, levels: Levels) -> np.ndarray:
    worse = normal_upper(-z) if levels.alpha_deterioration else None
    return ships(normal_upper(z[:, :2]), normal_upper(z[:, 2:] + margin), levels, deterioration=worse)


def declared(rng: np.random.Generator, runs: int, seed: int) -> list[Figure]:
    """Let ``decide`` judge two variants by one primary metric and one guardrail each."""
    figures = []
    levels = declared_levels(2, 1, 1, alpha=ALPHA, power=0.8)
    planned = float(normal_quantile(1 - levels.alpha_success) + normal_quantile(levels.power))
    margin = float(normal_quantile(1 - levels.alpha_guardrail) + normal_quantile(levels.power))
    kind = "decide(), 2 variants, 1 primary metric, 1 guardrail"
    cases = (
        ("false roll-out, no effects", np.array([[0.0, 0], [0, 0]]), ("0", "1"), {"most": levels.false_success}),
        ("false roll-out, guardrails at their margin", np.array([[9.0, 9], [margin, margin]]), ("0", "1"),
         {"most": levels.false_safety}),
        ("power, one variant as planned", np.array([[planned, 0.0], [0, 0]]), ("0",), {"least": 0.8}),
    )  # fmt: skip
    for measure, truth, counted, goal in cases:
        noise = np.stack([_shared_control(rng, runs, 2), _shared_control(rng, runs, 2)], axis=1)
        z = noise + truth
        hits = 0
        for main, guard in z:
            adjusted = holm(2 * normal_upper(np.abs(main)))
            findings = []
            for i in range(2):
                reading = read_effect(float(main[i]), float(adjusted[i]), "increase", ALPHA)
                common = {"variant": str(i), "estimate": float(main[i])}
                findings.append(
                    Finding(metric="profit", role="primary", direction="increase", reading=reading, **common)
                )
                within, broken = (float(normal_upper(sign * (guard[i] - margin))) for sign in (-1, 1))
                held = read_guardrail(within, broken, ALPHA)
                findings.append(
                    Finding(metric="returns", role="guardrail", direction="decrease", reading=held, **common)
                )
            verdict = decide(findings, [Quality(code="srm", status="ok")], Progress(units=100, planned_units=100))
            hits += verdict.code == "roll_out" and verdict.variant in counted
        figures.append(share(kind, measure, hits, runs, seed, **goal))
    return figures


def waves(rng: np.random.Generator, runs: int, seed: int) -> list[Figure]:
    """Count how often intervals of the mean effect over few, unequal waves hold the truth."""
    figures = []
    for k in (3, 5, 10):
        for ratio in (0.0, 1.0, 3.0):
            errors = rng.choice([0.5, 1.0, 1.5], (runs, k))
            y = rng.standard_normal((runs, k)) * np.sqrt(np.square(errors) + ratio**2)
            pooled = pool(y, errors, predict=False)
            kind = f"{k} waves, true spread {ratio:g} × error"
            hits = int(((pooled.ci_low <= 0) & (pooled.ci_high >= 0)).sum())
            figures.append(share(f"random effects (HKSJ), {kind}", "coverage", hits, runs, seed, least=0.94))
            plain = 1.959963984540054 / np.sqrt((1 / (np.square(errors) + pooled.tau[:, None] ** 2)).sum(axis=1))
            hits = int((np.abs(pooled.estimate) <= plain).sum())
            figures.append(share(f"the usual normal interval beside it, {kind}", "coverage", hits, runs, seed))
            few = runs // 10
            following = ratio * rng.standard_normal(few)
            told = pool(y[:few], errors[:few])
            hits = int(((told.prediction_low <= following) & (following <= told.prediction_high)).sum())
            figures.append(share(f"prediction interval, {kind}", "coverage", hits, few, seed, least=0.94))
    return figures


def segments(rng: np.random.Generator, runs: int, seed: int) -> list[Figure]:
    """Compare shrunken with plain effects of eight unequal segments."""
    figures = []
    for ratio, least_gain in ((0.0, 0.5), (0.5, 0.4), (1.0, 0.2), (2.0, 0.05)):
        errors = rng.choice([0.5, 1.0, 1.5], (runs, 8))
        truth = 2.0 + ratio * rng.standard_normal((runs, 8))
        y = truth + errors * rng.standard_normal((runs, 8))
        shrunken = shrink(y, errors)
        kind = f"8 segments, true spread {ratio:g} × error"
        before, after = np.square(y - truth).mean(axis=1), np.square(shrunken.estimate - truth).mean(axis=1)
        gain = 1 - np.sqrt(after.mean() / before.mean())
        # Delta method for a ratio of means, then for its root.
        relative = np.sqrt(np.var(after / after.mean() - before / before.mean()) / runs)
        figures.append(
            Figure(
                subject=f"shrunken, {kind}",
                measure="error (RMSE) saved",
                value=float(gain),
                std_error=float((1 - gain) * relative / 2),
                runs=runs,
                least=least_gain,
                seed=seed,
            )
        )
        held = ((shrunken.ci_low <= truth) & (truth <= shrunken.ci_high)).mean(axis=1)
        figures.append(mean(f"shrunken, {kind}", "coverage", held, seed, least=0.94))
    return figures


def interactions(rng: np.random.Generator, runs: int, seed: int) -> list[Figure]:
    """Count false alarms of the interaction tests."""
    errors = rng.choice([0.5, 1.0, 1.5], (runs, 4))
    test = equal_effects(1 + errors * rng.standard_normal((runs, 4)), errors)
    figures = [share("equal effects in 4 segments", "false alarms", int((test.p_value <= ALPHA).sum()), runs, seed,
                     most=ALPHA)]  # fmt: skip
    n = np.array([[900, 400, 200], [300, 500, 100]])
    means = np.array([[0.0], [0.7]]) + np.array([0.0, 0.3, -0.4]) + rng.standard_normal((runs, 2, 3)) / np.sqrt(n)
    found = two_experiments(Sample.of(n, means, rng.chisquare(n - 1, (runs, 2, 3)) / (n - 1)))
    hits = int((found.p_value <= ALPHA).sum())
    # Variances are estimated from 100 units at least, and chi-square takes them as known: .003 above the level.
    figures.append(share("2 × 3 overlapping experiments, no interaction", "false alarms", hits, runs, seed, most=0.05))
    return figures


def mean(subject: str, measure: str, values: np.ndarray, seed: int, **goal: float) -> Figure:
    """Return the figure of a mean over runs."""
    error = float(values.std() / np.sqrt(values.size))
    return Figure(
        subject=subject,
        measure=measure,
        value=float(values.mean()),
        std_error=error,
        runs=values.size,
        seed=seed,
        **goal,
    )


def _correlated(rng: np.random.Generator, runs: int, size: int, correlation: float) -> np.ndarray:
    common = rng.standard_normal((runs, 1))
    return np.sqrt(correlation) * common + np.sqrt(1 - correlation) * rng.standard_normal((runs, size))


def _shared_control(rng: np.random.Generator, runs: int, variants: int) -> np.ndarray:
    return (rng.standard_normal((runs, variants)) - rng.standard_normal((runs, 1))) / np.sqrt(2)


def run(runs: int = 20_000, seed: int = 2024) -> list[Figure]:
    """Return every figure; joint decisions by ``decide`` take a fifth of the runs."""
    rng = np.random.default_rng(seed)
    return [
        *family_wise(rng, runs, seed),
        *risk_aware(rng, runs, seed),
        *declared(rng, runs // 5, seed),
        *waves(rng, runs, seed),
        *segments(rng, runs // 5, seed),
        *interactions(rng, runs, seed),
    ]

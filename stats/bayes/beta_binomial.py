"""Outcomes that happen or not: beta posteriors of each arm's rate, and what they say about the difference.

No sampling: chances and losses are integrals over one rate, taken by Gauss–Legendre panels between the quantiles of
both posteriors, on the scale log(x / (1 − x)), where a rate of 10⁻⁶ is as far from the edge as any other.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.arrays import FloatArray, IntArray, as_float
from stats.bayes.normal import normal_posterior
from stats.bayes.posterior import Posterior, build
from stats.bayes.prior import DEFAULT_RELATIVE_SD, prior_sd
from stats.roots import find_roots
from stats.samples import Sample
from stats.why import Why

TAILS = np.array([1e-16, 1e-12, 1e-9, 1e-6, 1e-4, 2e-3, 2e-2, 0.1, 0.25, 0.5])
PANEL_NODES = 10
EDGE = 700.0
"""|log odds| beyond which a rate cannot be told from 0 or 1 in doubles."""
FEW_OUTCOMES = 10
"""With fewer outcomes or misses than this in an arm the normal form of its rate is not trusted."""

Counts = tuple[npt.ArrayLike, npt.ArrayLike]
Betas = tuple[FloatArray, FloatArray]


def beta_binomial(
    control: Counts,
    variant: Counts,
    prior: tuple[float, float] = (1.0, 1.0),
    alpha: float = 0.05,
) -> Posterior:
    """Return the posterior of the difference of two rates, exactly. No outcome at all is information too.

    Args:
        control: successes and units; broadcasts against the variant's.
        variant: successes and units.
        prior: Beta(a, b) of each arm's rate; (1, 1) is uniform. Both positive.
        alpha: of the equal-tailed credible interval.

    Raises:
        ValueError: counts that are not 0 ≤ successes ≤ units, a prior that is not positive, or alpha outside (0, 1).

    Source: Gelman et al. (2013), Bayesian Data Analysis, section 2.4; P(B > A) = ∫ f_A(x)·(1 − F_B(x)) dx and
    E[max(0, A − B)] = ∫ F_B(x)·(1 − F_A(x)) dx.

    >>> posterior = beta_binomial((480, 10_000), (530, 10_050)).value()
    >>> round(posterior.chance_positive, 6), round(posterior.loss_if_chosen, 8)
    (0.937307, 8.41e-05)
    >>> quiet = beta_binomial((0, 1000), (0, 2000)).value()
    >>> round(quiet.chance_positive, 4), round(quiet.ci_high, 5)
    (0.3334, 0.00129)
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie between 0 and 1, not {alpha}")
    if not (prior[0] > 0 and prior[1] > 0):
        raise ValueError("both parameters of the prior must be positive")
    x0, n0, x1, n1 = np.broadcast_arrays(*(as_float(part) for part in (*control, *variant)))
    bad = (x0 < 0) | (x1 < 0) | (x0 > n0) | (x1 > n1)
    if bad.any():
        raise ValueError("successes must lie between 0 and the units")
    missing = np.isnan(x0) | np.isnan(n0) | np.isnan(x1) | np.isnan(n1)
    why: IntArray = np.where(missing, int(Why.NO_ESTIMATE), int(Why.DEFINED)).astype(np.int64)
    x0, n0, x1, n1 = (np.where(missing, 0.0, part) for part in (x0, n0, x1, n1))
    a = (prior[0] + x0, prior[1] + n0 - x0)
    b = (prior[0] + x1, prior[1] + n1 - x1)
    means, variances = zip(*(_mean_and_variance(beta) for beta in (a, b)), strict=True)
    y, weight = _nodes(_breaks(a), _breaks(b))
    density = np.exp(_log_density(y, a))
    slope = special.expit(y) * special.expit(-y)
    cdf_a, cdf_b = _cdf(y, a), _cdf(y, b)
    above_a, above_b = _upper(y, a), _upper(y, b)
    low, high = _interval(a, b, means[1] - means[0], np.sqrt(variances[0] + variances[1]), alpha)
    parts = (
        means[1] - means[0],
        np.sqrt(variances[0] + variances[1]),
        low,
        high,
        # Panels hold chances to about 1e-8; none is above 1.
        np.minimum((weight * density * above_b).sum(axis=-1), 1.0),
        (weight * slope * cdf_b * above_a).sum(axis=-1),
        (weight * slope * cdf_a * above_b).sum(axis=-1),
    )
    return build(parts, why)


def proportions_posterior(
    control: Sample,
    variant: Sample,
    relative_sd: npt.ArrayLike = DEFAULT_RELATIVE_SD,
    prior: tuple[float, float] = (1.0, 1.0),
    alpha: float = 0.05,
) -> Posterior:
    """Return the posterior of the difference of two shares: normal, or beta-binomial where outcomes are few.

    Where an arm has fewer than ten outcomes, or than ten misses, its share's error is not normal (with none it would
    read as no error at all), and each arm's own beta posterior is taken.

    Args:
        control: shares, as ``effects.proportions`` makes them: mean = successes / n.
        variant: the same.
        relative_sd: of the normal prior on the relative effect; it is scaled by the share over both arms.
        prior: of the beta posteriors.
        alpha: of the credible interval.

    >>> from stats.effects import proportions
    >>> quiet = proportions_posterior(proportions(0, 1000), proportions(0, 1000)).value()
    >>> round(quiet.chance_positive, 3), round(quiet.ci_low, 5), quiet.why
    (0.5, -0.00299, None)
    """
    x0, x1 = control.n * control.mean, variant.n * variant.mean
    pooled = (x0 + x1) / np.where(control.n + variant.n > 0, control.n + variant.n, np.nan)
    scale = np.asarray(prior_sd(pooled, relative_sd))
    error = np.sqrt(
        sum(part.mean * (1 - part.mean) / np.where(part.n > 0, part.n, np.nan) for part in (control, variant))
    )
    normal = normal_posterior(variant.mean - control.mean, error, 0.0, scale, alpha)
    fewest = np.minimum(np.minimum(x0, control.n - x0), np.minimum(x1, variant.n - x1))
    few = np.broadcast_to(~(fewest >= FEW_OUTCOMES), normal.shape)
    if not few.any():
        return normal
    whole = [np.where(few, np.broadcast_to(part, few.shape), np.nan)[few] for part in (x0, control.n, x1, variant.n)]
    whole = [np.where(np.isnan(part), 0.0, np.round(part)) for part in whole]
    exact = beta_binomial((whole[0], whole[1]), (whole[2], whole[3]), prior, alpha)
    parts = []
    for usual, rare in zip(normal.parts, exact.parts, strict=True):
        merged = usual.copy()
        merged[few] = rare
        parts.append(merged)
    why = normal.why.copy()
    why[few] = exact.why
    return build(tuple(parts), why)


def _mean_and_variance(beta: Betas) -> tuple[FloatArray, FloatArray]:
    total = beta[0] + beta[1]
    mean, variance = beta[0] / total, beta[0] * beta[1] / (np.square(total) * (total + 1))
    return mean, variance


def _breaks(beta: Betas) -> FloatArray:
    """Return log odds of quantiles of a posterior, (…, 2·tails − 1); upper ones from the complement, exact there."""
    a, b = beta[0][..., None], beta[1][..., None]
    with np.errstate(divide="ignore"):
        lower = special.logit(special.betaincinv(a, b, TAILS))
        upper = -special.logit(special.betaincinv(b, a, TAILS[-2::-1]))
    return as_float(np.clip(np.concatenate([lower, upper], axis=-1), -EDGE, EDGE))


def _nodes(*breaks: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return nodes and weights of Gauss–Legendre panels between all breaks."""
    ends = np.sort(np.concatenate(np.broadcast_arrays(*breaks), axis=-1), axis=-1)
    node, mass = np.polynomial.legendre.leggauss(PANEL_NODES)
    half = np.diff(ends, axis=-1)[..., None] / 2
    y = (ends[..., :-1, None] + half) + half * node
    return y.reshape(*ends.shape[:-1], -1), (half * mass).reshape(*ends.shape[:-1], -1)


def _log_density(y: FloatArray, beta: Betas) -> FloatArray:
    """Return the log density of log odds."""
    a, b = beta[0][..., None], beta[1][..., None]
    return as_float(a * special.log_expit(y) + b * special.log_expit(-y) - special.betaln(a, b))


def _cdf(y: FloatArray, beta: Betas) -> FloatArray:
    return np.asarray(special.betainc(beta[0][..., None], beta[1][..., None], special.expit(y)))


def _upper(y: FloatArray, beta: Betas) -> FloatArray:
    return np.asarray(special.betainc(beta[1][..., None], beta[0][..., None], special.expit(-y)))


def _interval(a: Betas, b: Betas, mean: FloatArray, sd: FloatArray, alpha: float) -> tuple[FloatArray, FloatArray]:
    """Return quantiles of B − A: roots of its distribution function, bracketed by Cantelli's inequality."""
    room = sd * np.sqrt(2 / alpha)
    breaks_a, breaks_b = _breaks(a), special.expit(_breaks(b))

    def beyond(difference: FloatArray, *, upper: bool) -> FloatArray:
        """Return the chance of B − A beyond ``difference`` over alpha/2: 1 − tail would lose small tails."""
        # Panels end where B's quantiles fall on A's axis too, so that neither is stepped over.
        moved = np.clip(breaks_b - difference[..., None], 0.0, 1.0)
        with np.errstate(divide="ignore"):
            y, weight = _nodes(breaks_a, np.clip(special.logit(moved), breaks_a[..., :1], breaks_a[..., -1:]))
        at = np.clip(special.expit(y) + difference[..., None], 0.0, 1.0)
        tail = (special.betaincc if upper else special.betainc)(b[0][..., None], b[1][..., None], at)
        return np.asarray((weight * np.exp(_log_density(y, a)) * tail).sum(axis=-1) - alpha / 2)

    start, end = np.maximum(mean - room, -1.0), np.minimum(mean + room, 1.0)
    low = find_roots(lambda d: beyond(d, upper=False), start, end)
    high = find_roots(lambda d: beyond(d, upper=True), start, end)
    return low, high

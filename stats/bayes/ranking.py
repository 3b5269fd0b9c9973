"""Which arm is best of all, and what choosing each costs on average if it is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.arrays import FloatArray, as_float
from stats.bayes.beta_binomial import EDGE, TAILS

PANEL_NODES = 8
STEPS = np.array([-8.5, -5.5, -3.5, -1.75, 0.0, 1.75, 3.5, 5.5, 8.5])


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """Arms on the last axis, control among them.

    Attributes:
        chance_best: probability of being the best; sums to 1 over the arms. NaN for arms without a posterior, which
            are left out of the race.
        expected_loss: E[best − this], in the metric's unit.
    """

    chance_best: FloatArray
    expected_loss: FloatArray


def chance_best(
    means: npt.ArrayLike,
    sds: npt.ArrayLike,
    *,
    prior_sd: npt.ArrayLike = np.inf,
    control: int = 0,
    more_is_better: bool = True,
) -> Ranking:
    """Rank arms whose means have normal errors.

    With a flat prior the arms are independent and everything is one integral. With a prior on effects (variant −
    control, mean 0) they hang together by control's own mean, which all comparisons share: given it they are
    independent again, so one more integral, over that mean, is exact. With one variant its chance is that of
    ``normal_posterior``.

    Args:
        means: the arms' own means, shape (…, arms).
        sds: their standard errors.
        prior_sd: of the effects, in the metric's unit (``bayes.prior_sd``), shape (…). 0 says that all arms are the
            same: then there is no race, and NaN.
        control: place of control among the arms.
        more_is_better: whether the largest mean is best.

    Raises:
        ValueError: a standard error or prior that is negative.

    Source: Gelman et al. (2013), Bayesian Data Analysis, section 5.4 (normal hierarchical model given its variance).

    >>> ranking = chance_best([10.0, 10.3, 10.1], [0.1, 0.1, 0.1])
    >>> ranking.chance_best.round(3), ranking.expected_loss.round(3)
    (array([0.012, 0.912, 0.076]), array([0.306, 0.006, 0.206]))
    """
    centre, error = np.broadcast_arrays(as_float(means), as_float(sds))
    spread = np.broadcast_to(as_float(prior_sd), centre.shape[:-1])
    if (error < 0).any() or (spread < 0).any():
        raise ValueError("sds and prior_sd must not be negative")
    centre = centre if more_is_better else -centre
    ok = np.isfinite(centre) & np.isfinite(error) & (error > 0)
    flat = np.isinf(spread)
    best = np.empty(centre.shape)
    loss = np.empty(centre.shape)
    for index in np.ndindex(centre.shape[:-1]):
        keep = np.flatnonzero(ok[index])
        best[index], loss[index] = np.nan, np.nan
        if keep.size == 0 or not spread[index] > 0:
            continue
        m, s = centre[index][keep], error[index][keep]
        if flat[index] or keep.size == 1 or control % centre.shape[-1] not in keep:
            found = _normal_race(m[None], s[None], np.ones(1))
        else:
            place = int(np.flatnonzero(keep == control % centre.shape[-1])[0])
            found = _normal_race(*_given_control(m, s, float(spread[index]), place))
        best[(*index, keep)], loss[(*index, keep)] = found
    return Ranking(best, loss)


def chance_best_of_betas(a: npt.ArrayLike, b: npt.ArrayLike, *, more_is_better: bool = True) -> Ranking:
    """Rank arms whose rates have independent beta posteriors.

    Args:
        a: first parameters (prior + successes), shape (…, arms).
        b: second parameters (prior + misses).
        more_is_better: whether the largest rate is best.

    Raises:
        ValueError: a parameter is not positive.

    >>> chance_best_of_betas([481, 531], [9521, 9521]).chance_best.round(6)
    array([0.062693, 0.937307])
    """
    first, second = np.broadcast_arrays(as_float(a), as_float(b))
    if (first <= 0).any() or (second <= 0).any():
        raise ValueError("parameters of beta posteriors must be positive")
    if not more_is_better:
        # 1 − rate has the parameters exchanged.
        first, second = second, first
    best, loss = np.empty(first.shape), np.empty(first.shape)
    for index in np.ndindex(first.shape[:-1]):
        p, q = first[index], second[index]
        ok = np.flatnonzero(~(np.isnan(p) | np.isnan(q)))
        best[index], loss[index] = np.nan, np.nan
        if ok.size:
            best[(*index, ok)], loss[(*index, ok)] = _beta_race(p[ok], q[ok])
    return Ranking(best, loss)


def _beta_race(p: FloatArray, q: FloatArray) -> tuple[FloatArray, FloatArray]:
    a, b = p[:, None], q[:, None]
    with np.errstate(divide="ignore"):
        breaks = np.concatenate(
            [special.logit(special.betaincinv(a, b, TAILS)), -special.logit(special.betaincinv(b, a, TAILS))], axis=-1
        )

    def functions(y: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        density = np.exp(a * special.log_expit(y) + b * special.log_expit(-y) - special.betaln(a, b))
        below = special.betainc(a, b, special.expit(y))
        above = special.betainc(b, a, special.expit(-y))
        return density, below, above, special.expit(y) * special.expit(-y)

    best, loss = _race(np.clip(breaks, -EDGE, EDGE)[None], lambda y: functions(y[:, None, :]))
    return best[0], loss[0]


def _normal_race(means: FloatArray, sds: FloatArray, masses: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Average the race over rows of (means, sds), each with its mass; a row's sd of 0 is a fixed value."""
    unit = sds.max()
    m, s = (means - means.mean()) / unit, sds / unit
    certain = s <= 0

    def functions(x: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        at = x[:, None, :]
        scale = np.where(certain, 1.0, s)[..., None]
        z = (at - m[..., None]) / scale
        step = at >= m[..., None]
        fixed = certain[..., None]
        density = np.where(fixed, 0.0, np.exp(-0.5 * np.square(z)) / (np.sqrt(2 * np.pi) * scale))
        below = np.where(fixed, step, special.ndtr(z))
        above = np.where(fixed, ~step, special.ndtr(-z))
        return density, below, above, np.ones_like(at)

    breaks = m[..., None] + np.where(certain, 0.0, s)[..., None] * STEPS
    best, loss = _race(breaks, functions)
    # What is certain has no density: it is best where all others lie below it.
    z = (m[..., :, None] - m[..., None, :]) / np.where(certain, 1.0, s)[..., None, :]
    others = np.where(certain[..., None, :], 1.0, special.ndtr(z)).prod(axis=-1)
    best = np.where(certain, others, best)
    weights = masses[:, None]
    chances = (best * weights).sum(axis=0)
    return chances / chances.sum(), (loss * weights).sum(axis=0) * unit


Functions = Callable[[FloatArray], tuple[FloatArray, FloatArray, FloatArray, FloatArray]]


def _race(breaks: FloatArray, functions: Functions) -> tuple[FloatArray, FloatArray]:
    """Return P(best) and E[best − this] of independent arms, shape (rows, arms).

    P(i best) = ∫ fᵢ Π Fⱼ; E[max of the others − i, if positive] = ∫ Fᵢ·(1 − Π Fⱼ), j ≠ i: no difference of large
    numbers, so small losses stay exact.
    """
    rows, arms = breaks.shape[:2]
    ends = np.sort(breaks.reshape(rows, -1), axis=-1)
    node, mass = np.polynomial.legendre.leggauss(PANEL_NODES)
    half = np.diff(ends, axis=-1)[..., None] / 2
    x = ((ends[:, :-1, None] + half) + half * node).reshape(rows, -1)
    weight = (half * mass).reshape(rows, -1)
    density, below, above, slope = functions(x)
    slope = np.broadcast_to(slope, density.shape)
    best, loss = np.empty((rows, arms)), np.empty((rows, arms))
    with np.errstate(divide="ignore"):
        logs = np.log1p(-np.minimum(above, 1.0))
    for i in range(arms):
        others = np.delete(np.arange(arms), i)
        best[:, i] = (weight * density[:, i] * below[:, others].prod(axis=1)).sum(axis=-1)
        not_all_below = -np.expm1(logs[:, others].sum(axis=1))
        loss[:, i] = (weight * slope[:, i] * below[:, i] * not_all_below).sum(axis=-1)
    return best, loss


def _given_control(
    means: FloatArray, errors: FloatArray, spread: float, control: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return every arm's posterior given control's true mean, at nodes of that mean's own posterior."""
    own = np.square(errors)
    # Each arm's estimate tells control's mean too, as well as the prior ties them.
    total = np.where(np.arange(means.size) == control, own, own + spread**2)
    precision = (1 / total).sum()
    origin = means[control]
    centre = ((means - origin) / total).sum() / precision + origin
    sd = 1 / np.sqrt(precision)
    weight = spread**2 / (spread**2 + own)
    # The race turns where control's mean passes an arm's own; with few units in control that is a narrow place.
    turns = np.delete(means, control)[:, None] + np.delete(np.sqrt(own / weight), control)[:, None] * STEPS
    ends = np.sort(np.clip(np.concatenate([centre + sd * STEPS, turns.ravel()]), centre - 8.5 * sd, centre + 8.5 * sd))
    node, part = np.polynomial.legendre.leggauss(PANEL_NODES)
    half = np.diff(ends)[:, None] / 2
    shared = ((ends[:-1, None] + half) + half * node).ravel()
    mass = (half * part).ravel() * np.exp(-0.5 * np.square((shared - centre) / sd))
    shared, mass = shared[mass > 0], mass[mass > 0]
    given = weight * means + (1 - weight) * shared[:, None]
    sds = np.sqrt(weight * own)
    given[:, control], sds = shared, np.where(np.arange(means.size) == control, 0.0, sds)
    return given, np.broadcast_to(sds, given.shape).copy(), mass / mass.sum()

"""Normal estimate, normal prior: the posterior of an effect in closed form."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.arrays import FloatArray, IntArray, as_float
from stats.bayes.posterior import Posterior, build
from stats.distributions import normal_critical
from stats.why import Why


def normal_posterior(
    estimate: npt.ArrayLike,
    std_error: npt.ArrayLike,
    prior_mean: npt.ArrayLike = 0.0,
    prior_sd: npt.ArrayLike = np.inf,
    alpha: float = 0.05,
    *,
    why: npt.ArrayLike | None = None,
) -> Posterior:
    """Return the posterior of effects estimated with a normal error, under a normal prior. All broadcast.

    With w = s²/(s² + V): mean = m + w·(estimate − m), variance = w·V. Give the prior in the effect's unit
    (``prior_sd`` scales a relative one), so that probabilities do not depend on units.

    Args:
        estimate: effects.
        std_error: their standard errors.
        prior_mean: m.
        prior_sd: s; infinite for the flat prior.
        alpha: of the credible interval.
        why: ``Why`` codes of the estimates, where they have some.

    Raises:
        ValueError: alpha outside (0, 1), or a negative prior_sd.

    Source: Gelman et al. (2013), Bayesian Data Analysis, eq. 2.10; loss: DeGroot (1970), Optimal Statistical Decisions,
    section 11.9.

    >>> posterior = normal_posterior(0.8, 0.5, 0.0, 1.0).value()
    >>> round(posterior.mean, 2), round(posterior.chance_positive, 4), round(posterior.loss_if_chosen, 4)
    (0.64, 0.9238, 0.0153)
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie between 0 and 1, not {alpha}")
    given = np.zeros((), dtype=np.int64) if why is None else np.asarray(why, dtype=np.int64)
    centre, error, mean, spread, codes = np.broadcast_arrays(
        as_float(estimate), as_float(std_error), as_float(prior_mean), as_float(prior_sd), given
    )
    if (spread < 0).any() or (error < 0).any():
        raise ValueError("prior_sd and std_error must not be negative")
    reason: IntArray = np.select(
        [codes != 0, np.isnan(centre) | np.isnan(error), error == 0, np.isnan(spread) | np.isnan(mean)],
        [codes, int(Why.NO_ESTIMATE), int(Why.ZERO_VARIANCE), int(Why.NO_PRIOR)],
        int(Why.DEFINED),
    ).astype(np.int64)
    ok = reason == 0
    error, spread = np.where(ok, error, 1.0), np.where(ok, spread, 1.0)
    centre, mean = np.where(ok, centre, 0.0), np.where(ok, mean, 0.0)
    wide = spread > 0
    weight = np.where(wide, 1 / (1 + np.square(error / np.where(wide, spread, 1.0))), 0.0)
    after = mean + weight * (centre - mean)
    sd = np.sqrt(weight) * error
    half = normal_critical(alpha / 2) * sd
    z = np.where(sd > 0, after / np.where(sd > 0, sd, 1.0), np.where(after >= 0, np.inf, -np.inf))
    certain = (sd == 0) & ok
    parts = (
        after,
        sd,
        after - half,
        after + half,
        np.where((sd == 0) & (after == 0), np.nan, special.ndtr(z)),
        np.where(certain, np.maximum(-after, 0.0), sd * unit_loss(np.where(certain, 0.0, z))),
        np.where(certain, np.maximum(after, 0.0), sd * unit_loss(np.where(certain, 0.0, -z))),
    )
    return build(parts, np.where(certain & (after == 0), int(Why.NO_PRIOR), reason).astype(np.int64))


def unit_loss(z: FloatArray) -> FloatArray:
    """Return E[max(0, −X)] for X normal with mean z and variance 1: φ(z) − z·Φ(−z).

    >>> unit_loss(np.array([0.0, 2.0])).round(6)
    array([0.398942, 0.008491])
    """
    positive = np.clip(np.abs(z), 0, 1e8)
    density = np.exp(-0.5 * np.square(positive)) / np.sqrt(2 * np.pi)
    # Φ(−z)/φ(z) is Mills' ratio: no underflow of one factor before the other.
    small = density * (1 - positive * np.sqrt(np.pi / 2) * special.erfcx(positive / np.sqrt(2)))
    loss: FloatArray = np.where(z >= 0, np.maximum(small, 0.0), np.abs(z) + np.maximum(small, 0.0))
    return loss

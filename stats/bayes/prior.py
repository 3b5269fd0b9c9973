"""Priors that do not depend on units: stated for the relative effect, or learnt from past experiments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stats.arrays import FloatArray, as_float
from stats.why import Why

FEWEST_EXPERIMENTS = 10
"""With fewer past effects than this their spread says little, and the declared prior is used."""
DEFAULT_RELATIVE_SD = 0.2


def prior_sd(control_mean: npt.ArrayLike, relative_sd: npt.ArrayLike = DEFAULT_RELATIVE_SD) -> FloatArray:
    """Return the prior standard deviation of an effect in the metric's unit: |mean| × relative sd.

    Args:
        control_mean: control's mean; better the mean over all variants, which is less noisy.
        relative_sd: standard deviation of relative effects, 0.2 for ±20 %.

    Returns:
        NaN where the mean is zero or missing: a relative effect has no scale there.

    Raises:
        ValueError: relative_sd is not positive.

    >>> prior_sd([50.0, 5000.0], 0.1)
    array([  5., 500.])
    """
    mean, share = np.broadcast_arrays(as_float(control_mean), as_float(relative_sd))
    if not (share > 0).all():
        raise ValueError("relative_sd must be positive")
    return np.where(mean == 0, np.nan, np.abs(mean) * share)


@dataclass(frozen=True, slots=True)
class HistoryPrior:
    """A prior for relative effects, and where it comes from.

    Attributes:
        relative_sd: standard deviation of relative effects around none.
        experiments: past effects that were used.
        learnt: whether it comes from them; if not, it is the declared one.
        why: why it is not learnt.
        why_code: the same as a stable code.
    """

    relative_sd: float
    experiments: int
    learnt: bool
    why: str | None = None
    why_code: str | None = None


def prior_from_history(
    estimates: npt.ArrayLike,
    std_errors: npt.ArrayLike,
    *,
    declared: float = DEFAULT_RELATIVE_SD,
    fewest: int = FEWEST_EXPERIMENTS,
) -> HistoryPrior:
    """Return the spread of true relative effects that past estimates speak for (empirical Bayes).

    Each past estimate is normal around none with variance τ² + its squared error. What is returned is the root of the
    mean of τ² over its likelihood (flat in τ): the spread of a next effect, the uncertainty of τ in it. The likeliest τ
    alone would be too narrow, and could be zero, where a finite history would "prove" that nothing ever works.

    Args:
        estimates: relative effects of finished experiments (0.05 for +5 %), one per comparison; all of them, not only
            those that were significant, or the prior comes out too wide.
        std_errors: their standard errors; what is missing or has no error does not count.
        declared: used where there are fewer than ``fewest``.
        fewest: least number of past effects.

    Raises:
        ValueError: the shapes differ, or declared is not positive.

    Source: Efron (2010), Large-Scale Inference, chapter 1; flat in τ: Gelman (2006), Prior distributions for variance
    parameters in hierarchical models, Bayesian Analysis 1(3).

    >>> prior_from_history([0.05, -0.02], [0.01, 0.02]).why
    'too few past experiments to learn a prior from'
    >>> past = prior_from_history([0.1, -0.1, 0.05, -0.05, 0.2, -0.2, 0.0, 0.1, -0.1, 0.02], [0.01] * 10)
    >>> past.learnt, round(past.relative_sd, 2)
    (True, 0.13)
    """
    effects, errors = as_float(estimates).ravel(), as_float(std_errors).ravel()
    if effects.shape != errors.shape:
        raise ValueError("estimates and std_errors must have one shape")
    if not declared > 0:
        raise ValueError("the declared relative sd must be positive")
    ok = np.isfinite(effects) & np.isfinite(errors) & (errors > 0)
    effects, variances = effects[ok], np.square(errors[ok])
    if effects.size < fewest:
        reason = Why.TOO_FEW_EXPERIMENTS
        return HistoryPrior(declared, int(effects.size), learnt=False, why=reason.text, why_code=reason.code)

    log_tau = np.linspace(
        0.5 * np.log(float(variances.min())) - 6,
        0.5 * np.log(max(float(np.square(effects).max()), float(variances.max()))) + 4,
        800,
    )
    tau2 = np.exp(2 * log_tau)
    total = tau2[:, None] + variances
    score = log_tau - 0.5 * (np.log(total) + np.square(effects) / total).sum(axis=-1)
    mass = np.exp(score - score.max())
    return HistoryPrior(float(np.sqrt((mass * tau2).sum() / mass.sum())), int(effects.size), learnt=True)

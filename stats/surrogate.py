"""The effect on an outcome months away, read from outcomes of the first weeks: the surrogate index.

The index is the long outcome that early outcomes foretell, learned from units whose long outcome is known. The effect
of a new experiment on the index is then its effect on the long outcome, **if**

1. the offer works on the long outcome only through the early ones (surrogacy),
2. the early outcomes foretell the long one now as they did then (comparability),
3. the new experiment is randomised (it is).

1 and 2 cannot be seen in the new experiment. They can be held against old ones, of which both are known: ``checked``.

Here the index is linear, learned from variation *within* variants of past experiments (differences between variants and
between experiments are left out: a shop's season is no effect), so moments are all that is needed, and the uncertainty
of the index is part of the interval.

References:
    Athey, Chetty, Imbens, Kang (2019), The surrogate index: combining short-term proxies to estimate long-term
        treatment effects more rapidly and precisely, NBER working paper 26463: assumptions 1 to 3, eq. 3.3.
    Prentice (1989), Surrogate endpoints in clinical trials, Statistics in Medicine 8(4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stats.arrays import FloatArray, number
from stats.distributions import normal_critical
from stats.moments import Moments


@dataclass(frozen=True, slots=True, eq=False)
class Index:
    """How early outcomes foretell the long one.

    Attributes:
        early: names of the early outcomes.
        slopes: (k,) of the long outcome on each, the others held.
        covariance: (k, k) of the slopes.
        explained: share of the long outcome's variance within variants that the early outcomes explain.
        units: that it was learned from.
    """

    early: tuple[str, ...]
    slopes: FloatArray
    covariance: FloatArray
    explained: float
    units: int


@dataclass(frozen=True, slots=True)
class Effect:
    """An effect a unit with its interval."""

    estimate: float
    std_error: float
    ci_low: float
    ci_high: float


@dataclass(frozen=True, slots=True)
class Past:
    """One comparison of the past: what the index foretold, learned without it, and what came."""

    name: str
    foretold: Effect
    observed: Effect
    z: float
    """Of the difference, with both errors."""


@dataclass(frozen=True, slots=True)
class Checked:
    """The index held against past comparisons.

    Attributes:
        past: one each.
        p_value: of all differences together being chance; small: the assumptions do not hold here.
        slope: of observed on foretold effects, each weighted by its error; 1 is right, below 1 the index promises too
            much. ``None`` where nothing was foretold.
        slope_error: of it.
    """

    past: tuple[Past, ...]
    p_value: float | None
    slope: float | None
    slope_error: float | None


def learn(samples: Sequence[Moments], early: Sequence[str], long: str) -> Index:
    """Learn the index from units of past experiments.

    Args:
        samples: moments of early and long outcomes, of any cells (variants): each cell is centred by itself.
        early: names of the early outcomes.
        long: name of the long one.

    Raises:
        ValueError: when there are too few units, or early outcomes that say the same.

    >>> rows = [[1.0, 2.1], [2.0, 3.9], [3.0, 6.2], [4.0, 7.8]]
    >>> learn([Moments.from_rows(["week", "quarter"], rows)], ["week"], "quarter").slopes.round(2)
    array([1.94])
    """
    names = [*early, long]
    k = len(early)
    together = np.zeros((k + 1, k + 1))
    units, cells = 0, 0
    for sample in samples:
        places = [sample.place(name) for name in names]
        square = sample.m2[..., places, :][..., :, places].reshape(-1, k + 1, k + 1)
        counts = np.asarray(sample.n).reshape(-1)
        together += square.sum(axis=0)
        units += int(counts.sum())
        cells += int(np.count_nonzero(counts))
    free = units - cells - k
    if not early or free < 1:
        raise ValueError(f"{units} units of known long outcome are too few for {k} early outcomes")
    inner, across, outer = together[:k, :k], together[:k, k], float(together[k, k])
    scale = np.sqrt(np.diag(inner))
    if np.any(scale == 0) or np.linalg.cond(inner / np.outer(scale, scale)) > 1e10:
        raise ValueError("an early outcome never varies, or two of them say the same: leave one out")
    slopes = np.linalg.solve(inner, across)
    left = max(outer - float(slopes @ across), 0.0)
    covariance = np.linalg.inv(inner) * left / free
    return Index(
        tuple(early), np.asarray(slopes, dtype=np.float64), covariance, 1 - left / outer if outer > 0 else 0.0, units
    )


def effect(index: Index, moments: Moments, *, control: int = 0, variant: int = 1, alpha: float = 0.05) -> Effect:
    """Return the effect on the index: what the early outcomes say of the long one.

    Args:
        index: as learned.
        moments: of the early outcomes, first axis variants.
        control: its position.
        variant: position of the other.
        alpha: 1 − confidence.
    """
    places = [moments.place(name) for name in index.early]
    gap = moments.mean[variant, places] - moments.mean[control, places]
    spread = sum(
        moments.covariance()[arm][np.ix_(places, places)] / float(moments.n[arm]) for arm in (control, variant)
    )
    variance = float(index.slopes @ spread @ index.slopes + gap @ index.covariance @ gap)
    return _around(float(index.slopes @ gap), variance, alpha)


def observed(moments: Moments, long: str, *, control: int = 0, variant: int = 1, alpha: float = 0.05) -> Effect:
    """Return the effect on the long outcome itself, the plain difference of means."""
    place = moments.place(long)
    spread = moments.covariance()[..., place, place]
    gap = float(moments.mean[variant, place] - moments.mean[control, place])
    variance = sum(float(spread[arm]) / float(moments.n[arm]) for arm in (control, variant))
    return _around(gap, variance, alpha)


def checked(samples: Sequence[tuple[str, Moments]], early: Sequence[str], long: str, *, alpha: float = 0.05) -> Checked:
    """Hold the index against past experiments: each is foretold by an index learned from the others.

    Observed and foretold effects of one experiment rest on the same units, so their errors are related; the variance of
    the difference is that of the part of the long outcome that the index does not explain, and of the index itself.

    Args:
        samples: name and moments (first axis variants, control first; early and long outcomes) of each experiment.
        early: names of the early outcomes.
        long: name of the long one.
        alpha: 1 − confidence.

    Raises:
        ValueError: with fewer than two experiments.
    """
    from scipy.special import chdtrc

    if len(samples) < 2:
        raise ValueError("at least 2 past experiments are needed to check one by the others")
    past = []
    for place, (name, moments) in enumerate(samples):
        index = learn([other for i, (_, other) in enumerate(samples) if i != place], early, long)
        for variant in range(1, moments.shape[0]):
            foretold = effect(index, moments, variant=variant, alpha=alpha)
            came = observed(moments, long, variant=variant, alpha=alpha)
            error = _error_of_difference(index, moments, long, variant)
            label = name if moments.shape[0] == 2 else f"{name} {variant}"
            past.append(Past(label, foretold, came, (came.estimate - foretold.estimate) / error if error > 0 else 0.0))
    squares = sum(one.z**2 for one in past)
    weights = np.array([1 / one.observed.std_error**2 if one.observed.std_error > 0 else 0.0 for one in past])
    x = np.array([one.foretold.estimate for one in past])
    y = np.array([one.observed.estimate for one in past])
    bottom = float(weights @ x**2)
    slope = float(weights @ (x * y)) / bottom if bottom > 0 else None
    return Checked(
        tuple(past),
        number(chdtrc(len(past), squares)),
        slope,
        None if bottom <= 0 else number(1 / np.sqrt(bottom)),
    )


def _error_of_difference(index: Index, moments: Moments, long: str, variant: int) -> float:
    """Return the standard error of observed − foretold: the residual's difference, and the index's own error."""
    places = [moments.place(name) for name in (*index.early, long)]
    weights = np.r_[-index.slopes, 1.0]
    spread = moments.covariance()
    residual = sum(
        float(weights @ spread[arm][np.ix_(places, places)] @ weights) / float(moments.n[arm]) for arm in (0, variant)
    )
    gap = moments.mean[variant, places[:-1]] - moments.mean[0, places[:-1]]
    return float(np.sqrt(max(residual + float(gap @ index.covariance @ gap), 0.0)))


def _around(estimate: float, variance: float, alpha: float) -> Effect:
    error = float(np.sqrt(max(variance, 0.0)))
    width = float(normal_critical(alpha / 2)) * error
    return Effect(estimate, error, estimate - width, estimate + width)

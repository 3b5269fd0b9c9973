"""Effects in segments pulled towards their common mean by as much as chance explains their spread.

Effect i is normal around θᵢ with its own error, and the θᵢ around a common μ with variance τ². A plug-in of one τ makes
intervals too narrow when there are few segments, so τ is integrated over: each shrunken effect is a mixture of normals,
with the uncertainty of τ and μ in its interval. The prior of τ is half-Cauchy with ten typical errors as its scale:
nearly flat where the data can speak, proper from two segments on, and without a unit. (A prior flat in the share of
shrinkage pulls a little harder; its intervals cover 92 % where segments differ by as much as their errors.)

References:
    Morris (1983), Parametric empirical Bayes inference, JASA 78(381): intervals that count the uncertainty of τ.
    Gelman (2006), Prior distributions for variance parameters in hierarchical models, Bayesian Analysis 1(3).
    Gelman et al. (2013), Bayesian Data Analysis, section 5.4: the integrals.
    Paule, Mandel (1982): the τ that is reported.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.arrays import FloatArray, IntArray, as_float, number
from stats.random_effects import FEWEST, spread
from stats.roots import find_roots
from stats.why import Why

PANELS = 24
PANEL_NODES = 8
PRIOR_ERRORS = 10.0


@dataclass(frozen=True, slots=True)
class ShrunkenValue:
    """One shrunken effect as plain numbers; ``None`` and ``why`` where it cannot be computed."""

    estimate: float | None
    std_error: float | None
    ci_low: float | None
    ci_high: float | None
    why: str | None = None
    why_code: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Shrunken:
    """Shrunken effects, in the shape of the estimates, NaN where there is none.

    Attributes:
        estimate: posterior mean of each segment's effect.
        std_error: posterior standard deviation.
        ci_low: lower end of the credible interval at 1 − alpha.
        ci_high: upper end.
        tau: standard deviation of the true effects (Paule–Mandel; 0 where chance alone explains their spread), shape
            without the segments' axis.
        mean: posterior mean of the common mean μ, same shape as ``tau``.
        why: ``Why`` codes.
    """

    estimate: FloatArray
    std_error: FloatArray
    ci_low: FloatArray
    ci_high: FloatArray
    tau: FloatArray
    mean: FloatArray
    why: IntArray

    def value(self, *index: int) -> ShrunkenValue:
        """Return one segment as plain numbers, ``None`` and a reason where there is none.

        >>> shrink([0.1, None], [0.05, 0.05]).value(0).why
        'too few estimates: 2 needed'
        """
        why = Why(int(self.why[index]))
        parts = (number(part[index]) for part in (self.estimate, self.std_error, self.ci_low, self.ci_high))
        estimate, error, low, high = parts
        return ShrunkenValue(estimate, error, low, high, why.text, why.code if why else None)


def shrink(estimate: npt.ArrayLike, std_error: npt.ArrayLike, axis: int = -1, alpha: float = 0.05) -> Shrunken:
    """Shrink effects along an axis of segments that share no units.

    Args:
        estimate: effects; NaN stays NaN and does not count.
        std_error: their standard errors; 0 does not count.
        axis: of the segments.
        alpha: of the intervals.

    Raises:
        ValueError: alpha outside (0, 1).

    >>> shrunken = shrink([0.2, 0.5, -0.1, 0.3], [0.2, 0.2, 0.2, 0.2])
    >>> shrunken.estimate.round(3), round(float(shrunken.tau), 3)
    (array([0.211, 0.375, 0.048, 0.266]), 0.15)
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie between 0 and 1, not {alpha}")
    effects, errors = np.broadcast_arrays(as_float(estimate), as_float(std_error))
    effects, errors = np.moveaxis(effects, axis, -1), np.moveaxis(errors, axis, -1)
    ok = np.isfinite(effects) & np.isfinite(errors) & (errors > 0)
    k = ok.sum(axis=-1)
    ok = ok & (k >= FEWEST)[..., None]
    # In units of a typical error, from a typical effect, so that nothing depends on the metric's own.
    origin = _typical(effects, ok)
    unit = np.sqrt(_harmonic(np.square(errors), ok))[..., None]
    y, v = np.where(ok, (effects - origin) / unit, 0.0), np.square(np.where(ok, errors / unit, 1.0))
    tau2, mass = _nodes(y, v, ok)
    precision = np.where(ok[..., None, :], 1 / (v[..., None, :] + tau2[..., None]), 0.0)
    total = precision.sum(axis=-1)
    total = np.where(total > 0, total, 1.0)
    mu = (precision * y[..., None, :]).sum(axis=-1) / total
    kept = tau2[..., None] / (tau2[..., None] + v[..., None, :])
    mean = kept * y[..., None, :] + (1 - kept) * mu[..., None]
    variance = kept * v[..., None, :] + np.square(1 - kept) / total[..., None]
    weight = mass[..., None]
    centre = (weight * mean).sum(axis=-2)
    sd = np.sqrt((weight * (variance + np.square(mean - centre[..., None, :]))).sum(axis=-2))
    ends = [_quantile(level, mean, np.sqrt(variance), weight, centre, sd) for level in (alpha / 2, 1 - alpha / 2)]
    why: IntArray = np.where(
        ok, int(Why.DEFINED), np.where((k < FEWEST)[..., None], int(Why.TOO_FEW_GROUPS), int(Why.NO_ESTIMATE))
    ).astype(np.int64)

    def told(values: FloatArray, start: FloatArray | float) -> FloatArray:
        return np.moveaxis(np.where(ok, start + unit * values, np.nan), -1, axis)

    flat = unit[..., 0]
    found = k >= FEWEST
    return Shrunken(
        told(centre, origin),
        told(sd, 0.0),
        told(ends[0], origin),
        told(ends[1], origin),
        np.where(found, flat * np.sqrt(spread(y, v, ok, "paule_mandel")), np.nan),
        np.where(found, origin[..., 0] + flat * (mass * mu).sum(axis=-1), np.nan),
        np.moveaxis(why, -1, axis),
    )


def _typical(effects: FloatArray, ok: npt.NDArray[np.bool_]) -> FloatArray:
    count = np.maximum(ok.sum(axis=-1, keepdims=True), 1)
    return np.asarray(np.where(ok, effects, 0.0).sum(axis=-1, keepdims=True) / count)


def _harmonic(variances: FloatArray, ok: npt.NDArray[np.bool_]) -> FloatArray:
    inverse = np.where(ok, 1 / np.where(ok, variances, 1.0), 0.0).sum(axis=-1)
    return np.where(inverse > 0, ok.sum(axis=-1) / np.where(inverse > 0, inverse, 1.0), 1.0)


def _nodes(y: FloatArray, v: FloatArray, ok: npt.NDArray[np.bool_]) -> tuple[FloatArray, FloatArray]:
    """Return values of τ² (in units of V₀) and their posterior masses, shape (…, nodes)."""
    widest = np.log1p(np.square(np.where(ok, y, 0.0)).max(axis=-1))
    low, high = -12.0, widest + 12.0
    node, mass = np.polynomial.legendre.leggauss(PANEL_NODES)
    centres = (2 * np.arange(PANELS) + 1) / PANELS - 1
    grid = (centres[:, None] + node / PANELS).ravel()
    x = (low + high)[..., None] / 2 + (high - low)[..., None] / 2 * grid
    tau2 = np.exp(x)
    total_variance = v[..., None, :] + tau2[..., None]
    precision = np.where(ok[..., None, :], 1 / total_variance, 0.0)
    total = np.where(precision.sum(axis=-1) > 0, precision.sum(axis=-1), 1.0)
    mu = (precision * y[..., None, :]).sum(axis=-1) / total
    squares = (precision * np.square(y[..., None, :] - mu[..., None])).sum(axis=-1)
    logs = np.where(ok[..., None, :], np.log(total_variance), 0.0).sum(axis=-1)
    # Half-Cauchy in τ, with the step from log τ² to τ.
    prior = x / 2 - np.logaddexp(0, x - 2 * np.log(PRIOR_ERRORS))
    score = prior - 0.5 * (logs + np.log(total) + squares)
    share = np.exp(score - score.max(axis=-1, keepdims=True)) * np.tile(mass, PANELS)
    return tau2, share / share.sum(axis=-1, keepdims=True)


def _quantile(
    level: float, mean: FloatArray, sd: FloatArray, weight: FloatArray, centre: FloatArray, spread_: FloatArray
) -> FloatArray:
    """Return the quantile of the mixture over τ, bracketed by Cantelli's inequality."""
    tail = min(level, 1 - level)
    room = spread_ * np.sqrt(1 / tail)
    return find_roots(
        lambda x: np.asarray((weight * special.ndtr((x[..., None, :] - mean) / sd)).sum(axis=-2) - level),
        centre - room,
        centre + room,
    )

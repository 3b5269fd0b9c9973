"""Repeated waves of one test pooled: effects that differ from wave to wave, and what a next wave may bring.

Effect k is normal around the common mean with variance τ² (true differences between waves) plus its own squared error.

References:
    Paule, Mandel (1982), Consensus values and weighting factors, J. Research of the National Bureau of Standards 87(5).
    DerSimonian, Laird (1986), Meta-analysis in clinical trials, Controlled Clinical Trials 7.
    Hartung, Knapp (2001), Statistics in Medicine 20; Sidik, Jonkman (2002), Statistics in Medicine 21: the interval.
    Röver, Knapp, Friede (2015), Hartung–Knapp–Sidik–Jonkman approach and its modification, BMC Med. Res. Meth. 15(99).
    Nagashima, Noma, Furukawa (2019), Prediction intervals for random-effects meta-analysis: a confidence distribution
    approach, Statistics in Medicine 38(8); here without sampling, and with the exact distribution of generalised Q
    (Viechtbauer 2007, Confidence intervals for the amount of heterogeneity, Statistics in Medicine 26).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.arrays import FloatArray, IntArray, as_float, divide, number, root
from stats.distributions import chi_square_upper, t_critical, t_upper
from stats.roots import find_roots
from stats.why import Why

FEWEST = 2
SPREAD_NODES = 24
WAVE_NODES = 9


@dataclass(frozen=True, slots=True)
class PooledValue:
    """One pooled effect as plain numbers; ``None`` and ``why`` where it cannot be computed."""

    estimate: float | None
    std_error: float | None
    df: float | None
    ci_low: float | None
    ci_high: float | None
    p_value: float | None
    tau: float | None
    q: float | None
    heterogeneity_p: float | None
    prediction_low: float | None
    prediction_high: float | None
    waves: int
    why: str | None = None
    why_code: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Pooled:
    """Pooled effects; arrays have the shape of the estimates without the pooled axis, but ``weights`` has it last.

    Attributes:
        estimate: mean of the waves' true effects.
        std_error: by Hartung, Knapp, Sidik and Jonkman.
        df: waves − 1.
        ci_low: lower end at 1 − alpha.
        ci_high: upper end.
        p_value: two-sided, of no effect on average.
        tau: standard deviation of true effects between waves.
        q: Cochran's Q with the waves' own errors.
        heterogeneity_p: p of equal effects in all waves.
        prediction_low: where the true effect of a next wave is expected; NaN with fewer than three waves.
        prediction_high: upper end.
        weights: share of each wave in the pooled effect, 0 for one that is missing.
        waves: how many counted.
        why: ``Why`` codes.
    """

    estimate: FloatArray
    std_error: FloatArray
    df: FloatArray
    ci_low: FloatArray
    ci_high: FloatArray
    p_value: FloatArray
    tau: FloatArray
    q: FloatArray
    heterogeneity_p: FloatArray
    prediction_low: FloatArray
    prediction_high: FloatArray
    weights: FloatArray
    waves: IntArray
    why: IntArray

    def value(self, *index: int) -> PooledValue:
        """Return one cell as plain numbers, ``None`` and a reason where there is none.

        >>> pool([0.1], [0.05]).value().why
        'too few estimates: 2 needed'
        """
        why = Why(int(self.why[index]))
        return PooledValue(
            number(self.estimate[index]),
            number(self.std_error[index]),
            number(self.df[index]),
            number(self.ci_low[index]),
            number(self.ci_high[index]),
            number(self.p_value[index]),
            number(self.tau[index]),
            number(self.q[index]),
            number(self.heterogeneity_p[index]),
            number(self.prediction_low[index]),
            number(self.prediction_high[index]),
            int(self.waves[index]),
            why.text,
            why.code if why else None,
        )


def pool(
    estimate: npt.ArrayLike,
    std_error: npt.ArrayLike,
    axis: int = -1,
    method: Literal["paule_mandel", "dersimonian_laird"] = "paule_mandel",
    alpha: float = 0.05,
    *,
    floor: bool = True,
    predict: bool = True,
) -> Pooled:
    """Pool effects along an axis by random effects.

    The interval is Hartung's and Knapp's: Student's with waves − 1 degrees of freedom and a spread estimated from the
    waves themselves, since a normal interval covers 80–90 % with a handful of waves. Where the waves agree by chance
    more closely than their own errors allow, ``floor`` keeps the interval from becoming narrower than those errors.

    Args:
        estimate: effects of the waves; NaN does not count.
        std_error: their standard errors; 0 does not count: no variation is no knowledge.
        axis: of the waves.
        method: how τ² is estimated.
        alpha: of the intervals.
        floor: Röver, Knapp and Friede's modification.
        predict: whether to work out where a next wave is expected, which takes most of the time.

    Raises:
        ValueError: unknown method.

    >>> pooled = pool([0.10, 0.30, 0.20], [0.05, 0.06, 0.10]).value()
    >>> round(pooled.estimate, 4), round(pooled.tau, 4), pooled.df
    (0.1958, 0.0834, 2.0)
    """
    if method not in ("paule_mandel", "dersimonian_laird"):
        raise ValueError(f"method must be paule_mandel or dersimonian_laird, not {method!r}")
    effects, errors = np.broadcast_arrays(as_float(estimate), as_float(std_error))
    effects, errors = np.moveaxis(effects, axis, -1), np.moveaxis(errors, axis, -1)
    ok = np.isfinite(effects) & np.isfinite(errors) & (errors > 0)
    y, v = np.where(ok, effects, 0.0), np.square(np.where(ok, errors, 1.0))
    k = ok.sum(axis=-1)
    enough = k >= FEWEST
    tau2 = np.where(enough, spread(y, v, ok, method), np.nan)
    w = np.where(ok, 1 / (v + np.where(enough, tau2, 0.0)[..., None]), 0.0)
    total = w.sum(axis=-1)
    centre = divide((w * y).sum(axis=-1), total)
    df = np.where(enough, k - 1.0, np.nan)
    residual = divide((w * np.square(y - centre[..., None])).sum(axis=-1), df)
    variance = divide(np.maximum(residual, 1.0) if floor else residual, total)
    error = root(variance)
    half = t_critical(df, alpha / 2) * error
    q = _q(y, v, ok, np.zeros(k.shape))
    nowhere = np.full(k.shape, np.nan)
    next_low, next_high = prediction(y, v, ok, alpha) if predict else (nowhere, nowhere)
    why: IntArray = np.where(enough, int(Why.DEFINED), int(Why.TOO_FEW_GROUPS)).astype(np.int64)
    centre = np.where(enough, centre, np.nan)
    return Pooled(
        centre,
        error,
        df,
        centre - half,
        centre + half,
        # Waves that all agree to the last digit leave no spread to test with, unless the floor gives one.
        np.where(error > 0, 2 * t_upper(df, np.abs(divide(centre, error))), np.nan),
        root(tau2),
        np.where(enough, q, np.nan),
        np.where(enough, chi_square_upper(np.maximum(k - 1.0, 1.0), q), np.nan),
        next_low,
        next_high,
        np.where(enough[..., None], divide(w, total[..., None]), np.nan),
        k.astype(np.int64),
        why,
    )


def spread(y: FloatArray, v: FloatArray, ok: npt.NDArray[np.bool_], method: str) -> FloatArray:
    """Return τ² along the last axis, from effects, squared errors and which of them count."""
    k = ok.sum(axis=-1)
    if method == "dersimonian_laird":
        w = np.where(ok, 1 / v, 0.0)
        total = w.sum(axis=-1)
        room = total - divide(np.square(w).sum(axis=-1), total)
        return np.maximum(divide(_q(y, v, ok, np.zeros(k.shape)) - (k - 1), room), 0.0)
    return _spread_at(y, v, ok, np.maximum(k - 1.0, 1.0))


def _spread_at(y: FloatArray, v: FloatArray, ok: npt.NDArray[np.bool_], level: FloatArray) -> FloatArray:
    """Return τ² at which generalised Q is ``level``; 0 where it is below that already without any τ."""
    mean = divide((y * ok).sum(axis=-1), ok.sum(axis=-1))
    # At this τ² the weighted squares cannot exceed the level.
    end = divide((np.square(y - mean[..., None]) * ok).sum(axis=-1), level)
    scale = np.where(end > 0, end, 1.0)
    zero = np.zeros(scale.shape)
    found = find_roots(lambda share: _q(y, v, ok, share * scale) - level, zero, np.full(scale.shape, 1 + 1e-9))
    return np.where((_q(y, v, ok, zero) > level) & (end > 0), np.where(np.isnan(found), 1.0, found) * scale, 0.0)


def prediction(y: FloatArray, v: FloatArray, ok: npt.NDArray[np.bool_], alpha: float) -> tuple[FloatArray, FloatArray]:
    """Return where a next wave's true effect is expected, NaN with fewer than three waves.

    One estimate of τ put in its place makes the interval too narrow (.88 for .95 with ten waves). Generalised Q at the
    true τ² is chi-square with waves − 1 degrees of freedom, whatever τ is; turned round that is a distribution of τ²,
    over which the next wave's own deviation and the error of the mean are mixed.
    """
    k = ok.sum(axis=-1)
    told = k > FEWEST
    df = np.where(told, k - 1.0, 2.0)
    node, mass = np.polynomial.legendre.leggauss(SPREAD_NODES)
    level = special.chdtri(df[..., None], (1 - node) / 2)
    tau2 = np.stack([_spread_at(y, v, ok, level[..., i]) for i in range(SPREAD_NODES)], axis=-1)
    w = np.where(ok[..., None, :], 1 / (v[..., None, :] + tau2[..., None]), 0.0)
    total = np.where(told[..., None], w.sum(axis=-1), 1.0)
    centre = (w * y[..., None, :]).sum(axis=-1) / total
    residual = (w * np.square(y[..., None, :] - centre[..., None])).sum(axis=-1) / df[..., None]
    error = np.sqrt(np.maximum(residual, 1.0) / total)
    z, share = np.polynomial.hermite_e.hermegauss(WAVE_NODES)
    at = centre[..., None] + np.sqrt(tau2)[..., None] * z
    weight = mass[:, None] / 2 * (share / share.sum())

    def excess(level: float, x: FloatArray) -> FloatArray:
        t = (x[..., None, None] - at) / error[..., None]
        return np.asarray((weight * special.stdtr(df[..., None, None], t)).sum(axis=(-1, -2)) - level)

    reach = t_critical(df, alpha / 4)[..., None] * error + np.sqrt(tau2) * (np.abs(z).max() + 1)
    low, high = (centre - reach).min(axis=-1), (centre + reach).max(axis=-1)
    ends = [find_roots(lambda x, q=q: excess(q, x), low, high) for q in (alpha / 2, 1 - alpha / 2)]  # type: ignore[misc]
    return np.where(told, ends[0], np.nan), np.where(told, ends[1], np.nan)


def _q(y: FloatArray, v: FloatArray, ok: npt.NDArray[np.bool_], tau2: FloatArray) -> FloatArray:
    """Return the weighted sum of squares around the weighted mean, which falls as τ² grows."""
    w = np.where(ok, 1 / (v + tau2[..., None]), 0.0)
    centre = divide((w * y).sum(axis=-1), w.sum(axis=-1))
    return np.asarray((w * np.square(y - centre[..., None])).sum(axis=-1))

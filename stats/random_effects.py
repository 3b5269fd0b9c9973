"""Repeated waves of one test pooled: effects that differ from wave to wave, and what a next wave may bring.

Effect k is normal around the common mean with variance τ² (true differences between waves) plus its own squared error.

References:
    Paule, Mandel (1982), Consensus values and weighting factors, J. Research of the National Bureau of Standards 87(5).
    DerSimonian, Laird (1986), Meta-analysis in clinical trials, Controlled Clinical Trials 7.
    Hartung, Knapp (2001), Statistics in Medicine 20; Sidik, Jonkman (2002), Statistics in Medicine 21: the interval.
    Röver, Knapp, Friede (2015), Hartung–Knapp–Sidik–Jonkman approach and its modification, BMC Med. Res. Meth. 15(99).
    Higgins, Thompson, Spiegelhalter (2009), A re-evaluation of random-effects meta-analysis, JRSS A 172, eq. 12.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from stats.arrays import FloatArray, IntArray, as_float, divide, number, root
from stats.distributions import chi_square_upper, t_quantile, t_upper
from stats.roots import find_roots
from stats.why import Why

FEWEST = 2


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
    half = t_quantile(df, 1 - alpha / 2) * error
    q = _q(y, v, ok, np.zeros(k.shape))
    # A next wave adds its own true difference; one more degree of freedom goes to τ (Higgins et al.).
    room = np.where(k > FEWEST, t_quantile(np.where(k > FEWEST, k - 2.0, 1.0), 1 - alpha / 2), np.nan) * root(
        tau2 + variance
    )
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
        centre - room,
        centre + room,
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
    mean = divide((y * ok).sum(axis=-1), k)
    # At this τ² the weighted squares cannot exceed waves − 1.
    end = divide((np.square(y - mean[..., None]) * ok).sum(axis=-1), np.maximum(k - 1.0, 1.0))
    scale = np.where(end > 0, end, 1.0)
    excess = _q(y, v, ok, np.zeros(k.shape)) - (k - 1)
    found = find_roots(
        lambda share: _q(y, v, ok, share * scale) - (k - 1), np.zeros(k.shape), np.full(k.shape, 1 + 1e-9)
    )
    return np.where((excess > 0) & (end > 0), np.where(np.isnan(found), 1.0, found) * scale, 0.0)


def _q(y: FloatArray, v: FloatArray, ok: npt.NDArray[np.bool_], tau2: FloatArray) -> FloatArray:
    """Return the weighted sum of squares around the weighted mean, which falls as τ² grows."""
    w = np.where(ok, 1 / (v + tau2[..., None]), 0.0)
    centre = divide((w * y).sum(axis=-1), w.sum(axis=-1))
    return np.asarray((w * np.square(y - centre[..., None])).sum(axis=-1))

"""Looking early: a band that stays valid however often one looks, and the p-value that goes with it.

One formula has three names: the mixture sequential probability ratio test (mSPRT), the asymptotic confidence sequence
and Howard's two-sided normal mixture. With V the squared standard error and τ² the variance of the mixture over
effects, N·ρ² of the confidence sequence is τ²/V of the mSPRT.

References:
    Robbins (1970), Statistical methods related to the law of the iterated logarithm, Ann. Math. Stat. 41(5).
    Johari, Koomen, Pekelis, Walsh (2022), Always valid inference, Operations Research 70(3) (arXiv:1512.04922).
    Howard, Ramdas, McAuliffe, Sekhon (2021), Time-uniform, nonparametric, nonasymptotic confidence sequences, Annals
    of Statistics 49(2) (arXiv:1810.08240).
    Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas (2024), Time-uniform central limit theory and asymptotic confidence
    sequences, Annals of Statistics 52(6) (arXiv:2103.06476), eq. 9.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stats.arrays import FloatArray, as_float, divide, root


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """Always-valid inference over a grid; NaN where the standard error is 0 or missing.

    Attributes:
        ci_low: lower end of the band: it holds the effect at all looks together with probability 1 − alpha.
        ci_high: upper end.
        p_value: always-valid p, min(1, 1/e).
        e_value: evidence against "no effect"; 1/alpha of it rejects.
    """

    ci_low: FloatArray
    ci_high: FloatArray
    p_value: FloatArray
    e_value: FloatArray


def rho2(n_star: npt.ArrayLike, alpha: npt.ArrayLike = 0.05) -> FloatArray:
    """Return ρ² that makes the band (nearly) narrowest at ``n_star`` units.

    Source: Waudby-Smith et al. (2103.06476), appendix on the choice of ρ.

    >>> round(float(rho2(5000)), 9)
    0.001587231
    """
    level = -2 * np.log(as_float(alpha))
    return divide(level + np.log1p(level), n_star)


def tau2(std_error: npt.ArrayLike, n: npt.ArrayLike, n_star: npt.ArrayLike, alpha: npt.ArrayLike = 0.05) -> FloatArray:
    """Return the mixture's variance for a band narrowest at ``n_star`` units, from the standard error at ``n`` units.

    Fix it before launch, or from one early look, and keep it: a τ² chosen anew at each look to please gives no valid
    band. (With ``n_star`` fixed it hardly moves, because n · std_error² hardly does.)

    >>> round(float(tau2(0.04, 10100, 5000)), 6)
    0.02565
    """
    return np.square(as_float(std_error)) * as_float(n) * rho2(n_star, alpha)


def mixture_band(
    estimate: npt.ArrayLike,
    std_error: npt.ArrayLike,
    alpha: npt.ArrayLike = 0.05,
    *,
    tau2: npt.ArrayLike | None = None,
    n: npt.ArrayLike | None = None,
    n_star: npt.ArrayLike | None = None,
) -> Band:
    """Return the normal-mixture confidence sequence and always-valid p at each look.

    Args:
        estimate: effects, one a look, any shape.
        std_error: their standard errors at that look.
        alpha: of the whole sequence of looks.
        tau2: variance of the mixture in squared units of the effect (see ``tau2``), or instead of it:
        n: units in the comparison at that look, and
        n_star: units at which the band shall be narrowest, e.g. the planned number.

    Raises:
        ValueError: neither ``tau2`` nor both of ``n`` and ``n_star`` are given, or one is not positive.

    Source: half width √(V(V+τ²)/τ² · (ln((V+τ²)/V) − 2 ln α)); e = √(V/(V+τ²)) · exp(τ²·estimate²/(2V(V+τ²))).

    >>> band = mixture_band(0.12, 0.04, n=10100, n_star=5000)
    >>> round(float(band.ci_low), 5), round(float(band.ci_high), 5), round(float(band.p_value), 5)
    (-0.00249, 0.24249, 0.05971)
    """
    effect, error = np.broadcast_arrays(as_float(estimate), as_float(std_error))
    variance = np.where(error > 0, np.square(error), np.nan)
    if tau2 is not None:
        # The share of the mixture's variance, τ²/V.
        share = divide(as_float(tau2), variance)
        bad = as_float(tau2) <= 0
    elif n is not None and n_star is not None:
        share = as_float(n) * rho2(n_star, alpha)
        bad = (as_float(n) < 0) | (as_float(n_star) <= 0)
    else:
        raise ValueError("give tau2, or n and n_star")
    if bad.any():
        raise ValueError("tau2, n and n_star must be positive")
    share = np.where(share > 0, share, np.nan)
    log_e = 0.5 * (divide(np.square(effect), variance) * share / (1 + share) - np.log1p(share))
    half = root(variance * (1 + share) / share * (np.log1p(share) - 2 * np.log(as_float(alpha))))
    return Band(
        ci_low=np.asarray(effect - half),
        ci_high=np.asarray(effect + half),
        p_value=np.asarray(np.minimum(1.0, np.exp(-log_e))),
        e_value=np.asarray(np.exp(np.minimum(log_e, 700.0))),
    )

"""Difference of two estimates with unequal variances (Welch), for means, ratios and adjusted means alike."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stats.arrays import FloatArray, as_float, divide, root
from stats.distributions import t_critical, t_upper
from stats.effects.result import Effect, first_reason, hide
from stats.samples import Sample
from stats.why import Why


def difference_of_means(
    control: Sample, variant: Sample, alpha: npt.ArrayLike = 0.05, *, df: npt.ArrayLike | None = None
) -> Effect:
    """Return variant − control with Welch's interval and two-sided p, cell by cell; control broadcasts.

    Args:
        control: control's estimates.
        variant: the variants' estimates.
        alpha: 1 − confidence level; may be an array.
        df: degrees of freedom; Welch–Satterthwaite's by default, ``numpy.inf`` for the normal distribution.

    Returns:
        Where a variant has fewer than two units only the estimate is there; where neither variant varies, neither
        interval nor p.

    Source: Welch (1947), Biometrika 34; Satterthwaite (1946), Biometrics Bulletin 2.

    >>> control, variant = Sample.of(1200, 5.1, 11.6914), Sample.of(1180, 5.3, 11.8438)
    >>> effect = difference_of_means(control, variant).value()
    >>> round(effect.estimate, 3), round(effect.ci_low, 3), round(effect.ci_high, 3), round(effect.p_value, 3)
    (0.2, -0.076, 0.476, 0.155)
    """
    difference = variant.mean - control.mean
    error_control, error_variant = divide(control.variance, control.n), divide(variant.variance, variant.n)
    squared = error_control + error_variant
    why = first_reason(control.why, variant.why, np.where(squared == 0, int(Why.ZERO_VARIANCE), 0))
    std_error = root(squared)
    freedom = welch_df(control, variant) if df is None else np.broadcast_to(as_float(df), difference.shape)
    t = np.abs(divide(difference, std_error))
    half = t_critical(freedom, as_float(alpha) / 2) * std_error
    return Effect(
        estimate=np.asarray(difference),
        std_error=std_error,
        df=hide(freedom, why),
        ci_low=hide(difference - half, why),
        ci_high=hide(difference + half, why),
        p_value=hide(2 * t_upper(freedom, t), why),
        why=why,
    ).like(half)


def difference_of_ratios(
    control: Sample, variant: Sample, alpha: npt.ArrayLike = 0.05, *, df: npt.ArrayLike | None = None
) -> Effect:
    """Return the difference of two ratios of sums (delta method); the samples come from ``stats.samples.ratios``.

    It is Welch's comparison of the units' linearised contributions, so it is the same code as for means.

    >>> from stats.moments import Moments
    >>> from stats.samples import ratios
    >>> rows = Moments.from_rows(["orders", "visits"], [[1, 4], [2, 5], [2, 4], [3, 5]], cell=[0, 0, 1, 1])
    >>> per_visit = ratios(rows, "orders", "visits")
    >>> round(difference_of_ratios(per_visit[0], per_visit[1]).value().estimate, 4)
    0.2222
    """
    return difference_of_means(control, variant, alpha, df=df)


def welch_df(control: Sample, variant: Sample, weight: npt.ArrayLike = 1.0) -> FloatArray:
    """Return Welch–Satterthwaite's degrees of freedom of variant − weight × control.

    From the two shares of the squared error, so that no fourth power of a value is ever formed: amounts may be as large
    as 1e150 and as small as 1e-150.
    """
    error_control = divide(control.variance, control.n) * np.square(as_float(weight))
    error_variant = divide(variant.variance, variant.n)
    total = error_control + error_variant
    parts = (
        divide(np.square(divide(error, total)), sample.n - 1)
        for error, sample in ((error_control, control), (error_variant, variant))
    )
    return divide(1.0, sum(parts))

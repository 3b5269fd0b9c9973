"""Effects as a share of control's mean, with Fieller's interval; near a zero baseline there is none, and it says so."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stats.arrays import BoolArray, FloatArray, as_float, divide, root
from stats.distributions import t_critical
from stats.effects.means import difference_of_means
from stats.effects.result import Effect, first_reason, hide
from stats.samples import Sample
from stats.why import Why


def relative(
    control: Sample, variant: Sample, alpha: npt.ArrayLike = 0.05, *, df: npt.ArrayLike | None = None
) -> Effect:
    """Return (variant − control) / control with Fieller's interval, for means, ratios and adjusted ones.

    The interval holds exactly the shares ρ for which difference = ρ · baseline is not rejected. It excludes 0 exactly
    where ``difference_of_means`` does, so ``p_value`` is that one's. It is bounded only while control's mean is itself
    told from zero at the same alpha; elsewhere nothing is given. Adjusted means share the shift to the covariates'
    common mean; its variance cancels in the difference and is counted in the baseline.

    Args:
        control: control's estimates; its means must be positive.
        variant: the variants' estimates.
        alpha: 1 − confidence level; may be an array.
        df: degrees of freedom; Welch–Satterthwaite's of the difference by default.

    Source: Fieller (1954), Some problems in interval estimation, JRSS B 16(2).

    >>> control, variant = Sample.of(1200, 5.1, 11.6914), Sample.of(1180, 5.3, 11.8438)
    >>> lift = relative(control, variant).value()
    >>> round(lift.estimate, 4), round(lift.ci_low, 4), round(lift.ci_high, 4)
    (0.0392, -0.0145, 0.0959)
    >>> relative(Sample.of(100, 0.1, 4.0), Sample.of(100, 0.3, 4.0)).value().why
    "relative change is not defined: control's mean cannot be told from zero"
    """
    effect = difference_of_means(control, variant, alpha, df=df)
    difference, base = np.broadcast_arrays(effect.estimate, control.mean)
    own = divide(control.variance, control.n)
    var_difference = np.square(effect.std_error)
    var_base = own + 2 * control.shift_cov + control.shift_var
    # Variances and covariances that corrections have changed each for itself (clusters, covariates) need not fit
    # together any more; no covariance is larger than both errors allow.
    most = root(var_difference * var_base)
    covariance = np.clip(variant.shift_cov - control.shift_cov - own, -most, most)
    critical = np.square(t_critical(effect.df, as_float(alpha) / 2))
    low, high, bounded = fieller(difference, base, var_difference, var_base, covariance, critical)
    why = first_reason(
        effect.why,
        np.where(base < 0, int(Why.BASELINE_NEGATIVE), 0),
        np.where(bounded, 0, int(Why.BASELINE_NEAR_ZERO)),
    )
    share = divide(difference, base)
    slope = var_difference - 2 * share * covariance + np.square(share) * var_base
    return Effect(
        estimate=hide(share, why),
        std_error=hide(divide(root(np.maximum(slope, 0.0)), base), why),
        df=hide(effect.df, why),
        ci_low=hide(low, why),
        ci_high=hide(high, why),
        p_value=hide(effect.p_value, why),
        why=why,
    )


def fieller(
    difference: npt.ArrayLike,
    base: npt.ArrayLike,
    var_difference: npt.ArrayLike,
    var_base: npt.ArrayLike,
    covariance: npt.ArrayLike,
    critical: npt.ArrayLike,
) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Return the shares ρ with (difference − ρ·base)² ≤ critical · variance of it: their ends, and if they are bounded.

    Args:
        difference: jointly normal with
        base: of which it is a share.
        var_difference: variance of the first.
        var_base: variance of the second.
        covariance: of the two.
        critical: square of the quantile that belongs to the level, 3.84 for 95 %.

    Source: Fieller (1954), Some problems in interval estimation, JRSS B 16(2).

    >>> low, high, bounded = fieller(0.2, 5.1, 0.0198, 0.0097, -0.0097, 3.8415)
    >>> round(float(low), 4), round(float(high), 4), bool(bounded)
    (-0.0145, 0.0959, True)
    """
    top, bottom = np.broadcast_arrays(as_float(difference), as_float(base))
    square = as_float(critical)
    known = np.isfinite(square)  # at a level that is zero in doubles nothing is told from zero
    square = np.where(known, square, 0.0)
    a = np.square(bottom) - square * as_float(var_base)
    b = top * bottom - square * as_float(covariance)
    # b² − a·c is a sum of squares in exact arithmetic; rounding must not make it negative.
    with np.errstate(invalid="ignore"):  # an infinite variance tells of no end
        c = np.square(top) - square * as_float(var_difference)
        spread = root(np.maximum(np.square(b) - a * c, 0.0))
    return divide(b - spread, a), divide(b + spread, a), known & ~((bottom == 0) | (a <= 0))

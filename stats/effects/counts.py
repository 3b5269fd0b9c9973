"""Counts per unit (orders, visits, tickets) as a ratio of rates, robust to overdispersion; exact where events are rare.

Counts of people are never Poisson: some order daily, most never. ``rate_ratio`` takes the variance from the units
themselves and needs no model. ``exact_rate_ratio`` is for so few events that hardly any unit has two (complaints,
chargebacks); it takes events as independent, which ``dispersion`` checks.

References:
    Lawless (1987), Negative binomial and mixed Poisson regression, Canadian Journal of Statistics 15 (robust variance).
    Przyborowski, Wilenski (1940), Homogeneity of results in testing samples from Poisson series, Biometrika 31.
    Lancaster (1961), Significance tests in discrete distributions, JASA 56 (mid-p).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.arrays import FloatArray, as_float, divide, root
from stats.distributions import normal_critical, normal_upper
from stats.effects.result import Effect, first_reason, hide
from stats.roots import find_roots
from stats.samples import Sample
from stats.why import Why

MOST_LOG = 700.0


def rate_ratio(control: Sample, variant: Sample, alpha: npt.ArrayLike = 0.05) -> Effect:
    """Return (variant − control) / control of mean counts, with the interval on the log scale and robust variance.

    Args:
        control: ``stats.samples.means`` of counts per unit (or ``ratios`` of counts to time observed).
        variant: the variants' samples.
        alpha: 1 − confidence level; may be an array.

    Returns:
        Nothing where a mean is not positive. For means that may be near or below zero use ``relative``.

    Source: the sandwich variance of a Poisson regression on the variant, v̂/(n·m²) for each arm's log rate.

    >>> lift = rate_ratio(Sample.of(4000, 0.50, 1.1), Sample.of(4000, 0.55, 1.3)).value()
    >>> round(lift.estimate, 3), round(lift.ci_low, 3), round(lift.ci_high, 3), round(lift.p_value, 3)
    (0.1, 0.004, 0.205, 0.041)
    """
    ratio = divide(variant.mean, control.mean)
    errors = [divide(divide(part.variance, part.n), np.square(part.mean)) for part in (control, variant)]
    error = root(errors[0] + errors[1])
    positive = (control.mean > 0) & (variant.mean > 0)
    neither = (control.mean == 0) & (variant.mean == 0)
    why = first_reason(
        control.why,
        variant.why,
        np.where(neither, int(Why.NO_OUTCOMES), 0),
        np.where(control.mean < 0, int(Why.BASELINE_NEGATIVE), 0),
        np.where(~positive, int(Why.BASELINE_NEAR_ZERO), 0),
        np.where(positive & (error == 0), int(Why.ZERO_VARIANCE), 0),
    )
    log_ratio = np.log(np.where(positive & (ratio > 0), ratio, np.nan))
    reach = normal_critical(as_float(alpha) / 2) * error
    # Means that are noise about zero have no ratio: its interval would reach beyond the largest double.
    boundless = reach + np.abs(log_ratio) > MOST_LOG
    why = first_reason(why, np.where(boundless, int(Why.BASELINE_NEAR_ZERO), 0))
    reach = np.where(boundless, np.nan, reach)
    return Effect(
        estimate=np.where(control.mean > 0, ratio - 1, np.nan),
        std_error=hide(ratio * error, why),
        df=hide(np.full(ratio.shape, np.inf), why),
        ci_low=hide(np.expm1(log_ratio - reach), why),
        ci_high=hide(np.expm1(log_ratio + reach), why),
        p_value=hide(2 * normal_upper(np.abs(divide(log_ratio, error))), why),
        why=why,
    ).like(reach)


def exact_rate_ratio(
    control_events: npt.ArrayLike,
    control_units: npt.ArrayLike,
    variant_events: npt.ArrayLike,
    variant_units: npt.ArrayLike,
    alpha: npt.ArrayLike = 0.05,
) -> Effect:
    """Return the relative change of a rare event's rate, given all events (conditional, mid-p, two equal tails).

    Given x events in all, the variant's number is binomial with share ρ·t₁/(t₀ + ρ·t₁) under a ratio ρ of rates. The
    interval holds the ρ that mid-p does not reject on either side, so it and p always agree.

    Args:
        control_events: whole numbers.
        control_units: units, or units × time.
        variant_events: alike.
        variant_units: alike.
        alpha: 1 − confidence level; may be an array.

    Returns:
        Without events nothing; without any of control no estimate and no interval (the ratio has no upper end), but p.

    Raises:
        ValueError: a count is negative or not whole, or there are no units.

    >>> lift = exact_rate_ratio(4, 10_000, 14, 10_000).value()
    >>> round(lift.estimate, 2), round(lift.ci_low, 2), round(lift.ci_high, 2), round(lift.p_value, 4)
    (2.5, 0.21, 11.35, 0.0192)
    """
    x0, t0, x1, t1, level = np.broadcast_arrays(
        *(as_float(part) for part in (control_events, control_units, variant_events, variant_units, alpha))
    )
    if (np.stack([x0, x1]) < 0).any() or (np.stack([x0, x1]) % 1 != 0).any() or (np.stack([t0, t1]) <= 0).any():
        raise ValueError("events must be whole numbers ≥ 0 and units positive")
    x = x0 + x1
    none, base_empty = x == 0, (x0 == 0) & (x > 0)
    null = t1 / (t0 + t1)
    # The lower tail is control's upper one, here and below: 1 − the other would lose a small one.
    p_value = np.minimum(1.0, 2 * np.minimum(_mid_upper(x1, x, null), _mid_upper(x0, x, 1 - null)))
    zero, one = np.zeros(x.shape), np.ones(x.shape)
    low = find_roots(lambda share: _mid_upper(x1, x, share) - level / 2, zero, one)
    high = find_roots(lambda share: _mid_upper(x0, x, 1 - share) - level / 2, zero, one)
    low, high = np.where(x1 == 0, 0.0, low), np.where(base_empty, np.nan, high)
    why = np.where(none, int(Why.NO_OUTCOMES), np.where(base_empty, int(Why.BASELINE_NEAR_ZERO), 0)).astype(np.int64)
    ratio = divide(x1 / t1, x0 / t0)
    odds = t0 / t1
    return Effect(
        estimate=np.where(x0 > 0, ratio - 1, np.nan),
        std_error=hide(ratio * root(divide(1.0, x0) + divide(1.0, np.maximum(x1, 0.5))), why),
        df=hide(np.full(x.shape, np.inf), why),
        ci_low=hide(divide(low, 1 - low) * odds - 1, why),
        ci_high=hide(divide(high, 1 - high) * odds - 1, why),
        p_value=np.where(none, np.nan, p_value),
        why=why,
    )


def dispersion(sample: Sample) -> FloatArray:
    """Return variance over mean of counts per unit: 1 for a Poisson count, more where some units have many.

    >>> float(dispersion(Sample.of(1000, 0.5, 1.5)))
    3.0
    """
    return divide(sample.variance, sample.mean)


def _mid_upper(x: FloatArray, n: FloatArray, share: FloatArray) -> FloatArray:
    """Return P(X > x) + ½·P(X = x) of a binomial, by the incomplete beta function."""
    beyond = np.where(x < n, special.betainc(x + 1, np.maximum(n - x, 1e-9), share), 0.0)
    at_least = np.where(x > 0, special.betainc(np.maximum(x, 1e-9), n - x + 1, share), 1.0)
    return as_float((beyond + at_least) / 2)

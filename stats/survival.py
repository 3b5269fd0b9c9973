"""Time to an event, where some units are still waiting: Kaplan–Meier, restricted mean time, log-rank.

What a caller (an SQL engine) has to bring, per variant: for every time at which something ended, how many units had
their event then and how many were last seen then without it, ``SELECT time, count(*) FILTER (had_event), count(*)
FILTER (NOT had_event) GROUP BY time``. Times may be rounded (whole hours, days). Units whose event and end of follow-up
fall on the same time count as still there when the event happens.

The restricted mean is the mean time without the event within a horizon: the area under the survival curve. It needs no
proportional hazards and is in days. The horizon has to be reached by the follow-up of every variant.

References:
    Kaplan, Meier (1958), Nonparametric estimation from incomplete observations, JASA 53.
    Greenwood (1926), The natural duration of cancer.
    Royston, Parmar (2013), Restricted mean survival time, BMC Medical Research Methodology 13:152.
    Mantel (1966), Evaluation of survival data and two new rank order statistics, Cancer Chemotherapy Reports 50.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from stats.arrays import FloatArray, IntArray, as_float, divide, number, root
from stats.distributions import chi_square_upper, normal_critical
from stats.effects.means import difference_of_means
from stats.effects.relative import relative
from stats.effects.result import Effect
from stats.samples import Sample
from stats.why import Why


@dataclass(frozen=True, slots=True, eq=False)
class FollowUp:
    """One variant's grouped counts.

    Attributes:
        times: different times, ascending, shape (m,), in any unit (days by choice).
        events: units whose event happened at that time.
        censored: units last seen at that time, without the event.
    """

    times: FloatArray
    events: IntArray
    censored: IntArray

    @classmethod
    def of(cls, times: npt.ArrayLike, events: npt.ArrayLike, censored: npt.ArrayLike) -> Self:
        """Build from grouped counts in any order; equal times are put together.

        Raises:
            ValueError: shapes differ, a count is negative, or a time is negative, NaN or infinite.

        >>> FollowUp.of([2.0, 1.0, 2.0], [1, 0, 2], [0, 4, 1]).events
        array([0, 3])
        """
        when = as_float(times).ravel()
        counts = [np.asarray(part, dtype=np.int64).ravel() for part in (events, censored)]
        if any(part.shape != when.shape for part in counts):
            raise ValueError("times, events and censored must have one shape")
        if any((part < 0).any() for part in counts):
            raise ValueError("a count is negative")
        if not np.isfinite(when).all() or (when < 0).any():
            raise ValueError("times must be finite and at least 0")
        different, place = np.unique(when, return_inverse=True)
        happened, lost = (np.zeros(different.shape, np.int64) for _ in counts)
        np.add.at(happened, place, counts[0])
        np.add.at(lost, place, counts[1])
        return cls(different, happened, lost)

    @classmethod
    def from_units(cls, times: npt.ArrayLike, event: npt.ArrayLike) -> Self:
        """Build from one row per unit: how long it was followed, and whether that ended with the event.

        >>> FollowUp.from_units([1, 2, 2, 3], [True, True, False, False]).censored
        array([0, 1, 1])
        """
        happened = np.asarray(event, dtype=bool)
        return cls.of(times, happened, ~happened)

    @property
    def n(self) -> int:
        """Units."""
        return int(self.events.sum() + self.censored.sum())

    @property
    def at_risk(self) -> IntArray:
        """Units that were still waiting just before each time."""
        gone = np.cumsum(self.events + self.censored, dtype=np.int64)
        return self.n - np.concatenate([[0], gone[:-1]]).astype(np.int64) if gone.size else gone


@dataclass(frozen=True, slots=True, eq=False)
class Survival:
    """Kaplan–Meier's curve: a step down at each time with an event.

    Attributes:
        times: the times, shape (m,).
        at_risk: units waiting just before.
        events: events at each.
        share: share without the event just after each time.
        std_error: Greenwood's.
        ci_low: pointwise interval, on the log(−log) scale, which stays within 0 and 1.
        ci_high: its upper end.
    """

    times: FloatArray
    at_risk: IntArray
    events: IntArray
    share: FloatArray
    std_error: FloatArray
    ci_low: FloatArray
    ci_high: FloatArray


def kaplan_meier(times: npt.ArrayLike, events: npt.ArrayLike, censored: npt.ArrayLike, alpha: float = 0.05) -> Survival:
    """Return the curve of one variant from grouped counts.

    Args:
        times: shape (m,).
        events: units whose event happened then.
        censored: units last seen then without the event.
        alpha: 1 − confidence level of the pointwise intervals.

    Returns:
        ``std_error`` and interval are NaN where the share has come down to 0, and the interval where it is still 1.

    Source: Kaplan, Meier (1958); Greenwood (1926); Kalbfleisch, Prentice (2002), 1.4 (log(−log) interval).

    >>> curve = kaplan_meier([1, 2, 3], [1, 0, 1], [0, 1, 1])
    >>> curve.at_risk, curve.share
    (array([4, 3, 2]), array([0.75 , 0.75 , 0.375]))
    """
    follow_up = FollowUp.of(times, events, censored)
    share, variance = _curve(follow_up)
    error = share * root(variance)
    log_share = np.log(np.where((share > 0) & (share < 1), share, np.nan))
    reach = normal_critical(alpha / 2) * divide(root(variance), np.abs(log_share))
    return Survival(
        times=follow_up.times,
        at_risk=follow_up.at_risk,
        events=follow_up.events,
        share=share,
        std_error=np.where(share > 0, error, np.nan),
        ci_low=np.exp(log_share * np.exp(reach)),
        ci_high=np.exp(log_share * np.exp(-reach)),
    )


def restricted_mean(follow_up: FollowUp, horizon: float) -> Sample:
    """Return the mean time without the event within ``horizon``: the area under the curve, with Greenwood's variance.

    Args:
        follow_up: one variant's grouped counts.
        horizon: in the unit of the times.

    Returns:
        A sample of one cell (``variance`` is n times that of the estimate), so that every comparison of samples serves.
        Where no unit was followed to the horizon and some are still waiting, the mean is NaN with the reason.

    Raises:
        ValueError: the horizon is not positive.

    Source: Royston, Parmar (2013), with the curve's step integral; variance Σ A(t)²·d/(r(r − d)), A(t) the area
    from t to the horizon (Klein, Moeschberger 2003, eq. 4.5.3).

    >>> sample = restricted_mean(FollowUp.of([1, 2, 3], [1, 0, 1], [0, 1, 1]), 3)
    >>> float(sample.mean), round(float(sample.std_error), 4)
    (2.5, 0.433)
    """
    if not horizon > 0:
        raise ValueError(f"horizon must be positive, not {horizon}")
    share, _ = _curve(follow_up)
    n = follow_up.n
    reached = follow_up.times.size > 0 and (follow_up.times[-1] >= horizon or share[-1] == 0)
    why = Why.NO_UNITS if n == 0 else Why.DEFINED if reached else Why.HORIZON_NOT_REACHED
    why = Why.TOO_FEW_UNITS if why == Why.DEFINED and n < 2 else why
    inside = follow_up.times <= horizon
    edges = np.concatenate([[0.0], follow_up.times[inside], [horizon]])
    pieces = np.diff(edges) * np.concatenate([[1.0], share[inside]])
    # A[j]: area from the j-th time to the horizon.
    after = np.cumsum(pieces[::-1])[::-1][1:]
    happened, waiting = follow_up.events[inside], follow_up.at_risk[inside]
    weight = divide(happened, waiting * (waiting - happened).astype(np.float64))
    variance = float((np.square(after) * np.where(np.isnan(weight), 0.0, weight)).sum())
    mean = float(pieces.sum()) if why in (Why.DEFINED, Why.TOO_FEW_UNITS) else np.nan
    zero = np.zeros(())
    return Sample(
        n=np.asarray(float(n)),
        mean=np.asarray(mean),
        variance=np.asarray(variance * n if why == Why.DEFINED else np.nan),
        why=np.asarray(int(why)),
        shift_cov=zero,
        shift_var=zero,
    )


def difference_of_restricted_means(
    control: FollowUp, variant: FollowUp, horizon: float, alpha: npt.ArrayLike = 0.05
) -> Effect:
    """Return how much longer (or shorter) the variant's units stay without the event within the horizon.

    Args:
        control: control's grouped counts.
        variant: the variant's.
        horizon: in the unit of the times.
        alpha: 1 − confidence level; may be an array.

    Returns:
        An effect in the unit of the times, from the normal distribution; without any event in either variant only the
        estimate, with the reason.

    Source: Royston, Parmar (2013).

    >>> control = FollowUp.of([1, 5, 10, 14], [10, 20, 5, 0], [0, 0, 5, 160])
    >>> variant = FollowUp.of([1, 5, 10, 14], [15, 30, 5, 0], [0, 0, 5, 145])
    >>> effect = difference_of_restricted_means(control, variant, 14).value()
    >>> round(effect.estimate, 3), round(effect.p_value, 3)
    (-0.775, 0.059)
    """
    return _no_events(difference_of_means(*_samples(control, variant, horizon), alpha, df=np.inf), control, variant)


def relative_restricted_mean(
    control: FollowUp, variant: FollowUp, horizon: float, alpha: npt.ArrayLike = 0.05
) -> Effect:
    """Return the same as a share of control's restricted mean (Fieller); p as for the difference."""
    return _no_events(relative(*_samples(control, variant, horizon), alpha, df=np.inf), control, variant)


def share_within(follow_up: FollowUp, time: float) -> Sample:
    """Return the share of units with the event within ``time``, those not followed so long counted as they should be.

    Returns:
        A sample of one cell; 1 − Kaplan–Meier's curve with Greenwood's variance. Not there where nobody was followed so
        long.

    >>> sample = share_within(FollowUp.of([1, 2, 3], [1, 0, 1], [0, 1, 1]), 2)
    >>> float(sample.mean), round(float(sample.std_error), 4)
    (0.25, 0.2165)
    """
    share, variance = _curve(follow_up)
    n = follow_up.n
    reached = follow_up.times.size > 0 and (follow_up.times[-1] >= time or share[-1] == 0)
    why = Why.NO_UNITS if n == 0 else Why.DEFINED if reached else Why.HORIZON_NOT_REACHED
    why = Why.TOO_FEW_UNITS if why == Why.DEFINED and n < 2 else why
    place = int(np.searchsorted(follow_up.times, time, side="right")) - 1
    left, spread = (1.0, 0.0) if place < 0 else (float(share[place]), float(variance[place]))
    told = why in (Why.DEFINED, Why.TOO_FEW_UNITS)
    zero = np.zeros(())
    return Sample(
        n=np.asarray(float(n)),
        mean=np.asarray(1 - left if told else np.nan),
        variance=np.asarray(0.0 if left == 0 else left**2 * spread * n) if why == Why.DEFINED else np.asarray(np.nan),
        why=np.asarray(int(why)),
        shift_cov=zero,
        shift_var=zero,
    )


@dataclass(frozen=True, slots=True)
class LogRank:
    """Whether two curves are one, with all times counting alike.

    Attributes:
        observed: events of the variant.
        expected: what they would be if the curves were one.
        chi_square: (observed − expected)² / variance, ``None`` without events.
        p_value: two-sided.
        hazard_ratio: Peto's one-step estimate, exp((observed − expected) / variance).
        why: one English line where there is no test.
    """

    observed: int
    expected: float
    chi_square: float | None
    p_value: float | None
    hazard_ratio: float | None
    why: str | None = None


def log_rank(control: FollowUp, variant: FollowUp) -> LogRank:
    """Test whether both variants have one survival curve, from grouped counts.

    Source: Mantel (1966), hypergeometric variance at each time; Peto (1977) for the ratio.

    >>> control = FollowUp.of([1, 5, 10, 14], [10, 20, 5, 0], [0, 0, 5, 160])
    >>> variant = FollowUp.of([1, 5, 10, 14], [15, 30, 5, 0], [0, 0, 5, 145])
    >>> test = log_rank(control, variant)
    >>> test.observed, round(test.expected, 2), round(test.p_value, 4)
    (50, 41.94, 0.0654)
    """
    times = np.union1d(control.times, variant.times)
    d0, d1 = (_placed(part, times) for part in (control, variant))
    r0, r1 = (_waiting(part, times) for part in (control, variant))
    d, r = d0 + d1, r0 + r1
    expected = float((d * np.nan_to_num(divide(r1, r))).sum())
    spread = divide(r0 * r1 * d * (r - d), np.square(r) * (r - 1.0))
    variance = float(np.nan_to_num(spread).sum())
    observed = int(d1.sum())
    if not variance > 0:
        why = Why.NO_UNITS if min(control.n, variant.n) == 0 else Why.NO_OUTCOMES if not d.any() else Why.ZERO_VARIANCE
        return LogRank(observed, expected, None, None, None, why.text)
    chi_square = (observed - expected) ** 2 / variance
    p_value = float(chi_square_upper(1, chi_square))
    with np.errstate(over="ignore"):
        hazard_ratio = number(np.exp((observed - expected) / variance))
    return LogRank(observed, expected, chi_square, p_value, hazard_ratio)


def _curve(follow_up: FollowUp) -> tuple[FloatArray, FloatArray]:
    """Return the share without the event, and Greenwood's sum Σ d/(r(r − d)), NaN once the share is 0."""
    waiting = follow_up.at_risk.astype(np.float64)
    share = np.cumprod(1 - np.nan_to_num(divide(follow_up.events, waiting)))
    terms = np.where(follow_up.events > 0, divide(follow_up.events, waiting * (waiting - follow_up.events)), 0.0)
    return as_float(share), as_float(np.cumsum(terms))


def _samples(control: FollowUp, variant: FollowUp, horizon: float) -> tuple[Sample, Sample]:
    return restricted_mean(control, horizon), restricted_mean(variant, horizon)


def _no_events(effect: Effect, control: FollowUp, variant: FollowUp) -> Effect:
    """Give the true reason where nothing varies because nothing has happened."""
    if control.events.any() or variant.events.any():
        return effect
    why = np.where(effect.why == int(Why.ZERO_VARIANCE), int(Why.NO_OUTCOMES), effect.why)
    return Effect(effect.estimate, effect.std_error, effect.df, effect.ci_low, effect.ci_high, effect.p_value, why)


def _placed(follow_up: FollowUp, times: FloatArray) -> FloatArray:
    out = np.zeros(times.shape)
    out[np.searchsorted(times, follow_up.times)] = follow_up.events
    return out


def _waiting(follow_up: FollowUp, times: FloatArray) -> FloatArray:
    """Return how many units were waiting just before each time."""
    after = np.concatenate([follow_up.at_risk, [0]])
    return as_float(after[np.searchsorted(follow_up.times, times)])

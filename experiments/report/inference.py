"""The kinds of inference: each turns estimates and their errors into intervals and p-values, or into posteriors.

``fixed`` is read once, at the end; ``group_sequential`` spends alpha over looks at a planned sample; ``always_valid``
may be looked at at any time; ``bayesian`` weighs the data against a prior. One report has one kind. What is compared
with control (an effect, a guardrail's distance from its margin) is a ``Contrast``, and all of a report's contrasts go
through the same strategy, so that what is drawn, adjusted and read cannot contradict each other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from experiments.report.document import Inference as Kind
from stats.arrays import FloatArray, IntArray, as_float
from stats.bayes import Posterior, normal_posterior, prior_sd
from stats.distributions import normal_upper, t_critical, t_upper
from stats.effects.result import hide
from stats.sequential import Monitored, Spending, mixture_band, monitor, tau2
from stats.why import Why

DEFAULT_N_STAR = 5000.0
"""Units of control and variant at which the always-valid band is narrowest where no sample was planned."""


@dataclass(frozen=True, slots=True, eq=False)
class Contrast:
    """Estimates that compare variants with control; arrays of one shape, with a last axis of looks where these count.

    Attributes:
        estimate: zero means no difference (or just at the margin).
        std_error: of the estimate.
        df: degrees of freedom, infinite for the normal distribution.
        n: units of control and variant together.
        why: ``stats.why.Why`` codes.
    """

    estimate: FloatArray
    std_error: FloatArray
    df: FloatArray
    n: FloatArray
    why: IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """What a strategy makes of contrasts; NaN where there is a reason for none. Shape of the contrasts, without looks.

    Attributes:
        estimate: the estimate, after shrinking where a prior does that.
        std_error: its standard error or the posterior's standard deviation.
        ci_low: lower end of the interval.
        ci_high: upper end.
        p_value: two-sided; NaN where inference is Bayesian.
        level: the alpha at which a fixed-horizon normal interval is as wide.
        side: +1 or −1 where an earlier look has shown on which side of zero the effect lies although the interval of
            the last look, taken alone, would hold zero.
        why: ``stats.why.Why`` codes.
    """

    estimate: FloatArray
    std_error: FloatArray
    ci_low: FloatArray
    ci_high: FloatArray
    p_value: FloatArray
    level: FloatArray
    side: FloatArray
    why: IntArray


class Inference(Protocol):
    """A kind of inference with its parameters."""

    @property
    def kind(self) -> Kind:
        """Its name in plans and documents."""
        ...

    @property
    def exact(self) -> bool:
        """Whether methods with Student's or exact distributions apply; elsewhere only estimates and errors count."""
        ...

    def judge(self, contrast: Contrast, alpha: npt.ArrayLike) -> Judged:
        """Return intervals at 1 − alpha and what goes with them."""
        ...


@dataclass(frozen=True, slots=True)
class Fixed:
    """Read once, when the sample is complete."""

    kind: Kind = field(default="fixed", init=False)
    exact: bool = field(default=True, init=False)

    def judge(self, contrast: Contrast, alpha: npt.ArrayLike) -> Judged:
        """Return Student's interval and p.

        >>> one = Contrast(*(np.array(x) for x in (0.2, 0.1, np.inf, 100.0, 0)))
        >>> judged = Fixed().judge(one, 0.05)
        >>> round(float(judged.ci_low), 3), round(float(judged.p_value), 4)
        (0.004, 0.0455)
        """
        half = t_critical(contrast.df, as_float(alpha) / 2) * contrast.std_error
        t = np.abs(contrast.estimate) / np.where(contrast.std_error > 0, contrast.std_error, np.nan)
        return _judged(contrast, half, 2 * t_upper(contrast.df, t))


@dataclass(frozen=True, slots=True, eq=False)
class AlwaysValid:
    """Looked at at any time: the normal-mixture confidence sequence.

    Attributes:
        n_star: units of control and variant together at which the band is narrowest (one number, or one a segment).
    """

    n_star: npt.ArrayLike
    kind: Kind = field(default="always_valid", init=False)
    exact: bool = field(default=False, init=False)

    def judge(self, contrast: Contrast, alpha: npt.ArrayLike) -> Judged:
        """Return the band; all contrasts get the same mixture, whatever ``alpha``."""
        mixture = tau2(contrast.std_error, contrast.n, np.asarray(self.n_star))
        band = mixture_band(contrast.estimate, contrast.std_error, alpha, tau2=np.where(mixture > 0, mixture, 1.0))
        return _judged(contrast, (band.ci_high - band.ci_low) / 2, band.p_value)


@dataclass(frozen=True, slots=True, eq=False)
class GroupSequential:
    """Looked at at the end of each day, on the way to a planned sample (Lan–DeMets). Contrasts have an axis of looks.

    Attributes:
        information: share of the planned sample at each look.
        spending: how alpha is spent.
        reserve: share of alpha kept for looks past the plan.
    """

    information: FloatArray
    spending: Spending = Spending()  # noqa: RUF009 - frozen
    reserve: float = 0.0
    kind: Kind = field(default="group_sequential", init=False)
    exact: bool = field(default=False, init=False)

    def judge(self, contrast: Contrast, alpha: npt.ArrayLike) -> Judged:
        """Return the repeated interval at the last look and the sequential p by then.

        Where a bound was crossed at an earlier look and the last interval would hold zero again, its end on the other
        side is zero: the test has shown that much, and p and interval agree.
        """
        if not self.information.size:
            nothing = np.full(contrast.estimate.shape[:-1], np.nan)
            why = np.full(nothing.shape, int(Why.NO_UNITS))
            return Judged(nothing, nothing, nothing, nothing, nothing, nothing, np.zeros(nothing.shape), why)
        found = monitored(contrast, self, alpha)
        why = contrast.why[..., found.at]
        side = np.where(
            (found.path_low[..., found.at] < 0) & (found.ci_low == 0),
            1.0,
            np.where((found.path_high[..., found.at] > 0) & (found.ci_high == 0), -1.0, 0.0),
        )
        return Judged(
            estimate=contrast.estimate[..., found.at],
            std_error=contrast.std_error[..., found.at],
            ci_low=hide(found.ci_low, why),
            ci_high=hide(found.ci_high, why),
            p_value=hide(found.p_value, why),
            level=hide(found.level, why),
            side=side,
            why=why,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Bayesian:
    """A normal prior around no effect, as wide as relative effects are believed to be.

    Attributes:
        relative_sd: standard deviation of relative effects around none.
    """

    relative_sd: float
    kind: Kind = field(default="bayesian", init=False)
    exact: bool = field(default=False, init=False)

    def posterior(self, contrast: Contrast, scale: npt.ArrayLike, alpha: float) -> Posterior:
        """Return the posterior of effects.

        Args:
            contrast: effects in the metric's unit.
            scale: mean over all variants, which makes the relative prior one of effects; broadcasts.
            alpha: of the credible interval.
        """
        sd = prior_sd(scale, self.relative_sd)
        return normal_posterior(contrast.estimate, contrast.std_error, 0.0, sd, alpha, why=contrast.why)

    def judge(self, contrast: Contrast, alpha: npt.ArrayLike) -> Judged:
        """Return the interval that the data alone give (a flat prior): for contrasts that have no prior."""
        half = t_critical(np.inf, as_float(alpha) / 2) * contrast.std_error
        return _judged(contrast, half, np.full(contrast.estimate.shape, np.nan))


def chosen(
    kind: Kind,
    information: FloatArray | None,
    *,
    spending: Spending,
    reserve: float,
    relative_sd: float,
    planned: int | None,
    variants: int,
) -> Inference:
    """Return the strategy of a kind of inference.

    Args:
        kind: which.
        information: group sequential: share of the plan at each look.
        spending: group sequential: how alpha is spent.
        reserve: group sequential: share of alpha kept for looks past the plan.
        relative_sd: Bayesian: the prior's.
        planned: units planned, if a number was declared.
        variants: how many, control included.
    """
    if information is not None:
        return GroupSequential(information, spending, reserve)
    if kind == "bayesian":
        return Bayesian(relative_sd)
    if kind == "fixed":
        return Fixed()
    # The band is narrowest where one comparison has its share of the plan.
    return AlwaysValid(max(1.0, planned * 2 / variants) if planned else DEFAULT_N_STAR)


def monitored(contrast: Contrast, inference: GroupSequential, alpha: npt.ArrayLike) -> Monitored:
    """Return the looks at contrasts whose last axis they are; a look without an estimate crosses nothing."""
    return monitor(
        np.where(contrast.why == 0, contrast.estimate, np.nan),
        contrast.std_error,
        inference.information,
        alpha,
        inference.spending,
        inference.reserve,
    )


def _judged(contrast: Contrast, half: FloatArray, p_value: FloatArray) -> Judged:
    error = np.where(contrast.std_error > 0, contrast.std_error, np.nan)
    return Judged(
        estimate=contrast.estimate,
        std_error=contrast.std_error,
        ci_low=hide(contrast.estimate - half, contrast.why),
        ci_high=hide(contrast.estimate + half, contrast.why),
        p_value=hide(p_value, contrast.why),
        level=2 * normal_upper(half / error),
        side=np.zeros(contrast.estimate.shape),
        why=contrast.why,
    )

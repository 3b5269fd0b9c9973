"""One metric's estimates in every variant, and how they are compared with control under a kind of inference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from experiments.definitions.analysis import Adjustment
from experiments.report.document import Reading, Text, Unit
from experiments.report.inference import Bayesian, Contrast, Fixed, Inference, Judged
from stats.adjustment import cuped_means, cuped_ratios, variance_reduction
from stats.arrays import FloatArray, as_float, divide, number, root
from stats.bayes import Posterior, proportions_posterior
from stats.distributions import t_critical
from stats.effects.means import difference_of_means
from stats.effects.non_inferiority import non_inferiority, non_inferiority_of_proportions
from stats.effects.proportions import difference_of_proportions, ratio_of_proportions
from stats.effects.relative import fieller, relative
from stats.effects.result import Effect, first_reason, hide
from stats.moments import Moments
from stats.regression import interacted_means, interacted_ratios
from stats.samples import Sample, means, ratios
from stats.why import Why

Role = Literal["primary", "secondary", "guardrail"]
FIXED = Fixed()


@dataclass(frozen=True)
class MetricSpec:
    """One metric of a report: which columns of the unit table it needs and how its figures are read."""

    name: str
    label: Text
    kind: str
    """proportion | mean | count | sum | ratio | retention | mean_per_event | profit"""
    value: str
    """Column; the numerator of a ratio."""
    denominator: str | None = None
    covariates: tuple[str | tuple[str, str], ...] = ()
    """Columns, or pairs of columns for a ratio as covariate."""
    role: Role = "primary"
    direction: Literal["increase", "decrease"] = "increase"
    unit: Unit = "number"
    margin_relative: float | None = None
    window_days: float | None = None
    winsorised_at: float | None = None
    description: Text = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    quantile: float | None = None
    per: Literal["unit", "event"] = "unit"
    """quantile: of sums per unit, or of single events."""

    @property
    def adds_up(self) -> bool:
        """Whether the effect times the members is a total: not for ratios, quantiles and times."""
        return self.denominator is None and self.kind not in ("quantile", "time_to_event")

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column the metric needs, each once, its value first."""
        names = [self.value, *([self.denominator] if self.denominator else [])]
        for covariate in self.covariates:
            names += [covariate] if isinstance(covariate, str) else covariate
        return tuple(dict.fromkeys(names))


@dataclass(frozen=True)
class Measured:
    """One metric's estimates in every variant; ``sample`` carries the covariates' adjustment, ``raw`` does not.

    Estimates of another kind than samples (quantiles, clusters) subclass this and give their own ``contrast`` and
    ``relative_of``.
    """

    spec: MetricSpec
    sample: Sample
    raw: Sample
    control: int
    method: str
    inference: Inference = FIXED
    history: Sample | None = None
    """Group sequential: the sample at every look (last axis), the last of which is ``sample``."""

    @property
    def variants(self) -> list[int]:
        """Positions of the variants other than control."""
        return [i for i in range(self.sample.shape[0]) if i != self.control]

    def effect(self, alpha: npt.ArrayLike) -> Effect:
        """Return variant − control for every variant but control (first axis)."""
        if self.inference.exact and self.method == "two_proportions":
            return difference_of_proportions(self.sample[self.control], self.sample[self.variants], alpha)
        if isinstance(self.inference, Bayesian):
            return _believed(self.posterior(alpha))
        judged = self._judged(self._difference, alpha)
        return Effect(
            judged.estimate,
            judged.std_error,
            self.contrast().df,
            judged.ci_low,
            judged.ci_high,
            judged.p_value,
            judged.why,
        )

    def relative(self, alpha: npt.ArrayLike) -> Effect:
        """Return the effects as shares of control's mean."""
        control, others = self.sample[self.control], self.sample[self.variants]
        if self.inference.exact:
            if self.method == "two_proportions":
                return ratio_of_proportions(control, others, alpha)
            return relative(control, others, alpha)
        if isinstance(self.inference, Bayesian):
            return self._relative_posterior(alpha)
        judged = self._judged(self._difference, alpha)
        found = relative(control, others, judged.level, df=np.inf)
        return replace(
            found,
            ci_low=np.where(judged.side > 0, np.maximum(found.ci_low, 0.0), found.ci_low),
            ci_high=np.where(judged.side < 0, np.minimum(found.ci_high, 0.0), found.ci_high),
            p_value=hide(judged.p_value, found.why),
        )

    def contrast(self) -> Contrast:
        """Return the differences as they stand now, before any kind of inference."""
        return self._difference(self.sample[self.control], self.sample[self.variants])

    def history_contrast(self) -> Contrast:
        """Return the differences at every look (last axis).

        Raises:
            ValueError: there is no history of looks.
        """
        if self.history is None:
            raise ValueError(f"{self.spec.name} has no history of looks")
        return self._difference(self.history[self.control], self.history[self.variants])

    def _difference(self, control: Sample, others: Sample) -> Contrast:
        plain = difference_of_means(control, others, df=None if self.inference.exact else np.inf)
        return Contrast(plain.estimate, plain.std_error, plain.df, control.n + others.n, plain.why)

    def _judged(self, contrast: Callable[[Sample, Sample], Contrast], alpha: npt.ArrayLike) -> Judged:
        """Judge a contrast of control with all others, over all looks where these count."""
        sample = self.sample if self.history is None else self.history
        return self.inference.judge(contrast(sample[self.control], sample[self.variants]), alpha)

    def guardrail(self, alpha: float) -> tuple[FloatArray, list[Reading]]:
        """Return, by variant, the p of "worse than the margin" and the reading, by the drawn interval's method.

        Fixed horizon: one-sided at alpha/2. Looked at early: the interval of the distance from the margin, which lies
        on the good side of zero just where the relative interval keeps within the margin; its p is 1 where the
        estimate itself is beyond the margin. Bayesian: no p; the credible interval of the relative effect decides.

        Raises:
            ValueError: the metric has no margin.
        """
        margin, direction = self.spec.margin_relative, self.spec.direction
        if margin is None:
            raise ValueError(f"{self.spec.name} has no margin")
        control, others = self.sample[self.control], self.sample[self.variants]
        if isinstance(self.inference, Bayesian):
            share = self.relative(alpha)
            sign = 1.0 if direction == "increase" else -1.0
            low, high = (sign * share.ci_low, sign * share.ci_high)[:: int(sign)]
            return np.full(share.shape, np.nan), _sides(low + margin, high + margin, share.why)
        if self.inference.exact:
            test = non_inferiority_of_proportions if self.method == "two_proportions" else non_inferiority
            found = test(control, others, margin, direction=direction, relative=True)
            values = [found.value(j, alpha=alpha) for j in range(len(self.variants))]
            return found.p_value, [value.reading for value in values]

        def distance(control: Sample, others: Sample) -> Contrast:
            found = non_inferiority(control, others, margin, direction=direction, relative=True, df=np.inf)
            n = np.broadcast_to(control.n + others.n, found.distance.shape)
            return Contrast(found.distance, found.std_error, found.df, n, found.why)

        judged = self._judged(distance, alpha)
        good = np.where(judged.side == 0, judged.estimate > 0, judged.side > 0)
        p_value = hide(np.where(good, judged.p_value, 1.0), judged.why)
        return p_value, _sides(judged.ci_low, judged.ci_high, judged.why, judged.side)

    def posterior(self, alpha: npt.ArrayLike) -> Posterior:
        """Return what is believed about the effects after the data.

        Raises:
            TypeError: inference is not Bayesian.
        """
        if not isinstance(self.inference, Bayesian):
            raise TypeError("only Bayesian inference has posteriors")
        level = float(np.max(np.asarray(alpha)))
        if self.method == "two_proportions":
            control, others = self.sample[self.control], self.sample[self.variants]
            return proportions_posterior(control, others, self.inference.relative_sd, alpha=level)
        return self.inference.posterior(self.contrast(), self.pooled_mean, level)

    @property
    def pooled_mean(self) -> FloatArray:
        """Mean over all variants: what a relative prior is scaled by."""
        n = self.sample.n
        return divide(np.where(n > 0, n * self.sample.mean, 0.0).sum(axis=0), n.sum(axis=0))

    def _relative_posterior(self, alpha: npt.ArrayLike) -> Effect:
        """Return the believed effects as shares of control's mean, by Fieller's set on the joint posterior."""
        control, others = self.sample[self.control], self.sample[self.variants]
        plain, found = self.contrast(), self.posterior(alpha)
        own = divide(control.variance, control.n)
        var_base = own + 2 * control.shift_cov + control.shift_var
        covariance = others.shift_cov - control.shift_cov - own
        # What the prior takes off the difference, it partly lays on control, as far as the two hang together.
        slope = divide(covariance, np.square(plain.std_error))
        weight = np.square(divide(found.sd, plain.std_error))
        base = control.mean + slope * (found.mean - plain.estimate)
        var_after = var_base - covariance * slope * (1 - weight)
        z = t_critical(np.inf, as_float(alpha) / 2)
        covariance = weight * covariance
        low, high, bounded = fieller(found.mean, base, np.square(found.sd), var_after, covariance, np.square(z))
        # A beta posterior is not symmetric; about zero the two intervals say the same all the same.
        low = np.where(found.ci_low > 0, np.maximum(low, 0.0), np.where(found.ci_low < 0, np.minimum(low, 0.0), low))
        high = np.where(
            found.ci_high < 0, np.minimum(high, 0.0), np.where(found.ci_high > 0, np.maximum(high, 0.0), high)
        )
        why = first_reason(
            found.why,
            np.where(base < 0, int(Why.BASELINE_NEGATIVE), 0),
            np.where(bounded, 0, int(Why.BASELINE_NEAR_ZERO)),
        )
        share = divide(found.mean, base)
        spread = np.square(found.sd) - 2 * share * weight * covariance + np.square(share) * var_after
        nothing = np.full(share.shape, np.nan)
        return Effect(
            hide(share, why),
            hide(divide(root(np.maximum(spread, 0.0)), base), why),
            hide(plain.df, why),
            hide(low, why),
            hide(high, why),
            nothing,
            why,
        )

    def variance_reduction(self) -> list[float | None]:
        """Return, by variant, the share of the effect's variance that covariates or strata removed."""
        if self.raw is self.sample:
            return [None for _ in self.variants]
        control, variants = self.control, self.variants
        raw = difference_of_means(self.raw[control], self.raw[variants])
        adjusted = difference_of_means(self.sample[control], self.sample[variants])
        return [number(v) for v in variance_reduction(adjusted, raw)]


def _believed(found: Posterior) -> Effect:
    nothing = np.full(found.shape, np.nan)
    normal = hide(np.full(found.shape, np.inf), found.why)
    return Effect(found.mean, found.sd, normal, found.ci_low, found.ci_high, nothing, found.why)


def _sides(low: FloatArray, high: FloatArray, why: npt.ArrayLike, side: npt.ArrayLike = 0.0) -> list[Reading]:
    """Read, by variant, on which side of its margin an interval of the distance lies."""
    codes, sides = np.broadcast_to(np.asarray(why), low.shape), np.broadcast_to(as_float(side), low.shape)
    readings: list[Reading] = []
    for j in range(low.shape[0]):
        if codes[j] != 0 or np.isnan(low[j]):
            readings.append("not_computed")
        elif low[j] > 0 or sides[j] > 0:
            readings.append("within_limit")
        else:
            readings.append("broken" if high[j] < 0 or sides[j] < 0 else "not_proven")
    return readings


def measure_metric(
    spec: MetricSpec,
    moments: Moments,
    control: int,
    *,
    inference: Inference = FIXED,
    looks: Moments | None = None,
    adjustment: Adjustment = "cuped",
) -> Measured:
    """Choose and compute the estimator of one metric.

    Args:
        spec: the metric.
        moments: of ``spec.columns``; first axis variants, any further axes (segments, days).
        control: position of control on the first axis.
        inference: how the estimates are judged.
        looks: group sequential: the moments at every look (last axis); ``moments`` are those of the last.
        adjustment: what covariates do.
    """
    sample, raw, method = _estimated(spec, moments, adjustment, control)
    history = None
    if looks is not None:
        history = _estimated(spec, looks, adjustment, control)[0] if looks.n.size else sample[(..., None)][..., :0]
    return Measured(spec, sample, raw, control, method, inference, history)


def _estimated(spec: MetricSpec, moments: Moments, adjustment: Adjustment, control: int) -> tuple[Sample, Sample, str]:
    """Return the adjusted sample, the raw one and the method's name."""
    adjusts = bool(spec.covariates) and adjustment != "none"
    if spec.denominator is not None:
        if adjusts and adjustment == "regression":
            adjusted = interacted_ratios(moments, spec.value, spec.denominator, spec.covariates, control=control)
            return adjusted.sample, adjusted.raw, "regression_ratio"
        if adjusts:
            adjusted = cuped_ratios(
                moments, spec.value, spec.denominator, spec.covariates, small_sample=True, control=control
            )
            return adjusted.sample, adjusted.raw, "cuped_ratio"
        sample = ratios(moments, spec.value, spec.denominator)
        return sample, sample, "ratio_delta"
    if adjusts and adjustment == "regression":
        adjusted = interacted_means(moments, spec.value, spec.covariates, control=control)
        return adjusted.sample, adjusted.raw, "regression_mean"
    if adjusts:
        adjusted = cuped_means(moments, spec.value, spec.covariates, small_sample=True, control=control)
        return adjusted.sample, adjusted.raw, "cuped_mean"
    sample = means(moments, spec.value)
    return sample, sample, "two_proportions" if spec.kind in ("proportion", "retention") else "welch"

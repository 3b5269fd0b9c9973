"""Moments and the plan become the scorecard: effects, intervals, adjusted ones, readings.

The statistics are those of the ``stats`` room; here it is decided which one a metric gets and which comparisons form a
family: all decision metrics × variants share one (Holm), all secondary ones another; guardrails are each held to their
own margin, because a roll-out needs every one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from experiments.report.document import Comparison, Estimate, MetricResult, Reading, Text, Unit, VariantSummary
from stats.adjustment import cuped_means, cuped_ratios, variance_reduction
from stats.arrays import number
from stats.decision import read_effect
from stats.distributions import normal_upper
from stats.effects.means import difference_of_means
from stats.effects.non_inferiority import non_inferiority, non_inferiority_of_proportions
from stats.effects.proportions import difference_of_proportions, ratio_of_proportions
from stats.effects.relative import relative
from stats.effects.result import Effect
from stats.moments import Moments
from stats.multiplicity import holm, interval_alpha, shorten
from stats.samples import Sample, means, ratios
from stats.sequential import Band, mixture_band, tau2
from stats.why import Why

Role = Literal["primary", "secondary", "guardrail"]


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
    def columns(self) -> tuple[str, ...]:
        """Every column the metric needs, each once, its value first."""
        names = [self.value, *([self.denominator] if self.denominator else [])]
        for covariate in self.covariates:
            names += [covariate] if isinstance(covariate, str) else covariate
        return tuple(dict.fromkeys(names))


@dataclass(frozen=True)
class Measured:
    """One metric's estimates in every variant; ``sample`` carries the covariates' adjustment, ``raw`` does not."""

    spec: MetricSpec
    sample: Sample
    raw: Sample
    control: int
    method: str
    n_star: npt.ArrayLike | None = None
    """Units of control and variant together at which the always-valid band is narrowest (one number, or one a segment);
    ``None``: fixed horizon."""

    @property
    def variants(self) -> list[int]:
        """Positions of the variants other than control."""
        return [i for i in range(self.sample.shape[0]) if i != self.control]

    def effect(self, alpha: npt.ArrayLike) -> Effect:
        """Return variant − control for every variant but control (first axis)."""
        control, others = self.sample[self.control], self.sample[self.variants]
        if self.n_star is not None:
            return self._always_valid(alpha)[0]
        if self.method == "two_proportions":
            return difference_of_proportions(control, others, alpha)
        return difference_of_means(control, others, alpha)

    def relative(self, alpha: npt.ArrayLike) -> Effect:
        """Return the effects as shares of control's mean."""
        control, others = self.sample[self.control], self.sample[self.variants]
        if self.n_star is not None:
            effect, level = self._always_valid(alpha)
            return replace(relative(control, others, level, df=np.inf), p_value=effect.p_value)
        if self.method == "two_proportions":
            return ratio_of_proportions(control, others, alpha)
        return relative(control, others, alpha)

    def _always_valid(self, alpha: npt.ArrayLike) -> tuple[Effect, npt.NDArray[np.float64]]:
        """Return the effects with the band that stays valid at every look, and the fixed level as wide as the band."""
        control, others = self.sample[self.control], self.sample[self.variants]
        plain = difference_of_means(control, others, alpha, df=np.inf)
        band = self.band(plain.estimate, plain.std_error, alpha, others.n)
        nothing = plain.why != 0
        low, high, p_value = (np.where(nothing, np.nan, part) for part in (band.ci_low, band.ci_high, band.p_value))
        level = 2 * normal_upper((high - low) / 2 / np.where(plain.std_error > 0, plain.std_error, np.nan))
        return replace(plain, ci_low=low, ci_high=high, p_value=p_value), level

    def band(
        self, estimate: npt.ArrayLike, std_error: npt.ArrayLike, alpha: npt.ArrayLike, n_others: npt.ArrayLike
    ) -> Band:
        """Return the always-valid band of an estimate that compares control with another variant.

        Effect, relative change and distance from a margin all get the same mixture, whatever ``alpha``: so an interval
        that is drawn, the adjusted one and a guardrail's reading cannot contradict each other.
        """
        n = self.sample[self.control].n + np.asarray(n_others)
        mixture = tau2(std_error, n, np.asarray(self.n_star))
        return mixture_band(estimate, std_error, alpha, tau2=np.where(mixture > 0, mixture, 1.0))

    def variance_reduction(self) -> list[float | None]:
        """Return, by variant, the share of the effect's variance that the covariates removed."""
        if not self.spec.covariates:
            return [None for _ in self.variants]
        raw = difference_of_means(self.raw[self.control], self.raw[self.variants])
        return [number(v) for v in variance_reduction(self.effect(0.05), raw)]


def measure_metric(
    spec: MetricSpec, moments: Moments, control: int, *, n_star: npt.ArrayLike | None = None
) -> Measured:
    """Choose and compute the estimator of one metric.

    Args:
        spec: the metric.
        moments: of ``spec.columns``; first axis variants, any further axes (segments, days).
        control: position of control on the first axis.
        n_star: for always-valid inference, see ``Measured``; fixed horizon by default.
    """
    if spec.denominator is not None:
        if spec.covariates:
            adjusted = cuped_ratios(moments, spec.value, spec.denominator, spec.covariates)
            return Measured(spec, adjusted.sample, adjusted.raw, control, "cuped_ratio", n_star)
        sample = ratios(moments, spec.value, spec.denominator)
        return Measured(spec, sample, sample, control, "ratio_delta", n_star)
    if spec.covariates:
        adjusted = cuped_means(moments, spec.value, spec.covariates)
        return Measured(spec, adjusted.sample, adjusted.raw, control, "cuped_mean", n_star)
    sample = means(moments, spec.value)
    method = "two_proportions" if spec.kind in ("proportion", "retention") else "welch"
    return Measured(spec, sample, sample, control, method, n_star)


@dataclass(frozen=True)
class Family:
    """Comparisons that are judged together: adjusted p-values and the intervals that agree with them."""

    p_adjusted: npt.NDArray[np.float64]
    effect_low: npt.NDArray[np.float64]
    effect_high: npt.NDArray[np.float64]
    relative_low: npt.NDArray[np.float64]
    relative_high: npt.NDArray[np.float64]


def holm_family(measured: Sequence[Measured], alpha: float) -> Family:
    """Adjust all variants of all given metrics as one family; arrays are metrics × variants (without control)."""
    p = np.stack([m.effect(alpha).p_value for m in measured])
    share = interval_alpha(p, alpha)
    effects = [m.effect(share) for m in measured]
    relatives = [m.relative(share) for m in measured]
    low, high = shorten(np.stack([e.ci_low for e in effects]), np.stack([e.ci_high for e in effects]), p, alpha)
    relative_low, relative_high = shorten(
        np.stack([r.ci_low for r in relatives]), np.stack([r.ci_high for r in relatives]), p, alpha
    )
    return Family(holm(p), low, high, relative_low, relative_high)


def scorecard(
    measured: Sequence[Measured], variants: Sequence[str], alpha: float, *, unreadable: str | None = None
) -> list[MetricResult]:
    """Return every metric's result, in the order given.

    Args:
        measured: the metrics, all over the same variants (first axis) and no further axis.
        variants: names in that order.
        alpha: 1 − confidence level, of each family.
        unreadable: why no effect may be read, when a quality check fails; the figures are given all the same.
    """
    families: dict[str, Family | None] = {}
    places: dict[int, tuple[str, int]] = {}
    for role in ("primary", "secondary", "guardrail"):
        members = [i for i, m in enumerate(measured) if m.spec.role == role]
        places |= {i: (role, at) for at, i in enumerate(members)}
        judged_alone = role == "guardrail" or not members
        families[role] = None if judged_alone else holm_family([measured[i] for i in members], alpha)
    results = []
    for i, metric in enumerate(measured):
        role, at = places[i]
        results.append(_result(metric, variants, alpha, families[role], at, unreadable))
    return results


def _result(
    metric: Measured, variants: Sequence[str], alpha: float, family: Family | None, at: int, unreadable: str | None
) -> MetricResult:
    spec = metric.spec
    effect, change = metric.effect(alpha), metric.relative(alpha)
    reductions = metric.variance_reduction()
    comparisons = []
    for j, place in enumerate(metric.variants):
        if family is None:
            adjusted = (effect.ci_low[j], effect.ci_high[j], change.ci_low[j], change.ci_high[j], effect.p_value[j])
        else:
            parts = (family.effect_low, family.effect_high, family.relative_low, family.relative_high)
            adjusted = (*(part[at, j] for part in parts), family.p_adjusted[at, j])
        p_margin: float | None = None
        reading: Reading = read_effect(number(effect.estimate[j]), number(adjusted[4]), spec.direction, alpha)
        if spec.margin_relative is not None:
            p_margin, reading = _guardrail(metric, j, spec.margin_relative, alpha)
        why = Why(int(effect.why[j])).text
        comparisons.append(
            Comparison(
                variant=variants[place],
                effect=_estimate(effect, j, adjusted[0], adjusted[1]),
                relative=_estimate(change, j, adjusted[2], adjusted[3]),
                total=None if spec.denominator else _total(effect, j, adjusted, int(metric.sample.n[place])),
                p_value=number(effect.p_value[j]),
                p_value_adjusted=number(adjusted[4]),
                reading=reading,
                readable=unreadable is None and why is None,
                why=unreadable or why,
                method=metric.method,
                variance_reduction=reductions[j],
                p_value_margin=p_margin,
            )
        )
    return MetricResult(
        name=spec.name,
        label=spec.label,
        kind=spec.kind,
        role=spec.role,
        direction=spec.direction,
        unit=spec.unit,
        control=variants[metric.control],
        variants=[_summary(metric, i, name) for i, name in enumerate(variants)],
        comparisons=comparisons,
        margin_relative=spec.margin_relative,
        covariates=[c if isinstance(c, str) else f"{c[0]}/{c[1]}" for c in spec.covariates],
        window_days=spec.window_days,
        winsorised_at=spec.winsorised_at,
        description=spec.description,
        left_out=spec.left_out,
        quantile=spec.quantile,
    )


def _summary(metric: Measured, i: int, name: str) -> VariantSummary:
    raw = metric.raw
    return VariantSummary(
        variant=name,
        n=int(raw.n[i]),
        mean=number(raw.mean[i]),
        std_error=number(raw.std_error[i]),
        why=Why(int(raw.why[i])).text,
    )


def _estimate(effect: Effect, j: int, low: float, high: float) -> Estimate:
    return Estimate(
        estimate=number(effect.estimate[j]),
        ci_low=number(effect.ci_low[j]),
        ci_high=number(effect.ci_high[j]),
        ci_low_adjusted=number(low),
        ci_high_adjusted=number(high),
        why=missing(int(effect.why[j]), low, high),
    )


def missing(why: int, low_adjusted: float, high_adjusted: float) -> str | None:
    """Return why a figure of an estimate is missing.

    The adjusted interval is the stricter one: it may be undefined where the plain one is not, because at its level the
    baseline cannot be told from zero.
    """
    if why == Why.DEFINED and (np.isnan(low_adjusted) or np.isnan(high_adjusted)):
        return Why.BASELINE_NEAR_ZERO.text
    return Why(why).text


def _total(effect: Effect, j: int, adjusted: Sequence[float], n: int) -> Estimate:
    def times(value: float) -> float | None:
        return None if np.isnan(value) else float(value) * n

    return Estimate(
        estimate=times(effect.estimate[j]),
        ci_low=times(effect.ci_low[j]),
        ci_high=times(effect.ci_high[j]),
        ci_low_adjusted=times(adjusted[0]),
        ci_high_adjusted=times(adjusted[1]),
        why=Why(int(effect.why[j])).text,
    )


def _guardrail(metric: Measured, j: int, margin: float, alpha: float) -> tuple[float | None, Reading]:
    """Return the p of "worse than the margin" and the reading, by the same method as the drawn interval.

    Fixed horizon: one-sided at alpha/2. Always-valid: the band of the distance from the margin, which lies on the good
    side of zero just where the relative interval keeps within the margin; its p is 1 where the estimate itself is
    beyond the margin.
    """
    control, variant = metric.sample[metric.control], metric.sample[metric.variants][j]
    direction = metric.spec.direction
    if metric.n_star is None:
        test = non_inferiority_of_proportions if metric.method == "two_proportions" else non_inferiority
        result = test(control, variant, margin, direction=direction, relative=True).value(alpha=alpha)
        return result.p_value, result.reading
    found = non_inferiority(control, variant, margin, direction=direction, relative=True)
    if found.why != 0:
        return None, "not_computed"
    band = metric.band(found.distance, found.std_error, alpha, variant.n)
    p_value = float(band.p_value) if found.distance > 0 else 1.0
    if band.ci_low > 0:
        return p_value, "within_limit"
    return p_value, "broken" if band.ci_high < 0 else "not_proven"

"""Moments and the plan become the scorecard: effects, intervals, adjusted ones, readings.

The statistics are those of the ``stats`` room; here it is decided which comparisons form a family: all decision metrics
× variants share one, all secondary ones another; guardrails are each held to their own margin, because a roll-out needs
every one of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from experiments.report.document import Comparison, Estimate, MetricResult, Reading, VariantSummary
from experiments.report.families import Family, family_of
from experiments.report.measured import Measured, MetricSpec, Role, measure_metric
from experiments.report.ranking import Belief, chance_best
from stats.arrays import number
from stats.decision import read_effect
from stats.effects.result import Effect
from stats.multiplicity import Method
from stats.why import Why

__all__ = ["Measured", "MetricSpec", "Role", "measure_metric", "missing", "scorecard"]


def scorecard(
    measured: Sequence[Measured],
    variants: Sequence[str],
    alpha: float,
    *,
    unreadable: str | None = None,
    multiplicity: Method = "holm",
) -> list[MetricResult]:
    """Return every metric's result, in the order given.

    Args:
        measured: the metrics, all over the same variants (first axis) and no further axis.
        variants: names in that order.
        alpha: 1 − confidence level, of each family.
        unreadable: why no effect may be read, when a quality check fails; the figures are given all the same.
        multiplicity: how a family is adjusted.
    """
    families: dict[str, Family | None] = {}
    places: dict[int, tuple[str, int]] = {}
    for role in ("primary", "secondary", "guardrail"):
        members = [i for i, m in enumerate(measured) if m.spec.role == role]
        places |= {i: (role, at) for at, i in enumerate(members)}
        judged_alone = role == "guardrail" or not members
        families[role] = None if judged_alone else family_of([measured[i] for i in members], alpha, multiplicity)
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
    margins = None if spec.margin_relative is None else metric.guardrail(alpha)
    beliefs = Belief.of(metric, alpha)
    comparisons = []
    for j, place in enumerate(metric.variants):
        if family is None:
            adjusted = (effect.ci_low[j], effect.ci_high[j], change.ci_low[j], change.ci_high[j], effect.p_value[j])
        else:
            parts = (family.effect_low, family.effect_high, family.relative_low, family.relative_high)
            adjusted = (*(part[at, j] for part in parts), family.p_adjusted[at, j])
        reading = _reading(metric, effect, j, adjusted, alpha) if margins is None else margins[1][j]
        why = Why(int(effect.why[j])).text
        comparisons.append(
            Comparison(
                variant=variants[place],
                effect=_estimate(effect, j, adjusted[0], adjusted[1]),
                relative=_estimate(change, j, adjusted[2], adjusted[3]),
                total=None if not spec.adds_up else _total(effect, j, adjusted, int(metric.sample.n[place])),
                p_value=number(effect.p_value[j]),
                p_value_adjusted=number(adjusted[4]),
                reading=reading,
                readable=unreadable is None and why is None,
                why=unreadable or why,
                method=metric.method,
                variance_reduction=reductions[j],
                p_value_margin=None if margins is None else number(margins[0][j]),
                chance_to_win=beliefs[j].chance_to_win,
                expected_loss=beliefs[j].expected_loss,
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
        chance_best=chance_best(metric, variants, beliefs),
    )


def _reading(metric: Measured, effect: Effect, j: int, adjusted: Sequence[float], alpha: float) -> Reading:
    """Read an effect by its adjusted p, or, where inference has none, by whether its interval excludes zero."""
    if metric.inference.kind != "bayesian":
        return read_effect(number(effect.estimate[j]), number(adjusted[4]), metric.spec.direction, alpha)
    low, high = adjusted[:2]
    if np.isnan(low) or np.isnan(high):
        return "not_computed"
    if low <= 0 <= high:
        return "unclear"
    return "better" if (low > 0) == (metric.spec.direction == "increase") else "worse"


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

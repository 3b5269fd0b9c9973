"""What levels each test needs, so that a decision made of several tests errs no more often than declared.

A decision that needs *at least one* of S success metrics better is a union: its tests share alpha. That *all* G
guardrails are proved within their margin is an intersection: each test keeps the whole alpha, since shipping something
harmful needs that very test to err. The price is paid in power: S successes, G guardrails and tests that may veto
(deterioration, quality) each can stop something good, so each test needs more power than the decision.

Reference:
    Schultzberg, Ankargren, Frånberg (2024), Risk-aware product decisions in A/B tests with multiple metrics,
    arXiv:2402.11609: sections 3.2 (union and intersection), 3.4 (power: β/(G + 1)), 4 (deterioration and quality). The
    bound used here for vetoes is Boole's, which needs no assumption about how the tests hang together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stats.arrays import BoolArray, as_float


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """What each single test gets. All levels are one-sided.

    Attributes:
        alpha_success: of each test that a success (primary) metric is better.
        alpha_guardrail: of each non-inferiority test.
        alpha_deterioration: of each test that a metric is worse; 0 where there is none.
        alpha_quality: of each quality test; 0 where there is none.
        beta: share of true effects that each superiority and non-inferiority test may miss.
        false_success: bound on the chance to ship where no success metric improves.
        false_safety: bound on the chance to ship where a guardrail is at or beyond its margin.
    """

    alpha_success: float
    alpha_guardrail: float
    alpha_deterioration: float
    alpha_quality: float
    beta: float
    false_success: float
    false_safety: float

    @property
    def power(self) -> float:
        """Power that each superiority and non-inferiority test is planned for."""
        return 1 - self.beta


def risk_aware_levels(
    success: int,
    guardrails: int,
    *,
    alpha: float = 0.05,
    power: float = 0.8,
    deterioration: float = 0.0,
    quality: float = 0.0,
    quality_tests: int = 0,
) -> Levels:
    """Return the levels of the risk-aware rule: ship if one success metric is better and every guardrail is safe.

    With ``deterioration`` or ``quality`` nothing ships where a metric is significantly worse either, or a quality test
    fails. These vetoes cannot cause a false shipment, so alpha is untouched; they cost power.

    Args:
        success: success metrics, at least 1; one of them suffices.
        guardrails: guardrail metrics; all must be proved within their margin.
        alpha: one-sided chance of a false shipment.
        power: chance to ship where the success metrics have the effect planned for and the guardrails none.
        deterioration: false vetoes accepted over the tests that any of the success and guardrail metrics is worse.
        quality: false vetoes accepted over all quality tests.
        quality_tests: their number.

    Raises:
        ValueError: counts or levels out of range, or vetoes that alone use up 1 − power.

    >>> levels = risk_aware_levels(2, 3, alpha=0.05, power=0.8)
    >>> levels.alpha_success, levels.alpha_guardrail, round(levels.power, 3)
    (0.025, 0.05, 0.95)
    >>> round(risk_aware_levels(2, 3, deterioration=0.02).power, 3)
    0.955
    """
    _check(success, guardrails, alpha, power)
    if not (0 <= deterioration < 1 and 0 <= quality < 1) or quality_tests < 0 or (quality > 0) != (quality_tests > 0):
        raise ValueError("deterioration and quality must be levels below 1, quality together with its number of tests")
    return Levels(
        alpha_success=alpha / success,
        alpha_guardrail=alpha,
        alpha_deterioration=deterioration / (success + guardrails),
        alpha_quality=quality / max(quality_tests, 1),
        beta=_beta(power, deterioration + quality, guardrails),
        false_success=alpha,
        false_safety=alpha,
    )


def declared_levels(variants: int, primary: int, guardrails: int, *, alpha: float = 0.05, power: float = 0.8) -> Levels:
    """Return the levels at which ``decision.decide`` reads a report whose family is adjusted by Holm.

    The *first* primary metric must be better, further ones not worse, all guardrails proved. Holm works on primary
    metrics × variants, two-sided; its first step, alpha/(2·family) a side, is what a test can rely on. Guardrails are
    each read at alpha/2 a side for each variant, without adjustment: that holds for one variant, and with several the
    chance that *some* unsafe variant passes adds up (``false_safety``).

    Args:
        variants: without control, at least 1.
        primary: primary metrics, at least 1.
        guardrails: guardrail metrics.
        alpha: of the report, two-sided.
        power: chance that a variant that is as good as planned for meets every rule.

    Raises:
        ValueError: counts or levels out of range.

    >>> levels = declared_levels(variants=1, primary=1, guardrails=1)
    >>> levels.alpha_success, levels.alpha_guardrail, round(levels.power, 3)
    (0.025, 0.025, 0.9)
    """
    _check(primary, guardrails, alpha, power)
    if variants < 1:
        raise ValueError("there must be at least one variant beside control")
    family = variants * primary
    # A further primary metric without effect reads "worse" by chance: at most alpha over the whole family.
    vetoes = alpha if primary > 1 else 0.0
    return Levels(
        alpha_success=alpha / (2 * family),
        alpha_guardrail=alpha / 2,
        alpha_deterioration=alpha / (2 * family) if primary > 1 else 0.0,
        alpha_quality=0.0,
        beta=_beta(power, vetoes, guardrails),
        false_success=alpha,
        false_safety=min(variants * alpha / 2, 1.0) if guardrails else 0.0,
    )


def ships(
    success: npt.ArrayLike,
    guardrails: npt.ArrayLike,
    levels: Levels,
    *,
    deterioration: npt.ArrayLike | None = None,
    quality: npt.ArrayLike | None = None,
) -> BoolArray:
    """Apply the risk-aware rule to one-sided p-values; metrics on the last axis.

    Args:
        success: of "this metric is better".
        guardrails: of "this guardrail is within its margin"; NaN (not computed) does not pass. An empty last axis for
            none.
        levels: of each test.
        deterioration: of "this metric is worse", over success and guardrail metrics.
        quality: of the quality tests.

    >>> levels = risk_aware_levels(2, 1)
    >>> ships([0.01, 0.4], [0.03], levels), ships([0.01, 0.4], [0.2], levels)
    (array(True), array(False))
    """
    better = (as_float(success) <= levels.alpha_success).any(axis=-1)
    safe = (as_float(guardrails) <= levels.alpha_guardrail).all(axis=-1)
    answer = better & safe
    if deterioration is not None:
        answer = answer & ~(as_float(deterioration) <= levels.alpha_deterioration).any(axis=-1)
    if quality is not None:
        answer = answer & ~(as_float(quality) <= levels.alpha_quality).any(axis=-1)
    return np.asarray(answer)


def _beta(power: float, vetoes: float, guardrails: int) -> float:
    """Return β each: 1 − power, less what vetoes take, shared by one success test and every guardrail (Boole)."""
    left = 1 - power - vetoes
    if left <= 0:
        raise ValueError(f"false vetoes of {vetoes:g} leave nothing of the {1 - power:g} that may be missed")
    return left / (guardrails + 1)


def _check(success: int, guardrails: int, alpha: float, power: float) -> None:
    if success < 1 or guardrails < 0:
        raise ValueError("there must be at least one success metric, and no negative number of guardrails")
    if not (0 < alpha < 1 and 0 < power < 1):
        raise ValueError("alpha and power must lie between 0 and 1")

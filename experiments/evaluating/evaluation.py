"""What a policy would have earned on a log, beside what was earned, and whether the difference is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from experiments.errors import InputError
from experiments.evaluating.decision_log import DecisionLog
from experiments.evaluating.model import FOLDS, cross_fitted
from experiments.evaluating.targets import Target
from stats.ope import (
    Diagnostics,
    Estimate,
    Logged,
    dr_scores,
    empirical_bernstein,
    estimates,
    score_mean,
    wald,
)
from stats.ope.diagnostics import LEAST_OUTCOMES

MOST_FOLDS = 50
MAIN = "dr"
"""The estimate that the sentence speaks of."""


@dataclass(frozen=True)
class EvaluationOptions:
    """How policies are valued.

    Attributes:
        alpha: 1 − confidence level.
        folds: parts of the members for cross-fitting the model; 0: no model, and the sentence speaks of SNIPS.
        tau: weights above it are left to the model by SWITCH-DR.
        strength: λ of DRos.
        bounds: least and greatest reward that is possible at all, for an interval that holds at any size.
    """

    alpha: float = 0.05
    folds: int = FOLDS
    tau: float = 10.0
    strength: float = 100.0
    bounds: tuple[float, float] | None = None


@dataclass(frozen=True)
class Valued:
    """One policy, valued.

    Attributes:
        policy: as it was asked for.
        estimates: name → estimate.
        main: name of the one that the difference is made with.
        difference: that estimate less what was earned, paired by decision.
        bernstein: IPS with an interval that holds at any size, where bounds of rewards are known.
        diagnostics: of the weights.
        warnings: why the figures may mislead.
        notes: what else to know.
    """

    policy: str
    estimates: Mapping[str, Estimate]
    main: str
    difference: Estimate
    bernstein: Estimate | None
    diagnostics: Diagnostics
    warnings: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def shown(self) -> str | None:
        """``better`` or ``worse`` where the difference's interval excludes 0 and nothing warns, else ``None``."""
        low, high = self.difference.ci_low, self.difference.ci_high
        if self.warnings or low is None or high is None:
            return None
        return "better" if low > 0 else "worse" if high < 0 else None


@dataclass(frozen=True)
class Evaluation:
    """A log and the policies valued on it.

    Attributes:
        log: the decisions.
        logged: what they earned on average, with interval.
        policies: in the order asked for.
        options: how.
    """

    log: DecisionLog
    logged: Estimate
    policies: tuple[Valued, ...]
    options: EvaluationOptions


def evaluate(log: DecisionLog, targets: Sequence[Target], options: EvaluationOptions | None = None) -> Evaluation:
    """Value policies on a log.

    Args:
        log: the decisions.
        targets: the policies.
        options: how.

    Raises:
        InputError: options that make no sense.
    """
    how = options or EvaluationOptions()
    _check(log, how)
    q = cross_fitted(log, how.folds) if how.folds else None
    logged = wald(log.reward, log.unit, how.alpha)
    return Evaluation(log, logged, tuple(_valued(log, target, q, how) for target in targets), how)


def _check(log: DecisionLog, how: EvaluationOptions) -> None:
    if not 0 < how.alpha < 1:
        raise InputError(f"--alpha {how.alpha:g} must lie between 0 and 1: write 0.05 or 5%")
    if how.folds != 0 and not 2 <= how.folds <= MOST_FOLDS:
        raise InputError(f"--folds {how.folds} must be 0 (no model) or 2 to {MOST_FOLDS}")
    for name, value in (("tau", how.tau), ("strength", how.strength)):
        if not 0 <= value < np.inf:
            raise InputError(f"--{name} {value:g} must be a number from 0 upwards")
    if how.bounds is not None:
        low, high = how.bounds
        if not np.isfinite(how.bounds).all():
            raise InputError(f"--bounds {low:g} {high:g}: both must be finite")
        if not low < high:
            raise InputError(f"--bounds {low:g} {high:g}: the first must be below the second")
        if log.reward.min() < low or log.reward.max() > high:
            raise InputError(
                f"{log.path}: rewards from {log.reward.min():g} to {log.reward.max():g} lie outside --bounds "
                f"{low:g} {high:g}; state what a reward can be at all"
            )


def _valued(log: DecisionLog, target: Target, q: npt.NDArray[np.float64] | None, how: EvaluationOptions) -> Valued:
    logged = Logged.of(log.reward, log.variant, log.propensity, target.probabilities, q, log.unit)
    found = estimates(logged, how.alpha, tau=how.tau, strength=how.strength)
    weight = logged.weight
    if logged.q_logged is None or logged.v is None:
        main = "snips"
        value = found[main].value
        scores = weight * (log.reward - value) / weight.mean() + value if value is not None else weight * log.reward
    else:
        main = MAIN
        scores = dr_scores(log.reward, weight, logged.q_logged, logged.v)
    return Valued(
        policy=target.name,
        estimates=found,
        main=main,
        difference=score_mean(scores - log.reward, cluster=log.unit, alpha=how.alpha),
        bernstein=_bernstein(log, weight, target, how),
        diagnostics=logged.diagnostics,
        warnings=_warnings(log, target, logged.diagnostics),
        notes=target.notes,
    )


def _bernstein(
    log: DecisionLog, weight: npt.NDArray[np.float64], target: Target, how: EvaluationOptions
) -> Estimate | None:
    """Bound IPS by what its weights can be at most: greatest probability of the policy over the least propensity."""
    if how.bounds is None:
        return None
    most = float(target.probabilities.max() / log.propensity.min())
    low, high = min(0.0, how.bounds[0] * most), max(0.0, how.bounds[1] * most)
    return empirical_bernstein(weight * log.reward, low, high, log.unit, how.alpha)


def _warnings(log: DecisionLog, target: Target, found: Diagnostics) -> tuple[str, ...]:
    said = []
    if found.thin:
        least = max(200, round(0.01 * found.rows))
        said.append(
            f"thin: the weights leave {found.ess:,.0f} effective decisions of {found.rows:,}, and {least:,} are needed "
            "to tell anything"
        )
    if found.few and found.outcomes is not None:
        said.append(
            f"few outcomes: weighted, they are worth {found.outcomes:.0f} equal ones, and {LEAST_OUTCOMES:.0f} are "
            "needed for an interval to be trusted"
        )
    if found.off and found.mean_weight is not None:
        said.append(
            f"the mean weight is {found.mean_weight:.3f} where 1 is expected: propensities are wrong, or "
            "the policy draws what was never drawn"
        )
    drawn = np.bincount(log.variant, minlength=len(log.variants)) > 0
    lost = float(target.probabilities[:, ~drawn].sum(axis=1).mean()) if (~drawn).any() else 0.0
    if lost > 0:
        said.append(f"{lost:.1%} of its draws go to variants that the log never drew: nothing is known of them")
    return tuple(said)
